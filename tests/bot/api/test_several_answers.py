"""`n`: several answers to one question."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from data.config.settings import AnswersSettings
from data.privacy import personal_data
from tests.bot.api.test_comparisons_api import start
from tests.bot.conftest import Bot, answering
from tests.serving.fake_vllm import CUT, FakeVllm, words

QUESTION: list[Any] = [{"role": "user", "content": "What is a run?"}]
ASK: dict[str, Any] = {"model": "helpdesk", "messages": QUESTION, "user": "ann"}


@pytest.fixture
def grounded(tmp_path: Path, vllm: FakeVllm) -> Iterator[Bot]:
    """A bot that declines what no pair answers."""
    with answering(tmp_path, vllm, AnswersSettings()) as subject:
        yield subject


def says_another_each_time(bot: Bot) -> None:
    number = itertools.count(1)
    bot.vllm.say = lambda body: words(
        body["model"], "Answer", f" {next(number)}.", usage=(11, 4), finish="stop"
    )


def test_several_choices(bot: Bot) -> None:
    says_another_each_time(bot)

    answer: Any = bot.openai().chat.completions.create(**ASK, n=3, temperature=1, seed=7)

    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert {c.message.content for c in answer.choices} == {f"Answer {n}." for n in (1, 2, 3)}
    assert answer.usage.prompt_tokens == 11
    assert answer.usage.completion_tokens == 12
    assert sorted(asked["seed"] for asked in bot.vllm.asked) == [7, 8, 9]
    assert all("n" not in asked for asked in bot.vllm.asked)
    assert [c.understudy["adapter"] for c in answer.choices] == ["helpdesk@1"] * 3


def test_several_choices_in_a_stream(bot: Bot) -> None:
    says_another_each_time(bot)

    chunks: Any = list(
        bot.openai().chat.completions.create(
            **ASK, n=3, stream=True, stream_options={"include_usage": True}
        )
    )

    texts: dict[int, str] = {}
    ends: dict[int, str] = {}
    for choice in (c for chunk in chunks for c in chunk.choices):
        texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
        if choice.finish_reason:
            ends[choice.index] = choice.finish_reason
    assert set(texts.values()) == {f"Answer {n}." for n in (1, 2, 3)}
    assert ends == {0: "stop", 1: "stop", 2: "stop"}
    assert chunks[-1].usage.completion_tokens == 12
    assert len({c.id for c in chunks}) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_several_text_completions(bot: Bot, stream: bool) -> None:
    says_another_each_time(bot)

    answer: Any = bot.openai().completions.create(
        model="helpdesk", prompt="Why?", n=2, stream=stream
    )

    texts = {0: "", 1: ""}
    for choice in (c for part in (answer if stream else [answer]) for c in part.choices):
        texts[choice.index] += choice.text
    assert set(texts.values()) == {"Answer 1.", "Answer 2."}


def test_one_question_and_one_answer_are_kept_in_words(bot: Bot) -> None:
    says_another_each_time(bot)

    answer: Any = bot.openai().chat.completions.create(**ASK, n=3)

    replies = bot.wait_closed(3)
    assert {(r.adapter_id, r.status, r.completion_tokens) for r in replies} == {(1, "done", 4)}
    stored = [r["text"] for r in bot.store.db.query("SELECT text FROM messages ORDER BY id")]
    assert stored == ["What is a run?", answer.choices[0].message.content]
    assert personal_data.summarise(bot.store.db, "http:1/ann").questions == 1
    rated = bot.http("member").post("/v1/feedback", json={"id": answer.id, "thumb": "up"})
    assert rated.status_code == 201


def test_each_answer_takes_a_slot(tmp_path: Path, vllm: FakeVllm) -> None:
    """With two slots and a queue of two, five answers are more than there is room for."""
    with answering(tmp_path, vllm, max_in_flight=2, max_waiting=2) as bot:
        client = bot.openai()

        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**ASK, n=8)
        assert len(client.chat.completions.create(**ASK, n=2).choices) == 2


def test_a_comparison_leaves_them_out(bot: Bot) -> None:
    start(bot, pairwise=1.0)

    answer = bot.http("member").post("/v1/chat/completions", json=ASK | {"n": 2})

    assert answer.status_code == 200
    assert {(r.adapter_id, r.variant_id, r.constrained) for r in bot.wait_closed(2)} == {
        (1, None, True)
    }
    assert list(bot.store.db.query("SELECT * FROM assignments")) == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_declined_question_is_declined_once(grounded: Bot, stream: bool) -> None:
    answer: Any = grounded.openai().chat.completions.create(**ASK, n=3, stream=stream)

    said = {0: "", 1: "", 2: ""}
    if stream:
        for choice in (c for chunk in answer for c in chunk.choices):
            said[choice.index] += choice.delta.content or ""
    else:
        said = {c.index: c.message.content for c in answer.choices}
    assert set(said.values()) == {grounded.domain.refusal_text}
    (reply,) = grounded.wait_closed()
    assert reply.outcome == "declined"
    assert grounded.vllm.asked == []
    assert len(grounded.http("reviewer").get("/v1/unanswered").json()["data"]) == 1


def test_the_failure_of_one_ends_them_all(bot: Bot) -> None:
    number = itertools.count()

    def second_is_cut(body: dict[str, Any]) -> Any:
        said = words(body["model"], "Answer", " it is.")
        return [*said[:2], CUT] if next(number) == 1 else said

    bot.vllm.say = second_is_cut
    with pytest.raises(openai.InternalServerError):
        bot.openai().chat.completions.create(**ASK, n=2)

    bot.vllm.pause_s = 0.01
    number = itertools.count()
    with pytest.raises(openai.APIError, match="middle"):
        list(bot.openai().chat.completions.create(**ASK, n=2, stream=True))
    assert all(r.status != "streaming" for r in bot.wait_closed(4))


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {"n": 9}),
        ("/v1/chat/completions", {"n": 0}),
        ("/v1/chat/answers", {"n": 2}),
        ("/v1/responses", {"n": 2, "messages": None, "input": "Why?"}),
    ],
)
def test_more_than_can_be_given_is_refused_by_name(
    bot: Bot, path: str, more: dict[str, Any]
) -> None:
    answer = bot.http("member").post(path, json=ASK | more)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "n"
