"""Makes one engine hold the adapters that the registry wants, and records what it holds.

`sync` compares and corrects; it keeps nothing between calls, so it is as right after the engine's
restart (when all adapters are gone) as after a promotion. Adapters are loaded one by one from
their immutable folders, under names that carry their content's digest, and never reloaded in
place: vLLM would change weights in the middle of an answer. One that fails is tried `ATTEMPTS`
times in an engine's life, and never keeps the others from being loaded.
"""

import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from data import adapter_files, adapters, placements
from data.adapter_files import AdapterFiles
from data.adapters import BASE_SERVED_NAME, Adapter
from data.clock import now_us
from data.config import Settings
from data.db import Store, value
from data.errors import UnderstudyError
from data.placements import Placement
from serving import base_adapter
from serving.engine_http import EngineRefused as EngineRefused
from serving.engine_http import ask

log = logging.getLogger(__name__)

ATTEMPTS = 3
SERVED_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}@\d{1,9}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Outcome:
    """What one `sync` did, by served name."""

    loaded: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unfinished: bool = False  # something is to be tried again or waits for streams to end


def held(url: str) -> dict[str, str]:
    """Served name -> folder, of the adapters that the engine holds. Raises EngineRefused."""
    try:
        cards = ask(f"{url}/v1/models")["data"]
        return {card["id"]: card.get("root") or "" for card in cards if card.get("parent")}
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineRefused(f"What answers at {url} is not a vLLM.") from error


def ensure_base(url: str, settings: Settings) -> None:
    """See to it that the engine holds `base@0`. Raises Unavailable, BadAdapter."""
    if BASE_SERVED_NAME in held(url):
        return
    folder = base_adapter.ensure(settings)
    _check(folder, settings, sha256=None)
    load(url, BASE_SERVED_NAME, folder)


def wanted(db: Database) -> frozenset[str]:
    """The served names that the registry wants now; cheap enough to ask often."""
    return frozenset(a.served_name for a in adapters.wanted(db))


def sync(store: Store, settings: Settings, replica: str, url: str, *, ours: bool) -> Outcome:
    """Load what is missing, unload what is not wanted, record both. Raises EngineRefused when
    the engine cannot even be asked what it holds.

    `ours`: nobody else loads adapters into this engine, so unknown ones are unloaded, too.
    """
    present = held(url)
    want = {a.served_name: a for a in adapters.wanted(store.db)}
    known = {a.served_name: a for a in adapters.every(store.db)}
    records = {p.adapter_id: p for p in placements.of_replica(store.db, replica)}
    loaded, failed, unloaded, unfinished = [], [], [], False

    for name, adapter in want.items():
        record = records.get(adapter.id)
        if name in present:
            if record is None or record.state != "loaded":
                _record_loaded(store, replica, adapter, None)
            continue
        attempts = record.attempts if record is not None and record.state == "failed" else 0
        if attempts >= ATTEMPTS:
            continue
        try:
            load_ms = _publish(url, settings, adapter)
        except UnderstudyError as error:
            log.warning("%s could not be loaded: %s", adapter.name, error)
            with store.write() as db:
                placements.record_failed(db, replica, adapter.id, str(error))
            failed.append(name)
            unfinished = unfinished or attempts + 1 < ATTEMPTS
        else:
            log.info("%s is loaded (%.0f ms).", adapter.name, load_ms)
            _record_loaded(store, replica, adapter, load_ms)
            loaded.append(name)

    routed = _withdraw(store, replica, records, want, known)
    for name in present.keys() - want.keys():
        if not SERVED_NAME.fullmatch(name) or (name not in known and not ours):
            continue
        if name in routed or _being_streamed(store.db, settings, known.get(name)):
            unfinished = True
        elif _unload_quietly(url, name):
            unloaded.append(name)
        else:
            unfinished = True
    return Outcome(tuple(loaded), tuple(unloaded), tuple(failed), unfinished)


def forget_failures(store: Store, replica: str) -> None:
    """A new life of the engine: every adapter gets its attempts again."""
    with store.write() as db:
        for placement in placements.of_replica(db, replica):
            placements.drop(db, replica, placement.adapter_id)


def load(url: str, name: str, folder: Path) -> None:
    """Tell the engine to load `folder` under `name`. Raises EngineRefused."""
    body = {"lora_name": name, "lora_path": str(folder)}
    ask(f"{url}/v1/load_lora_adapter", body)


def unload(url: str, name: str) -> None:
    """Raises EngineRefused."""
    ask(f"{url}/v1/unload_lora_adapter", {"lora_name": name})


def _publish(url: str, settings: Settings, adapter: Adapter) -> float:
    """Check and load one adapter; returns the milliseconds that the engine took."""
    if adapter.base_model != settings.base.model:
        raise adapter_files.BadAdapter(
            f"It was tuned for the base model {adapter.base_model}; this engine serves "
            f"{settings.base.model}."
        )
    folder = adapter.folder(settings.home)
    checked = _check(folder, settings, sha256=adapter.sha256)
    began = time.perf_counter()
    load(url, adapter.served_name, folder)
    load_ms = (time.perf_counter() - began) * 1000
    try:
        adapter_files.check_unchanged(folder, checked.stamp)
    except adapter_files.BadAdapter:
        unload(url, adapter.served_name)
        raise
    return load_ms


def _check(folder: Path, settings: Settings, *, sha256: str | None) -> AdapterFiles:
    try:
        return adapter_files.check(
            folder,
            base=settings.base.path,
            base_model=settings.base.model,
            max_rank=settings.serving.rank_limit,
            sha256=sha256,
        )
    except OSError as error:
        raise adapter_files.BadAdapter(f"Its files cannot be read: {error}") from error


def _record_loaded(store: Store, replica: str, adapter: Adapter, load_ms: float | None) -> None:
    with store.write() as db:
        placements.record_loaded(db, replica, adapter.id, load_ms)


def _withdraw(
    store: Store,
    replica: str,
    records: dict[int, Placement],
    want: dict[str, Adapter],
    known: dict[str, Adapter],
) -> set[str]:
    """Take the records of what is no longer wanted away, so that nobody new is sent there.

    Returns those served names: they are unloaded by a later `sync`, because whoever read the
    record a moment ago has not yet begun the answer."""
    kept = {a.id for a in want.values()}
    gone = records.keys() - kept
    if gone:
        with store.write() as db:
            for adapter_id in gone:
                placements.drop(db, replica, adapter_id)
    return {name for name, adapter in known.items() if adapter.id in gone}


def _unload_quietly(url: str, name: str) -> bool:
    try:
        unload(url, name)
    except EngineRefused as error:
        log.warning("%s could not be unloaded: %s", name, error)
        return False
    log.info("%s is unloaded.", name)
    return True


def _being_streamed(db: Database, settings: Settings, adapter: Adapter | None) -> bool:
    """Whether an answer of this adapter is on its way. One that is older than an answer may be
    belongs to a bot that crashed."""
    if adapter is None:
        return False
    oldest = now_us() - (settings.bot.answer_timeout_s + 10) * 1_000_000
    sql = (
        "SELECT 1 FROM replies WHERE status = 'streaming' AND adapter_id = ? AND created_at > ? "
        "LIMIT 1"
    )
    return value(db, sql, [adapter.id, oldest]) is not None
