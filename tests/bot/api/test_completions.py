"""`/v1/chat/completions`, used through the official OpenAI client."""

import json

import openai
import pytest

from data.conversations import conversations
from tests.bot.conftest import Bot
from tests.serving.fake_vllm import words

QUESTION = [{"role": "user", "content": "What is a run?"}]


def test_an_answer(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], "One tuning", " job.", usage=(11, 4))

    answer = bot.openai().chat.completions.create(model="helpdesk", messages=QUESTION)

    assert answer.choices[0].message.content == "One tuning job."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 4)
    assert answer.model == "helpdesk"
    about = answer.model_extra["understudy"]
    assert about == {
        "adapter": "helpdesk@1",
        "variant": None,
        "instead_of": None,
        "precision": "",
        "reply_id": answer.id,
        "history_dropped": 0,
        "outcome": "generated",
        "sources": [],
        "references_sent": False,
        "nearest": [],
        "confidence": None,
        "uncertain": False,
    }


def test_a_streamed_answer(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], "One", " tuning", " job.", usage=(11, 4))

    chunks = list(
        bot.openai().chat.completions.create(
            model="helpdesk",
            messages=QUESTION,
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert texts == ["", "One", " tuning", " job.", ""]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 15
    assert {c.id for c in chunks} == {bot.replies()[0].id}


def test_an_answer_is_recorded_with_its_adapter_before_it_is_acknowledged(bot: Bot) -> None:
    answer = bot.openai().chat.completions.create(model="helpdesk", messages=QUESTION, user="alice")

    reply = conversations.reply(bot.store.db, answer.id)
    assert reply.status == "done"
    assert reply.person == "http:1/alice"
    assert reply.adapter_id == 1
    assert (reply.prompt_tokens, reply.completion_tokens) == (5, 2)
    assert reply.latency_us is not None
    assert reply.first_token_us is not None
    assert 0 < reply.first_token_us <= reply.latency_us
    assert conversations.exchange(bot.store.db, answer.id) == ("What is a run?", "Hello there")


def test_the_engine_is_asked_for_the_adapters_immutable_name(bot: Bot) -> None:
    bot.openai().chat.completions.create(model="helpdesk", messages=QUESTION)

    assert bot.vllm.asked[0]["model"] == "helpdesk@1-111111111111"


@pytest.mark.parametrize(
    ("model", "served", "adapter"),
    [
        ("helpdesk@2", "helpdesk@2-222222222222", "helpdesk@2"),
        ("helpdesk@base", "base@0", "base"),
    ],
)
def test_a_pinned_model(bot: Bot, model: str, served: str, adapter: str) -> None:
    raw = bot.openai().chat.completions.with_raw_response.create(model=model, messages=QUESTION)

    assert bot.vllm.asked[0]["model"] == served
    assert raw.headers["x-understudy-adapter"] == adapter
    assert raw.parse().model == model


def test_the_callers_messages_are_the_conversation(bot: Bot) -> None:
    bot.openai().chat.completions.create(
        model="helpdesk",
        messages=[
            {"role": "system", "content": "Be formal."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}],
            },
            {"role": "assistant", "content": "Good day."},
            {"role": "user", "content": "What is a pair?"},
        ],
    )

    assert bot.vllm.asked[0]["messages"] == [
        {"role": "system", "content": "Be formal."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "What is a pair?"},
    ]


def test_without_a_system_message_the_domains_system_prompt_is_sent(bot: Bot) -> None:
    bot.openai().chat.completions.create(model="helpdesk", messages=QUESTION)

    assert bot.vllm.asked[0]["messages"][0] == {"role": "system", "content": "Answer briefly."}


def test_an_answer_can_be_sent_back_unchanged(bot: Bot) -> None:
    client = bot.openai()
    first = client.chat.completions.create(model="helpdesk", messages=QUESTION)
    said = first.choices[0].message.model_dump()

    client.chat.completions.create(model="helpdesk", messages=[*QUESTION, said, *QUESTION])

    assert bot.vllm.asked[1]["messages"][2] == {"role": "assistant", "content": "Hello there"}


def test_sampling_settings_reach_the_engine(bot: Bot) -> None:
    bot.openai().chat.completions.create(
        model="helpdesk",
        messages=QUESTION,
        max_completion_tokens=7,
        temperature=0.5,
        top_p=0.9,
        stop="END",
        seed=3,
        presence_penalty=0.1,
        frequency_penalty=-0.1,
    )

    asked = bot.vllm.asked[0]
    assert (asked["max_tokens"], asked["temperature"], asked["top_p"]) == (7, 0.5, 0.9)
    assert (asked["stop"], asked["seed"]) == (["END"], 3)
    assert (asked["presence_penalty"], asked["frequency_penalty"]) == (0.1, -0.1)


