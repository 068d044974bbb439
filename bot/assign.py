"""Which adapter answers a person: a pinned one, the variant of a running comparison, the live
adapter, or the bare base, in that order.

Only what an engine holds now is chosen. When a person's variant is not held, the live adapter
answers instead and the answer belongs to no variant: it is no evidence about either side. Until a
promoted adapter is held, the one that it replaced goes on answering.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data import adapters, experiments, placements
from data.adapters import Adapter
from data.db import row
from data.domains import Domain
from data.errors import Invalid, NotFound
from data.experiments import Variant
from serving.client import AdapterMissing, EngineDown


@dataclass(frozen=True)
class Choice:
    """Who answers, and where it can be asked."""

    adapter: Adapter | None  # None: the bare base
    urls: tuple[str, ...]  # the ready replicas that hold it, at least one
    variant: Variant | None = None
    experiment_id: int | None = None

    @property
    def name(self) -> str:
        """What people are told: `helpdesk@3`, or `base`."""
        return self.adapter.name if self.adapter else "base"

    @property
    def served_name(self) -> str:
        """What the engine is told."""
        return self.adapter.served_name if self.adapter else adapters.BASE_SERVED_NAME


def choose(db: Database, domain: Domain, person: str, pinned: str | None = None) -> Choice:
    """Pick the adapter that answers `person` now.

    Raises EngineDown when no engine is ready; for a pinned adapter Invalid, NotFound or
    AdapterMissing when it is of another domain, not there, or not held by any engine."""
    ready = tuple(placements.ready_urls(db))
    if not ready:
        raise EngineDown(_why_no_engine(db))
    held = placements.loaded(db)
    if pinned is not None:
        return _pinned(db, domain, pinned, ready, held)
    experiment = experiments.running(db, domain.id)
    if experiment is not None:
        variant = experiments.assigned(db, experiment, person)
        if variant.adapter_id is None:
            return Choice(None, ready, variant, experiment.id)
        if variant.adapter_id in held:
            adapter = adapters.by_id(db, variant.adapter_id)
            return Choice(adapter, tuple(held[adapter.id]), variant, experiment.id)
    live = adapters.live(db, domain.id)
    if live is not None and live.id not in held:
        live = adapters.replaced(db, domain.id)
    if live is not None and live.id in held:
        return Choice(live, tuple(held[live.id]))
    return Choice(None, ready)


def _pinned(
    db: Database,
    domain: Domain,
    name: str,
    ready: tuple[str, ...],
    held: dict[int, list[str]],
) -> Choice:
    if name == f"{domain.name}@base":
        return Choice(None, ready)
    adapter = adapters.get(db, name, domain)
    if adapter.domain_id != domain.id:
        raise Invalid(f"{adapter.name} is not an adapter of {domain.name}.")
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
    known = placements.replicas(db)
    if any(r.state == "starting" and not r.stale for r in known):
        return "The engine is starting. Try again in a minute."
    if known:
        return "The engine is down; it is started again by itself. Try again in a minute."
    return "No engine is running. Start one: `understudy serve`."
