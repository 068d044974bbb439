"""Standing x kind of delivery, over both transports: people who may do nothing change nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bot.slack import app as front
from bot.slack.handlers import home
from bot.slack.inbound import permission
from bot.slack.render import blocks
from bot.slack.render.admin_forms import Origin
from bot.slack.workspace import manifest
from data.people import roles
from tests.bot.slack.conftest import MEMBER, REVIEWER, Bot
from tests.bot.slack.workspace.test_roles import settle
from tests.fake_slack.workspace import BOT_USER, Message

WHO = "U4"
GUEST: dict[str, Any] = {"is_restricted": True}
STRANGER: dict[str, Any] = {"is_stranger": True}
# what Slack says of a person -> the settings, and whether they may do anything
STANDINGS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "member": ({}, {}, True),
    "guest": (GUEST, {}, False),
    "single-channel guest": ({"is_ultra_restricted": True}, {}, False),
    "stranger": (STRANGER, {}, False),
    "of another organisation": ({"team_id": "T9"}, {}, False),
    "app": ({"is_bot": True}, {}, False),
    "hidden by Slack": ({}, {}, False),
    "unknown now": ({}, {}, False),
    "allowed guest": (GUEST, {"allow_guests": True}, True),
    "allowed stranger": (STRANGER, {"allow_external": True}, True),
    "guest with a role": (GUEST, {"reviewers": (REVIEWER, WHO)}, True),
}
CHANGED = (
    "feedback", "marks", "pairs", "domain_choices", "replies", "messages", "runs", "audit",
    "unanswered", "opt_outs",
)  # fmt: skip


async def say(bot: Bot, channel: str, text: str, thread_ts: str | None = None) -> None:
    await bot.slack.say(WHO, channel, text, thread_ts)


async def thumb(bot: Bot, answer: Message, reply: str) -> None:
    await bot.slack.thumb(WHO, answer, up=True)


async def reaction(bot: Bot, answer: Message, reply: str) -> None:
    await bot.slack.react(WHO, answer, "-1")


async def reaction_removed(bot: Bot, answer: Message, reply: str) -> None:
    await bot.slack.react(WHO, answer, "-1", added=False)


async def correction(bot: Bot, answer: Message, reply: str) -> None:
    """The form of somebody who may, sent by this person."""
    before = len(bot.slack.views)
    await bot.slack.thumb(MEMBER, answer, up=False)
    await bot.slack.until(lambda: len(bot.slack.views) > before, "the form")
    view = bot.slack.views.pop()
    await bot.slack.submit(WHO, view, reason="wrong", better="In the attic.", learn=True)


async def shortcut(bot: Bot, answer: Message, reply: str) -> None:
    await bot.slack.shortcut(WHO, answer, manifest.TEACH_THIS)


async def teach(bot: Bot, answer: Message, reply: str) -> None:
    before = len(bot.slack.views)
    await bot.slack.shortcut(MEMBER, answer, manifest.TEACH_THIS)
    await bot.slack.until(lambda: len(bot.slack.views) > before, "the form")
    await bot.slack.submit(WHO, bot.slack.views.pop(), answer="In the garden.")


def button(action_id: str, value: str) -> Callable[[Bot, Message, str], Awaitable[None]]:
    async def press(bot: Bot, answer: Message, reply: str) -> None:
        await bot.slack.click(WHO, answer, action_id, value.format(reply=reply))

    return press


async def choose_domain(bot: Bot, answer: Message, reply: str) -> None:
    chosen = {"type": "static_select", "action_id": "home_domain", "text": {"text": "X"}}
    view = {"id": "V0", "type": "home", "blocks": [{"type": "actions", "elements": [chosen]}]}
    option = {"selected_option": {"value": "helpdesk"}}
    await bot.slack.press_in(WHO, view, "X", **option)


async def question_form(bot: Bot, answer: Message, reply: str) -> None:
    where = Origin("C1", "", bot.slack.response_url()).dump()
    element = {"type": "plain_text_input", "action_id": "text", "initial_value": "Why?"}
    shown = [{"type": "input", "block_id": "question", "element": element}]
    view = {"id": f"V{bot.slack.next_id()}", "type": "modal", "callback_id": "menu"}
    await bot.slack.submit(WHO, {**view, "private_metadata": where, "blocks": shown})


async def command_form(bot: Bot, answer: Message, reply: str) -> None:
    where = Origin("C1", "", bot.slack.response_url(), command="retrain").dump()
    view = {"id": f"V{bot.slack.next_id()}", "type": "modal", "callback_id": "confirm_command"}
    await bot.slack.submit(WHO, {**view, "private_metadata": where, "blocks": []})


async def asked(bot: Bot, answer: Message, reply: str) -> None:
    await bot.slack.command(WHO, "C1", "ask why?")


async def commanded(bot: Bot, answer: Message, reply: str) -> None:
    await bot.slack.command(WHO, "C1", "retrain")


async def opened_messages(bot: Bot, answer: Message, reply: str) -> None:
    await bot.slack.open_messages_tab(WHO)


# kind of delivery -> how a person causes it
KINDS: dict[str, Callable[[Bot, Message, str], Awaitable[None]]] = {
    "mention": lambda bot, answer, reply: say(bot, "C1", f"<@{BOT_USER}> Why?"),
    "direct message": lambda bot, answer, reply: say(bot, f"D{WHO}", "Why?"),
    "message in the thread": lambda bot, answer, reply: say(bot, "C1", "And?", answer.thread_ts),
    "👍 button": thumb,
    "emoji": reaction,
    "emoji taken back": reaction_removed,
    "correction form": correction,
    "Teach this": shortcut,
    "Teach form": teach,
    "Teach more": button("teach_more", "{reply}"),
    "Regenerate": button(blocks.REGENERATE, "{reply}"),
    "Ask a person": button("want-person", "{reply}"),
    "Did it help": button("home_helped:yes", "yes:{reply}"),
    "command button": button("command:x", "retrain"),
    "domain menu": choose_domain,
    "question form": question_form,
    "command form": command_form,
    "/understudy ask": asked,
    "/understudy retrain": commanded,
    "messages tab": opened_messages,
}
QUESTIONS = ("mention", "direct message", "message in the thread", "/understudy ask")
EMOJI = ("emoji", "emoji taken back")
# not even by a member: somebody else asked, the answer was no refusal, nothing new to learn
CHANGES_NOTHING = {"Did it help", "Regenerate", "Ask a person", "command button", "command form"}
CHANGES_NOTHING |= {"/understudy retrain"}


SUGGEST = "assistant.threads.setSuggestedPrompts"


def state(bot: Bot) -> tuple[Any, ...]:
    """Everything that a person can change or set off, without the member's own thumbs."""
    stored = {table: bot.rows(f"SELECT * FROM {table}") for table in CHANGED}
    for table in ("feedback", "marks"):
        stored[table] = [r for r in stored[table] if r["person"] != f"slack:T1/{MEMBER}"]
    return stored, len(bot.engine.asked), len(bot.slack.views), len(bot.slack.called(SUGGEST))


