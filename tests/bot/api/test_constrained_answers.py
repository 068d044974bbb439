"""Answers whose words the caller constrains: JSON, a bias of tokens, and other sampling."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from data.adapters import registry
from data.config.settings import AnswersSettings
from data.experiments import assignments, metric_sums
from data.feedback import feedback
from data.pairs import preference_sets
from tests.bot.api.test_comparisons_api import start
from tests.bot.conftest import Bot, answering
from tests.serving.fake_vllm import CUT, FakeVllm, refusal, words

QUESTION: list[Any] = [{"role": "user", "content": "What is a run?"}]
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"type": "string"}},
    "required": ["kind"],
    "additionalProperties": False,
}
AS_JSON: Any = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}


class Thing(BaseModel):
    kind: str


@pytest.fixture
def grounded(tmp_path: Path, vllm: FakeVllm) -> Iterator[Bot]:
    """A bot that declines what no pair answers."""
    with answering(tmp_path, vllm, AnswersSettings()) as subject:
        yield subject


def says_json(body: dict[str, Any]) -> Any:
    """As an engine does that follows a schema."""
    if "response_format" not in body:
        return words(body["model"], "A run.")
    return words(body["model"], '{"kind":', ' "run"}')


def test_an_answer_follows_a_schema(bot: Bot) -> None:
    bot.vllm.say = says_json

    answer = bot.openai().chat.completions.parse(
        model="helpdesk", messages=QUESTION, response_format=Thing
    )

    assert answer.choices[0].message.parsed == Thing(kind="run")
    sent = bot.vllm.asked[-1]["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"]["properties"]["kind"]["type"] == "string"


def test_a_stream_follows_a_schema(bot: Bot) -> None:
    bot.vllm.say = says_json

    chunks = bot.openai().chat.completions.create(
        model="helpdesk", messages=QUESTION, response_format=AS_JSON, stream=True
    )

    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert json.loads(text) == {"kind": "run"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_follows_a_schema(bot: Bot, stream: bool) -> None:
    bot.vllm.say = says_json
    form: Any = {"type": "json_schema", "name": "thing", "schema": SCHEMA, "strict": True}
    ask: Any = {"model": "helpdesk", "input": "What is a run?", "text": {"format": form}}

    answer = bot.openai().responses.create(**ask, stream=stream)

    response = list(answer)[-1].response if stream else answer
    assert json.loads(response.output_text) == {"kind": "run"}
    assert response.text.format.type == "json_schema"
    sent = bot.vllm.asked[-1]["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}


def test_the_clients_own_parser_reads_a_response(bot: Bot) -> None:
    bot.vllm.say = says_json

    answer = bot.openai().responses.parse(
        model="helpdesk", input="What is a run?", text_format=Thing
    )

    assert answer.output_parsed == Thing(kind="run")


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_completion_follows_a_schema(bot: Bot, stream: bool) -> None:
    bot.vllm.say = says_json

    answer: Any = bot.openai().completions.create(
        model="helpdesk",
        prompt="What is a run?",
        stream=stream,
        extra_body={"response_format": AS_JSON, "top_k": 5},
    )

    text = "".join(c.choices[0].text for c in answer) if stream else answer.choices[0].text
    assert json.loads(text) == {"kind": "run"}
    assert bot.vllm.asked[-1]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert bot.vllm.asked[-1]["top_k"] == 5


def test_a_declined_question_is_the_refusal_of_a_response(grounded: Bot) -> None:
    ask: Any = {
        "model": "helpdesk",
        "input": "What is a run?",
        "text": {"format": {"type": "json_object"}},
    }
    client = grounded.openai()

    whole = client.responses.create(**ask)
    events = list(client.responses.create(**ask, stream=True))

    for response in (whole, events[-1].response):
        (part,) = response.output[0].content
        assert (part.type, part.refusal) == ("refusal", grounded.domain.refusal_text)
        assert response.output_text == ""
    assert [e.type for e in events if "refusal" in e.type] == [
        "response.refusal.delta",
        "response.refusal.done",
    ]
    said = [e.delta for e in events if e.type == "response.refusal.delta"]
    assert "".join(said) == grounded.domain.refusal_text
    assert not any("output_text" in e.type for e in events)


@pytest.mark.parametrize("stream", [False, True])
def test_a_declined_question_is_no_text_of_a_completion(grounded: Bot, stream: bool) -> None:
    answer: Any = grounded.openai().completions.create(
        model="helpdesk",
        prompt="What is a run?",
        stream=stream,
        extra_body={"response_format": AS_JSON},
    )

    choices = [c.choices[0] for c in (answer if stream else [answer])]
    assert "".join(c.text for c in choices) == ""
    refused = "".join((c.model_extra or {}).get("refusal", "") for c in choices)
    assert refused == grounded.domain.refusal_text


def test_any_json(bot: Bot) -> None:
    bot.vllm.say = says_json

    bot.openai().chat.completions.create(
        model="helpdesk", messages=QUESTION, response_format={"type": "json_object"}
    )

    assert bot.vllm.asked[-1]["response_format"] == {"type": "json_object"}


def test_sampling_parameters_reach_the_engine(bot: Bot) -> None:
    more = {"top_k": 5, "min_p": 0.1, "logit_bias": {"17": -100, "3": 2.5}}
    body = {"model": "helpdesk", "messages": QUESTION}

    assert bot.http("member").post("/v1/chat/completions", json=body | more).status_code == 200

    asked = bot.vllm.asked[-1]
    assert {name: asked[name] for name in more} == more
    bot.http("member").post("/v1/chat/completions", json=body | {"top_k": -1, "logit_bias": {}})
    assert bot.vllm.asked[-1]["top_k"] == 0
    assert "logit_bias" not in bot.vllm.asked[-1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_declined_question_is_a_refusal_and_no_json(grounded: Bot, stream: bool) -> None:
    ask: Any = {"model": "helpdesk", "messages": QUESTION, "response_format": AS_JSON}
    answer = grounded.openai().chat.completions.create(**ask, stream=stream)

    if stream:
        deltas = [c.choices[0].delta for c in answer if c.choices]
        content = "".join(d.content or "" for d in deltas)
        refused = "".join(d.refusal or "" for d in deltas)
    else:
        content, refused = answer.choices[0].message.content, answer.choices[0].message.refusal
    assert not content
    assert refused == grounded.domain.refusal_text
    assert grounded.vllm.asked == []


def test_a_greeting_gets_no_greeting_in_place_of_json(grounded: Bot) -> None:
    body = {"model": "helpdesk", "messages": [{"role": "user", "content": "Hello!"}]}
    http = grounded.http("member")

    plain = http.post("/v1/chat/completions", json=body).json()
    as_json = http.post("/v1/chat/completions", json=body | {"response_format": AS_JSON}).json()

    assert plain["understudy"]["outcome"] == "small_talk"
    assert as_json["understudy"]["outcome"] == "declined"


def test_a_domain_that_only_quotes_says_so(tmp_path: Path, vllm: FakeVllm) -> None:
    with answering(tmp_path, vllm, AnswersSettings(mode="quote")) as bot:
        body = {"model": "helpdesk", "messages": QUESTION, "response_format": AS_JSON}
        answer = bot.http("member").post("/v1/chat/completions", json=body)

        assert answer.status_code == 400
        assert "word for word" in answer.json()["error"]["message"]


def test_a_schema_that_the_engine_refuses_is_the_callers_error(bot: Bot) -> None:
    bot.vllm.say = lambda _: refusal(400, "The grammar is not supported: oneOf.")

    with pytest.raises(openai.BadRequestError, match="oneOf"):
        bot.openai().chat.completions.create(
            model="helpdesk", messages=QUESTION, response_format=AS_JSON
        )

    assert bot.replies() == []


def test_a_refusal_after_the_status_is_the_callers_error_too(bot: Bot) -> None:
    """vLLM checks some schemas only when it has begun to stream."""
    message = "Grammar error: Invalid type: nothing"
    bot.vllm.say = lambda _: [{"error": {"message": message, "code": 400}}, "[DONE]"]

    with pytest.raises(openai.BadRequestError, match="Invalid type"):
        bot.openai().chat.completions.create(
            model="helpdesk", messages=QUESTION, response_format=AS_JSON
        )

    assert bot.replies() == []


def test_json_that_was_cut_is_not_continued_in_the_middle(bot: Bot) -> None:
    """The form would begin anew there."""
    bot.vllm.say = lambda body: [*words(body["model"], '{"kind":')[:2], CUT]

    with pytest.raises(openai.InternalServerError):
        bot.openai().chat.completions.create(
            model="helpdesk", messages=QUESTION, response_format=AS_JSON
        )

    assert len(bot.vllm.asked) == 1


@pytest.mark.parametrize("constraint", [{"response_format": AS_JSON}, {"logit_bias": {"1": 5}}])
def test_a_comparison_leaves_them_out(bot: Bot, constraint: dict[str, Any]) -> None:
    experiment = start(bot, pairwise=1.0)
    bot.vllm.say = says_json
    body = {"model": "helpdesk", "messages": QUESTION, "user": "ann"}
    before = metric_sums.collect(bot.store.db, experiment, "anyone")

    for path in ("/v1/chat/completions", "/v1/chat/answers"):
        for _ in range(5):
            answer = bot.http("member").post(path, json=body | constraint)
            assert answer.status_code == 200, answer.text

    assert metric_sums.collect(bot.store.db, experiment, "anyone") == before
    assert {(r.adapter_id, r.variant_id, r.constrained) for r in bot.replies()} == {(1, None, True)}
    assert list(bot.store.db.query("SELECT * FROM assignments")) == []


def test_a_fallback_for_one_is_no_failure_of_a_variant(bot: Bot) -> None:
    experiment = start(bot)
    people = (f"u{n}" for n in range(50))
    of_control = next(
        user
        for user in people
        if assignments.variant_for(experiment, f"http:1/{user}").label == "A"
    )
    body = {"model": "helpdesk", "messages": QUESTION, "user": of_control}
    answer = bot.http("member").post("/v1/chat/completions", json=body).json()
    assert answer["understudy"]["variant"] == "A"
    before = metric_sums.collect(bot.store.db, experiment, "anyone")
    of_base = says_json

    def fails(found: dict[str, Any]) -> Any:
        return of_base(found) if found["model"].startswith("base") else refusal(500, "no")

    bot.vllm.say = fails
    more = body | {"response_format": {"type": "json_object"}}
    fell_back = bot.http("member").post("/v1/chat/completions", json=more).json()

    assert fell_back["understudy"]["instead_of"] == "helpdesk@1"
    assert metric_sums.collect(bot.store.db, experiment, "anyone") == before


def test_tuning_does_not_learn_from_them(bot: Bot) -> None:
    bot.vllm.say = says_json
    body = {"model": "helpdesk", "messages": QUESTION, "user": "ann"}
    ids = [
        bot.http("member").post("/v1/chat/completions", json=body | more).json()["id"]
        for more in ({}, {"response_format": {"type": "json_object"}})
    ]

    for reply_id in ids:
        bot.write(lambda db, reply_id=reply_id: feedback.thumb(db, reply_id, "http:1/ann", True))

    assert preference_sets.counts(bot.store.db, bot.domain) == (1, 0)


@pytest.mark.parametrize(("control", "writes"), [("base", None), ("2", 2)])
def test_without_a_live_adapter_the_control_of_the_comparison_answers(
    bot: Bot, control: str, writes: int | None
) -> None:
    """Everyone else gets a variant, so the domain has answers although nothing is live."""
    bot.vllm.say = says_json
    live = registry.live(bot.store.db, bot.domain.id)
    assert live is not None
    start(bot, a=control, b="1")
    bot.write(lambda db: registry.demote(db, live, "cli:test"))
    body = {"model": "helpdesk", "messages": QUESTION, "response_format": AS_JSON}

    answer = bot.http("member").post("/v1/chat/completions", json=body)

    assert answer.status_code == 200, answer.text
    (reply,) = bot.replies()
    assert (reply.adapter_id, reply.variant_id) == (writes, None)
    assert list(bot.store.db.query("SELECT * FROM assignments")) == []


def test_only_listed_keys_reach_the_chat_template(bot: Bot) -> None:
    http = bot.http("member")
    body: dict[str, Any] = {"model": "helpdesk", "messages": QUESTION}

    thinking = body | {"chat_template_kwargs": {"enable_thinking": False}}
    assert http.post("/v1/chat/completions", json=thinking).status_code == 200
    assert bot.vllm.asked[-1]["chat_template_kwargs"] == {"enable_thinking": False}

    http.post("/v1/chat/completions", json=body | {"chat_template_kwargs": {}})
    assert "chat_template_kwargs" not in bot.vllm.asked[-1]

    for path, question in (
        ("/v1/chat/completions", {"messages": QUESTION}),
        ("/v1/responses", {"input": "Why?"}),
        ("/v1/completions", {"prompt": "Why?"}),
    ):
        other = {"model": "helpdesk", "chat_template_kwargs": {"documents": []}} | question
        refused = http.post(path, json=other)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "chat_template_kwargs.documents"
