"""The control plane survives 30,000 random steps; and the simulation would have found old faults.

Each of these faults was found by hand once. Put back, it must be found here.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data.adapters import placements
from data.runs import runs
from data.store import clock, lease_clock
from data.store.db import changed
from serving.adapters import sync
from serving.fleet.replica import ReplicaThread
from tests.simulation.__main__ import MEMORY
from tests.simulation.control_plane import Violation, simulate

CI_STEPS = 30_000
FOUND_WITHIN = 60_000  # steps


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder)


def test_what_must_hold_holds_after_each_of_many_random_steps(folder: Path) -> None:
    assert simulate(0, CI_STEPS, folder) >= CI_STEPS


def _writes_without_an_owner(put: pytest.MonkeyPatch) -> None:
    def update(db: Any, run: runs.Run, what: str, *values: Any) -> None:
        changed(db, f"UPDATE runs SET {what} WHERE id = ?", [*values, run.id])

    put.setattr(runs, "_update", update)


def _takes_nothing_over(put: pytest.MonkeyPatch) -> None:
    put.setattr(runs, "take_over", lambda db, domain: None)
    put.setattr(runs, "silent", lambda db, run: False)


def _mends_before_it_records(put: pytest.MonkeyPatch) -> None:
    put.setattr(sync, "record_forgotten", lambda store, replica, held: None)


def _leases_by_the_wall_clock(put: pytest.MonkeyPatch) -> None:
    for module in (lease_clock, runs, placements):
        put.setattr(module, "lease_us", lambda db: clock.now_us())


def _trusts_an_engine_that_hangs(put: pytest.MonkeyPatch) -> None:
    put.setattr(ReplicaThread, "_notice_hang", lambda self: None)


@pytest.mark.parametrize(
    ("put_back", "found"),
    [
        (_writes_without_an_owner, "changed run"),
        (_takes_nothing_over, "its worker is gone"),
        (_mends_before_it_records, "is recorded as held by"),
        (_trusts_an_engine_that_hangs, "hangs and counts as ready"),
        (_leases_by_the_wall_clock, "which is well|its worker is gone|does not come to rest"),
    ],
)
def test_a_fault_that_is_put_back_is_found(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    put_back: Callable[[pytest.MonkeyPatch], None],
    found: str,
) -> None:
    put_back(monkeypatch)
    with pytest.raises(Violation, match=found):
        simulate(0, FOUND_WITHIN, folder)


def test_an_episode_can_be_repeated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _writes_without_an_owner(monkeypatch)
    with pytest.raises(Violation) as first:
        simulate(0, FOUND_WITHIN, folder)
    seed = int(str(first.value).partition("--seed ")[2].split()[0])
    with pytest.raises(Violation) as again:
        simulate(seed, 1, folder)
    assert str(again.value) == str(first.value)