async def answered(bot: Bot) -> tuple[Message, str]:
    """An answer to the member, and its reply id."""
    bot.says("In the cellar.")
    question = await bot.slack.say(MEMBER, "C1", f"<@{BOT_USER}> Where is it?")
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    return answer, str(bot.row("SELECT id FROM replies")["id"])


@pytest.mark.parametrize("standing", STANDINGS)
async def test_only_people_who_may_do_something_change_something(bot: Bot, standing: str) -> None:
    about, settings, may = STANDINGS[standing]
    bot.slack.per_minute = {}
    bot.slack.users |= {} if standing == "hidden by Slack" else {WHO: "Person"}
    bot.slack.profiles[WHO] = about
    bot.write(lambda db: roles.grant(db, f"slack:T1/{WHO}", "admin", "test"))
    await settle(bot, **settings)
    answer, reply = await answered(bot)
    for kind, cause in KINDS.items():
        if standing == "unknown now":
            if kind in QUESTIONS or (kind in EMOJI and bot.transport == "socket"):
                continue  # answered, as no role depends on it; a socket has no way to say "again"
            bot.slack.faults["users.info"] += ["500"] * 5
        before = state(bot)
        await cause(bot, answer, reply)
        await bot.settled()
        bot.slack.faults["users.info"].clear()
        after = state(bot)
        if not may:
            assert after == before, kind
        elif kind not in CHANGES_NOTHING:
            assert after != before, kind


