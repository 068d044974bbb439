"""The control plane survives 30,000 random steps; and the simulation would have found old faults.

Each of these faults was in the product once, or guards against a race. Put back, it must be found.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.commands import admin
from bot.experiments import comparisons
from data.adapters import placements
from data.experiments import assignments, experiments
from data.feedback import feedback
from data.runs import runs
from data.store import clock, lease_clock
from data.store.db import changed
from serving.adapters import sync
from serving.fleet.replica import ReplicaThread
from tests.simulation.__main__ import MEMORY
from tests.simulation.control_plane import Violation, simulate

CI_STEPS = 30_000
FOUND_WITHIN = 60_000  # steps
REACHED = {  # at least, in the steps of CI: else they would show nothing
    "comparisons": 50,
    "decided by promotion": 5,
    "decided by roll-back": 5,
    "replies of a variant": 1000,
    "votes that a comparison counts": 500,
    "promotions": 50,
    "runs done": 50,
    "crashes": 150,
    "clock steps": 40,
    "full disks": 40,
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder)


def test_what_must_hold_holds_after_each_of_many_random_steps(folder: Path) -> None:
    reached = simulate(0, CI_STEPS, folder)
    assert reached["steps"] >= CI_STEPS
    assert {what: reached[what] for what, least in REACHED.items() if reached[what] < least} == {}
    assert reached["runs done"] > reached["runs"] / 3


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


def _compares_anything(put: pytest.MonkeyPatch) -> None:
    put.setattr(experiments, "_check_variants", lambda db, domain, specs: None)


def _opens_replies_of_the_past(put: pytest.MonkeyPatch) -> None:
    put.setattr(assignments, "may_see", lambda db, experiment, person, variant: True)


def _promotes_beside_a_comparison(put: pytest.MonkeyPatch) -> None:
    put.setattr(admin, "_end_comparison", lambda db, domain, actor: None)


def _ends_without_the_winner(put: pytest.MonkeyPatch) -> None:
    def promote(db: Any, experiment: Any, variant: Any, actor: str) -> None:
        experiments.stop(db, experiment, actor)

    put.setattr(comparisons, "promote", promote)


def _counts_what_is_taken_back(put: pytest.MonkeyPatch) -> None:
    right = feedback._add_to_totals

    def add(db: Any, reply: Any, rating: Any, change: int) -> None:
        if change > 0:
            right(db, reply, rating, change)

    put.setattr(feedback, "_add_to_totals", add)


@pytest.mark.parametrize(
    ("put_back", "seed", "found"),  # an episode that finds it, so that the test is short
    [
        (_writes_without_an_owner, 36, "changed run"),
        (_takes_nothing_over, 6, "its worker is gone"),
        (_mends_before_it_records, 0, "is recorded as held by"),
        (_trusts_an_engine_that_hangs, 2, "hangs and counts as ready"),
        (_leases_by_the_wall_clock, 4, "which is well|its worker is gone|does not come to rest"),
        (_compares_anything, 2, "is compared and"),
        (_opens_replies_of_the_past, 0, "counts for a comparison that"),
        (_promotes_beside_a_comparison, 2, "goes on after a promotion"),
        (_ends_without_the_winner, 0, "promoted adapter"),
        (_counts_what_is_taken_back, 5, "the ratings of a comparison"),
    ],
)
def test_a_fault_that_is_put_back_is_found(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    put_back: Callable[[pytest.MonkeyPatch], None],
    seed: int,
    found: str,
) -> None:
    put_back(monkeypatch)
    with pytest.raises(Violation, match=found):
        simulate(seed, FOUND_WITHIN, folder)


def test_an_episode_can_be_repeated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _promotes_beside_a_comparison(monkeypatch)
    told = []
    for _ in range(2):
        with pytest.raises(Violation) as violation:
            simulate(2, FOUND_WITHIN, folder)
        told.append(str(violation.value))
    assert told[0] == told[1]
    seed = int(told[0].partition("--seed ")[2].split()[0])
    with pytest.raises(Violation, match=f"--seed {seed}"):
        simulate(seed, 1, folder)
