"""`understudy feedback`: the raters, and their quarantine."""

import pytest

from data import domains
from data.feedback import feedback
from data.store.db import Store
from tests.bot.cli.conftest import Run, json
from tests.data import given


@pytest.fixture(autouse=True)
def art(run: Run, store: Store) -> None:
    """In the domain art, web:rater has rated three answers."""
    run("domains", "add", "art")
    with store.write() as db:
        domain = domains.get(db, "art")
        for up in (True, True, False):
            feedback.thumb(db, given.reply(db, domain), "web:rater", up)


def test_every_rating_counts_at_first(run: Run) -> None:
    result = run("feedback", "raters")

    assert result.exit_code == 0, result.output
    assert "All ratings in art count." in result.output
    assert "At most 50 ratings of each kind count" in result.output
    assert "web:rater" in run("feedback", "raters", "--all").output


def test_the_old_name_of_the_command_works_with_a_warning(run: Run) -> None:
    result = run("feedback", "voters")

    assert result.exit_code == 0, result.output
    assert "All ratings in art count." in result.stdout
    assert result.stderr == (
        "Warning: `main feedback voters` is now called `main feedback raters`.\n"
    )


def test_a_rater_is_quarantined_and_released(run: Run) -> None:
    assert "are kept" in run("feedback", "quarantine", "art", "web:rater", "--why", "a bot").output

    (line,) = json(run("feedback", "raters", "art", "--json"))  # type: ignore[misc]
    assert (line["state"], line["why"], line["up"], line["down"]) == ("quarantined", "a bot", 2, 1)
    assert line["changed_by"].startswith("cli:")
    assert "count again" in run("feedback", "release", "art", "web:rater").output
    refused = run("feedback", "release", "art", "web:rater")
    assert refused.exit_code == 1
    assert "web:rater is not quarantined in art." in refused.output


def test_a_rater_may_be_named_in_another_spelling(run: Run, store: Store) -> None:
    with store.write() as db:
        domain = domains.get(db, "art")
        feedback.thumb(db, given.reply(db, domain, "slack:T1/U1"), "slack:T1/U1", up=True)
    assert "are kept" in run("feedback", "quarantine", "art", "slack:t1/u1", "--why", "x").output
    assert "count again" in run("feedback", "release", "art", "slack:T1/u1 ").output


def test_only_somebody_who_has_rated_can_be_quarantined(run: Run) -> None:
    result = run("feedback", "quarantine", "art", "web:nobody", "--why", "x")

    assert result.exit_code == 1
    assert "has not rated an answer of art" in result.output
