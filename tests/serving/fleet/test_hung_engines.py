"""An engine whose core hangs gets no questions, says why, and recovers without hands."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.adapters import placements
from data.adapters.placements import Replica
from data.config.settings import ServingSettings, Settings
from data.store.db import Store
from serving import serve
from serving.engine import engine as engine_module
from serving.engine import external_engine, files, liveness, management_api
from tests import adapter_maker
from tests.conftest import wait_until
from tests.serving.fake_vllm import FakeVllm, running, stand_in_for_vllm
from tests.serving.ports import free_ports

QUICK = {"probe_after_s": 0.3, "probe_timeout_s": 0.5}
WAIT_S = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "POLL_S", 0.05)
    monkeypatch.setattr(external_engine, "POLL_S", 0.1)
    monkeypatch.setattr(engine_module, "PAUSES_S", (0.05, 0.1))


@contextlib.contextmanager
def serving(home: Path, **given: object) -> Iterator[tuple[Settings, Store]]:
    """`understudy serve` in a thread, once it is ready."""
    settings = Settings(home=home, serving=ServingSettings().model_copy(update=QUICK | given))
    stop = threading.Event()
    with Store(settings.store_path) as store:
        thread = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
        thread.start()
        try:
            wait_until(lambda: only(store).state == "ready", "readiness", WAIT_S)
            yield settings, store
        finally:
            stop.set()
            thread.join(WAIT_S)
        assert not thread.is_alive()


def only(store: Store) -> Replica:
    found = placements.replicas(store.db)
    return found[0] if found else Replica("", "", "", "", "down", "", 0, 0, 0, 0, None, "", 0)


def test_an_external_engine_is_reported_and_asked_again(tmp_path: Path) -> None:
    with running(FakeVllm()) as fake, serving(tmp_path, url=(fake.url,)) as (_, store):
        fake.hung = lambda: True
        wait_until(lambda: only(store).state == "down", "the hang to be noticed", WAIT_S)
        assert only(store).detail == (
            f"{fake.url} hangs (it wrote no token in 0.5 s). It is not ours to start again: "
            "restart it where it runs."
        )
        assert placements.ready(store.db) == []

        fake.hung = lambda: False
        wait_until(lambda: only(store).state == "ready", "it to answer again", WAIT_S)


def test_an_external_engine_that_hangs_is_not_a_fault_of_its_adapters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(management_api.ask, "__defaults__", (None, 1.0))
    with running(FakeVllm()) as fake, serving(tmp_path, url=(fake.url,)) as (settings, store):
        fake.hung = lambda: True
        adapter = adapter_maker.register(store, settings, seed=1)
        wait_until(lambda: only(store).state == "down", "the hang to be noticed", WAIT_S)
        assert not [p for p in placements.placements_of(store.db, adapter.id) if p.given_up]

        fake.hung = lambda: False
        wait_until(lambda: adapter.id in placements.loaded(store.db), "its loading", WAIT_S)


@pytest.mark.integration
def test_our_own_engine_is_ended_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", stand_in_for_vllm(tmp_path / "stand-in"))
    told = []
    with serving(tmp_path, port=free_ports(4), threads=1) as (settings, store):
        adapter = adapter_maker.register(store, settings, seed=1)
        wait_until(lambda: adapter.id in placements.loaded(store.db), "its loading", WAIT_S)
        number = int(only(store).name.removeprefix(placements.OURS))
        (files.sockets(settings.home, number) / "hang").touch()

        def started_again() -> bool:
            told.append(only(store).described)
            return only(store).generation == 2 and adapter.id in placements.loaded(store.db)

        wait_until(started_again, "it to be started again, and to hold the adapter", WAIT_S)
    why = "the engine hung (it wrote no token in 0.5 s)"
    assert f"local-1 is starting again, because {why}" in told
