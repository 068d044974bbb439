"""Decides when to compare an engine with the registry, and requests a restart when its capacity is
too small.

SQLite's change counter is read five times a second. When it has changed, the wanted adapters and
the recorded placements of the engine are read. Only when these differ is the engine itself asked.
The engine is also compared every few seconds, because it can lose adapters without notice.
"""

import logging
import time

from data.adapters import placements, registry
from data.adapters.registry import BASE_SERVED_NAME
from data.bases import digest
from data.bases.digest import Digest
from data.config.settings import Settings
from data.store.db import Store
from serving.adapters import base_check
from serving.adapters import sync as engine_adapters
from serving.engine import capacity
from serving.engine.command import BASE_MODEL_ID
from serving.engine.engine import Engine
from serving.engine.external_engine import ExternalEngine

log = logging.getLogger(__name__)

COMPARE_S = 10.0  # between two comparisons when nothing has changed
RETRY_S = 1.0
ACTOR = "serving"  # requests restarts, in the audit log


class Reconciler:
    """Keeps one engine in step with the registry."""

    def __init__(
        self, store: Store, settings: Settings, engine: Engine | ExternalEngine, *, local: bool
    ) -> None:
        self.store = store
        self.settings = settings
        self.engine = engine
        self.local = local
        self.base_name = BASE_SERVED_NAME  # under which the engine is asked for the bare base
        self.note = ""  # shown with the state of a ready replica
        self.base_held = True  # whether the engine held `base@0` when it was asked last
        self._recorded = 0  # `starts` of the engine that the store knows about
        self._base_digest: Digest | None = None  # of the base that the engine serves
        self._version = -1  # of the store's content, as SQLite counts it
        self._next = 0.0

    def fill(self, starts: int) -> None:
        """Load the adapters that are missing in an engine that has just started. Raises what the
        engine or the store raise; call it again then."""
        if self._recorded != starts:
            self._base_digest = digest.of_base(self.settings)
            with self.store.write() as db:
                placements.record_restart(db, self.engine.name, empty=self.local)
            self._recorded = starts
            self.base_name = BASE_SERVED_NAME
        if self.base_name == BASE_SERVED_NAME and self._bare_base_is_right():
            self.base_name = BASE_MODEL_ID
        self._compare()

    def step(self) -> None:
        """Compare with the registry if necessary. Raises as `fill` does."""
        if self._out_of_step() or time.monotonic() >= self._next:
            self._compare()

    def _bare_base_is_right(self) -> bool:
        """Whether requests for the bare base need no adapter. Only engines whose LoRA operations
        have passed their own check are asked."""
        if not isinstance(self.engine, Engine) or self.engine.lora_problem != "":
            return False
        slots = self.engine.capacity.max_loras
        right = base_check.bare_base_is_right(self.engine.url, self.settings, slots)
        if not right:
            log.warning(
                "%s answers the bare base wrong beside an adapter, so it serves it as %s.",
                self.engine.name,
                BASE_SERVED_NAME,
            )
        return right

    def _out_of_step(self) -> bool:
        db = self.store.db
        version = db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return False
        self._version = version
        wanted = registry.wanted_ids(db)
        rows = placements.placements_on(db, self.engine.name)
        return wanted - {r.adapter_id for r in rows} != frozenset() or any(
            not engine_adapters.settled(r, r.adapter_id in wanted) for r in rows
        )

    def _compare(self) -> None:
        self._next = time.monotonic() + RETRY_S
        held = engine_adapters.held_adapters(self.engine.url)
        engine_adapters.record_forgotten(self.store, self.engine.name, held)
        self.base_held = BASE_SERVED_NAME in held
        engine_adapters.ensure_base(self.engine.url, self.settings, held)
        self.base_held = True
        outcome = engine_adapters.sync(
            self.store,
            self.settings,
            self.engine.name,
            self.engine.url,
            local=self.local,
            capacity=self.engine.capacity,
            base_digest=self._base_digest,
        )
        self._request_capacity()
        if not outcome.unfinished:
            self._next = time.monotonic() + COMPARE_S

    def _request_capacity(self) -> None:
        """Request a restart when the engine's capacity is too small for the registry."""
        if not isinstance(self.engine, Engine):
            return
        serving = self.settings.serving
        self.note = capacity.contention(self.store.db, serving)
        need = capacity.needed_capacity(self.store.db, serving)
        why = capacity.shortage(self.engine.capacity, need)
        if not why:
            return
        if too_large := self.engine.reserve(need):
            self.note = f"it cannot grow, though {why}: {too_large}"
        else:
            with self.store.write() as db:
                placements.request_restart(db, self.engine.name, ACTOR, why)
