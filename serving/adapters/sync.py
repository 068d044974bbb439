"""Makes one engine hold the adapters that the registry wants, and records what it holds.

`sync` compares and corrects; it keeps nothing between calls, so it is as right after the engine's
restart (when all adapters are gone) as after a promotion, or after we died half-way through one.

To publish an adapter is: check its files, load it under the name that carries their digest (never
in place: vLLM would change weights in the middle of an answer), ask it what it was asked at
training, and only then let people be sent to it. One that fails is tried `ATTEMPTS` times in an
engine's life, and never keeps the others out. To withdraw it is: send nobody new, wait for the
answers that it is writing, unload it, and only then give up the lease on its files.
"""

import logging
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from data.adapters import files as adapters_files
from data.adapters import placements, registry
from data.adapters.placements import ATTEMPTS, Placement
from data.adapters.registry import BASE_SERVED_NAME, Adapter
from data.config.settings import Settings
from data.conversations import conversations
from data.store.clock import now_us
from data.store.db import Store
from data.store.errors import Invalid, NotFound, Unavailable, UnderstudyError
from serving.adapters import reference_check, zero_adapter
from serving.engine.capacity import Capacity
from serving.engine.management_api import NO_ANSWER, ask, healthy
from serving.engine.management_api import EngineRefused as EngineRefused

log = logging.getLogger(__name__)

PAUSES_S = (0.0, 1.0, 2.0)  # before an attempt, by how many there were
SETTLE_S = 60.0  # an engine that gave no answer to a load may still be at it
SHORT_S = 10.0  # for requests that read no files
SERVED_NAME = re.compile(r"([a-z][a-z0-9-]{0,31}@\d{1,9})-[0-9a-f]{12}")


class AnswersDifferently(Unavailable):
    """The engine's answers are not those that the adapter gave after its training."""

    def __init__(self, agreement: float, least: float) -> None:
        self.agreement = agreement
        super().__init__(
            f"It answers differently in this engine than after training: {agreement:.0%} of its "
            f"canary tokens agree, at least {least:.0%} must."
        )


@dataclass
class SyncOutcome:
    """What one `sync` did, by served name."""

    loaded: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()  # for an engine with room for them
    unfinished: bool = False  # something is to be tried again or waits for streams to end


def held(url: str) -> dict[str, str]:
    """Served name -> folder, of the adapters that the engine holds. Raises EngineRefused."""
    try:
        cards = ask(f"{url}/v1/models", timeout=SHORT_S)["data"]
        return {card["id"]: card.get("root") or "" for card in cards if card.get("parent")}
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineRefused(f"What answers at {url} is not a vLLM.") from error


def ensure_base(url: str, settings: Settings) -> None:
    """See to it that the engine holds `base@0`. Raises Unavailable, BadAdapter."""
    there = held(url).get(BASE_SERVED_NAME)
    if there is not None and Path(there).parent == settings.adapters_path:
        return
    folder = zero_adapter.ensure(settings)
    if there is not None:  # another home's, whose files may go at any time
        unload(url, BASE_SERVED_NAME)
    try:
        files = _check(folder, settings, sha256=None)
    except adapters_files.BadAdapter as error:
        log.warning("%s is written anew: %s", BASE_SERVED_NAME, error)
        files = _check(zero_adapter.ensure(settings, anew=True), settings, sha256=None)
    load(url, BASE_SERVED_NAME, folder)
    adapters_files.check_unchanged(folder, files.stamp)


