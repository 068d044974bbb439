"""Experiments: A/B comparisons of variants within one domain.

A variant is an adapter, optionally with its own system prompt, sampling settings and answer mode.
'A' is the control, and the others are candidates. The unit of randomisation is the person
(`assignments.py`).

Nobody is in two comparisons of a domain at once, because a unique index allows one running
comparison per domain. Each comparison has its own salt, so its assignments are independent of
earlier ones. A comparison can leave out the people who got a candidate in an earlier one
(`excludes`). People in the holdout (`policies.py`) are in no comparison.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from sqlite_utils import Database

from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments.design import ExperimentDesign
from data.experiments.variants import MODES, VariantMode, VariantSpec, check_spec
from data.store import audit
from data.store.clock import now_us
from data.store.db import Row, insert, row, rows, value
from data.store.errors import Conflict, Invalid, NotFound

LABELS = "ABCDEF"


@dataclass(frozen=True)
class Variant:
    id: int
    label: str  # "A" is the control
    adapter_id: int | None  # None: the bare base
    adapter: str  # `helpdesk@3`, or `base`
    share: float  # of the people, 0..1
    system_prompt: str | None
    sampling: dict[str, Any]
    answer_mode: VariantMode = ""

    @property
    def described(self) -> str:
        """The adapter with all other differences: `helpdesk@3 (own prompt, temperature=0.2)`."""
        more = ["own prompt"] if self.system_prompt is not None else []
        more += [f"{name}={setting}" for name, setting in self.sampling.items()]
        more += [said for said, mode in MODES.items() if mode == self.answer_mode]
        return f"{self.adapter} ({', '.join(more)})" if more else self.adapter


@dataclass(frozen=True)
class Experiment:
    id: int
    domain_id: int
    domain: str
    salt: str
    state: str  # running, stopped
    started_by: str
    started_at: int
    stopped_at: int | None
    variants: tuple[Variant, ...]
    stopped_by: str = ""
    stage: int = 1  # the number of the current period of constant shares, see `ramps.py`
    pairwise: float = 0.0  # share of the questions that get two blinded answers
    adaptive: float = 0.0  # the minimum share of a variant if shares follow results; 0: off
    excludes: int | None = None  # an earlier experiment; people who got its candidates are left out
    terms: dict[str, Any] = field(default_factory=dict)  # the design, see `design.py`

    @property
    def candidates(self) -> tuple[Variant, ...]:
        return self.variants[1:]

    @property
    def differs_in_answers(self) -> bool:
        """Whether some variant answers in a mode of its own, so that variants decline different
        questions."""
        return any(v.answer_mode for v in self.variants)

    @property
    def candidate_share(self) -> float:
        """The share of people who get a candidate."""
        return sum(v.share for v in self.candidates)


def start(
    db: Database,
    domain: Domain,
    control: Adapter | None,
    candidate: Adapter | None,
    actor: str,
    share: float = 0.5,
) -> Experiment:
    """Begin a comparison of two adapters; None stands for the bare base. `share` is the candidate's
    share of people. Raises the same errors as `begin`."""
    return begin(db, domain, [VariantSpec(control), VariantSpec(candidate)], actor, share)


def begin(
    db: Database,
    domain: Domain,
    specs: Sequence[VariantSpec],
    actor: str,
    share: float | None = None,
    *,
    pairwise: float = 0.0,
    adaptive: float = 0.0,
    excludes: int | None = None,
    terms: Mapping[str, Any] | None = None,
) -> Experiment:
    """Begin a comparison; the first spec is the control. `share` of the people get a candidate, in
    equal parts; None gives every variant the same share. `pairwise` is a share of the questions.

    Raises Invalid for identical variants and invalid shares, and Conflict for an adapter that was
    rejected or removed or is still being evaluated, and while another comparison of the domain is
    running."""
    _check_variants(db, domain, specs)
    count = len(specs)
    share = 1 - 1 / count if share is None else share
    _check_shares(share, pairwise, adaptive, count)
    current = running(db, domain.id)
    if current is not None:
        names = " and ".join(v.adapter for v in current.variants)
        raise Conflict(f"{domain.name} is already comparing {names}. Stop that comparison first.")
    now = now_us()
    experiment_id = insert(
        db,
        "experiments",
        domain_id=domain.id,
        salt=secrets.token_hex(16),
        state="running",
        started_by=actor,
        started_at=now,
        pairwise=pairwise,
        adaptive=adaptive,
        excludes=excludes,
        terms=orjson.dumps(asdict(ExperimentDesign()) if terms is None else dict(terms)).decode(),
    )
    all_shares = [1 - share, *[share / (count - 1)] * (count - 1)]
    for label, spec, variant_share in zip(LABELS, specs, all_shares, strict=False):
        insert(
            db,
            "variants",
            experiment_id=experiment_id,
            label=label,
            adapter_id=spec.adapter.id if spec.adapter else None,
            share=variant_share,
            system_prompt=spec.system_prompt,
            sampling=orjson.dumps(dict(spec.sampling)).decode(),
            answer_mode=spec.answer_mode,
        )
    shares = dict(zip(LABELS, all_shares, strict=False))
    open_stage(db, experiment_id, 1, shares, actor)
    started = get(db, experiment_id)
    described = [v.described for v in started.variants]
    audit.record(db, actor, "ab start", f"experiment {experiment_id}", variants=described)
    return started


def _check_variants(db: Database, domain: Domain, specs: Sequence[VariantSpec]) -> None:
    if not 2 <= len(specs) <= len(LABELS):
        raise Invalid(f"A comparison has 2 to {len(LABELS)} variants.")
    if len({spec.key for spec in specs}) < len(specs):
        raise Invalid(
            "A comparison needs two different adapters, or variants that differ in prompt, "
            "sampling or answers (grounded or ungrounded)."
        )
    for spec in specs:
        check_spec(spec)
        adapter = spec.adapter
        if adapter is not None and adapter.domain_id != domain.id:
            raise Invalid(f"{adapter.name} is not an adapter of {domain.name}.")
        if adapter is not None:
            current = registry.by_id(db, adapter.id)
            registry.refuse_unsettled(current)
            registry.refuse_removed(current)


def _check_shares(share: float, pairwise: float, adaptive: float, count: int) -> None:
    if not 0 < share < 1:
        raise Invalid("The candidate's share must lie between 0 and 100% of the people.")
    if not 0 <= pairwise <= 1:
        raise Invalid("The share of questions with two answers must lie between 0 and 100%.")
    if not 0 <= adaptive < 1 / count:
        raise Invalid(f"The minimum share of a variant must lie between 0 and {1 / count:.0%}.")


def open_stage(
    db: Database, experiment_id: int, number: int, shares: Mapping[str, float], actor: str
) -> None:
    """Store the shares that apply from now on."""
    insert(
        db,
        "stages",
        experiment_id=experiment_id,
        number=number,
        shares=orjson.dumps(dict(shares)).decode(),
        started_by=actor,
        started_at=now_us(),
    )


def stop(db: Database, experiment: Experiment, actor: str) -> Experiment:
    """End a comparison: everyone gets the live adapter from their next message on. Raises Conflict
    if it has already been stopped."""
    if experiment.state != "running":
        raise Conflict(f"Experiment {experiment.id} has already been stopped.")
    db.execute(
        "UPDATE experiments SET state = 'stopped', stopped_by = ?, stopped_at = ? WHERE id = ?",
        [actor, now_us(), experiment.id],
    )
    audit.record(db, actor, "ab stop", f"experiment {experiment.id}")
    return get(db, experiment.id)


SELECT = """
SELECT e.id, e.domain_id, d.name AS domain, e.salt, e.state, e.started_by, e.started_at,
       e.stopped_by, e.stopped_at, e.pairwise, e.adaptive, e.excludes, e.terms,
       (SELECT max(number) FROM stages WHERE experiment_id = e.id) AS stage
