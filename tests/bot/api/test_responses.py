"""`/v1/responses`, used through the official OpenAI client, and the events of its streams."""

import json
from typing import Any

import openai
import pytest

from bot.api.response_input import history_until
from data.conversations import conversations
from data.conversations.conversations import Message
from data.feedback import feedback
from tests.bot.conftest import Bot
from tests.serving.fake_vllm import CUT, words

ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]


def says(bot: Bot, *texts: str, finish: str = "stop") -> None:
    bot.vllm.say = lambda body: words(body["model"], *texts, finish=finish, usage=(11, 4))


def asked(bot: Bot) -> list[tuple[str, str]]:
    """The messages of the latest request to the engine."""
    return [(m["role"], m["content"]) for m in bot.vllm.asked[-1]["messages"]]


def test_an_answer(bot: Bot) -> None:
    says(bot, "One tuning", " job.")

    answer = bot.openai().responses.create(
        model="helpdesk", input="What is a run?", instructions="Be brief.", user="alice"
    )

    assert answer.output_text == "One tuning job."
    assert answer.status == "completed"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (11, 4)
    assert asked(bot) == [("system", "Be brief."), ("user", "What is a run?")]
    (reply,) = bot.replies()
    assert (reply.id, reply.person, reply.status) == (answer.id, "http:1/alice", "done")
    assert answer.model_extra is not None
    assert answer.model_extra["understudy"]["adapter"] == "helpdesk@1"


def test_the_id_takes_feedback(bot: Bot) -> None:
    answer = bot.openai().responses.create(model="helpdesk", input="What is a run?")

    given = {"id": answer.id, "thumb": "up"}
    assert bot.http("member").post("/v1/feedback", json=given).status_code == 201
    assert feedback.counts(bot.store.db, 1)["up"] == 1


def test_the_events_come_in_openais_order(bot: Bot) -> None:
    says(bot, "One", " job.")

    stream = bot.openai().responses.create(model="helpdesk", input="What is it?", stream=True)
    events = list(stream)

    assert [e.type for e in events] == [*ORDER, "response.completed"]
    assert [e.sequence_number for e in events] == list(range(len(events)))
    last: Any = events[-1]
    assert last.response.output_text == "One job."
    assert last.response.usage.total_tokens == 15
    assert {e.item_id for e in events if hasattr(e, "item_id")} == {last.response.output[0].id}


def test_the_clients_own_accumulation_agrees(bot: Bot) -> None:
    says(bot, "One", " job.")

    with bot.openai().responses.stream(model="helpdesk", input="What is it?") as stream:
        text = "".join(e.delta for e in stream if e.type == "response.output_text.delta")

        assert stream.get_final_response().output_text == text == "One job."


def test_an_answer_at_its_length_limit_is_incomplete(bot: Bot) -> None:
    says(bot, "One", finish="length")
    client = bot.http("member")
    for stream in (False, True):
        body = {"model": "helpdesk", "input": "Who?", "max_output_tokens": 3, "stream": stream}

        got = client.post("/v1/responses", json=body)

        last = json.loads(got.text.split("data: ")[-1])
        response = last["response"] if stream else last
        assert response["status"] == "incomplete"
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert bot.vllm.asked[0]["max_tokens"] == 3


def test_an_interrupted_stream_ends_as_failed(bot: Bot) -> None:
    bot.vllm.say = lambda body: [*words(body["model"], "One")[:2], CUT]

    events = list(bot.openai().responses.create(model="helpdesk", input="Who?", stream=True))

    last: Any = events[-1]
    assert last.type == "response.failed"
    assert last.response.error.code == "stream_cut"
    assert [r.status for r in bot.wait_closed()] == ["partial"]


def test_a_response_goes_on_from_an_earlier_one(bot: Bot) -> None:
    client = bot.openai()
    says(bot, "One job.")
    first = client.responses.create(model="helpdesk", input="What is a run?", instructions="S")
    says(bot, "In a queue.")
    second = client.responses.create(
        model="helpdesk", input="Where does it wait?", previous_response_id=first.id
    )
    client.responses.create(model="helpdesk", input="Why?", previous_response_id=second.id)

    assert asked(bot) == [
        ("system", "Answer briefly."),  # instructions are those of one response alone
        ("user", "What is a run?"),
        ("assistant", "One job."),
        ("user", "Where does it wait?"),
        ("assistant", "In a queue."),
        ("user", "Why?"),
    ]


def test_two_responses_go_on_from_the_same_one(bot: Bot) -> None:
    client = bot.openai()
    first = client.responses.create(model="helpdesk", input="What is a run?")
    for question in ("Where is it?", "Who starts it?"):
        client.responses.create(model="helpdesk", input=question, previous_response_id=first.id)

        assert [text for role, text in asked(bot) if role == "user"] == ["What is a run?", question]


def test_the_history_has_as_many_turns_as_everywhere(bot: Bot) -> None:
    client, latest = bot.openai(), None
    for number in range(4):
        latest = client.responses.create(
            model="helpdesk", input=f"Question {number}?", previous_response_id=latest
        ).id
    person = bot.replies()[0].person

    found = history_until(bot.store.db, str(latest), person, 2)

    assert [m.text for m in found if m.role == "user"] == ["Question 2?", "Question 3?"]
    assert history_until(bot.store.db, str(latest), person, 0) == ()


