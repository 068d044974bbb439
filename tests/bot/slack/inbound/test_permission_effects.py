"""Standing x kind of delivery, for people who asked: what each delivery writes to the store.

The person asks while they are a member, and then their standing changes. Whoever may still do
something has the listed effects; whoever may not has none.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bot.slack.handlers import edited_question
from bot.slack.render import answer_sources, blocks
from bot.slack.workspace import manifest
from data.feedback import unanswered
from tests.bot.slack.conftest import Bot
from tests.bot.slack.inbound.test_permission import STANDINGS, WHO
from tests.bot.slack.workspace.test_roles import settle
from tests.fake_slack.workspace import BOT_USER, Message

ME = f"slack:T1/{WHO}"
Effects = Counter[str]


class Asked:
    """A question of the person, with its answer."""

    def __init__(self, bot: Bot, question: Message, answer: Message, reply: str) -> None:
        self.bot, self.question, self.answer, self.reply = bot, question, answer, reply

    async def click(self, action_id: str, value: str) -> None:
        await self.bot.slack.click(WHO, self.answer, action_id, value)


async def correction(asked: Asked) -> None:
    """From *Bad answer* to the form that it opens, if it does."""
    slack = asked.bot.slack
    before = len(slack.views)
    await slack.thumb(WHO, asked.answer, up=False)
    await asked.bot.settled()
    if len(slack.views) > before:
        await slack.submit(
            WHO, slack.views.pop(), reason="wrong", better="In the attic.", learn=True
        )


async def teach(asked: Asked) -> None:
    slack = asked.bot.slack
    before = len(slack.views)
    await slack.shortcut(WHO, asked.answer, manifest.TEACH_THIS)
    await asked.bot.settled()
    if len(slack.views) > before:
        await slack.submit(WHO, slack.views.pop(), answer="In the garden.")


async def regenerate_twice(asked: Asked) -> None:
    for _ in range(2):
        await asked.click(blocks.REGENERATE, asked.reply)


async def follow(asked: Asked) -> None:
    await asked.bot.slack.say(WHO, "C1", "And the scanner?", asked.answer.thread_ts)


async def edit(asked: Asked) -> None:
    await asked.bot.slack.edit(asked.question, f"<@{BOT_USER}> where exactly?")


async def anew(asked: Asked) -> None:
    ts = asked.question.ts
    await asked.click(edited_question.ANSWER_ANEW, f"{ts} {ts} 1.1")


ANSWERED = {"reply": 1, "message of mine": 1, "message": 2, "question": 1, "engine asked": 1}
# kind of delivery -> how the person causes it, and what it writes if they may
KINDS: dict[str, tuple[Callable[[Asked], Awaitable[Any]], dict[str, int]]] = {
    "👍 button": (
        lambda asked: asked.bot.slack.thumb(WHO, asked.answer, up=True),
        {"thumb 1 that counts": 1, "mark": 1},
    ),
    "emoji": (
        lambda asked: asked.bot.slack.react(WHO, asked.answer, "-1"),
        {"thumb 1 that counts": -1, "thumb 0 that counts": 1, "mark": 1},
    ),
    "emoji taken back": (
        lambda asked: asked.bot.slack.react(WHO, asked.answer, "-1", added=False),
        {"thumb 0 that counts": -1, "thumb 1 that counts": 1, "mark": -1},
    ),
    "👎 button and correction form": (
        correction,
        {
            "thumb 1 that counts": -1,
            "thumb 0 that counts": 1,
            "reason": 1,
            "correction": 1,
            "pending pair": 1,
        },
    ),
    "Teach this and its form": (teach, {"pending pair": 1}),
    "Regenerate": (regenerate_twice, ANSWERED | {"another answer": 1}),
    "Ask a person": (
        lambda asked: asked.click(answer_sources.PERSON, asked.reply),
        {"wish for a person": 1},
    ),
    "Did it help": (
        lambda asked: asked.click("home_helped:yes", f"yes:{asked.reply}"),
        {"follow_up": 1},
    ),
    "edited question": (edit, {"offer": 1}),
    "Answer anew": (anew, ANSWERED),
    "message in the thread": (follow, ANSWERED),
    "mention": (
        lambda asked: asked.bot.slack.say(WHO, "C1", f"<@{BOT_USER}> Why?"),
        ANSWERED,
    ),
    "direct message": (lambda asked: asked.bot.slack.say(WHO, f"D{WHO}", "Why?"), ANSWERED),
    "/understudy ask": (lambda asked: asked.bot.slack.command(WHO, "C1", "ask why?"), ANSWERED),
}


def effects(bot: Bot) -> Effects:
    """Everything that these deliveries can write, by kind."""
    found: Effects = Counter()
    for r in bot.rows("SELECT * FROM replies"):
        found["reply"] += 1
        found["another answer"] += r["again_of"] is not None
    for r in bot.rows("SELECT * FROM messages"):
        found["message"] += 1
        found["message of mine"] += r["person"] == ME
    for r in bot.rows("SELECT * FROM feedback WHERE live = 1"):
        kind = r["kind"]
        counts = " that counts" if r["counts"] else ""
        found[f"thumb {r['value']:.0f}{counts}" if kind == "thumb" else kind] += 1
    # a refused question leaves a row without words, so that Slack's second delivery is known
    found["question"] = len(bot.rows("SELECT 1 FROM questions WHERE reply_id <> ''"))
    found["mark"] = len(bot.rows("SELECT 1 FROM marks WHERE standing = 1"))
    found["pending pair"] = len(bot.rows("SELECT 1 FROM pairs WHERE status = 'pending'"))
    wished = "SELECT 1 FROM unanswered WHERE person_asked_at IS NOT NULL"
    found["wish for a person"] = len(bot.rows(wished))
    for table in ("runs", "audit", "opt_outs", "domain_choices", "roles", "experiments"):
        found[table] = len(bot.rows(f"SELECT 1 FROM {table}"))
    found["offer"] = sum(edited_question.OFFER in str(e["blocks"]) for e in bot.slack.ephemerals)
    found["engine asked"] = len(bot.engine.asked)
    return found


@pytest.mark.parametrize("standing", [s for s in STANDINGS if s != "unknown now"])
async def test_each_delivery_has_its_effects_or_none(bot: Bot, standing: str) -> None:
    about, settings, may = STANDINGS[standing]
    bot.slack.per_minute = {}
    bot.slack.users[WHO] = "Person"
    bot.slack.profiles[WHO] = {}
    bot.says("In the cellar.")
    question = await bot.slack.say(WHO, "C1", f"<@{BOT_USER}> Where is it?")
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    reply = str(bot.row("SELECT id FROM replies")["id"])
    bot.write(lambda db: unanswered.add(db, reply, bot.domain))
    bot.slack.profiles[WHO] = about
    if standing == "hidden by Slack":
        del bot.slack.users[WHO]
    await settle(bot, **settings)
    asked = Asked(bot, question, answer, reply)
    wrong = {}
    for kind, (cause, written) in KINDS.items():
        before = effects(bot)
        await cause(asked)
        await bot.settled()
        after = effects(bot)
        changed = {k: after[k] - before[k] for k in after | before if after[k] != before[k]}
        expected = {k: n for k, n in written.items() if n} if may else {}
        if changed != expected:
            wrong[kind] = (changed, expected)
    assert not wrong, wrong
    assert {r["text"] for r in bot.rows("SELECT text FROM questions")} == {""}
