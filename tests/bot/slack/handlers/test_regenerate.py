"""Regenerate and Continue: a fresh answer, and the rest of one that was cut, each once, over both
transports."""

import random
from typing import Any

import pytest

from bot.slack.render import blocks
from bot.slack.render.message_split import reopened
from data.adapters import registry
from data.conversations import conversations
from tests.bot.conftest import add_adapter
from tests.bot.slack.conftest import ADMIN, MEMBER, Bot
from tests.fake_slack.workspace import BOT_USER, Message
from tests.serving.fake_vllm import HANG, words

MENTION = f"<@{BOT_USER}>"
WHOLE = "Open the settings, choose *Reset*, and confirm it twice."


def cut_after(whole: str, *lengths: int) -> Any:
    """An engine that writes `whole`, but only up to the next of `lengths` at a time."""
    ends = iter([*lengths, len(whole)])

    def say(body: dict[str, Any]) -> Any:
        last = body["messages"][-1]
        begin = len(last["content"]) if last["role"] == "assistant" else 0
        end = next(ends)
        finish = "stop" if end == len(whole) else "length"
        text = whole[begin:end]
        pieces = [text[i : i + 7] for i in range(0, len(text), 7)]
        return words(body["model"], *pieces, finish=finish)

    return say


async def asked(bot: Bot, channel: str = "DU2", text: str = "How?") -> tuple[Message, Message]:
    said = text if channel.startswith("D") else f"{MENTION} {text}"
    question = await bot.slack.say(MEMBER, channel, said)
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    return question, answer


async def press(bot: Bot, answer: Message, button: str, count: int = 2, **more: Any) -> Message:
    """Press it; returns the newest answer of the thread."""
    await bot.slack.press(more.pop("user", MEMBER), answer, button, **more)
    newest = await bot.slack.answer_to(answer, count=count)
    await bot.settled()
    return newest


def replies(bot: Bot) -> list[dict[str, Any]]:
    return bot.rows("SELECT * FROM replies ORDER BY created_at")


# -- Regenerate ----------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["DU2", "C1"])
async def test_regenerate_gives_a_new_answer_below(bot: Bot, channel: str) -> None:
    bot.says("The first answer.")
    question, first = await asked(bot, channel)
    bot.says("The second answer.")
    second = await press(bot, first, blocks.REGENERATE)
    assert bot.slack.in_thread(channel, question.ts) == [first, second]
    assert (first.words, second.words) == ("The first answer.", "The second answer.")
    before, after = replies(bot)
    assert (after["again_of"], after["continues"]) == (before["id"], None)
    assert conversations.reply_shown_at(bot.store.db, f"T1/{channel}/{second.ts}") == after["id"]


async def test_the_question_is_sampled_again_without_the_first_answer(
    bot: Bot,
) -> None:
    bot.says("One.")
    question, _ = await asked(bot, text="First?")
    second_question = await bot.slack.say(MEMBER, "DU2", "Second?", thread_ts=question.ts)
    second = await bot.slack.answer_to(second_question, count=2)
    await bot.settled()
    await press(bot, second, blocks.REGENERATE, count=3)
    before, anew = bot.engine.asked[1:]
    assert anew["messages"] == before["messages"]
    assert (before["temperature"], anew["temperature"]) == (0.0, 0.8)


async def test_later_questions_see_the_regenerated_answer_instead_of_the_first(bot: Bot) -> None:
    bot.says("Old.")
    question, first = await asked(bot)
    bot.says("Newer.")
    second = await press(bot, first, blocks.REGENERATE)
    bot.says("Newest.")
    await press(bot, second, blocks.REGENERATE, count=3)
    third = await bot.slack.say(MEMBER, "DU2", "And then?", thread_ts=question.ts)
    await bot.slack.answer_to(third, count=4)
    said = [m["content"] for m in bot.engine.asked[-1]["messages"]]
    assert said == ["Answer.", "How?", "Newest.", "And then?"]


async def test_each_answer_is_regenerated_once_however_often_it_is_pressed(bot: Bot) -> None:
    question, first = await asked(bot)
    await press(bot, first, blocks.REGENERATE, times=3)
    await bot.slack.press(MEMBER, first, blocks.REGENERATE)
    await bot.slack.until(lambda: "already requested" in bot.slack.told(MEMBER), "a word")
    await bot.settled()
    assert len(bot.slack.in_thread("DU2", question.ts)) == 2
    assert len(bot.engine.asked) == 2


async def test_the_regenerated_answer_has_its_own_thumbs(bot: Bot) -> None:
    _, first = await asked(bot)
    second = await press(bot, first, blocks.REGENERATE)
    await bot.slack.thumb(MEMBER, second, up=True)
    await bot.settled()
    assert bot.row("SELECT reply_id FROM feedback")["reply_id"] == replies(bot)[1]["id"]


