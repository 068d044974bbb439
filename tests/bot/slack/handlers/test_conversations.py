"""Asking in Slack, over both transports: who is answered, how often, and with what."""

import asyncio

import pytest
from sqlite_utils import Database

from bot.slack.handlers.waiting_status import LOADING_MESSAGES
from data import domains
from data.adapters import registry
from data.conversations import conversations
from tests.bot.conftest import add_adapter
from tests.bot.slack.conftest import MEMBER, Bot
from tests.fake_slack.workspace import BOT_USER, Message

MENTION = f"<@{BOT_USER}>"


async def test_a_direct_message_is_answered_once_in_its_thread(bot: Bot) -> None:
    bot.says("Open ", "Settings, ", "then **Reset**.")
    question = await bot.slack.say(MEMBER, "DU2", "How do I reset my password?")
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    assert answer.words == "Open Settings, then **Reset**."
    assert [answer] == bot.slack.in_thread("DU2", question.ts)
    reply = bot.row("SELECT * FROM replies")
    assert ("done", f"slack:T1/{MEMBER}") == (reply["status"], reply["person"])
    assert f"down:{reply['id']}" == answer.elements("feedback")[0]["negative_button"]["value"]


async def test_a_long_answer_is_streamed_in_pieces_and_shown_whole(bot: Bot) -> None:
    text = "".join(f"Sentence number {n} of a long answer.\n" for n in range(80))
    bot.says(*[text[i : i + 17] for i in range(0, len(text), 17)])
    question = await bot.slack.say(MEMBER, "DU2", "Tell me everything")
    answer = await bot.slack.answer_to(question)
    assert text == answer.words
    assert bot.slack.called("chat.startStream")
    assert answer.edits == 0


async def test_a_mention_delivered_several_times_is_answered_once(bot: Bot) -> None:
    bot.says("Yes.")
    question = await bot.slack.say(MEMBER, "C1", f"{MENTION} can I?", times=4)
    await bot.slack.answer_to(question)
    await bot.settled()
    assert len(bot.slack.in_thread("C1", question.ts)) == 1
    assert len(bot.rows("SELECT * FROM replies")) == 1
    assert bot.engine.asked[0]["messages"][-1]["content"] == "can I?"


async def test_a_late_redelivery_is_not_answered_again(bot: Bot) -> None:
    question = await bot.slack.say(MEMBER, "DU2", "Hello?")
    await bot.slack.answer_to(question)
    await bot.slack.announce(question)
    await bot.settled()
    assert len(bot.slack.from_bot()) == 1


async def test_a_thread_continues_without_a_mention_and_has_history(bot: Bot) -> None:
    bot.says("In Settings.")
    first = await bot.slack.say(MEMBER, "C1", f"{MENTION} where is it?")
    await bot.slack.answer_to(first)
    second = await bot.slack.say("U3", "C1", "And then?", thread_ts=first.ts)
    await bot.slack.answer_to(second, count=2)
    said = [(m["role"], m["content"]) for m in bot.engine.asked[1]["messages"]]
    assert said == [
        ("system", "Answer."),
        ("user", "where is it?"),
        ("assistant", "In Settings."),
        ("user", "And then?"),
    ]


async def test_each_direct_message_outside_a_thread_starts_a_conversation(bot: Bot) -> None:
    first = await bot.slack.say(MEMBER, "DU2", "One?")
    await bot.slack.answer_to(first)
    second = await bot.slack.say(MEMBER, "DU2", "Two?")
    await bot.slack.answer_to(second)
    assert [m["content"] for m in bot.engine.asked[1]["messages"]] == ["Answer.", "Two?"]


