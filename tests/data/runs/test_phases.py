"""Phases: their stored form, their text, and the form that earlier versions stored."""

import pytest

from data import domains
from data.runs import phases, runs
from data.runs.phases import Phase, RunPhase
from data.store.db import Store, value


@pytest.mark.parametrize("detail", ["", "the last one disappeared", "ended: code 7\nsee the log"])
@pytest.mark.parametrize("trial", [None, (2, 6)])
@pytest.mark.parametrize("phase", [p for p in Phase if p is not Phase.WAITING_UNTIL])
def test_every_phase_is_read_back_from_what_is_stored_and_from_its_text(
    phase: Phase, trial: tuple[int, int] | None, detail: str
) -> None:
    given = RunPhase(phase, detail, trial)
    assert phases.parse(given.stored) == given
    assert phases.parse(given.text) == given
    assert phases.text(given.stored) == given.text


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        ("waiting for the engine to sleep", RunPhase(Phase.WAITING_FOR_ENGINE)),
        ("waiting for 22:00", RunPhase(Phase.WAITING_UNTIL, "22:00")),
        ("waiting for a worker", RunPhase(Phase.WAITING_FOR_WORKER)),
        (
            "waiting for a worker: the last one disappeared",
            RunPhase(Phase.WAITING_FOR_WORKER, "the last one disappeared"),
        ),
        ("training", RunPhase(Phase.TRAINING)),
        ("trial 2 of 6: training", RunPhase(Phase.TRAINING, trial=(2, 6))),
        (
            "evaluating: the engine answers the golden questions (candidate)",
            RunPhase(Phase.EVALUATING, "the engine answers the golden questions (candidate)"),
        ),
        ("trying again: The tuning process was killed", RunPhase(
            Phase.RETRYING, "The tuning process was killed")),
    ],
)  # fmt: skip
def test_the_text_of_earlier_versions_is_understood(earlier: str, expected: RunPhase) -> None:
    assert phases.parse(earlier) == expected
    assert phases.text(earlier) == earlier


def test_an_unknown_phase_is_shown_unchanged() -> None:
    assert phases.parse("reticulating splines") is None
    assert phases.text("reticulating splines") == "reticulating splines"
    assert phases.parse("") is None
    assert phases.text("") == ""


def test_the_store_holds_codes_and_a_run_shows_text(store: Store) -> None:
    with store.write() as db:
        run = runs.queue(db, domains.create(db, "helpdesk"), "ann", kind="full")
        claimed = runs.claim(db, "worker")
        assert claimed is not None
        runs.set_phase(db, claimed, RunPhase(Phase.LOADING_MODEL))
    assert value(store.db, "SELECT phase FROM runs") == "loading_model"
    assert runs.get(store.db, run.id).phase == "loading the base model"