def test_every_listener_is_behind_the_check() -> None:
    """Whatever a listener is registered for, a delivery for it is refused, unless it is listed."""
    heard: list[str] = []

    class Recorder:
        def __getattr__(self, kind: str) -> Any:
            def registering(name: Any) -> Any:
                heard.append(f"{kind} {getattr(name, 'pattern', name)}")
                return lambda listener: listener

            return registering

    front.register(Recorder(), SimpleNamespace(at=None))  # type: ignore[arg-type]
    decided_later = {f"event {name}" for name in ("message", "app_mention", "app_home_opened")}
    decided_later |= {"command /understudy"}
    open_to_all = {f"action {name}" for name in home.BUTTONS}
    open_to_all |= {f"event {name}" for name in permission.WITHOUT_A_PERSON}
    assert {*decided_later, *open_to_all} <= set(heard)
    for name in set(heard) - decided_later - open_to_all:
        kind, _, what = name.partition(" ")
        body = {"event": {"type": what, "user": WHO}} if kind == "event" else {"user": {"id": WHO}}
        if kind == "action":
            body["actions"] = [{"action_id": what}]  # type: ignore[dict-item]
        assert asyncio.run(permission.refused(Refusing(), body, home.BUTTONS)), name  # type: ignore[arg-type]


class Refusing:
    """A workspace in which nobody may do anything."""

    class roles:
        @staticmethod
        async def refused_to_act(team: str, user: str) -> str:
            return "No."


async def test_a_refused_person_is_told_why_and_keeps_what_they_typed(bot: Bot) -> None:
    bot.slack.users[WHO] = "Person"
    bot.slack.profiles[WHO] = GUEST
    answer, _ = await answered(bot)
    await bot.slack.thumb(WHO, answer, up=True, times=2)
    await bot.settled()
    assert bot.slack.told(WHO).count("You are a guest") == 1
    await bot.slack.thumb(MEMBER, answer, up=False)
    await bot.slack.until(lambda: bot.slack.views, "the form")
    ack = await bot.slack.submit(WHO, bot.slack.views[-1], better="In the attic.")
    assert ack.payload["response_action"] == "errors"
    assert "You are a guest" in str(ack.payload["errors"])


async def test_a_refused_person_may_still_see_and_delete_their_data(bot: Bot) -> None:
    await bot.slack.say(MEMBER, f"D{MEMBER}", "Where is it?")
    await bot.settled()
    assert bot.rows("SELECT * FROM messages WHERE person = ?", f"slack:T1/{MEMBER}")
    bot.slack.profiles[MEMBER] = GUEST
    await settle(bot)
    await bot.slack.open_home(MEMBER)
    await bot.settled()
    shown = bot.slack.home_text(MEMBER)
    assert "You are a guest" in shown
    assert "What I know" not in shown
    await bot.slack.press_home(MEMBER, home.FORGET)
    await bot.settled()
    assert bot.rows("SELECT * FROM messages WHERE person = ?", f"slack:T1/{MEMBER}") == []


@pytest.mark.parametrize("bot", ["http"], indirect=True)  # over the socket, Slack marks a repeat
async def test_an_emoji_counts_once_slack_can_say_whose_it_is(bot: Bot) -> None:
    answer, _ = await answered(bot)
    bot.slack.users[WHO] = "Person"
    bot.slack.faults["users.info"] += ["500"]
    await bot.slack.react(WHO, answer, "+1")
    await bot.settled()
    rated = bot.rows("SELECT person FROM feedback WHERE kind = 'thumb'")
    assert [r["person"] for r in rated] == [f"slack:T1/{WHO}"]