def test_each_call_is_a_separate_conversation(bot: Bot) -> None:
    for _ in range(2):
        bot.openai().chat.completions.create(model="helpdesk", messages=QUESTION, user="alice")

    assert len({r.conversation_id for r in bot.replies()}) == 2


def test_the_error_for_an_unknown_model_lists_the_models(bot: Bot) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        bot.openai().chat.completions.create(model="gpt-4", messages=QUESTION)

    assert refused.value.code == "model_not_found"
    assert refused.value.param == "model"
    assert "helpdesk, helpdesk@base, helpdesk@2, helpdesk@1" in refused.value.message


def test_an_adapter_that_no_engine_holds_yet_is_unavailable(bot: Bot) -> None:
    from tests.bot.conftest import add_adapter

    bot.write(lambda db: add_adapter(db, bot.domain, 3))

    with pytest.raises(openai.InternalServerError) as refused:
        bot.openai().chat.completions.create(model="helpdesk@3", messages=QUESTION)

    assert refused.value.status_code == 503
    assert "not loaded yet" in refused.value.message
    assert bot.replies() == []


def test_a_wrong_key_is_refused(bot: Bot) -> None:
    bot.secrets["member"] += "x"

    with pytest.raises(openai.AuthenticationError) as refused:
        bot.openai().chat.completions.create(model="helpdesk", messages=QUESTION)

    assert refused.value.code == "invalid_api_key"
    assert bot.vllm.asked == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_fallback_is_named_with_the_adapter_that_it_replaces(bot: Bot, stream: bool) -> None:
    bot.write(lambda db: db.execute("DELETE FROM placements WHERE adapter_id = 1"))
    bot.write(lambda db: db.execute("UPDATE replicas SET precision = 'nf4'"))
    body = {"model": "helpdesk", "messages": [{"role": "user", "content": "Why?"}]}

    answer = bot.http("member").post("/v1/chat/completions", json=body | {"stream": stream})

    assert answer.headers["x-understudy-adapter"] == "base"
    assert answer.headers["x-understudy-instead-of"] == "helpdesk@1"
    first = answer.text.split("\n\n")[0].removeprefix("data: ")
    about = json.loads(first)["understudy"]
    assert (about["adapter"], about["instead_of"], about["precision"]) == (
        "base",
        "helpdesk@1",
        "nf4",
    )


def test_the_intended_adapter_is_not_marked_as_a_fallback(bot: Bot) -> None:
    body = {"model": "helpdesk", "messages": [{"role": "user", "content": "Why?"}]}

    answer = bot.http("member").post("/v1/chat/completions", json=body)

    assert "x-understudy-instead-of" not in answer.headers


INSTRUCTION = {"role": "system", "content": "Answer in rhyme."}
SAID = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is a run?"},
]


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/chat/answers"])
def test_a_system_message_at_the_end_belongs_to_the_system_prompt(bot: Bot, route: str) -> None:
    body = {"model": "helpdesk", "messages": [*SAID, INSTRUCTION]}

    answer = bot.http("member").post(route, json=body)

    assert answer.status_code == 200, answer.text
    system = {"role": "system", "content": "Be brief.\n\nAnswer in rhyme."}
    assert bot.vllm.asked[-1]["messages"] == [system, SAID[1]]
    texts = [r["text"] for r in bot.store.db.query("SELECT text FROM messages ORDER BY id")]
    assert texts[0] == "What is a run?"


def test_an_answered_question_before_it_is_asked_again(bot: Bot) -> None:
    said = [*SAID, {"role": "assistant", "content": "One job."}, INSTRUCTION]

    answer = bot.http("member").post(
        "/v1/chat/completions", json={"model": "helpdesk", "messages": said}
    )

    assert answer.status_code == 200, answer.text
    assert [(m["role"], m["content"]) for m in bot.vllm.asked[-1]["messages"][1:]] == [
        ("user", "What is a run?"),
        ("assistant", "One job."),
        ("user", "What is a run?"),
    ]


def test_an_instruction_without_a_question_asks_nothing(bot: Bot) -> None:
    said: tuple[list[dict[str, str]], ...] = ([], [{"role": "assistant", "content": "I"}])
    for before in said:
        body = {"model": "helpdesk", "messages": [*before, INSTRUCTION]}

        answer = bot.http("member").post("/v1/chat/completions", json=body)

        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")
