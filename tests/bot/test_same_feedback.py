"""A judgement is the same through HTTP, the web page, and the functions that Slack calls."""

import json
from typing import Any

from sqlite_utils import Database

from data import feedback
from data.db import rows
from tests.bot.conftest import Bot
from tests.data import given

SAID: list[dict[str, Any]] = [
    {"thumb": "down", "reason": "outdated", "correction": "One tuning job."},
    {"thumb": "up"},
    {"helped": "no"},
    {"helped": "yes"},
    {"thumb": "none"},
]


def as_slack(db: Database, reply_id: str, person: str) -> None:
    """The same words, as the buttons and forms of Slack store them."""
    feedback.thumb(db, reply_id, person, up=False)
    feedback.reason(db, reply_id, person, "outdated")
    feedback.correction(db, reply_id, person, "One tuning job.")
    feedback.thumb(db, reply_id, person, up=True)
    feedback.follow_up(db, reply_id, person, helped=False)
    feedback.follow_up(db, reply_id, person, helped=True)
    feedback.withdraw(db, reply_id, person, "thumb")


def kept(bot: Bot, reply_id: str) -> list[dict[str, Any]]:
    return rows(
        bot.store.db,
        "SELECT f.kind, f.value, f.text, f.live, f.counts, f.over_cap, p.prompt, p.response, "
        "p.status, f.person = r.person AS own FROM feedback f JOIN replies r ON r.id = f.reply_id "
        "LEFT JOIN pairs p ON p.id = f.pair_id WHERE f.reply_id = ? ORDER BY f.kind, f.id",
        [reply_id],
    )


def test_the_same_words_leave_the_same_rows(bot: Bot) -> None:
    question = "What is a run?"
    ask = {"model": "helpdesk", "messages": [{"role": "user", "content": question}]}
    member, page = bot.http("member"), bot.http()
    page.get("/")

    http_reply = member.post("/v1/chat/completions", json=ask).json()["id"]
    talk = page.post("/web/ask", json={"conversation": "a1b2c3d4e5f6", "text": question})
    web_reply = json.loads(talk.text.splitlines()[0])["reply_id"]
    slack_reply = bot.write(lambda db: given.reply(db, bot.domain, "slack:T1/U1", question))
    for words in SAID:
        assert member.post("/v1/feedback", json={"id": http_reply} | words).status_code == 201
        assert page.post("/web/feedback", json={"reply_id": web_reply} | words).status_code == 201
    bot.write(lambda db: as_slack(db, slack_reply, "slack:T1/U1"))

    through_http = kept(bot, http_reply)
    assert len(through_http) == 6
    assert kept(bot, web_reply) == through_http
    assert kept(bot, slack_reply) == through_http
