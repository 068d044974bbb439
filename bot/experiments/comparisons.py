"""Starts, ramps and stops comparisons, for every front end.

Call each function inside one transaction; it checks everything before it changes anything. Variants
are named by their adapters: `3`, `helpdesk@3`, `live`, or `base`. Behind a colon stands how they
answer, if not as the domain does: `live:grounded`, `live:ungrounded`.
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
from data.experiments.expected_people import expected_people
from data.experiments.experiments import Experiment, Variant
from data.experiments.variants import VariantSpec, mode_named
from data.store import audit
from data.store.db import row
from data.store.errors import Conflict, Invalid

# What people get where no adapter is live
WITHOUT_ADAPTER = (
    "approved answers word for word, or in the answer mode `adapter` those of the bare base model"
)


@dataclass(frozen=True)
class ExperimentPlan:
    """The settings of a new comparison, apart from its variants."""

    share: float | None = None  # share of the people who get a candidate; None: equal shares
    prompts: Mapping[str, str] = field(default_factory=dict)  # label -> system prompt
    sampling: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # label -> settings
    answers: Mapping[str, str] = field(default_factory=dict)  # label -> grounded or ungrounded
    pairwise: float = 0.0  # share of the questions that get two blinded answers
    adaptive: float = 0.0  # smallest share of a variant when shares follow the results; 0: off
    fresh: bool = False  # exclude the people who had a candidate in the last comparison
    design: ExperimentDesign | None = None  # None: the default, with the people expected here


def begin(
    db: Database,
    domain: Domain,
    names: Sequence[str],
    actor: str,
    plan: ExperimentPlan | None = None,
) -> Experiment:
    """Start a comparison of the first variant (the control) with the others.

    Raises NotFound for an unknown adapter, Conflict for one that cannot be served or while another
    comparison is running, and Invalid for an invalid plan."""
    plan = plan or ExperimentPlan()
    labels = experiments.LABELS[: len(names)]
    for label in (*plan.prompts, *plan.sampling, *plan.answers):
        if label not in labels:
            raise Invalid(f"There is no variant {label!r}; the variants are {', '.join(labels)}.")
    specs = [
        _spec(db, domain, name, label, plan) for label, name in zip(labels, names, strict=False)
    ]
    for spec in specs:
        if spec.adapter is not None:
            refuse_unservable(db, spec.adapter)
    if len(names) > len(labels):
        raise Invalid(f"At most {len(experiments.LABELS)} variants can be compared.")
    return experiments.begin(
        db,
        domain,
        specs,
        actor,
        plan.share,
        pairwise=plan.pairwise,
        adaptive=plan.adaptive,
        excludes=experiments.latest(db, domain).id if plan.fresh else None,
        terms=asdict(plan.design or design_for(db, domain)),
    )


def _spec(db: Database, domain: Domain, name: str, label: str, plan: ExperimentPlan) -> VariantSpec:
    adapter, colon, behind = name.partition(":")
    said = behind if colon else plan.answers.get(label, "")
    return VariantSpec(
        adapter_named(db, domain, adapter),
        plan.prompts.get(label),
        plan.sampling.get(label, {}),
        mode_named(said) if colon or said else "",
    )


def design_for(
    db: Database, domain: Domain, expected: int | None = None, **settings: Any
) -> ExperimentDesign:
    """A design with these settings. `expected`: the number of people who will probably rate; None:
    as many as lately. Raises Invalid."""
    if expected is None:
        people = settings.get("people", ExperimentDesign.people)
        expected = expected_people(db, domain.id, people)
    return ExperimentDesign(expected_people=expected, **settings)


def adapter_named(db: Database, domain: Domain, name: str) -> Adapter | None:
    """The adapter with this name, or None for the bare base. Raises NotFound."""
    if name in ("base", f"{domain.name}@base"):
        return None
    if name == "live":
        return registry.live(db, domain.id)
    return registry.get(db, name, domain)


def refuse_unservable(db: Database, adapter: Adapter) -> None:
    """Raises Conflict for an adapter that an engine refused and no engine holds. A refusal alone is
    not enough, because the record of a removed engine stays in the store."""
    failed = row(
        db,
        "SELECT error FROM placements WHERE adapter_id = ? AND state = 'failed'",
        [adapter.id],
    )
    if failed is not None and adapter.id not in placements.loaded(db):
        raise Conflict(f"The engine cannot serve {adapter.name}: {failed['error']}")


def current(db: Database, domain: Domain) -> Experiment:
    """The running comparison of a domain. Raises Conflict when there is none."""
    found = experiments.running(db, domain.id)
    if found is None:
        raise Conflict(f"No comparison is running in {domain.name}.")
    return found


def ramp(db: Database, domain: Domain, share: float, actor: str) -> Experiment:
    """Raise the share of people who get a candidate to `share` (0..1). Raises the errors of
    `ramps.ramp`."""
    return ramps.ramp(db, current(db, domain), share, actor)


def stop(db: Database, domain: Domain, actor: str) -> Experiment:
    """Stop the running comparison. Raises Conflict when there is none."""
    return experiments.stop(db, current(db, domain), actor)


def promotable(db: Database, variant: Variant) -> bool:
    """Whether a variant can be made live as a whole: its adapter can be promoted or is live, with
    or without its own system prompt or answer mode. A variant with sampling settings cannot,
    because they belong to the deployment; neither can the bare base, because it is no adapter."""
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
    """Make a variant live for everybody, and stop the comparison. Raises Conflict."""
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
    if variant.answer_mode:
        domains.set_answer_mode(db, domain, variant.answer_mode)
        audit.record(db, actor, "domain answers", domain.name, mode=variant.answer_mode)


def fallback_adapter(db: Database, experiment: Experiment) -> Adapter | None:
    """The adapter that answers everybody after a roll-back; None: none does. It is the live
    adapter, unless a candidate is live; then it is the control, if the control can be made live."""
    live, control = registry.live(db, experiment.domain_id), experiment.variants[0]
    if live is None or live.id not in {v.adapter_id for v in experiment.candidates}:
        return live
    if control.adapter_id is None:
        return None
    return registry.by_id(db, control.adapter_id) if promotable(db, control) else live


def roll_back(db: Database, experiment: Experiment, actor: str) -> None:
    """Stop the comparison, and make its `fallback_adapter` live."""
    live, fallback = registry.live(db, experiment.domain_id), fallback_adapter(db, experiment)
    experiments.stop(db, experiment, actor)
    if live is None or (fallback is not None and fallback.id == live.id):
        return
    if fallback is None:
        registry.demote(db, live, actor)
    else:
        registry.promote(db, fallback, actor)


def ending(db: Database, experiment: Experiment) -> str:
    """How a comparison ended, as the heading of its results, which include later ratings."""
    last = decisions.latest(db, experiment.id)
    if last is None:
        return "It ended before a decision was made. Results with all ratings:"
    return f"Decision {last.id}, {last.action}: {last.sentence} Results with all ratings:"
