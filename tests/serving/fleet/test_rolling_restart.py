"""Rolling restarts of local engines: no answer is cut, and some engine can always answer.

The tests use the real command, supervision and `vllm_process.py` with a fake `vllm` package.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from data import domains
from data.adapters import placements, registry
from data.adapters.registry import BASE_SERVED_NAME, Adapter
from data.config.settings import ServingSettings, Settings
from data.conversations import conversations
from data.store import audit
from data.store.db import Store
from serving import serve
from serving.adapters.sync import held_adapters
from serving.client import EngineClient, Sampling
from serving.engine import files
from tests import adapter_maker
from tests.conftest import wait_until
from tests.serving.engine.test_engine import lives
from tests.serving.fake_vllm import stand_in_for_vllm
from tests.serving.ports import free_ports

QUESTION = [{"role": "user", "content": "Where is the key?"}]
WAIT_S = 120  # a busy machine starts programs slowly


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PYTHONPATH", stand_in_for_vllm(tmp_path / "stand-in"))
    return Settings(home=tmp_path, serving=ServingSettings(port=free_ports(4), threads=1))


@contextlib.contextmanager
def serving(settings: Settings, store: Store, replicas: int = 1) -> Iterator[Settings]:
    """`understudy serve` in a thread, with so many engines of its own, all ready."""
    several = settings.serving.model_copy(update={"replicas": replicas})
    settings = settings.model_copy(update={"serving": several})
    stop = threading.Event()
    thread = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
    thread.start()
    try:
        wait_until(lambda: len(placements.ready(store.db)) == replicas, "readiness", WAIT_S)
        yield settings
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    assert engines(settings) == []


def engines(settings: Settings) -> list[int]:
    """The processes of this home's engines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().split(b"\0")
            ports = [str(settings.serving.port + n).encode() for n in range(4)]
            if any(b"vllm_process.py" in word for word in line) and set(ports) & set(line):
                found.append(int(folder.name))
    return [pid for pid in found if lives(pid)]


def ask_restart(store: Store, *names: str) -> None:
    with store.write() as db:
        for name in names:
            placements.request_restart(db, name, "cli:test")


def names(store: Store) -> set[str]:
    return {r.name for r in placements.ready(store.db)}


def generations(store: Store) -> dict[str, int]:
    return {r.name: r.generation for r in placements.replicas(store.db)}


async def stream(store: Store, adapter: Adapter, words: int, reply_id: str) -> tuple[str, str]:
    """An answer as the bot has it written: opened where it may be asked for, then streamed.
    Returns which replica wrote it and the finish reason."""
    with store.write() as db:
        replica = placements.holders(db)[adapter.id][0]
        assert placements.can_answer(db, replica.name, adapter.id)
        thread = conversations.open_thread(db, reply_id, adapter.domain_id, "p")
        conversations.ask(
            db,
            reply_id=reply_id,
            conversation=thread,
            person="p",
            text="Where?",
            adapter_id=adapter.id,
            variant_id=None,
            replica=replica.name,
        )
    client = EngineClient()
    try:
        chunks = [
            chunk
            async for chunk in client.stream(
                replica.url, adapter.served_name, QUESTION, Sampling(words), reply_id
            )
        ]
    finally:
        await client.close()
        with store.write() as db:
            conversations.finish_reply(db, reply_id, "…", status="done")
    return replica.name, str(chunks[-1].finish_reason)


def in_thread(store: Store, adapter: Adapter, words: int) -> tuple[threading.Thread, list[str]]:
    """A stream that runs beside; what it ended with is in the list afterwards."""
    ended: list[str] = []

    def run() -> None:
        ended.extend(asyncio.run(stream(store, adapter, words, f"r{words}")))

    thread = threading.Thread(target=run)
    thread.start()
    sql = "SELECT 1 FROM replies WHERE status = 'streaming'"
    wait_until(lambda: next(store.db.query(sql), None) is not None, "the answer's begin", 10)
    return thread, ended


def test_a_single_engine_is_replaced_before_it_is_ended(settings, store):
    """The answer that it writes ends, and from the first moment to the last one is ready."""
    with serving(settings, store) as served:
        adapter = adapter_maker.register(store, served)
        wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 10)
        answering, ended = in_thread(store, adapter, words=200)
        gaps, watching = [], threading.Event()

        def watch() -> None:
            with Store(served.store_path) as mine:
                while not watching.wait(0.01):
                    if adapter.id not in placements.loaded(mine.db):
                        gaps.append(placements.replicas(mine.db))

        watcher = threading.Thread(target=watch)
        watcher.start()
        ask_restart(store, "local-1")
        wait_until(lambda: set(generations(store)) == {"local-2"}, "the other's place", WAIT_S)
        watching.set()
        watcher.join()
        answering.join()
        assert ended == ["local-1", "stop"]
        assert gaps == []
        assert len(engines(served)) == 1
        (replica,) = placements.ready(store.db)
        assert adapter.served_name in held_adapters(replica.url)


