"""Makes one engine hold the adapters that the registry wants, and records what it holds.

`sync` compares and corrects. It keeps no state between calls, so it is as correct after a restart
of the engine (when all adapters are gone) as after a promotion, or after a crash in the middle of
one.

Publishing an adapter means: check its files, load it under a name that contains their digest (never
in place, because vLLM would change weights in the middle of an answer), compare its answers with
the reference outputs recorded in training, and only then send people to it. An adapter that fails
is tried `ATTEMPTS` times for each start of the engine, and does not delay others.

Withdrawing an adapter means: send no new questions, wait for running answers, unload it, and only
then give up the lease on its files.
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
from data.bases import digest
from data.bases.digest import Digest
from data.config.settings import Settings
from data.conversations import conversations
from data.store.db import Store
from data.store.errors import Invalid, NotFound, Unavailable, UnderstudyError
from data.store.lease_clock import lease_us
from serving.adapters import reference_check, zero_adapter
from serving.engine.capacity import Capacity
from serving.engine.liveness import probe
from serving.engine.management_api import NO_ANSWER, ask, healthy
from serving.engine.management_api import EngineRefused as EngineRefused

log = logging.getLogger(__name__)

PAUSES_S = (0.0, 1.0, 2.0)  # before an attempt, by the number of failed ones
SETTLE_S = 60.0  # an engine that did not answer a load request may still be loading
SHORT_S = 10.0  # timeout of requests that read no files
SERVED_NAME = re.compile(r"([a-z][a-z0-9-]{0,31}@\d{1,9})-[0-9a-f]{12}")


class AnswersDifferently(Unavailable):
    """The engine does not reproduce the adapter's reference outputs."""

    def __init__(self, agreement: float, least: float) -> None:
        self.agreement = agreement
        super().__init__(
            f"It answers differently in this engine than after training: {agreement:.0%} of the "
            f"tokens of its reference outputs agree, and at least {least:.0%} must."
        )


@dataclass
class SyncOutcome:
    """The result of one `sync`: served names."""

    loaded: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()  # until the engine has the capacity
    unfinished: bool = False  # something must be tried again, or waits for answers to end


def held_adapters(url: str) -> dict[str, str]:
    """Served name -> folder, of the adapters that the engine holds. Raises EngineRefused."""
    try:
        cards = ask(f"{url}/v1/models", timeout=SHORT_S)["data"]
        held = {card["id"]: card.get("root") or "" for card in cards if card.get("parent")}
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineRefused(f"The server at {url} is not vLLM.") from error
    if not all(isinstance(text, str) for named in held.items() for text in named):
        raise EngineRefused(f"The server at {url} is not vLLM.")
    return held


def record_forgotten(store: Store, replica: str, held: dict[str, str]) -> None:
    """Record which adapters the engine has lost, before anything is done about it: loading them
    again may take long, or be refused."""
    lost = [
        record.adapter_id
        for record in placements.placements_on(store.db, replica)
        if record.state == "loaded"
        and registry.by_id(store.db, record.adapter_id).served_name not in held
    ]
    if lost:
        log.warning("%s has lost %d adapters; they are loaded again.", replica, len(lost))
        with store.write() as db:
            placements.record_forgotten(db, replica, lost)


def ensure_base(url: str, settings: Settings, held: dict[str, str]) -> None:
    """Load `base@0` unless it is among the adapters that the engine holds. Raises Unavailable,
    BadAdapter."""
    loaded = held.get(BASE_SERVED_NAME)
    if loaded is not None and Path(loaded).parent == settings.adapters_path:
        return
    folder = zero_adapter.ensure(settings)
    if loaded is not None:  # of another home folder, whose files may disappear at any time
        unload(url, BASE_SERVED_NAME)
    try:
        files = _check(folder, settings, settings.base.model, sha256=None)
    except adapters_files.BadAdapter as error:
        log.warning("%s is written again: %s", BASE_SERVED_NAME, error)
        folder = zero_adapter.ensure(settings, overwrite=True)
        files = _check(folder, settings, settings.base.model, sha256=None)
    load(url, BASE_SERVED_NAME, folder)
    adapters_files.check_unchanged(folder, files.stamp)