async def test_questions_of_one_thread_are_answered_in_order(bot: Bot) -> None:
    first = await bot.slack.say(MEMBER, "DU2", "One?")
    await bot.slack.answer_to(first)
    asked = [bot.slack.say(MEMBER, "DU2", f"{n}?", thread_ts=first.ts) for n in range(2, 5)]
    await asyncio.gather(*asked)
    await bot.slack.answer_to(first, count=4)
    assert [len(request["messages"]) for request in bot.engine.asked] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("just talking", {}),
        ("<@U3> can you look?", {"thread_ts": "known"}),
        (f"{MENTION} hi", {"subtype": "bot_message", "bot_id": "B2"}),
        (f"{MENTION} hi", {"bot_id": "B2"}),
        (f"{MENTION} hi", {"subtype": "message_changed"}),
        (f"{MENTION} hi", {"subtype": "channel_join"}),
        (f"{MENTION} hi", {"hidden": True}),
        (f"{MENTION} hi", {"user": BOT_USER}),
        (f"{MENTION} hi", {"user": ""}),
    ],
)
async def test_messages_not_addressed_to_the_bot_are_ignored(
    bot: Bot, text: str, more: dict[str, object]
) -> None:
    if more.get("thread_ts"):
        first = await bot.slack.say(MEMBER, "C1", f"{MENTION} first")
        await bot.slack.answer_to(first)
        more = {"thread_ts": first.ts}
    before = len(bot.engine.asked)
    message = bot.slack.add(Message("C1", bot.slack.next_ts(), MEMBER, text))
    await bot.slack.announce(message, **more)
    await bot.settled()
    assert before == len(bot.engine.asked)
    assert {200} == {ack.status for ack in bot.slack.acks}


async def test_a_guest_in_a_thread_without_a_mention_is_ignored(bot: Bot) -> None:
    first = await bot.slack.say(MEMBER, "C1", f"{MENTION} first")
    await bot.slack.answer_to(first)
    bot.slack.users["U4"] = "Guest"
    bot.slack.profiles["U4"] = {"is_restricted": True}
    await bot.slack.say("U4", "C1", "I see, thanks", thread_ts=first.ts)
    await bot.settled()
    assert bot.slack.told("U4") == ""
    await bot.slack.say("U4", "C1", f"{MENTION} and me?", thread_ts=first.ts)
    await bot.settled()
    assert "You are a guest" in bot.slack.told("U4")
    assert len(bot.engine.asked) == 1


async def test_the_channel_decides_which_domain_answers(bot: Bot) -> None:
    def bind(db: object) -> None:
        legal = domains.create(db, "legal", system_prompt="Be lawful.")
        domains.bind_channel(db, legal, "T1", "C2")

    bot.write(bind)
    question = await bot.slack.say(MEMBER, "C2", f"{MENTION} may I?")
    await bot.slack.answer_to(question)
    assert bot.engine.asked[0]["messages"][0]["content"] == "Be lawful."


async def test_without_a_channel_domain_the_persons_choice_decides(bot: Bot) -> None:
    def choose(db: Database) -> None:
        hr, legal = (domains.create(db, name, system_prompt=name) for name in ("hr", "legal"))
        domains.bind_channel(db, legal, "T1", "C2")
        domains.choose(db, hr, f"slack:T1/{MEMBER}")

    bot.write(choose)
    places = [(MEMBER, "C2"), (MEMBER, "C1"), (MEMBER, "DU2"), ("U3", "C1")]
    for user, channel in places:
        question = await bot.slack.say(user, channel, f"{MENTION} may I?")
        await bot.slack.answer_to(question)
    answered = [request["messages"][0]["content"] for request in bot.engine.asked]
    assert answered == ["legal", "hr", "hr", "Answer."]


async def test_names_and_links_reach_the_engine_as_plain_text(bot: Bot) -> None:
    bot.slack.users["U3"] = "Alan\n<!channel> *Turing*"
    text = f"{MENTION} ask <@U3> or <@U404> at <https://x.example/a|the wiki> &amp; <#C2|general>"
    question = await bot.slack.say(MEMBER, "C1", text)
    await bot.slack.answer_to(question)
    asked = bot.engine.asked[0]["messages"][-1]["content"]
    assert (
        asked
        == "ask @Alan !channel Turing or @someone at the wiki (https://x.example/a) & #general"
    )


