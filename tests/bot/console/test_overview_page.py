"""The overview: what it says about each domain."""

import pytest
from sqlite_utils import Database

from bot.experiments import comparisons
from data import domains
from data.feedback import feedback, unanswered
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.runs import runs
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.data import given


def text(bot: Bot) -> str:
    page = client(bot, "member").get("/console")
    assert page.status_code == 200
    return " ".join(page.text.split())


def test_a_calm_domain(bot: Bot) -> None:
    bot.write(lambda db: db.execute("UPDATE adapters SET state = 'retired' WHERE version = 2"))
    found = text(bot)

    assert "<strong>helpdesk@1</strong>" in found
    assert "Nobody rated an answer" in found
    assert '<li class="quiet">Nothing</li>' in found
    assert "Comparison" not in found
    assert "<progress" not in found
    assert 'hx-trigger="every 30s"' in found


def test_what_people_think_is_counted_for_each_domain(bot: Bot) -> None:
    def write(db: Database) -> None:
        other = domains.create(db, "travel", "travel")
        for domain, thumbs in ((bot.domain, (True, True, False)), (other, (False,))):
            for number, up in enumerate(thumbs):
                reply = given.reply(db, domain, f"slack:T1/U{number}")
                feedback.thumb(db, reply, f"slack:T1/U{number}", up)

    bot.write(write)
    found = text(bot)

    assert "2 liked, 1 disliked" in found
    assert "0 liked, 1 disliked" in found


def test_what_somebody_should_look_at(bot: Bot) -> None:
    def write(db: Database) -> None:
        drafts = [Draft("One?", "1"), Draft("Two?", "2")]
        pairs.add(db, bot.domain, drafts, source="import", status="pending")
        unanswered.add(db, given.reply(db, bot.domain), bot.domain)
        run = runs.queue(db, bot.domain, "cli:ann", kind="full")
        sql = "UPDATE runs SET state = 'failed', error = 'The disk is full.' WHERE id = ?"
        db.execute(sql, [run.id])

    bot.write(write)
    found = text(bot)

    for line in (
        "2 pairs to review",
        "1 unanswered question",
        "helpdesk@2 is a candidate",
        "Run 1 failed: The disk is full.",
    ):
        assert line in found
    assert "Nothing" not in found


def test_a_run_and_a_comparison_in_progress(bot: Bot) -> None:
    def write(db: Database) -> None:
        plan = comparisons.ExperimentPlan()
        comparisons.begin(db, bot.domain, ["helpdesk@1", "helpdesk@2"], "cli:ann", plan)
        run = runs.queue(db, bot.domain, "cli:ann", kind="full")
        sql = (
            "UPDATE runs SET state = 'running', phase = 'training', step = 30, "
            "total_steps = 120, eta_s = 300 WHERE id = ?"
        )
        db.execute(sql, [run.id])

    bot.write(write)
    found = text(bot)

    assert '<progress max="1" value="0.25"' in found
    assert "about 5 minutes left" in found
    assert "helpdesk@1 and helpdesk@2" in found
    assert "Collecting:" in found
    assert "is a candidate" not in found  # people are comparing it already
    assert 'hx-trigger="every 3s"' in found


def test_texts_are_shown_and_do_nothing(bot: Bot) -> None:
    title = "<script>alert(1)</script>\u202e"
    bot.write(lambda db: db.execute("UPDATE domains SET title = ?", [title]))
    found = text(bot)

    assert "<script>alert" not in found
    assert "&lt;script&gt;alert(1)&lt;/script&gt;⟨U+202E⟩" in found


def test_no_totals_are_counted_that_it_does_not_show(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ratings and all untrained pairs take most of the time in a large store."""

    def counted(*_: object) -> None:
        raise AssertionError("this reads too much")

    monkeypatch.setattr(feedback, "counts", counted)
    monkeypatch.setattr(pairs, "new_since", counted)

    assert "<strong>helpdesk@1</strong>" in text(bot)
