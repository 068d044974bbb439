"""Who answers a person: a pinned adapter, the variant of a running comparison, the live adapter,
or the bare base; and who stands in, when that one cannot.

After the one that should answer come the live adapter (when it was a variant's turn), the adapter
that a roll-back would bring back, and the bare base. A stand-in's answer belongs to no variant: it
is no evidence about either side. A pinned adapter has no stand-in: who names one wants no other.

Nobody new is given a variant while some variant of the comparison is held by no engine: they are
answered as if there were none. Otherwise only the people of the others would be counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlite_utils import Database

from data.adapters import placements, registry
from data.adapters.placements import Replica
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import assignments, experiments
from data.experiments.experiments import Experiment, Variant
from data.gpu import time_sharing
from data.store.db import row
from data.store.errors import Invalid, NotFound
from serving.client import AdapterMissing, EngineDown

BASE = "base"


class NoEngine(EngineDown):
    """No replica is ready."""

    retry_after = 30  # seconds: an engine takes so long to start, and longer with a large base


@dataclass(frozen=True)
class Choice:
    """One who may answer, and where it can be asked."""

    adapter: Adapter | None  # None: the bare base
    replicas: tuple[Replica, ...]  # the ready ones that hold it, perhaps none
    variant: Variant | None = None
    experiment_id: int | None = None
    stage: int = 1  # of the experiment, whose shares gave the variant
    beside: bool = False  # shown beside the person's own variant: no exposure

    @property
    def adapter_id(self) -> int | None:
        return self.adapter.id if self.adapter else None

    @property
    def name(self) -> str:
        """What people are told: `helpdesk@3`, or `base`."""
        return self.adapter.name if self.adapter else BASE

    @property
    def served_name(self) -> str:
        """What the engine is told."""
        return self.adapter.served_name if self.adapter else registry.BASE_SERVED_NAME


@dataclass(frozen=True)
class Route:
    """Who answers, on which replica, and in whose place."""

    choice: Choice
    replica: Replica
    instead_of: Choice | None = None  # who should have answered

    @property
    def key(self) -> tuple[str, str]:
        """Replica and adapter, as the circuit breaker knows them."""
        return self.replica.name, self.choice.name


Order = tuple[Choice, ...]  # who should answer, then who stands in, at least one
Holders = Mapping[int, Sequence[Replica]]  # adapter id -> where it is held


def choose(
    db: Database,
    domain: Domain,
    person: str,
    pinned: str | None = None,
    beside: str | None = None,
) -> Order:
    """Who should answer `person` now, and who stands in. `beside` is the label of a variant that
    answers beside the person's own; it has no stand-in.

    Raises NoEngine when none is ready; for a pinned adapter Invalid, NotFound or
    AdapterMissing when it is of another domain, not there, or not held by any engine; for a
    variant beside, AdapterMissing when it is not there any more."""
    ready = tuple(placements.ready(db))
    if not ready:
        raise NoEngine(_why_no_engine(db))
    held = placements.holders(db, ready)
    base = Choice(None, ready)
    if pinned is not None:
        return (base if pinned == f"{domain.name}@base" else _pinned(db, domain, pinned, held),)
    experiment = experiments.running(db, domain.id)
    if beside is not None:
        return (_beside(db, experiment, beside, ready, held),)
    order = []
    if experiment is not None:
        variant = _variant(db, experiment, person, held)
        if variant is not None:
            order.append(_choice(db, experiment, variant, ready, held))
    live = registry.live(db, domain.id)
    before = registry.previous_live(db, domain.id) if live is not None else None
    for adapter in (live, before):
        if adapter is not None:
            order.append(Choice(adapter, tuple(held.get(adapter.id, ()))))
    return _once_each([*order, base])


def all_held(experiment: Experiment, held: Holders) -> bool:
    """Whether every variant can answer."""
    return all(v.adapter_id is None or v.adapter_id in held for v in experiment.variants)


def _variant(db: Database, experiment: Experiment, person: str, held: Holders) -> Variant | None:
    """The variant whose turn it is; None: the person is in no comparison, or not yet."""
    place = assignments.place(db, experiment, person)
    if place is None or not (place.settled or all_held(experiment, held)):
        return None
    return place.variant


def _choice(
    db: Database,
    experiment: Experiment,
    variant: Variant,
    ready: tuple[Replica, ...],
    held: Holders,
    *,
    beside: bool = False,
) -> Choice:
    adapter = registry.by_id(db, variant.adapter_id) if variant.adapter_id else None
    able = ready if adapter is None else tuple(held.get(adapter.id, ()))
    return Choice(adapter, able, variant, experiment.id, experiment.stage, beside)


def _beside(
    db: Database,
    experiment: Experiment | None,
    label: str,
    ready: tuple[Replica, ...],
    held: Holders,
) -> Choice:
    variants = experiment.variants if experiment else ()
    for variant in variants:
        if experiment is not None and variant.label == label:
            return _choice(db, experiment, variant, ready, held, beside=True)
    raise AdapterMissing("The comparison has just ended. Ask again.")


def holding(db: Database, choice: Choice) -> Sequence[Replica]:
    """The ready replicas that hold `choice` now."""
    if choice.adapter_id is None:
        return placements.ready(db)
    return placements.holders(db).get(choice.adapter_id, [])


def _once_each(order: Sequence[Choice]) -> Order:
    """Without the second mention of anyone."""
    kept: dict[int | None, Choice] = {}
    for choice in order:
        kept.setdefault(choice.adapter_id, choice)
    return tuple(kept.values())


def _pinned(db: Database, domain: Domain, name: str, held: Holders) -> Choice:
    adapter = registry.get(db, name, domain)
    if adapter.domain_id != domain.id:
        raise Invalid(f"{adapter.name} is not an adapter of {domain.name}.")
    if adapter.state == "evaluating":  # engines hold it already; people wait until it is judged
        raise NotFound(f"{adapter.name} is still being evaluated. Try again in a minute.")
    if adapter.id in held:
        return Choice(adapter, tuple(held[adapter.id]))
    if adapter.state == "rejected":
        raise NotFound(f"{adapter.name} was rejected and is not served: {adapter.state_reason}")
    if adapter.state == "retired":
        raise NotFound(f"{adapter.name} is retired and no longer served. Promote it to use it.")
    raise AdapterMissing(_why_not_held(db, adapter))


def _why_not_held(db: Database, adapter: Adapter) -> str:
    sql = "SELECT error FROM placements WHERE adapter_id = ? AND state = 'failed'"
    failed = row(db, sql, [adapter.id])
    if failed is not None:
        return f"No engine could load {adapter.name}: {failed['error']}"
    return f"{adapter.name} is not loaded yet. Try again in a few seconds."


def _why_no_engine(db: Database) -> str:
    known = [r for r in placements.replicas(db) if not r.stale]
    if any(r.state == "asleep" for r in known):
        return time_sharing.learning(db, datetime.now())
    if any(r.state in ("starting", "draining") for r in known):
        return "The engine is starting. Try again in half a minute."
    if any(r.detail != placements.STOPPED for r in known):
        return "The engine is down; it is started again by itself. Try again in half a minute."
    return "No engine is running. Start one: `understudy up`, or `understudy serve` alone."