def test_only_the_person_who_got_a_response_goes_on_from_it(bot: Bot) -> None:
    first = bot.openai().responses.create(model="helpdesk", input="My secret?", user="alice")

    for role, user in (("member", "bob"), ("member", None), ("admin", "alice")):
        with pytest.raises(openai.BadRequestError) as caught:
            bot.openai(role).responses.create(
                model="helpdesk",
                input="What did I ask?",
                previous_response_id=first.id,
                **({"user": user} if user else {}),
            )
        assert caught.value.code == "previous_response_not_found"
        assert caught.value.param == "previous_response_id"


def test_what_was_erased_is_gone_from_the_history(bot: Bot) -> None:
    client = bot.openai()
    first = client.responses.create(model="helpdesk", input="What is a run?")
    second = client.responses.create(
        model="helpdesk", input="Where?", previous_response_id=first.id
    )
    bot.write(lambda db: db.execute("DELETE FROM replies WHERE id = ?", [first.id]))

    found = history_until(bot.store.db, second.id, bot.replies()[0].person, 6)

    assert found == (Message("user", "Where?"), Message("assistant", "Hello there"))


def test_a_conversation_can_be_sent_whole(bot: Bot) -> None:
    """With the output of an earlier response as OpenAI's SDK gives it back, and as Vercel's names
    it."""
    client = bot.openai()
    says(bot, "One job.")
    first = client.responses.create(model="helpdesk", input="What is a run?")
    item = first.output[0].model_dump()
    for earlier in (item, {"type": "item_reference", "id": item["id"]}):
        said = [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "input_text", "text": "What is a run?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            earlier,
            {"role": "user", "content": "And then?"},
        ]
        client.responses.create(model="helpdesk", input=said)  # type: ignore[call-overload]

        assert asked(bot) == [
            ("system", "Be kind."),
            ("user", "What is a run?"),
            ("assistant", "One job."),
            ("user", "And then?"),
        ]


def test_a_reference_to_another_persons_message_is_refused(bot: Bot) -> None:
    first = bot.openai().responses.create(model="helpdesk", input="My secret?", user="alice")
    said = [{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "?"}]

    answer = bot.http("member").post("/v1/responses", json={"model": "helpdesk", "input": said})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input"


REFUSED: list[tuple[str, Any, str]] = [
    ("tools", [{"type": "web_search"}], "only tools of the type 'function'"),
    ("tools", [{"type": "function", "function": {"name": "f"}}], "missing"),
    ("tool_choice", "required", "requires 'tools'"),
    ("text", {"format": {"type": "json_schema"}}, "'name' and 'schema'"),
    ("text", {"format": {"type": "text", "schema": {}}}, "'name' and 'schema'"),
    ("background", True, "must be False"),
    ("truncation", "disabled", "must be 'auto'"),
    ("reasoning", {"effort": "high"}, "not supported"),
    ("top_logprobs", 3, "'include'"),
    ("conversation", "conv_1", "not supported"),
    ("input", [], "at least one entry"),
    ("input", [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I"}], ""),
    ("input", [{"type": "function_call_output", "call_id": "1", "output": "2"}], "message"),
    ("input", [{"type": "function_call_output", "output": "2"}], "'call_id' and 'output'"),
    ("input", [{"type": "function_call", "call_id": "1"}], "'call_id' and 'name'"),
    ("input", [{"type": "web_search_call", "id": "1"}], "only items of the types"),
    ("input", [{"role": "user", "content": [{"type": "input_image"}]}], "input_text"),
    ("input", "  ", "is empty"),
]


def test_what_would_change_the_answer_is_refused_by_name(bot: Bot) -> None:
    client = bot.http("member")
    for field, value, said in REFUSED:
        body = {"model": "helpdesk", "input": "Who?", field: value}

        answer = client.post("/v1/responses", json=body)

        error = answer.json()["error"]
        assert answer.status_code == 400, field
        assert error["param"].startswith(field)
        assert said in error["message"]
    assert bot.replies() == []


def test_what_changes_nothing_is_accepted(bot: Bot) -> None:
    inert = {
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "include": [],
        "metadata": {"a": "b"},
        "store": True,
        "truncation": "auto",
        "text": {"format": {"type": "text"}},
        "service_tier": "auto",
        "prompt_cache_key": "x",
        "safety_identifier": "y",
        "temperature": None,
        "reasoning": {"effort": "medium", "summary": "auto"},
    }

    answer = bot.http("member").post(
        "/v1/responses", json={"model": "helpdesk", "input": "Who?"} | inert
    )

    assert answer.status_code == 200
    assert answer.json()["metadata"] == {"a": "b"}


def test_what_is_not_stored_cannot_be_gone_on_from(bot: Bot) -> None:
    client = bot.openai()

    answer = client.responses.create(model="helpdesk", input="My secret?", store=False)

    assert answer.output_text == "Hello there"
    assert answer.to_dict()["store"] is False
    assert list(bot.store.db.query("SELECT text FROM messages")) == []
    assert [r.status for r in bot.replies()] == ["done"]
    with pytest.raises(openai.BadRequestError, match="no earlier response"):
        client.responses.create(model="helpdesk", input="?", previous_response_id=answer.id)


def test_an_invalid_key_is_reported_before_anything_else(bot: Bot) -> None:
    answer = bot.http().post("/v1/responses", json={"nonsense": 1}, headers={"Authorization": "x"})

    assert answer.status_code == 401


def test_each_response_is_a_conversation_of_its_own(bot: Bot) -> None:
    client = bot.openai()
    first = client.responses.create(model="helpdesk", input="What is a run?")
    second = client.responses.create(model="helpdesk", input="Why?", previous_response_id=first.id)

    known = conversations.reply_with_question(bot.store.db, second.id)
    assert known.thread == f"http:1/{second.id}/after/{first.id}"
