"""Another program locks the store for seconds while members ask in Slack: answers that were shown
are recorded, and no word says that an engine is missing."""

import subprocess
import sys

import pytest

from bot.answering import recorder
from data.conversations import conversations
from data.store import db as store_db
from tests.bot.slack.conftest import MEMBER, Bot
from tests.serving.fake_vllm import words

LOCK_S = 2.0
LOCK = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


def locked(bot: Bot, seconds: float) -> "subprocess.Popen[str]":
    """Another program, once it has locked the store."""
    command = [sys.executable, "-c", LOCK, str(bot.settings.store_path), str(seconds)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "locked\n"
    return program


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_db, "BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr(recorder, "AGAIN_S", 0.05)


async def test_the_end_of_an_answer_is_written_again_until_it_is(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    programs = []

    def say(body: dict) -> list:
        programs.append(locked(bot, LOCK_S))
        return words(body["model"], "All", " of", " it.")

    bot.engine.say = say
    question = await bot.slack.say(MEMBER, "DU2", "Where?")
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    programs[0].wait(20)
    await bot.slack.until(lambda: answer.words == "All of it.", "the whole answer")
    (reply,) = bot.rows("SELECT id, status FROM replies")
    assert reply["status"] == "done"
    assert conversations.exchange(bot.store.db, reply["id"])[1] == "All of it."
    told = " ".join(m.text for m in bot.slack.in_thread("DU2", question.ts))
    assert "No engine is running" not in told
    caplog.clear()  # it says of the store what people read, and nothing that they wrote


async def test_engines_whose_heartbeats_could_not_be_written_are_not_said_to_be_gone(
    bot: Bot,
) -> None:
    bot.write(lambda db: db.execute("UPDATE replicas SET heartbeat_at = 1"))
    question = await bot.slack.say(MEMBER, "DU2", "Where?")

    def told() -> str:
        return " ".join(m.text for m in bot.slack.in_thread("DU2", question.ts))

    await bot.slack.until(lambda: "cannot write to the store" in told(), "the reason")
    await bot.settled()
    assert "No engine is running" not in told()