def load(url: str, name: str, folder: Path) -> None:
    """Tell the engine to load `folder` under `name`. Raises EngineRefused."""
    ask(f"{url}/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})


def unload(url: str, name: str) -> None:
    """Raises EngineRefused."""
    ask(f"{url}/v1/unload_lora_adapter", {"lora_name": name}, timeout=SHORT_S)


def settled(placement: Placement, wanted: bool) -> bool:
    """Whether a placement is as it should be, so that nothing has to be done for its adapter."""
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
    local: bool,
    capacity: Capacity | None = None,
    base_digest: Digest | None = None,
) -> SyncOutcome:
    """Load missing adapters, unload unwanted ones, and record both. Raises EngineRefused when the
    engine cannot be reached, StoreBusy and StoreFull when the store cannot be written.

    `local`: the engine was started here and nobody else loads adapters into it, so unknown ones are
    unloaded. `capacity` is what the engine was started with; None: unknown. `base_digest` is that
    of the base when the engine was started; None: that of the base now.
    """
    held = held_adapters(url)
    record_forgotten(store, replica, held)
    want = {a.id: a for a in registry.wanted_adapters(store.db)}
    records = {p.adapter_id: p for p in placements.placements_on(store.db, replica)}
    served = digest.of_base(settings) if base_digest is None else base_digest
    work = _Sync(store, settings, replica, url, local, capacity, served, held)
    for adapter in want.values():
        work.publish(adapter, records.get(adapter.id))
    for adapter_id in records.keys() - want.keys():
        work.withdraw(registry.by_id(store.db, adapter_id), records[adapter_id])
    names = {a.served_name for a in want.values()} | work.withdrawn
    for name in work.present.keys() - names:
        work.unload_unknown(name)
    return work.outcome


