"""Failures of streams: the final message always has the whole text exactly once, with the feedback
buttons. Over both transports."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.slack.client.rate_limiter import Limit
from tests.bot.slack.conftest import MEMBER, Bot
from tests.fake_slack.workspace import Message
from tests.serving.fake_vllm import CUT, HANG, words

TEXT = "".join(f"Line {n} of an answer, with some words.\n" for n in range(60)) + "The end."


def in_pieces(text: str, size: int = 9) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


async def ask(bot: Bot, text: str = "Tell me") -> Message:
    return await bot.slack.say(MEMBER, "DU2", text)


def without_limits(bot: Bot) -> None:
    """Turn off the rate limits of Slack and of the bot."""
    bot.front.workspace.api.limiter.limits = {}
    bot.slack.per_minute = {}


async def the_only_answer(bot: Bot, question: Message, seconds: float = 20) -> Message:
    answer = await bot.slack.answer_to(question, seconds=seconds)
    await bot.settled()
    assert bot.slack.in_thread("DU2", question.ts) == [answer]
    return answer


@pytest.mark.parametrize(
    "fault",
    ["limited", "channel_type_not_supported", "500", "lost before", "lost after", "lost at 9"],
)
async def test_without_a_stream_one_message_has_the_whole_answer(bot: Bot, fault: str) -> None:
    bot.says(*in_pieces(TEXT))
    bot.slack.faults["chat.startStream"] += [fault] * 3
    answer = await the_only_answer(bot, await ask(bot))
    assert answer.words == TEXT
    assert answer.thread_ts is not None


@pytest.mark.parametrize("method", ["chat.appendStream", "chat.stopStream"])
@pytest.mark.parametrize(
    "fault", ["limited", "500", "lost before", "lost after", "message_not_in_streaming_state"]
)
async def test_a_stream_that_fails_half_way_still_shows_the_whole_answer(
    bot: Bot, method: str, fault: str
) -> None:
    bot.says(*in_pieces(TEXT))
    bot.slack.faults[method] += [fault]
    answer = await the_only_answer(bot, await ask(bot))
    assert answer.words == TEXT


async def test_a_slow_first_word_is_shown_in_part(bot: Bot) -> None:
    bot.engine.say = lambda body: [*words(body["model"], "Inter", "nation")[:3], HANG]
    question = await ask(bot)
    await bot.slack.until(lambda: bot.rows("SELECT 1 FROM questions WHERE shown_ts <> ''"), "it")
    (answer,) = bot.slack.in_thread("DU2", question.ts)
    assert answer.words == "Internatio"
    bot.says("International ", "affairs.")
    await bot.slack.edit(question, "Tell me more")
    assert (await the_only_answer(bot, question)).words == "International affairs."


async def test_an_expired_stream_still_shows_the_whole_answer(bot: Bot) -> None:
    bot.says(*in_pieces(TEXT))
    bot.slack.stream_lifetime_s = 0.0
    answer = await the_only_answer(bot, await ask(bot))
    assert answer.words == TEXT


async def test_a_stream_is_stopped_after_many_refusals(bot: Bot) -> None:
    bot.says(*in_pieces(TEXT))
    bot.slack.faults["chat.stopStream"] += ["500"] * 6
    answer = await the_only_answer(bot, await ask(bot))
    assert answer.words == TEXT


async def test_posting_is_repeated_until_the_answer_is_there_once(bot: Bot) -> None:
    bot.says(*in_pieces(TEXT))
    bot.slack.faults["chat.startStream"] += ["limited"]
    bot.slack.faults["chat.postMessage"] += ["500", "limited", "lost after"]
    answer = await the_only_answer(bot, await ask(bot))
    assert answer.words == TEXT


async def test_a_mention_in_an_answer_notifies_nobody(bot: Bot) -> None:
    """Slack interprets markup in the `text` next to the blocks, for the notification."""
    bot.says("Ask <!channel> & <@U1>.")
    bot.slack.faults["chat.startStream"] += ["limited"]
    answer = await the_only_answer(bot, await ask(bot))
    assert answer.text == "Ask &lt;!channel&gt; &amp; &lt;@U1&gt;."
    assert answer.words == "Ask <!channel> & <@U1>."


async def test_many_answers_at_once_stay_within_the_limits_and_are_complete(bot: Bot) -> None:
    bot.says(*in_pieces(TEXT))
    bot.slack.per_minute |= {"chat.startStream": 3, "chat.stopStream": 3}
    bot.front.workspace.api.limiter.limits |= {"chat.startStream": Limit(3)}
    questions = [await ask(bot, f"Question {n}?") for n in range(8)]
    for question in questions:
        assert (await the_only_answer(bot, question)).words == TEXT
    assert len(bot.slack.called("chat.startStream")) == 3
    assert {call.error for call in bot.slack.calls} == {""}


async def test_an_answer_longer_than_a_message_continues_in_the_next(bot: Bot) -> None:
    text = "\n\n".join(f"Paragraph {n}: " + "word " * 60 for n in range(60))
    bot.says(*in_pieces(text, 400))
    question = await ask(bot)
    await bot.slack.answer_to(question)
    await bot.settled()
    messages = bot.slack.in_thread("DU2", question.ts)
    assert len(messages) == 2
    assert "".join(m.words for m in messages) == text
    assert [len(m.elements("feedback")) for m in messages] == [0, 1]


async def test_an_interrupted_answer_keeps_its_text_and_gets_a_note(bot: Bot) -> None:
    bot.engine.say = lambda body: [*words(body["model"], "Half an ", "answer")[:3], CUT]
    answer = await the_only_answer(bot, await ask(bot))
    assert answer.words == "Half an answer"
    assert ":warning:" in answer.notes
    assert bot.row("SELECT status FROM replies")["status"] == "partial"


async def test_an_answer_at_its_maximum_length_gets_a_note(bot: Bot) -> None:
    bot.says("And then", finish="length")
    answer = await the_only_answer(bot, await ask(bot))
    assert "maximum length" in answer.notes


async def test_an_unreachable_engine_is_explained_and_recorded(bot: Bot) -> None:
    bot.beat("http://127.0.0.1:9")
    question = await ask(bot)
    await bot.settled()
    (told,) = bot.slack.in_thread("DU2", question.ts)
    assert told.notes == (
        "I can't answer now because my engine is not responding. Please ask again in a moment."
    )
    assert bot.row("SELECT status FROM replies")["status"] == "failed"
    assert bot.slack.statuses[-1]["status"] == ""


async def test_in_a_channel_only_the_person_who_asked_sees_the_error(bot: Bot) -> None:
    bot.beat("http://127.0.0.1:9")
    question = await bot.slack.say(MEMBER, "C1", "<@UBOT> hello?")
    await bot.settled()
    assert bot.slack.from_bot() == []
    (told,) = bot.slack.ephemerals
    assert (told["user"], told["thread_ts"]) == (MEMBER, question.ts)


async def test_an_empty_answer_is_explained(bot: Bot) -> None:
    bot.says(" ", "\n")
    question = await ask(bot)
    await bot.settled()
    (told,) = bot.slack.in_thread("DU2", question.ts)
    assert "empty answer" in told.notes


async def test_pressing_stop_ends_the_answer(bot: Bot) -> None:
    without_limits(bot)
    bot.engine.pause_s = 0.02
    bot.says(*in_pieces(TEXT))
    bot.slack.faults["chat.appendStream"] += ["stopped_by_user"]
    await ask(bot)
    await bot.settled()
    assert bot.row("SELECT status FROM replies")["status"] == "cancelled"


async def test_pressing_stop_stops_the_engine_at_once_and_keeps_the_text(bot: Bot) -> None:
    bot.engine.pause_s = 0.02
    bot.says(*in_pieces(TEXT * 10))
    question = await ask(bot)
    await bot.slack.until(
        lambda: bot.rows("SELECT 1 FROM questions WHERE shown_ts <> ''"), "the first words"
    )
    (answer,) = bot.slack.from_bot()
    before = answer.words
    await bot.slack.press_stop(MEMBER, answer, times=2)
    await bot.settled()
    assert bot.slack.in_thread("DU2", question.ts) == [answer]
    assert answer.words == before
    assert len(answer.elements("feedback")) == 1
    assert bot.row("SELECT status FROM replies")["status"] == "cancelled"
    await bot.slack.until(lambda: bot.engine.broken_off, "the engine to be stopped")


async def test_pressing_stop_ends_an_answer_of_a_stuck_engine(bot: Bot) -> None:
    bot.engine.say = lambda body: [*words(body["model"], "Half ", "an ", "answer ")[:3], HANG]
    question = await ask(bot)
    await bot.slack.until(lambda: bot.rows("SELECT 1 FROM questions WHERE shown_ts <> ''"), "it")
    (answer,) = bot.slack.from_bot()
    await bot.slack.press_stop(MEMBER, answer)
    await bot.settled()
    assert bot.slack.in_thread("DU2", question.ts) == [answer]
    assert answer.words.startswith("Half")
    assert bot.row("SELECT status FROM replies")["status"] == "cancelled"


async def test_pressing_stop_before_the_first_word_leaves_nothing(bot: Bot) -> None:
    bot.engine.say = lambda body: [HANG]
    question = await ask(bot)
    await bot.slack.until(lambda: bot.engine.asked, "the engine to be asked")
    await bot.slack.press_stop(MEMBER, Message("DU2", "0.0", "UBOT", thread_ts=question.ts))
    await bot.settled()
    assert bot.slack.from_bot() == []
    assert bot.slack.statuses[-1]["status"] == ""
    assert bot.row("SELECT status FROM replies")["status"] == "cancelled"


async def test_an_answer_interrupted_by_a_shutdown_continues_after_the_restart(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.app.GRACE_S", 0.1)
    bot.engine.say = lambda body: [*words(body["model"], "Half an ", "answer")[:3], HANG]
    question = await ask(bot)
    await bot.slack.until(lambda: bot.slack.called("chat.startStream"), "the stream")
    await bot.front.stop()
    (left,) = bot.slack.in_thread("DU2", question.ts)
    assert left.words.startswith("Half")
    assert "restarting" in left.notes
    bot.says("The whole answer.")
    await bot.restart()
    answer = await the_only_answer(bot, question)
    assert answer is left
    assert (answer.words, answer.notes) == ("The whole answer.", "")
    statuses = [r["status"] for r in bot.rows("SELECT status FROM replies ORDER BY created_at")]
    assert statuses == ["failed", "done"]


METHODS = ["startStream", "appendStream", "stopStream", "update", "postMessage"]
FAULTS = st.sampled_from(["", "", "limited", "500", "lost before", "lost after"])
DROPS = st.integers(0, 200).map("lost at {}".format)  # the bytes of the response that arrived
EXPIRED = st.just("message_not_in_streaming_state")
TEXTS = st.text(st.sampled_from("abc äß漢字🙂 שלום\n`*|-#"), min_size=1, max_size=400)
CASES = [40, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
Case = tuple[str, int, dict[str, list[str]]]


def drawn(count: int) -> list[Case]:
    """Random texts, piece sizes, and faults of the calls that show them."""
    plans = st.fixed_dictionaries(
        {
            f"chat.{m}": st.lists(
                st.one_of(FAULTS, DROPS, EXPIRED if m in METHODS[1:3] else FAULTS), max_size=4
            )
            for m in METHODS
        }
    )
    cases: list[Case] = []

    @settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(TEXTS.filter(lambda text: bool(text.strip())), st.integers(1, 40), plans)
    def draw(text: str, size: int, plan: dict[str, list[str]]) -> None:
        cases.append((text, size, plan))

    draw()
    return cases


@pytest.mark.parametrize("count", CASES)
async def test_no_failure_loses_or_doubles_text(bot: Bot, count: int) -> None:
    """Any mixture of texts, pieces and failures: rate limits, Slack errors, expired streams, and
    connections that drop at any byte."""
    cases = drawn(count)
    bot.slack.api.faults.retry_after_s = 0
    without_limits(bot)
    for text, size, plan in cases:
        bot.beat()
        bot.says(*in_pieces(text, size))
        for method, faults in plan.items():
            bot.slack.faults[method][:] = faults
        answer = await the_only_answer(bot, await ask(bot))
        assert answer.words.strip() == text.strip()
        assert len(answer.elements("feedback")) == 1


async def test_a_slack_outage_at_the_end_only_delays_the_answer(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.handlers.answer.SLACK_AWAY_S", 0.1)
    without_limits(bot)
    bot.says("Here it is.")
    bot.slack.faults["chat.startStream"] += ["channel_type_not_supported"]
    bot.slack.faults["chat.postMessage"] += ["lost before"] * 9
    answer = await the_only_answer(bot, await ask(bot))
    assert answer.words == "Here it is."
    assert len(bot.engine.asked) == 1
