"""The background loops continue after an unexpected error: they log it and try again."""

import logging

import pytest
from sqlite_utils import Database

from bot import app
from bot.runtime import erasure_loop, recalibration_loop
from data.privacy import erasure as privacy_erasure
from data.search.recalibration import Recalibration
from tests.bot.conftest import Bot
from tests.conftest import wait_until

REFUSE = "CREATE TRIGGER refuse BEFORE UPDATE ON replies BEGIN SELECT RAISE(ABORT, 'no'); END"
BODY = {"model": "helpdesk", "messages": [{"role": "user", "content": "Why?"}], "user": "ann"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "CLEAN_UP_S", 0.02)
    monkeypatch.setattr(erasure_loop, "POLL_S", 0.02)
    monkeypatch.setattr(recalibration_loop, "POLL_S", 0.02)


@pytest.fixture
def left_open(bot: Bot) -> str:
    """Leave an open reply of a dead process, and block updates of it; returns its person."""
    bot.http("member").post("/v1/chat/completions", json=BODY)

    def leave(db: Database) -> None:  # in one transaction: the loop that closes them is quick
        db.execute("UPDATE replies SET status = 'streaming', opened_at = 0")
        db.execute(REFUSE)

    bot.write(leave)
    return bot.replies()[0].person


def test_abandoned_answers_are_closed_after_a_failed_attempt(
    bot: Bot, left_open: str, caplog: pytest.LogCaptureFixture
) -> None:
    wait_until(lambda: failures(caplog, "Abandoned answers could not") > 1, "two failures", 10)
    bot.write(lambda db: db.execute("DROP TRIGGER refuse"))
    assert [r.status for r in bot.wait_closed()] == ["failed"]


def test_erasures_are_completed_after_a_failed_attempt(
    bot: Bot, left_open: str, caplog: pytest.LogCaptureFixture
) -> None:
    bot.write(lambda db: privacy_erasure.begin(db, left_open, "cli:test"))
    wait_until(lambda: failures(caplog, "An erasure is not complete") > 1, "two failures", 10)
    bot.write(lambda db: db.execute("DROP TRIGGER refuse"))
    count = "SELECT count(*) AS n FROM forgettings"
    wait_until(lambda: next(bot.store.db.query(count))["n"] == 0, "the erasure", 10)


def failures(caplog: pytest.LogCaptureFixture, beginning: str) -> int:
    found = [r for r in caplog.records if r.levelno == logging.ERROR]
    return sum(record.message.startswith(beginning) for record in found)


def test_thresholds_are_measured_anew_after_a_failed_attempt(
    bot: Bot, left_open: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[str] = []

    def look(self: Recalibration) -> list[str]:
        looks.append("look")
        if len(looks) < 2:
            raise RuntimeError("no")
        return []

    monkeypatch.setattr(Recalibration, "look", look)

    wait_until(lambda: len(looks) > 2, "three looks", 10)
    assert failures(caplog, "Thresholds could not be measured") == 1
