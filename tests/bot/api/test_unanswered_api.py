"""`/v1/unanswered`: list, answer and dismiss the questions that the bot declined."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.config.settings import AnswersSettings
from tests.bot.conftest import Bot, answering
from tests.serving.fake_vllm import FakeVllm


@pytest.fixture
def bot(tmp_path: Path, vllm: FakeVllm) -> Iterator[Bot]:
    with answering(tmp_path, vllm, AnswersSettings()) as subject:
        yield subject


def ask(bot: Bot, question: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    body = {"model": "helpdesk", "messages": messages, "user": "ann"}
    found: dict[str, Any] = bot.http("member").post("/v1/chat/completions", json=body).json()
    return found


def listed(bot: Bot) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bot.http("reviewer").get("/v1/unanswered").json()["data"]
    return found


def test_a_declined_question_is_answered_from_the_next_time_on(bot: Bot) -> None:
    declined = ask(bot, "Where is the car park?")
    assert declined["understudy"]["outcome"] == "declined"
    (group,) = listed(bot)
    assert (group["question"], group["people"], group["draft"]) == (
        "Where is the car park?",
        1,
        None,
    )

    path = f"/v1/unanswered/{group['id']}/answer"
    given = bot.http("reviewer").post(path, json={"response": "Behind the house."})

    assert given.status_code == 200
    assert listed(bot) == []
    bot.vllm.say = lambda _: []  # the engine has nothing to say, so the pair is quoted
    about = ask(bot, "Where is the car park?")
    assert about["choices"][0]["message"]["content"] == "Behind the house."
    assert about["understudy"]["sources"][0]["pair_id"] == given.json()["pair_id"]


def test_a_dismissed_question_is_gone(bot: Bot) -> None:
    ask(bot, "What is love?")
    (group,) = listed(bot)

    path = f"/v1/unanswered/{group['id']}/dismiss"

    assert bot.http("reviewer").post(path, json={}).json()["questions"] == 1
    assert listed(bot) == []
    assert bot.http("reviewer").post(path, json={}).status_code == 404


def test_the_asker_may_want_a_person(bot: Bot) -> None:
    declined = ask(bot, "What is love?")
    body = {"reply_id": declined["id"], "want_person": True}

    assert bot.http("member").post("/v1/feedback", json=body).status_code == 201
    assert bot.http("reviewer").post("/v1/feedback", json=body | {"user": "x"}).status_code == 403
    (group,) = listed(bot)
    assert group["want_person"] == 1


def test_members_do_not_see_what_others_asked(bot: Bot) -> None:
    assert bot.http("member").get("/v1/unanswered").status_code == 403