def load(url: str, name: str, folder: Path) -> None:
    """Tell the engine to load `folder` under `name`. Raises EngineRefused."""
    ask(f"{url}/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})


def unload(url: str, name: str) -> None:
    """Raises EngineRefused."""
    ask(f"{url}/v1/unload_lora_adapter", {"lora_name": name}, timeout=SHORT_S)


def settled(placement: Placement, wanted: bool) -> bool:
    """Whether a row is as it should be, so that nothing is to be done about its adapter."""
    if placement.state == "loaded":
        return wanted
    if placement.state == "failed":
        return wanted and placement.given_up
    return wanted and placement.state == "loading" and bool(placement.error)  # it waits


def sync(
    store: Store,
    settings: Settings,
    replica: str,
    url: str,
    *,
    ours: bool,
    sizes: Capacity | None = None,
) -> SyncOutcome:
    """Load what is missing, unload what is not wanted, record both. Raises EngineRefused when
    the engine is away, StoreBusy and StoreFull when the store is.

    `ours`: nobody else loads adapters into this engine, so unknown ones are unloaded, too.
    `sizes` are what the engine was started with, None when they are not known.
    """
    want = {a.id: a for a in registry.wanted_adapters(store.db)}
    records = {p.adapter_id: p for p in placements.of_replica(store.db, replica)}
    work = _Sync(store, settings, replica, url, ours, sizes, held(url))
    for adapter in want.values():
        work.publish(adapter, records.get(adapter.id))
    for adapter_id in records.keys() - want.keys():
        work.withdraw(registry.by_id(store.db, adapter_id), records[adapter_id])
    names = {a.served_name for a in want.values()} | work.withdrawn
    for name in work.present.keys() - names:
        work.unload_stranger(name)
    return work.outcome


@dataclass
class _Sync:
    """One comparison of the engine with the registry."""

    store: Store
    settings: Settings
    replica: str
    url: str
    ours: bool
    sizes: Capacity | None
    present: dict[str, str]  # what the engine held when it was asked
    outcome: SyncOutcome = field(default_factory=SyncOutcome)
    withdrawn: set[str] = field(default_factory=set)
    told: bool = False  # the engine has heard of the adapter that is being published

    def publish(self, adapter: Adapter, record: Placement | None) -> None:
        """Make it answer, unless it does or is not to be tried now."""
        there = self.present.get(adapter.served_name)
        if there is not None and there != self._folder(adapter):
            self.withdraw(adapter, record)  # the name is right, the place is not: load it anew
            self.outcome.unfinished = True
            return
        if record is not None and self._to_be_left(adapter, record):
            return
        if why := self._no_room(adapter):
            with self.store.write() as db:
                placements.lease(db, self.replica, adapter.id, why)
            self.outcome.waiting += (adapter.served_name,)
        else:
            self._attempt(adapter, there is not None)

    def withdraw(self, adapter: Adapter, record: Placement | None) -> None:
        """Send nobody new there; unload it when nobody is answered by it any more."""
        name = adapter.served_name
        self.withdrawn.add(name)
        with self.store.write() as db:
            placements.drain(db, self.replica, adapter.id)
            oldest = now_us() - (self.settings.bot.answer_timeout_s + 10) * 1_000_000
            writing = conversations.being_written(db, self.replica, oldest, adapter.id)
        if writing or not self._gone(name, record):
            self.outcome.unfinished = True
            return
        with self.store.write() as db:
            placements.drop(db, self.replica, adapter.id)

    def unload_stranger(self, name: str) -> None:
        """What no row speaks of: left over from another life of ours, or somebody else's."""
        match = SERVED_NAME.fullmatch(name)
        if match is None:
            return
        try:
            known = registry.get(self.store.db, match[1])
        except NotFound:
            known = None
        if known is not None and known.served_name == name:
            with self.store.write() as db:
                placements.lease(db, self.replica, known.id)
            self.withdraw(known, None)
        elif self.ours:
            self._unloaded(name)

    def _attempt(self, adapter: Adapter, there: bool) -> None:
        with self.store.write() as db:
            if not placements.lease(db, self.replica, adapter.id):
                return  # it was removed a moment ago
        self.told = there
        try:
            load_ms, agreement, probed = self._publish(adapter, there)
        except UnderstudyError as error:
            if isinstance(error, EngineRefused) and not healthy(self.url):
                raise  # the engine's trouble, not the adapter's
            self._failed(adapter, error)
            return
        with self.store.write() as db:
            placements.record_loaded(
                db, self.replica, adapter.id, load_ms, agreement,
                probed.agreement if probed else None, probed.leads if probed else (),
            )  # fmt: skip
        if load_ms is not None:
            log.info("%s holds %s (%.0f ms).", self.replica, adapter.name, load_ms)
            self.outcome.loaded += (adapter.served_name,)

    def _publish(
        self, adapter: Adapter, there: bool
    ) -> tuple[float | None, float | None, reference_check.Compared | None]:
        """Check it, load it and ask its canaries; returns the milliseconds that the engine took
        to load it (None: it was there), the share of canary tokens that agree, and what it made of
        the probes, which are asked once, while it is evaluated."""
        if adapter.base_model != self.settings.base.model:
            raise adapters_files.BadAdapter(
                f"It was tuned for the base model {adapter.base_model}; this engine serves "
                f"{self.settings.base.model}."
            )
        folder = adapter.folder(self.settings.home)
        files = _check(folder, self.settings, sha256=adapter.sha256)
        load_ms = None
        if not there:
            began = time.perf_counter()
            self.told = True
            load(self.url, adapter.served_name, folder)
            load_ms = (time.perf_counter() - began) * 1000
        adapters_files.check_unchanged(folder, files.stamp)
        agreement = reference_check.agreement(self.url, adapter.served_name, adapter.canaries)
        least = self.settings.serving.canary_agreement
        if agreement is not None and agreement < least:
            raise AnswersDifferently(agreement, least)
        probed = None
        if adapter.state == "evaluating":
            limits = reference_check.PROBES
            probed = reference_check.compare(self.url, adapter.served_name, adapter.probes, limits)
        return load_ms, agreement, probed

    def _failed(self, adapter: Adapter, error: UnderstudyError) -> None:
        """Record why, and see that the engine does not keep it."""
        log.warning("%s cannot be served by %s: %s", adapter.name, self.replica, error)
        agreement = error.agreement if isinstance(error, AnswersDifferently) else None
        with self.store.write() as db:
            tried = placements.record_failed(db, self.replica, adapter.id, str(error), agreement)
        self.outcome.failed += (adapter.served_name,)
        self.outcome.unfinished = self.outcome.unfinished or tried < ATTEMPTS
        if self.told and adapter.served_name in held(self.url):
            self._unloaded(adapter.served_name)

    def _to_be_left(self, adapter: Adapter, record: Placement) -> bool:
        """Whether it answers, or failed and is not to be tried now. One that is not tried again
        is not left in the engine, either."""
        there = adapter.served_name in self.present
        if record.state != "failed":
            return record.state == "loaded" and there
        if record.given_up:
            if there:
                self._unloaded(adapter.served_name)
            return True
        since = now_us() - record.updated_at  # below 0 when the clock was put back
        due = not 0 <= since < PAUSES_S[record.attempts] * 1_000_000
        self.outcome.unfinished = self.outcome.unfinished or not due
        return not due

    def _no_room(self, adapter: Adapter) -> str:
        """Why this engine cannot take it before it is started anew; '' when it can. A rank beyond
        what is set, or what any engine takes, is no matter of waiting: the check refuses it."""
        if self.sizes is None or adapter.rank <= self.sizes.max_rank:
            return ""
        if adapter.rank > self.settings.serving.rank_limit:
            return ""
        return (
            f"Its rank is {adapter.rank}, this engine was started for {self.sizes.max_rank}: it "
            "waits until the engine has been restarted."
        )

    def _gone(self, name: str, record: Placement | None) -> bool:
        """Whether the engine is known not to hold it, after unloading it if need be."""
        if name in self.present:
            return self._unloaded(name)
        if record is None or record.state in ("loaded", "draining"):
            return True
        may_come = record.state == "loading" or NO_ANSWER in record.error
        return not may_come or now_us() - record.updated_at > SETTLE_S * 1_000_000

    def _unloaded(self, name: str) -> bool:
        try:
            unload(self.url, name)
        except EngineRefused as error:
            log.warning("%s could not be unloaded from %s: %s", name, self.replica, error)
            self.outcome.unfinished = True
            return False
        log.info("%s has dropped %s.", self.replica, name)
        self.outcome.unloaded += (name,)
        return True

    def _folder(self, adapter: Adapter) -> str:
        try:
            return str(adapter.folder(self.settings.home))
        except Invalid:  # publishing it says so, too, in a place where it is recorded
            return ""


def _check(folder: Path, settings: Settings, *, sha256: str | None) -> adapters_files.AdapterFiles:
    try:
        return adapters_files.check(
            folder,
            base=settings.base.path,
            base_model=settings.base.model,
            max_rank=settings.serving.rank_limit,
            sha256=sha256,
        )
    except OSError as error:
        raise adapters_files.BadAdapter(f"Its files cannot be read: {error}") from error
