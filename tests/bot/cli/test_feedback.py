"""`understudy feedback`: the page that says whose votes do not count, and why."""

import pytest

from data import domains
from data.feedback import feedback
from data.store.db import Store
from tests.bot.cli.conftest import Run, json
from tests.data import given


@pytest.fixture(autouse=True)
def art(run: Run, store: Store) -> None:
    """In the domain art, web:odd voted thrice."""
    run("domains", "add", "art")
    with store.write() as db:
        domain = domains.get(db, "art")
        for up in (True, True, False):
            feedback.thumb(db, given.reply(db, domain), "web:odd", up)


def test_every_vote_counts_at_first(run: Run) -> None:
    result = run("feedback", "voters")

    assert result.exit_code == 0, result.output
    assert "Every vote in art counts." in result.output
    assert "At most 50 judgements of a kind count" in result.output
    assert "web:odd" in run("feedback", "voters", "--all").output


def test_somebody_is_quarantined_and_released(run: Run) -> None:
    assert "are kept" in run("feedback", "quarantine", "art", "web:odd", "--why", "a bot").output

    (line,) = json(run("feedback", "voters", "art", "--json"))  # type: ignore[misc]
    assert (line["state"], line["why"], line["up"], line["down"]) == ("quarantined", "a bot", 2, 1)
    assert line["changed_by"].startswith("cli:")
    assert "count again" in run("feedback", "release", "art", "web:odd").output
    refused = run("feedback", "release", "art", "web:odd")
    assert refused.exit_code == 1
    assert "web:odd is not quarantined in art." in refused.output


def test_who_never_judged_cannot_be_quarantined(run: Run) -> None:
    result = run("feedback", "quarantine", "art", "web:nobody", "--why", "x")

    assert result.exit_code == 1
    assert "has not judged an answer of art" in result.output
