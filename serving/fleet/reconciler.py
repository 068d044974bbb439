"""Decides when an engine is compared with the registry, and asks for a restart when the registry
has outgrown it.

A change of the store is seen by SQLite's own counter, five times a second. Only then is anything
read: which adapters are wanted, and what is on record for this engine. Only when these differ is
the engine asked. Besides, it is compared every few seconds, because an engine can lose adapters
without telling.
"""

import time

from data.adapters import placements, registry
from data.config.settings import Settings
from data.store.db import Store
from serving.adapters import sync as engine_adapters
from serving.engine import capacity
from serving.engine.engine import Engine
from serving.engine.external_engine import ExternalEngine

COMPARE_S = 10.0  # with what the engine says it holds, though nothing changed
RETRY_S = 1.0
ACTOR = "serving"  # who asks for a restart, in the audit log


class Reconciler:
    """Of one engine."""

    def __init__(
        self, store: Store, settings: Settings, engine: Engine | ExternalEngine, *, ours: bool
    ) -> None:
        self.store = store
        self.settings = settings
        self.engine = engine
        self.ours = ours
        self.note = ""  # what is to be known of a replica that is ready
        self._life = 0  # whose beginning is recorded
        self._version = -1  # of the store's content, as SQLite counts it
        self._next = 0.0

    def fill(self, life: int) -> None:
        """The engine has begun a new life: find out what it holds, and give it the rest. Raises
        what the engine or the store raise; then it is to be called again."""
        if self._life != life:
            with self.store.write() as db:
                placements.begin_life(db, self.engine.name, empty=self.ours)
            self._life = life
        self._compare()

    def look(self) -> None:
        """One look at the registry. Raises as `fill` does."""
        if self._out_of_step() or time.monotonic() >= self._next:
            self._compare()

    def _out_of_step(self) -> bool:
        db = self.store.db
        version = db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return False
        self._version = version
        wanted = registry.wanted_ids(db)
        rows = placements.of_replica(db, self.engine.name)
        return wanted - {r.adapter_id for r in rows} != frozenset() or any(
            not engine_adapters.settled(r, r.adapter_id in wanted) for r in rows
        )

    def _compare(self) -> None:
        self._next = time.monotonic() + RETRY_S
        engine_adapters.ensure_base(self.engine.url, self.settings)
        outcome = engine_adapters.sync(
            self.store,
            self.settings,
            self.engine.name,
            self.engine.url,
            ours=self.ours,
            sizes=self.engine.sizes,
        )
        self._grow()
        if not outcome.unfinished:
            self._next = time.monotonic() + COMPARE_S

    def _grow(self) -> None:
        """Ask for a restart when more is wanted than the engine has room for."""
        if not isinstance(self.engine, Engine):
            return
        serving = self.settings.serving
        self.note = capacity.crowded(self.store.db, serving)
        need = capacity.needed_capacity(self.store.db, serving)
        why = capacity.outgrown(self.engine.sizes, need)
        if not why:
            return
        if too_large := self.engine.make_room(need):
            self.note = f"it cannot grow, though {why}: {too_large}"
        else:
            with self.store.write() as db:
                placements.ask_restart(db, self.engine.name, ACTOR, why)