@pytest.mark.slow
def test_one_of_two_engines_answers_while_the_other_restarts(settings, store):
    with serving(settings, store, replicas=2) as served:
        adapter = adapter_maker.register(store, served)
        wait_until(
            lambda: len(placements.loaded(store.db).get(adapter.id, [])) == 2, "the loading", 10
        )
        before = set(engines(served))
        answering, ended = in_thread(store, adapter, words=150)
        ask_restart(store, "local-1", "local-2")
        ready_at_least = 2
        while any(r.restart_asked_at for r in placements.replicas(store.db)):
            ready_at_least = min(ready_at_least, len(placements.ready(store.db)))
        assert ready_at_least == 1
        answering.join()
        assert ended[1] == "stop"
        assert generations(store) == {"local-1": 2, "local-2": 2}
        assert names(store) == {"local-1", "local-2"}
        assert not before & set(engines(served))
        for replica in placements.ready(store.db):
            assert set(held_adapters(replica.url)) == {BASE_SERVED_NAME, adapter.served_name}


def test_an_engine_with_too_little_capacity_is_restarted_with_more(settings, store):
    with serving(settings, store) as served:
        (before,) = placements.replicas(store.db)
        wide = adapter_maker.register(store, served, rank=64)
        wait_until(lambda: wide.id in placements.loaded(store.db), "the wide one", WAIT_S)
        wait_until(lambda: set(generations(store)) == {"local-2"}, "the other's place", WAIT_S)
        (after,) = placements.ready(store.db)
        assert (before.max_rank, after.max_rank) == (32, 64)
        assert all(p.attempts == 0 for p in placements.placements_of(store.db, wide.id))
        asked = next(e for e in audit.recent(store.db) if e.action == "restart")
        assert asked.actor == "serving"
        assert "rank 64 do not fit its limit of 32" in asked.detail["reason"]


def test_an_engine_that_cannot_be_replaced_stays(settings, store, tmp_path):
    with serving(settings, store):
        entry = next((tmp_path / "stand-in").rglob("entry.py"))
        good = entry.read_text()
        entry.write_text("raise SystemExit('no such device')")
        ask_restart(store, "local-1")
        wait_until(
            lambda: all(r.restart_asked_at is None for r in placements.replicas(store.db)),
            "the end of the attempt",
            WAIT_S,
        )
        assert generations(store) == {"local-1": 1}
        assert names(store) == {"local-1"}
        entry.write_text(good)


def test_stopping_lets_answers_end(settings, store):
    with serving(settings, store) as served:
        adapter = adapter_maker.register(store, served)
        wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 10)
        answering, ended = in_thread(store, adapter, words=120)
    answering.join()
    assert ended == ["local-1", "stop"]


@pytest.mark.slow
def test_an_adapter_that_kills_the_engine_is_given_up(settings, store):
    """Three times, not for ever; then the engine stays up for the others."""
    with serving(settings, store) as served:
        good = adapter_maker.register(store, served)
        wait_until(lambda: good.id in placements.loaded(store.db), "the loading", 10)
        with store.write() as db:
            registry.promote(db, good, "cli:test")
        with store.write() as db:
            domain = domains.get(db, "helpdesk")
            version = registry.next_version(db, domain)
            folder = served.adapters_path / f"helpdesk-{version}-2"
        folder.mkdir(parents=True)
        (folder / "crash.md").touch()
        bad = adapter_maker.register(store, served, seed=2)
        wait_until(
            lambda: any(p.given_up for p in placements.placements_of(store.db, bad.id)),
            "its being given up",
            2 * WAIT_S,
        )
        wait_until(lambda: good.id in placements.loaded(store.db), "the good one again", WAIT_S)
        (placement,) = placements.placements_of(store.db, bad.id)
        assert placement.error == placements.ENDED


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_killing_serve_leaves_no_engine(settings, store):
    """SIGKILL, with two engines up and a third one starting beside them."""
    program = """
        import sys
        from data.config.settings import ServingSettings, Settings
        from serving import serve
        from serving.engine import files as engine_files
        serving = ServingSettings(port=int(sys.argv[2]), replicas=2, threads=1)
        serve.run(Settings(home=sys.argv[1], serving=serving))
    """
    line = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen([*line, str(settings.home), str(settings.serving.port)]) as process:
        try:
            wait_until(lambda: len(placements.ready(store.db)) == 2, "readiness", WAIT_S)
            assert len(engines(settings)) == 2
            os.kill(engines(settings)[0], signal.SIGKILL)  # one is being started again, then
            wait_until(lambda: len(placements.ready(store.db)) == 1, "the loss", WAIT_S)
            wait_until(lambda: len(engines(settings)) == 2, "the next start", WAIT_S)
        finally:
            process.kill()
    wait_until(lambda: engines(settings) == [], "the end of all engines", 10)
    for number in (1, 2):  # the next start would empty them
        shutil.rmtree(files.sockets(settings.home, number))
