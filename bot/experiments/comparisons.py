"""Comparisons, as every front end begins, widens and ends them.

Each function is called inside one transaction and checks everything before it changes anything.
The sides are named as people name them: `3`, `helpdesk@3`, `live`, or `base`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlite_utils import Database

from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import decisions, experiments, ramps
from data.experiments.design import ExperimentDesign
from data.experiments.experiments import Experiment, Variant
from data.experiments.variants import VariantSpec
from data.store import audit
from data.store.db import row
from data.store.errors import Conflict, Invalid


@dataclass(frozen=True)
class ExperimentPlan:
    """What a comparison is to be like, beyond its sides."""

    share: float | None = None  # of the people, who get a candidate; None: all sides alike
    prompts: Mapping[str, str] = field(default_factory=dict)  # label -> system prompt
    sampling: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # label -> settings
    pairwise: float = 0.0  # share of the questions that get two blinded answers
    adaptive: float = 0.0  # the least share of a side when shares follow results; 0: off
    fresh: bool = False  # without those whom the last comparison gave a candidate
    terms: ExperimentDesign = field(default_factory=ExperimentDesign)


def begin(
    db: Database,
    domain: Domain,
    names: Sequence[str],
    actor: str,
    plan: ExperimentPlan | None = None,
) -> Experiment:
    """Compare the first side (the control) with the others.

    Raises NotFound for a side that is none, Conflict for one that can't be served or while a
    comparison runs, Invalid for a plan that can't be."""
    plan = plan or ExperimentPlan()
    labels = experiments.LABELS[: len(names)]
    for label in (*plan.prompts, *plan.sampling):
        if label not in labels:
            raise Invalid(f"There is no side {label!r}; the sides are {', '.join(labels)}.")
    sides = [
        VariantSpec(side(db, domain, name), plan.prompts.get(label), plan.sampling.get(label, {}))
        for label, name in zip(labels, names, strict=False)
    ]
    for arm in sides:
        if arm.adapter is not None:
            refuse_unservable(db, arm.adapter)
    if len(names) > len(labels):
        raise Invalid(f"At most {len(experiments.LABELS)} sides can be compared.")
    return experiments.begin(
        db,
        domain,
        sides,
        actor,
        plan.share,
        pairwise=plan.pairwise,
        adaptive=plan.adaptive,
        excludes=experiments.latest(db, domain).id if plan.fresh else None,
        terms=asdict(plan.terms),
    )


def side(db: Database, domain: Domain, name: str) -> Adapter | None:
    """The adapter that a side names, None for the bare base. Raises NotFound."""
    if name in ("base", f"{domain.name}@base"):
        return None
    if name == "live":
        return registry.live(db, domain.id)
    return registry.get(db, name, domain)


def refuse_unservable(db: Database, adapter: Adapter) -> None:
    """Raises Conflict for an adapter that an engine refused. A refusal counts while no engine
    holds the adapter: the record of one that is gone stays."""
    failed = row(
        db,
        "SELECT error FROM placements WHERE adapter_id = ? AND state = 'failed'",
        [adapter.id],
    )
    if failed is not None and adapter.id not in placements.loaded(db):
        raise Conflict(f"The engine cannot serve {adapter.name}: {failed['error']}")


def current(db: Database, domain: Domain) -> Experiment:
    """The comparison that runs in a domain. Raises Conflict when none does."""
    found = experiments.running(db, domain.id)
    if found is None:
        raise Conflict(f"No comparison is running in {domain.name}.")
    return found


def ramp(db: Database, domain: Domain, share: float, actor: str) -> Experiment:
    """Give `share` of the people (0..1) a candidate from now on. Raises as `ramps.ramp` does."""
    return ramps.ramp(db, current(db, domain), share, actor)


def stop(db: Database, domain: Domain, actor: str) -> Experiment:
    """End the running comparison. Raises Conflict when none is running."""
    return experiments.stop(db, current(db, domain), actor)


def promotable(db: Database, variant: Variant) -> bool:
    """Whether all that a variant is can be made what answers everybody: an adapter that could be
    promoted, or is live, with a system prompt of its own perhaps. Sampling settings are the
    deployment's, and the bare base is no adapter."""
    if variant.sampling or variant.adapter_id is None:
        return False
    adapter = registry.by_id(db, variant.adapter_id)
    try:
        refuse_unservable(db, adapter)
        registry.refuse_unsettled(adapter)
        registry.refuse_removed(adapter)
    except Conflict:
        return False
    return True


def promote(db: Database, experiment: Experiment, variant: Variant, actor: str) -> None:
    """Let everybody be answered by a variant, and end the comparison. Raises Conflict."""
    if variant.adapter_id is None or variant.sampling:
        raise Conflict(f"{variant.described} cannot be promoted.")
    domain = domains.by_id(db, experiment.domain_id)
    adapter = registry.by_id(db, variant.adapter_id)
    refuse_unservable(db, adapter)
    experiments.stop(db, experiment, actor)
    if adapter.state != "live":
        registry.promote(db, adapter, actor)
    if variant.system_prompt is not None:
        domains.set_system_prompt(db, domain, variant.system_prompt)
        audit.record(db, actor, "domain prompt", domain.name)


def fallback_adapter(db: Database, experiment: Experiment) -> Adapter | None:
    """Who answers everybody once the comparison is rolled back, None: the bare base. That is who
    is live; where a candidate is, the control, unless it is none that can be made live."""
    live, control = registry.live(db, experiment.domain_id), experiment.variants[0]
    if live is None or live.id not in {v.adapter_id for v in experiment.candidates}:
        return live
    if control.adapter_id is None:
        return None
    return registry.by_id(db, control.adapter_id) if promotable(db, control) else live


def roll_back(db: Database, experiment: Experiment, actor: str) -> None:
    """End the comparison, and let everybody be answered by its `heir`."""
    live, left = registry.live(db, experiment.domain_id), fallback_adapter(db, experiment)
    experiments.stop(db, experiment, actor)
    if live is None or (left is not None and left.id == live.id):
        return
    if left is None:
        registry.step_down(db, live, actor)
    else:
        registry.promote(db, left, actor)


def ending(db: Database, experiment: Experiment) -> str:
    """What an ended comparison came to. Votes may still have come in afterwards."""
    last = decisions.latest(db, experiment.id)
    if last is None:
        return "It was ended before anything was decided. With all votes:"
    return f"Decision {last.id}, {last.action}: {last.sentence} With all votes, later ones too:"
