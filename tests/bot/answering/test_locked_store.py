"""Another program locks the store while people ask: what was shown is recorded, and the words say
what is wrong."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator

import pytest

from bot.answering import recorder
from data.conversations import conversations
from data.store import db as store_db
from data.store.db import sqlite3
from tests.bot.conftest import Bot, add_replica
from tests.serving.fake_vllm import words

BODY = {"model": "helpdesk", "messages": [{"role": "user", "content": "Where?"}]}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_db, "BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr(recorder, "AGAIN_S", 0.05)


@contextlib.contextmanager
def locked(bot: Bot) -> Iterator[None]:
    """The write lock, which another program holds."""
    path = str(bot.settings.store_path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            db.execute("ROLLBACK")


def test_an_answer_that_was_shown_while_the_store_was_locked_is_recorded(bot: Bot) -> None:
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(bot):
            holding.set()
            release.wait(20)

    holder = threading.Thread(target=hold)

    def say(body: dict) -> list:
        holder.start()
        assert holding.wait(10)
        threading.Timer(1.0, release.set).start()
        return words(body["model"], "All", " of it")

    bot.vllm.say = say
    began = time.monotonic()
    with bot.http("member", timeout=20) as http:
        answer = http.post("/v1/chat/completions", json=BODY)
    holder.join()

    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "All of it"
    assert time.monotonic() - began >= 1.0
    (reply,) = bot.wait_closed()
    assert reply.status == "done"
    assert conversations.exchange(bot.store.db, reply.id)[1] == "All of it"


def test_while_the_store_is_locked_every_error_says_so_in_json(bot: Bot) -> None:
    with locked(bot), bot.http("member", timeout=20) as http:
        whole = http.post("/v1/chat/completions", json=BODY)
        streamed = http.post("/v1/chat/completions", json=BODY | {"stream": True})
        rated = http.post("/v1/feedback", json={"reply_id": "r", "thumb": "up"})
    assert whole.status_code == 503
    assert "store is busy" in whole.json()["error"]["message"]
    last = streamed.text.strip().removeprefix("data: ")
    assert "store is busy" in json.loads(last)["error"]["message"]
    assert rated.json()["error"]["message"]


def test_engines_whose_heartbeats_cannot_be_written_are_not_said_to_be_gone(bot: Bot) -> None:
    bot.write(lambda db: db.execute("UPDATE replicas SET heartbeat_at = 1"))
    with bot.http("member", timeout=20) as http:
        answer = http.post("/v1/chat/completions", json=BODY)
    assert answer.status_code == 503
    assert "cannot write to the store" in answer.json()["error"]["message"]
    bot.write(lambda db: add_replica(db, bot.vllm.url))