async def test_a_regenerated_answer_is_resumed_after_a_restart(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.app.GRACE_S", 0.1)
    question, first = await asked(bot)
    bot.engine.say = lambda body: [*words(body["model"], "Half ", "an ", "answer ")[:3], HANG]
    await bot.slack.press(MEMBER, first, blocks.REGENERATE)
    await bot.slack.until(
        lambda: bot.rows("SELECT 1 FROM questions WHERE shown_ts <> '' AND again_of <> ''"), "it"
    )
    await bot.front.stop()
    bot.says("The whole answer.")
    await bot.restart()
    second = await bot.slack.answer_to(question, count=2)
    await bot.settled()
    assert bot.slack.in_thread("DU2", question.ts) == [first, second]
    assert second.words == "The whole answer."


async def test_deleting_the_question_stops_the_regenerated_answer(bot: Bot) -> None:
    question, first = await asked(bot)
    bot.engine.say = lambda body: [*words(body["model"], "Half ", "an ", "answer ")[:3], HANG]
    await bot.slack.press(MEMBER, first, blocks.REGENERATE)
    await bot.slack.until(
        lambda: bot.rows("SELECT 1 FROM questions WHERE shown_ts <> '' AND again_of <> ''"), "it"
    )
    await bot.slack.delete(question)
    await bot.settled()
    assert bot.slack.from_bot() == [first]


# -- Continue ------------------------------------------------------------------------------------


async def test_a_complete_answer_has_no_continue_button(bot: Bot) -> None:
    _, answer = await asked(bot)
    assert answer.elements(blocks.CONTINUE) == []
    assert len(answer.elements(blocks.REGENERATE)) == 1


@pytest.mark.parametrize("lengths", [(20,), (21,), (8, 20, 33)])
async def test_continue_resumes_where_the_answer_stopped(
    bot: Bot, lengths: tuple[int, ...]
) -> None:
    bot.engine.say = cut_after(WHOLE, *lengths)
    question, answer = await asked(bot, "C1")
    for count in range(2, len(lengths) + 2):
        assert "Continue" in answer.notes
        answer = await press(bot, answer, blocks.CONTINUE, count=count, times=2)
    shown = bot.slack.in_thread("C1", question.ts)
    assert "".join(m.words for m in shown) == WHOLE
    assert len(shown) == len(lengths) + 1
    assert shown[-1].elements(blocks.CONTINUE) == []
    recorded = [conversations.exchange(bot.store.db, r["id"]) for r in replies(bot)]
    assert "".join(text for _, text in recorded) == WHOLE
    chain = [r["id"] for r in replies(bot)]
    assert [r["continues"] for r in replies(bot)] == [None, *chain[:-1]]


async def test_the_engine_gets_the_beginning_as_a_prefix(bot: Bot) -> None:
    bot.engine.say = cut_after(WHOLE, 20)
    _, answer = await asked(bot)
    await press(bot, answer, blocks.CONTINUE)
    before, after = bot.engine.asked
    assert after["messages"] == [
        *before["messages"],
        {"role": "assistant", "content": WHOLE[:20].rstrip()},
    ]
    assert after["continue_final_message"] is True
    assert after["temperature"] == before["temperature"]


async def test_later_questions_see_the_whole_answer(bot: Bot) -> None:
    bot.engine.say = cut_after(WHOLE, 10, 30)
    question, answer = await asked(bot)
    second = await press(bot, answer, blocks.CONTINUE)
    await press(bot, second, blocks.CONTINUE, count=3)
    bot.says("Yes.")
    follow_up = await bot.slack.say(MEMBER, "DU2", "Really?", thread_ts=question.ts)
    await bot.slack.answer_to(follow_up, count=4)
    said = [m["content"] for m in bot.engine.asked[-1]["messages"]]
    assert said == ["Answer.", "How?", WHOLE, "Really?"]


async def test_the_adapter_that_started_continues_after_a_promotion(bot: Bot) -> None:
    first, second = (bot.write(lambda db, n=n: add_adapter(db, bot.domain, n)) for n in (1, 2))
    bot.write(lambda db: registry.promote(db, first, "cli:test"))
    bot.hold(first, second)
    bot.engine.held |= {first.served_name: "/1", second.served_name: "/2"}
    bot.engine.say = cut_after(WHOLE, 20)
    _, answer = await asked(bot)
    bot.write(lambda db: registry.promote(db, second, "cli:test"))
    bot.write(
        lambda db: db.execute("UPDATE adapters SET state = 'candidate' WHERE id = ?", [first.id])
    )
    await press(bot, answer, blocks.CONTINUE)
    assert [r["adapter_id"] for r in replies(bot)] == [first.id, first.id]


async def test_a_split_code_block_is_reopened(bot: Bot) -> None:
    whole = "See:\n```python\nprint('one')\nprint('two')\n```\nDone."
    bot.engine.say = cut_after(whole, whole.index("print('two')"))
    question, answer = await asked(bot)
    rest = await press(bot, answer, blocks.CONTINUE)
    assert rest.words == "```python\nprint('two')\n```\nDone."
    assert bot.slack.in_thread("DU2", question.ts) == [answer, rest]
    texts = [conversations.exchange(bot.store.db, r["id"])[1] for r in replies(bot)]
    assert "".join(texts) == whole


MIXED = (
    "Do this:\n\n```python\nprint('one')\n\nprint('two')\n```\n\n"
    "| a | b |\n|---|---|\n| 1 | 漢字 |\n| 3 | שלום |\n\nThen *that*, and 🙂 at the end."
)


@pytest.mark.parametrize("seed", range(6))
async def test_the_pieces_join_to_the_answer_wherever_it_was_cut(bot: Bot, seed: int) -> None:
    rng = random.Random(seed)
    ends = sorted(rng.sample([n for n in range(9, len(MIXED)) if MIXED[n].isalnum()], 3))
    bot.engine.say = cut_after(MIXED, *ends)
    bot.slack.faults["chat.stopStream"] += ["", "lost after", "500"]
    bot.slack.faults["chat.postMessage"] += ["lost before"]
    question, answer = await asked(bot)
    for count in (2, 3, 4):
        answer = await press(bot, answer, blocks.CONTINUE, count=count)
    shown = [m.words for m in bot.slack.in_thread("DU2", question.ts)]
    recorded = [conversations.exchange(bot.store.db, r["id"])[1] for r in replies(bot)]
    assert "".join(recorded) == MIXED
    before = ""
    for words_shown, text in zip(shown, recorded, strict=True):
        opening = reopened(before, blocks.MARKDOWN)
        assert words_shown.strip() == (opening + text).strip()
        before += text


async def test_a_regenerated_answer_that_was_cut_continues_itself(bot: Bot) -> None:
    bot.says("The first.")
    question, first = await asked(bot)
    bot.engine.say = cut_after(WHOLE, 20)
    second = await press(bot, first, blocks.REGENERATE)
    third = await press(bot, second, blocks.CONTINUE, count=3)
    assert second.words + third.words == WHOLE
    assert third.elements(blocks.REGENERATE) == []
    bot.says("Yes.")
    follow_up = await bot.slack.say(MEMBER, "DU2", "Really?", thread_ts=question.ts)
    await bot.slack.answer_to(follow_up, count=4)
    assert [m["content"] for m in bot.engine.asked[-1]["messages"]][1:3] == ["How?", WHOLE]


# -- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("button", [blocks.REGENERATE, blocks.CONTINUE])
async def test_a_private_answer_stays_private(bot: Bot, button: str) -> None:
    bot.engine.say = cut_after(WHOLE, 20, *([20] if button == blocks.REGENERATE else []))
    await bot.slack.command(MEMBER, "C1", "ask How?")
    await bot.settled()
    private = bot.slack.responses[-1]
    shown = Message("C1", "ephemeral.1", BOT_USER, blocks=private["blocks"])
    await bot.slack.press(MEMBER, shown, button)
    await bot.settled()
    assert bot.slack.from_bot() == []
    found = Message("", "", "", blocks=bot.slack.responses[-1]["blocks"])
    assert found.words == (WHOLE[:20] if button == blocks.REGENERATE else WHOLE[20:])


async def test_a_button_works_only_in_the_channel_of_its_answer(bot: Bot) -> None:
    await asked(bot, "C1")
    reply_id = replies(bot)[0]["id"]
    elsewhere = bot.slack.add(Message("C2", bot.slack.next_ts(), BOT_USER))
    await bot.slack.click(ADMIN, elsewhere, blocks.REGENERATE, reply_id)
    await bot.slack.until(lambda: "another channel" in bot.slack.told(ADMIN), "a word")
    await bot.settled()
    assert len(replies(bot)) == 1


async def test_an_erased_answer_is_explained(bot: Bot) -> None:
    _, answer = await asked(bot)
    bot.write(lambda db: db.execute("DELETE FROM conversations"))
    await bot.slack.press(MEMBER, answer, blocks.REGENERATE)
    await bot.slack.until(lambda: "There is no reply" in bot.slack.told(MEMBER), "a word")
    await bot.settled()