FROM experiments e JOIN domains d ON d.id = e.domain_id
"""


def get(db: Database, experiment_id: int) -> Experiment:
    """Raises NotFound."""
    found = row(db, SELECT + "WHERE e.id = ?", [experiment_id])
    if found is None:
        raise NotFound(f"There is no experiment {experiment_id}.")
    return _experiment(db, found)


def of_variant(db: Database, variant_id: int | None) -> int:
    """The id of the experiment that a variant belongs to. Raises NotFound."""
    found = value(db, "SELECT experiment_id FROM variants WHERE id = ?", [variant_id])
    if found is None:
        raise NotFound(f"There is no variant {variant_id}.")
    return int(found)


def running(db: Database, domain_id: int) -> Experiment | None:
    """The domain's running comparison, or None."""
    found = row(db, SELECT + "WHERE e.domain_id = ? AND e.state = 'running'", [domain_id])
    return None if found is None else _experiment(db, found)


def latest(db: Database, domain: Domain) -> Experiment:
    """The running comparison, or else the last one. Raises NotFound."""
    found = row(db, SELECT + "WHERE e.domain_id = ? ORDER BY e.id DESC", [domain.id])
    if found is None:
        how = f"`understudy ab start {domain.name} A B`"
        raise NotFound(f"{domain.name} has had no comparison yet: {how}.")
    return _experiment(db, found)


def list_experiments(db: Database, domain: Domain | None = None) -> list[Experiment]:
    """All comparisons, newest first."""
    where, params = ("WHERE e.domain_id = ? ", [domain.id]) if domain else ("", [])
    found = rows(db, SELECT + where + "ORDER BY e.id DESC", params)
    return [_experiment(db, r) for r in found]


def public(experiment: Experiment) -> dict[str, Any]:
    """Everything except the salt, for JSON. The salt reveals who is on which variant."""
    shown = asdict(experiment)
    del shown["salt"]
    return shown


def _experiment(db: Database, found: Row) -> Experiment:
    members = rows(
        db,
        "SELECT v.id, v.label, v.adapter_id, v.share, v.system_prompt, v.sampling, "
        "v.answer_mode, "
        "coalesce(d.name || '@' || a.version, 'base') AS adapter "
        "FROM variants v LEFT JOIN adapters a ON a.id = v.adapter_id "
        "LEFT JOIN domains d ON d.id = a.domain_id WHERE v.experiment_id = ? ORDER BY v.label",
        [found["id"]],
    )
    variants = tuple(Variant(**{**m, "sampling": orjson.loads(m["sampling"])}) for m in members)
    return Experiment(**{**found, "terms": orjson.loads(found["terms"])}, variants=variants)