async def test_an_empty_mention_gets_an_example_question(bot: Bot) -> None:
    await bot.slack.say(MEMBER, "C1", MENTION)
    await bot.settled()
    assert "How do I reset my password?" in bot.slack.told(MEMBER)
    assert bot.engine.asked == []


async def test_an_answer_is_found_by_its_message(bot: Bot) -> None:
    question = await bot.slack.say(MEMBER, "DU2", "Where?")
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    found = conversations.reply_shown_at(bot.store.db, f"T1/DU2/{answer.ts}")
    assert bot.row("SELECT id FROM replies")["id"] == found


async def test_a_status_is_shown_while_people_wait(bot: Bot) -> None:
    question = await bot.slack.say(MEMBER, "DU2", "Where?")
    await bot.slack.answer_to(question)
    (status,) = bot.slack.statuses
    assert (status["channel_id"], status["thread_ts"]) == ("DU2", question.ts)
    assert (status["status"], status["loading_messages"]) == (
        "is thinking…",
        list(LOADING_MESSAGES),
    )


async def test_the_status_is_renewed_until_the_first_word(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.handlers.waiting_status.STATUS_S", 0.05)
    bot.engine.pause_s = 0.3
    bot.says("At ", "last.", " It is there.")
    question = await bot.slack.say(MEMBER, "DU2", "Where?")
    await bot.slack.until(lambda: bot.slack.called("chat.startStream"), "the first word")
    shown = len(bot.slack.statuses)
    await bot.slack.answer_to(question)
    await bot.settled()
    assert shown >= 3
    assert [s["status"] for s in bot.slack.statuses] == ["is thinking…"] * shown


async def test_prompts_are_suggested_at_the_start_of_a_direct_message(bot: Bot) -> None:
    await bot.slack.open_messages_tab(MEMBER)
    await bot.settled()
    question = "How do I reset my password?"
    (shown,) = bot.slack.prompts
    assert [{"title": question, "message": question}] == shown["prompts"]
    assert shown["title"] == "Ask me about the help desk"


async def test_the_prompts_come_from_the_domain_that_the_person_chose(bot: Bot) -> None:
    def choose(db: Database) -> None:
        hr = domains.create(db, "hr", "People", suggested_prompts=("How much leave is left?",))
        domains.choose(db, hr, f"slack:T1/{MEMBER}")

    bot.write(choose)
    await bot.slack.open_messages_tab(MEMBER)
    await bot.slack.until(lambda: bot.slack.prompts, "the prompts")
    (shown,) = bot.slack.prompts[0]["prompts"]
    assert shown["message"] == "How much leave is left?"
    assert bot.slack.prompts[0]["title"] == "Ask me about People"


async def test_every_request_is_acknowledged_at_once(bot: Bot) -> None:
    bot.says(*["word "] * 50)
    for n in range(5):
        await bot.slack.say(MEMBER, "DU2", f"Question {n}?")
    await bot.settled()
    assert max(ack.seconds for ack in bot.slack.acks) < 1


async def test_an_open_answer_ends_before_the_bot_stops(bot: Bot) -> None:
    bot.says(*["word "] * 40)
    question = await bot.slack.say(MEMBER, "DU2", "Long?")
    await bot.slack.until(lambda: bot.slack.called("chat.startStream"), "the stream")
    await bot.front.stop()
    answer = await bot.slack.answer_to(question)
    assert answer.words == "word " * 40


async def test_a_fallbacks_answer_has_a_note(bot: Bot) -> None:
    bot.write(lambda db: registry.promote(db, add_adapter(db, bot.domain, 1), "cli:test"))

    question = await bot.slack.say(MEMBER, "DU2", "Where is it?")
    answer = await bot.slack.answer_to(question)

    assert "helpdesk@1 could not answer; the bare base did." in str(answer.blocks)
    assert "could not" not in answer.words
