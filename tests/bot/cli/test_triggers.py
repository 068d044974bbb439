"""`understudy triggers`: set and show when a domain retrains by itself."""

import orjson
import pytest

from data import domains
from data.pairs.pairs import Draft
from data.store import audit
from data.store.db import Store
from tests.bot.cli.conftest import Run
from tests.data import given


@pytest.fixture(autouse=True)
def travel(run: Run) -> None:
    run("domains", "add", "travel")


def test_a_trigger_is_set_and_shown(run: Run, store: Store) -> None:
    result = run("triggers", "set", "travel", "schedule", "0", "3", "*", "*", "1")
    assert result.output.startswith("schedule of travel is now 0 3 * * 1.")
    run("triggers", "set", "travel", "schedule", "30 2 * * 1")
    run("triggers", "set", "travel", "then", "compare")
    shown = run("triggers", "show", "travel").output.splitlines()
    assert shown[:2] == ["schedule: 30 2 * * 1", "then: compare"]
    assert shown[2].startswith("schedule: It is next due at ")
    assert shown[3] == "No run is queued now: no trigger has fired."
    assert audit.recent(store.db)[0].action == "triggers set"


def test_the_dry_run_says_what_would_be_trained_and_queues_nothing(run: Run, store: Store) -> None:
    run("triggers", "set", "travel", "pairs", "2")
    with store.write() as db:
        subject = domains.get(db, "travel")
        given.approved(db, subject, Draft("a?", "b"), Draft("c?", "d"))
    shown = run("triggers", "show", "travel").output
    assert "A run is queued now, from the base model on all approved pairs (2 new)" in shown
    found = orjson.loads(run("triggers", "show", "travel", "--json").output)
    assert (found["fires"], found["new_pairs"], found["full"]) == ("pairs", 2, True)
    assert run("runs", "list").output.startswith("There are no runs")


@pytest.mark.parametrize(
    "given_words",
    [("pairs", "some"), ("schedule", "daily"), ("speed", "1"), ("quiet-hours", "25:00-26:00")],
)
def test_a_wrong_setting_is_refused(run: Run, given_words: tuple[str, str]) -> None:
    result = run("triggers", "set", "travel", *given_words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_setting_is_removed(run: Run) -> None:
    run("triggers", "set", "travel", "pairs", "2")
    assert "is now off" in run("triggers", "set", "travel", "ratings", "off").output
    run("triggers", "set", "travel", "pairs", "off")
    assert "No trigger of travel is set" in run("triggers", "show", "travel").output
