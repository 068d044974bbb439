"""Which adapter answers a person: a pinned adapter, the variant of a running comparison, the live
adapter or the bare base; and which ones are its fallbacks.

The fallbacks are, in order: the live adapter (if a variant should have answered), the adapter that
a roll-back would restore, and the bare base, unless answers are grounded in approved pairs. An
answer from a fallback belongs to no variant, so it counts for neither side of a comparison. A
pinned adapter has no fallback: whoever pins one wants that one and no other.

While no engine holds one of the variants, no new person is assigned to the comparison; they are
answered as if no comparison were running. Otherwise the comparison would only count the people of
the other variants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlite_utils import Database

from data.adapters import placements, registry
from data.adapters.placements import Replica
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import assignments, experiments
from data.experiments.experiments import Experiment, Variant
from data.gpu import time_sharing
from data.search import layout
from data.store.db import row
from data.store.errors import Invalid, NotFound, Unavailable
from serving.client import AdapterMissing, EngineDown

BASE = "base"


class NoEngine(EngineDown):
    """No replica is ready."""

    retry_after = 30  # seconds: a typical start; an engine with a large base takes longer


class NoAdapter(Unavailable):
    """The domain has no adapter that could answer, and the bare base may not."""


@dataclass(frozen=True)
class Target:
    """An adapter (or the bare base) that may answer, and the replicas that can run it."""

    adapter: Adapter | None  # None: the bare base
    replicas: tuple[Replica, ...]  # the ready replicas that hold it; may be empty
    variant: Variant | None = None
    experiment_id: int | None = None
    stage: int = 1  # the stage of the experiment whose shares assigned the variant
    is_second_answer: bool = False  # the second of two blinded answers; counts as no exposure

    @property
    def adapter_id(self) -> int | None:
        return self.adapter.id if self.adapter else None

    @property
    def layout(self) -> int:
        """The layout of references that it was trained with; 0: it was trained without."""
        return layout.of_recipe(self.adapter.recipe) if self.adapter else layout.NONE

    @property
    def references(self) -> int:
        """How many references it gets at most: as many as in its training."""
        return layout.references_of(self.adapter.recipe) if self.adapter else 0

    @property
    def name(self) -> str:
        """The name shown to people: `helpdesk@3`, or `base`."""
        return self.adapter.name if self.adapter else BASE


@dataclass(frozen=True)
class Route:
    """The target that answers, the replica that runs it, and the target it replaces, if any."""

    target: Target
    replica: Replica
    instead_of: Target | None = None  # the target that should have answered and could not

    @property
    def served_name(self) -> str:
        """The model name sent to the engine."""
        adapter = self.target.adapter
        return adapter.served_name if adapter else self.replica.base_name

    @property
    def key(self) -> tuple[str, str]:
        """Replica and adapter, the key of a circuit breaker's circuit."""
        return self.replica.name, self.target.name


Targets = tuple[Target, ...]  # the intended target first, then its fallbacks; never empty
Holders = Mapping[int, Sequence[Replica]]  # adapter id -> the replicas that hold it


def targets_for(
    db: Database,
    domain: Domain,
    person: str,
    pinned: str | None = None,
    second_variant: str | None = None,
    *,
    with_base: bool = True,
    with_variants: bool = True,
) -> Targets:
    """The target that should answer `person` now, followed by its fallbacks. `second_variant` is
    the label of the variant that gives the second of two blinded answers; it has no fallback.
    Without `with_base`, the bare base is neither the default nor a fallback: it answers only as a
    variant of a comparison. Without `with_variants`, comparisons play no part, except that the
    control of a running one answers if no adapter is live.

    Raises NoEngine when no replica is ready, and NoAdapter when only the bare base could answer.
    For a pinned adapter, raises Invalid when it belongs
    to another domain, NotFound when it does not exist or is not served, and AdapterMissing when no
    engine holds it. For a second variant, raises AdapterMissing when the comparison has ended."""
    ready = tuple(placements.ready(db))
    if not ready:
        raise NoEngine(_why_no_engine(db))
    held = placements.holders(db, ready)
    base = Target(None, ready)
    if pinned is not None:
        return (base if pinned == f"{domain.name}@base" else _pinned(db, domain, pinned, held),)
    experiment = experiments.running(db, domain.id)
    if second_variant is not None:
        return (_second_target(db, experiment, second_variant, ready, held),)
    targets = []
    if experiment is not None and with_variants:
        variant = _variant(db, experiment, person, held)
        if variant is not None:
            targets.append(_variant_target(db, experiment, variant, ready, held))
    live = registry.live(db, domain.id)
    previous = registry.previous_live(db, domain.id) if live is not None else None
    for adapter in (live, previous):
        if adapter is not None:
            targets.append(Target(adapter, tuple(held.get(adapter.id, ()))))
    if live is None and experiment is not None and not with_variants:
        targets.append(_control(db, experiment, ready, held))
    if with_base:
        targets.append(base)
    if not targets:
        raise NoAdapter(f"{domain.name} has no adapter yet. Train one: `understudy tune`.")
    return _deduplicated(targets)


