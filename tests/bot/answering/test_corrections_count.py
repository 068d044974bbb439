"""A correction counts from the next question on, in whichever front end it was given and approved.

Somebody gets a refusal, corrects it, and a reviewer approves: the next question is answered with
the correction. Once it is rejected, the question is declined again. Slack's part is in
`tests/bot/slack/handlers/test_grounded_answers.py`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from data.config.settings import AnswersSettings
from tests.bot.conftest import Bot, answering
from tests.serving.fake_vllm import FakeVllm

QUESTION, ANSWER = "Where is the car park?", "Behind the house."
Ask = Callable[[], tuple[str, str]]  # asks the question; the reply id and the text


@pytest.fixture
def bot(tmp_path: Path, vllm: FakeVllm) -> Iterator[Bot]:
    """A service without any adapter."""
    with answering(tmp_path, vllm, AnswersSettings()) as subject:
        with subject.store.write() as db:
            db.execute("UPDATE adapters SET state = 'retired'")
        yield subject


def review(bot: Bot, status: str) -> None:
    (pair,) = bot.http("reviewer").get("/v1/pairs").json()["data"]
    path = f"/v1/pairs/{pair['id']}/review"
    assert bot.http("reviewer").post(path, json={"status": status}).status_code == 200


def check(bot: Bot, ask: Ask, correct: Callable[[str], None]) -> None:
    reply_id, refusal = ask()
    assert refusal.startswith("I don't have an approved answer")
    correct(reply_id)
    assert ask()[1] == refusal  # nobody has approved it yet
    review(bot, "approved")
    assert ask()[1] == ANSWER
    review(bot, "rejected")
    assert ask()[1] == refusal


def test_over_http(bot: Bot) -> None:
    member = bot.http("member")

    def ask() -> tuple[str, str]:
        messages = [{"role": "user", "content": QUESTION}]
        body = {"model": "helpdesk", "messages": messages}
        answer = member.post("/v1/chat/completions", json=body).json()
        return answer["id"], answer["choices"][0]["message"]["content"]

    def correct(reply_id: str) -> None:
        member.post("/v1/feedback", json={"reply_id": reply_id, "correction": ANSWER})

    check(bot, ask, correct)


def test_on_the_web_page(bot: Bot) -> None:
    with httpx.Client(base_url=bot.url, verify=False) as page:
        page.get("/")
        number = 0

        def ask() -> tuple[str, str]:
            nonlocal number
            number += 1
            body = {"conversation": f"conversation{number}", "text": QUESTION}
            lines = page.post("/web/ask", json=body).text.splitlines()
            events = [httpx.Response(200, text=line).json() for line in lines]
            text = "".join(e["text"] for e in events if e["type"] == "delta")
            return events[0]["reply_id"], text

        def correct(reply_id: str) -> None:
            page.post("/web/feedback", json={"reply_id": reply_id, "correction": ANSWER})

        check(bot, ask, correct)