@dataclass
class _Sync:
    """One comparison of the engine with the registry."""

    store: Store
    settings: Settings
    replica: str
    url: str
    local: bool
    capacity: Capacity | None
    base_digest: Digest
    present: dict[str, str]  # served name -> folder, when the engine was asked
    outcome: SyncOutcome = field(default_factory=SyncOutcome)
    withdrawn: set[str] = field(default_factory=set)
    requested: bool = False  # the engine was asked to load the adapter that is being published

    def publish(self, adapter: Adapter, record: Placement | None) -> None:
        """Make the adapter available, unless it is already or must not be tried now."""
        folder = self.present.get(adapter.served_name)
        if folder is not None and folder != self._folder(adapter):
            self.withdraw(adapter, record)  # right name, wrong folder: load it again
            self.outcome.unfinished = True
            return
        if record is not None and self._leave_alone(adapter, record):
            return
        if why := self._does_not_fit(adapter):
            with self.store.write() as db:
                placements.lease(db, self.replica, adapter.id, why)
            self.outcome.waiting += (adapter.served_name,)
        else:
            self._attempt(adapter, loaded=folder is not None)

    def withdraw(self, adapter: Adapter, record: Placement | None) -> None:
        """Send no new questions to the adapter, and unload it when its answers have ended."""
        name = adapter.served_name
        self.withdrawn.add(name)
        with self.store.write() as db:
            placements.drain(db, self.replica, adapter.id)
            within_s = self.settings.bot.answer_timeout_s + 10
            writing = conversations.count_streaming(db, self.replica, within_s, adapter.id)
        if writing or not self._is_unloaded(name, record):
            self.outcome.unfinished = True
            return
        with self.store.write() as db:
            placements.drop(db, self.replica, adapter.id)

    def unload_unknown(self, name: str) -> None:
        """Handle an adapter without a placement: left over from a crash, or loaded by others."""
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
        elif self.local:
            self._unload(name)

    def _attempt(self, adapter: Adapter, *, loaded: bool) -> None:
        with self.store.write() as db:
            if not placements.lease(db, self.replica, adapter.id):
                return  # it was removed in the meantime
        self.requested = loaded
        try:
            load_ms, agreement, probed = self._publish(adapter, loaded=loaded)
        except UnderstudyError as error:
            if isinstance(error, EngineRefused) and self._engine_is_at_fault(error):
                raise
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

    def _engine_is_at_fault(self, error: EngineRefused) -> bool:
        """Whether the engine has failed, and not the adapter: it does not answer, or hangs."""
        if not healthy(self.url):
            return True
        no_answer = error.status is None
        return no_answer and bool(probe(self.url, self.settings.serving.probe_timeout_s))

    def _publish(
        self, adapter: Adapter, *, loaded: bool
    ) -> tuple[float | None, float | None, reference_check.Compared | None]:
        """Check the adapter, load it and compare its reference outputs. Returns the milliseconds
        that loading took (None: it was loaded already), the share of reference tokens that agree,
        and the comparison of its probes, which happens once, during its evaluation."""
        if problem := digest.mismatch(adapter, self.settings, self.base_digest):
            raise adapters_files.BadAdapter(self._other_base(adapter, problem))
        folder = adapter.folder(self.settings.home)
        files = _check(folder, self.settings, adapter.base_model, sha256=adapter.sha256)
        load_ms = None
        if not loaded:
            began = time.perf_counter()
            self.requested = True
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

    def _other_base(self, adapter: Adapter, problem: str) -> str:
        """Why the engine's base is not the adapter's, and what to do."""
        if digest.mismatch(adapter, self.settings, digest.of_base(self.settings)):
            return problem
        return (
            f"The base model {self.settings.base.model} was exchanged after this engine was "
            f"started, and {adapter.name} was trained on the new one. Restart the engine with "
            "`understudy replicas restart`."
        )

    def _failed(self, adapter: Adapter, error: UnderstudyError) -> None:
        """Record the reason, and unload the adapter if the engine holds it."""
        log.warning("%s cannot be served by %s: %s", adapter.name, self.replica, error)
        agreement = error.agreement if isinstance(error, AnswersDifferently) else None
        with self.store.write() as db:
            tried = placements.record_failed(db, self.replica, adapter.id, str(error), agreement)
        self.outcome.failed += (adapter.served_name,)
        self.outcome.unfinished = self.outcome.unfinished or tried < ATTEMPTS
        if self.requested and adapter.served_name in held_adapters(self.url):
            self._unload(adapter.served_name)

    def _leave_alone(self, adapter: Adapter, record: Placement) -> bool:
        """Whether the adapter is available, or failed and must not be tried now. An adapter that is
        not tried again is unloaded."""
        loaded = adapter.served_name in self.present
        if record.state != "failed":
            return record.state == "loaded" and loaded
        if record.given_up:
            if loaded:
                self._unload(adapter.served_name)
            return True
        since = lease_us(self.store.db) - record.updated_at
        due = not 0 <= since < PAUSES_S[record.attempts] * 1_000_000
        self.outcome.unfinished = self.outcome.unfinished or not due
        return not due

    def _does_not_fit(self, adapter: Adapter) -> str:
        """Why the engine cannot load the adapter before a restart; '' when it can. A rank above
        every limit is not a matter of waiting: the check of its files refuses it."""
        if self.capacity is None or adapter.rank <= self.capacity.max_rank:
            return ""
        if adapter.rank > self.settings.serving.rank_limit:
            return ""
        return (
            f"Its rank is {adapter.rank}, and the engine was started for ranks up to "
            f"{self.capacity.max_rank}: it waits for a restart of the engine."
        )

    def _is_unloaded(self, name: str, record: Placement | None) -> bool:
        """Whether the engine certainly does not hold the adapter; unloads it if necessary."""
        if name in self.present:
            return self._unload(name)
        if record is None or record.state in ("loaded", "draining"):
            return True
        may_still_load = record.state == "loading" or NO_ANSWER in record.error
        since = lease_us(self.store.db) - record.updated_at
        return not may_still_load or since > SETTLE_S * 1_000_000

    def _unload(self, name: str) -> bool:
        try:
            unload(self.url, name)
        except EngineRefused as error:
            log.warning("%s could not be unloaded from %s: %s", name, self.replica, error)
            self.outcome.unfinished = True
            return False
        log.info("%s has unloaded %s.", self.replica, name)
        self.outcome.unloaded += (name,)
        return True

    def _folder(self, adapter: Adapter) -> str:
        try:
            return str(adapter.folder(self.settings.home))
        except Invalid:  # publishing it finds the same and records it
            return ""


def _check(
    folder: Path, settings: Settings, base_model: str, *, sha256: str | None
) -> adapters_files.AdapterFiles:
    try:
        return adapters_files.check(
            folder,
            base=settings.base.path,
            base_model=base_model,
            max_rank=settings.serving.rank_limit,
            sha256=sha256,
        )
    except OSError as error:
        raise adapters_files.BadAdapter(f"Its files cannot be read: {error}") from error