def variant_with_own_answers(
    db: Database, domain: Domain, person: str, second_variant: str | None = None
) -> Target | None:
    """The variant of the running comparison that answers `person`, if some variant of it answers in
    a mode of its own (grounded or not); None in any other case. `second_variant`: as in
    `targets_for`."""
    experiment = experiments.running(db, domain.id)
    if experiment is None or not experiment.differs_in_answers:
        return None
    ready = tuple(placements.ready(db))
    held = placements.holders(db, ready)
    if second_variant is not None:
        of_label = [v for v in experiment.variants if v.label == second_variant]
        variant = of_label[0] if of_label else None
    else:
        variant = _variant(db, experiment, person, held)
    if variant is None:
        return None
    second = second_variant is not None
    return _variant_target(db, experiment, variant, ready, held, is_second_answer=second)


def all_held(experiment: Experiment, held: Holders) -> bool:
    """Whether some engine can answer for every variant."""
    return all(v.adapter_id is None or v.adapter_id in held for v in experiment.variants)


def _variant(db: Database, experiment: Experiment, person: str, held: Holders) -> Variant | None:
    """The person's variant, or None if the person is not in the comparison (yet)."""
    assigned = assignments.current_assignment(db, experiment, person)
    if assigned is None or not (assigned.settled or all_held(experiment, held)):
        return None
    return assigned.variant


def _variant_target(
    db: Database,
    experiment: Experiment,
    variant: Variant,
    ready: tuple[Replica, ...],
    held: Holders,
    *,
    is_second_answer: bool = False,
) -> Target:
    adapter = registry.by_id(db, variant.adapter_id) if variant.adapter_id else None
    replicas = ready if adapter is None else tuple(held.get(adapter.id, ()))
    return Target(adapter, replicas, variant, experiment.id, experiment.stage, is_second_answer)


def _control(
    db: Database, experiment: Experiment, ready: tuple[Replica, ...], held: Holders
) -> Target:
    """What answers as the control of a comparison, without belonging to it."""
    control = experiment.variants[0]
    return replace(
        _variant_target(db, experiment, control, ready, held), variant=None, experiment_id=None
    )


def _second_target(
    db: Database,
    experiment: Experiment | None,
    label: str,
    ready: tuple[Replica, ...],
    held: Holders,
) -> Target:
    variants = experiment.variants if experiment else ()
    for variant in variants:
        if experiment is not None and variant.label == label:
            return _variant_target(db, experiment, variant, ready, held, is_second_answer=True)
    raise AdapterMissing("The comparison has just ended. Ask again.")


def replicas_holding(db: Database, target: Target) -> Sequence[Replica]:
    """The ready replicas that hold `target` now."""
    if target.adapter_id is None:
        return placements.ready(db)
    return placements.holders(db).get(target.adapter_id, [])


def _deduplicated(targets: Sequence[Target]) -> Targets:
    """The targets without repeated adapters; the first one of each stays."""
    kept: dict[int | None, Target] = {}
    for target in targets:
        kept.setdefault(target.adapter_id, target)
    return tuple(kept.values())


def _pinned(db: Database, domain: Domain, name: str, held: Holders) -> Target:
    adapter = registry.get(db, name, domain)
    if adapter.domain_id != domain.id:
        raise Invalid(f"{adapter.name} is not an adapter of {domain.name}.")
    if adapter.state == "evaluating":  # engines may hold it already, but it is not released yet
        raise NotFound(f"{adapter.name} is still being evaluated. Try again in a minute.")
    if adapter.id in held:
        return Target(adapter, tuple(held[adapter.id]))
    if adapter.state == "rejected":
        raise NotFound(f"{adapter.name} was rejected and is not served: {adapter.state_reason}")
    if adapter.state == "retired":
        raise NotFound(f"{adapter.name} is retired and not served. Promote it to use it again.")
    raise AdapterMissing(_why_not_held(db, adapter))


def _why_not_held(db: Database, adapter: Adapter) -> str:
    sql = "SELECT error FROM placements WHERE adapter_id = ? AND state = 'failed'"
    failed = row(db, sql, [adapter.id])
    if failed is not None:
        return f"No engine could load {adapter.name}: {failed['error']}"
    return f"{adapter.name} is not loaded yet. Try again in a few seconds."


def _why_no_engine(db: Database) -> str:
    recorded = placements.replicas(db)
    known = [r for r in recorded if not r.stale]
    if any(r.stale and r.state == "ready" for r in recorded) and not known:
        return (
            "The engines have sent no heartbeat for a while: `understudy serve` has stopped, or it "
            "cannot write to the store."
        )
    if any(r.state == "asleep" for r in known):
        return time_sharing.unavailable_message(db, datetime.now())
    if any(r.state in ("starting", "draining") for r in known):
        return "The engine is starting. Try again in half a minute."
    down = [r for r in known if r.detail != placements.STOPPED]
    if any(r.ours for r in down):
        return "The engine is down and restarts automatically. Try again in half a minute."
    if down:
        return "The engine is down, and has to be restarted where it runs."
    return "No engine is running. Start one with `understudy up` or `understudy serve`."
