"""No bad adapter reaches the engine: each is refused quickly, with the reason, and without delaying
good adapters."""

import re
import tracemalloc
from pathlib import Path

import pytest

from data.adapters import files, placements, registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.store.db import Store
from serving.adapters.sync import sync
from tests import adapter_maker
from tests.bad_adapters import CASES, Case
from tests.serving.fake_vllm import FakeVllm

MOST_MEMORY = 24 << 20
MOST_READ = 64 << 20  # bytes, by the whole process


@pytest.fixture(autouse=True)
def replica(store: Store) -> None:
    with store.write() as db:
        placements.record_heartbeat(db, "local", "http://engine", "pocket", "ready")


def given(store: Store, settings: Settings, case: Case) -> Adapter:
    """A registered adapter that is bad in the way of `case`."""
    adapter = adapter_maker.register(store, settings)
    folder = settings.home / adapter.path
    case.spoil(folder)
    if not case.registered_before:
        return row_changed(store, adapter, sha256=files.digest(folder))
    return adapter


def row_changed(store: Store, adapter: Adapter, **values: str) -> Adapter:
    with store.write() as db:
        for column, new in values.items():
            db.execute(f"UPDATE adapters SET {column} = ? WHERE id = ?", [new, adapter.id])
    return registry.by_id(store.db, adapter.id)


def refused(store: Store, settings: Settings, fake: FakeVllm, bad: Adapter) -> str:
    """One `sync`: the bad one never reaches the engine, a sound one does. Returns the reason."""
    sound = adapter_maker.register(store, settings, seed=7)
    outcome = sync(store, settings, "local", fake.url, local=True)
    assert ("load", bad.served_name) not in fake.calls
    assert bad.served_name not in fake.held
    assert bad.served_name in outcome.failed
    assert sound.served_name in fake.held
    states = {p.adapter_id: p for p in placements.placements_on(store.db, "local")}
    assert states[sound.id].state == "loaded"
    assert states[bad.id].state == "failed"
    return states[bad.id].error


def bytes_read() -> int:
    line = Path("/proc/self/io").read_text().splitlines()[0]
    return int(line.removeprefix("rchar: "))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_bad_adapter_is_refused_before_the_engine_sees_it(store, settings, fake, case):
    bad = given(store, settings, case)
    before = bytes_read()
    tracemalloc.start()
    try:
        reason = refused(store, settings, fake, bad)
        memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert re.search(case.cause, reason), reason
    assert len(reason) < 500
    assert reason.isprintable()
    assert memory < MOST_MEMORY
    assert bytes_read() - before < MOST_READ


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("../{name}", "outside the home folder"),
        ("adapters/../../{name}", "outside the home folder"),
        ("{outside}", "outside the home folder"),
        ("", "outside the home folder"),
        ("adapters/shelf/{name}", "behind a link"),
    ],
)
def test_a_registry_row_cannot_point_outside_of_the_home_folder(store, settings, fake, path, cause):
    """A sound adapter with the right digest lies at each of these places."""
    bad = adapter_maker.register(store, settings)
    folder = settings.home / bad.path
    outside = settings.home.parent / f"{settings.home.name}-outside"
    adapter_maker.write(outside)
    (settings.adapters_path / "shelf").symlink_to(outside.parent)
    assert files.digest(outside) == files.digest(folder)
    named = path.format(name=outside.name, outside=outside)
    reason = refused(store, settings, fake, row_changed(store, bad, path=named))
    assert cause in reason


def test_a_registry_row_of_another_base_is_refused(store, settings, fake):
    bad = row_changed(store, adapter_maker.register(store, settings), base_model="../../base")
    assert "tuned on the base model" in refused(store, settings, fake, bad)


def test_the_home_folder_may_keep_its_adapters_on_another_disk(store, settings, fake, tmp_path):
    settings.adapters_path.parent.mkdir(exist_ok=True)
    (tmp_path / "disk").mkdir()
    settings.adapters_path.symlink_to(tmp_path / "disk")
    adapter = adapter_maker.register(store, settings)
    assert sync(store, settings, "local", fake.url, local=True).loaded == (adapter.served_name,)


@pytest.mark.parametrize("again", [False, True], ids=["for good", "and put back"])
def test_files_replaced_while_the_engine_reads_them_are_noticed(store, settings, fake, again):
    """After the check, and before the engine has read them: what it then holds is thrown out."""
    adapter = adapter_maker.register(store, settings)
    folder = adapter.folder(settings.home)

    def exchange(_: str) -> None:
        (folder / files.WEIGHTS).chmod(0o644)
        adapter_maker.write(folder, seed=99)
        if again:
            adapter_maker.write(folder, seed=1)

    fake.on_load = exchange
    assert sync(store, settings, "local", fake.url, local=True).failed == (adapter.served_name,)
    assert fake.held == {}
    (placement,) = placements.placements_on(store.db, "local")
    assert placement.state == "failed"
    assert "changed while the engine read them" in placement.error
