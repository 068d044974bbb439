"""Titles, tags and suggestions for chat programs: answered, and recorded nowhere."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.api.chat_programs import recognise
from bot.api.completion_request import ChatMessage
from data.config.settings import AnswersSettings
from data.conversations import conversations
from tests.bot.answering.test_grounded_answers import add_pair
from tests.bot.api.chat_program_prompts import (
    ASKED,
    FOLLOW_UPS,
    QUERIES,
    STRUCTURED,
    TAGS,
    TITLES,
    WRITTEN,
    user,
)
from tests.bot.api.test_comparisons_api import start
from tests.bot.conftest import Bot, answering
from tests.serving.fake_vllm import CUT, FakeVllm, refusal, words

HELPDESK = Path(__file__).parents[3] / "data" / "examples" / "helpdesk"
ALL = {**TITLES, **WRITTEN, "follow-ups": FOLLOW_UPS, "tags": TAGS, "queries": QUERIES}
ROUTES = ("/v1/chat/completions", "/v1/chat/answers")


@pytest.fixture
def grounded(tmp_path: Path, vllm: FakeVllm) -> Iterator[Bot]:
    """A bot with three approved pairs that declines what none of them answers."""
    with answering(tmp_path, vllm, AnswersSettings()) as subject:
        with subject.store.write() as db:
            add_pair(db, "When do you open on Sundays?", "At ten.", fact="sundays")
            add_pair(db, "When do you open on weekdays?", "At nine.", fact="weekdays")
            add_pair(db, "Who may open a locker?", "Everyone.", fact="lockers")
        yield subject


def post(bot: Bot, messages: list[dict[str, Any]], route: str = ROUTES[0], **more: Any) -> Any:
    headers = more.pop("headers", {})
    body = {"model": "helpdesk", "messages": messages} | more
    answer = bot.http("member").post(route, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def content(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


def recorded(bot: Bot) -> dict[str, int]:
    """How many rows each table has in which a question, an answer or a judgement leaves a trace."""
    tables = ("conversations", "messages", "replies", "unanswered", "assignments", "reply_sources")
    count = "SELECT count(*) AS n FROM "
    return {t: next(bot.store.db.query(count + t))["n"] for t in tables}


NOTHING = dict.fromkeys(
    ("conversations", "messages", "replies", "unanswered", "assignments", "reply_sources"), 0
)


@pytest.mark.parametrize("program", TITLES)
def test_a_title_is_the_first_question(grounded: Bot, program: str) -> None:
    answer = post(grounded, TITLES[program])

    as_json = program in ("Open WebUI", "LobeChat")
    title = "When do you open on Sundays"
    assert content(answer) == (
        json.dumps({"title": title}, separators=(",", ":")) if as_json else title
    )
    assert answer["understudy"]["outcome"] == "task"
    assert answer["understudy"]["reply_id"] is None
    assert recorded(grounded) == NOTHING
    assert grounded.vllm.asked == []


def test_tags_and_search_queries(grounded: Bot) -> None:
    assert json.loads(content(post(grounded, TAGS))) == {"tags": ["the help desk"]}
    assert json.loads(content(post(grounded, QUERIES))) == {"queries": [ASKED]}
    assert recorded(grounded) == NOTHING


def test_suggestions_are_approved_questions_that_were_not_asked(grounded: Bot) -> None:
    suggested = json.loads(content(post(grounded, FOLLOW_UPS)))

    assert suggested == {"follow_ups": ["When do you open on weekdays?"]}
    assert recorded(grounded) == NOTHING


def test_without_near_ones_the_domains_own_are_suggested(bot: Bot) -> None:
    assert json.loads(content(post(bot, FOLLOW_UPS))) == {"follow_ups": ["Who?"]}


@pytest.mark.parametrize("program", WRITTEN)
def test_everything_else_is_written_by_the_base(grounded: Bot, program: str) -> None:
    answer = post(grounded, WRITTEN[program])

    assert content(answer) == "Hello there"
    assert answer["understudy"]["outcome"] == "task"
    assert answer["understudy"]["adapter"] == "base"
    (asked,) = grounded.vllm.asked
    assert "approved" not in str(asked["messages"])
    assert recorded(grounded) == NOTHING


def test_a_summary_is_asked_for_after_the_conversation(bot: Bot) -> None:
    *said, instruction = WRITTEN["NextChat: in short"]
    memory = {"role": "system", "content": "This is a summary."}

    post(bot, [memory, *said, instruction])

    (asked,) = bot.vllm.asked
    assert asked["messages"] == [memory, *said, {**instruction, "role": "user"}]


@pytest.mark.parametrize("headers", [{}, {"X-Understudy-Task": "title_generation"}], ids=str)
def test_a_task_that_may_call_tools_is_written_by_the_base(
    grounded: Bot, headers: dict[str, str]
) -> None:
    tool: Any = {"type": "function", "function": {"name": "title"}}
    grounded.vllm.say = lambda body: words(body["model"], '{"title":"Hours"}')

    answer = post(grounded, TITLES["LibreChat"], tools=[tool], tool_choice=tool, headers=headers)

    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "title", "arguments": '{"title":"Hours"}'}
    assert grounded.vllm.asked[0]["tools"] == [tool]
    assert recorded(grounded) == NOTHING


@pytest.mark.parametrize("model", ["helpdesk@base", "helpdesk@2"])
def test_a_chosen_model_writes_titles_too(grounded: Bot, model: str) -> None:
    answer = post(grounded, TITLES["LibreChat"], model=model)

    assert content(answer) == "Hello there"
    assert answer["understudy"]["adapter"] == model.replace("helpdesk@base", "base")
    assert recorded(grounded) == NOTHING


def test_a_schema_of_the_programs_own_is_followed(grounded: Bot) -> None:
    schema = {"name": "t", "schema": {"type": "object"}}
    post(grounded, STRUCTURED, response_format={"type": "json_schema", "json_schema": schema})

    assert grounded.vllm.asked[0]["model"] != "helpdesk@1-111111111111"
    assert recorded(grounded) == NOTHING


@pytest.mark.parametrize("fault", ["cut", "refused"])
def test_a_task_that_fails_leaves_nothing_either(grounded: Bot, fault: str) -> None:
    replies: dict[str, Any] = {
        "cut": lambda body: [*words(body["model"], "One")[:2], CUT],
        "refused": lambda _: refusal(400, "bad request"),
    }
    grounded.vllm.say = replies[fault]
    body = {"model": "helpdesk", "messages": WRITTEN["LobeChat: replies"]}

    answer = grounded.http("member").post(ROUTES[0], json=body)

    assert answer.status_code in (400, 503)
    assert recorded(grounded) == NOTHING


def test_a_stream_and_the_other_routes(grounded: Bot) -> None:
    with grounded.openai().chat.completions.stream(
        model="helpdesk", messages=TITLES["LibreChat"]
    ) as stream:
        stream.until_done()
        said = stream.get_final_completion()
    assert said.choices[0].message.content == "When do you open on Sundays"
    (one,) = post(grounded, TITLES["LibreChat"], "/v1/chat/answers")["data"]
    assert one["content"] == "When do you open on Sundays"
    system, asked = (m["content"] for m in TITLES["LobeChat 1"])
    answer = grounded.openai().responses.create(model="helpdesk", instructions=system, input=asked)
    assert answer.output_text == "When do you open on Sundays"
    assert recorded(grounded) == NOTHING


def test_tasks_take_no_part_in_comparisons_and_metrics(bot: Bot) -> None:
    start(bot, pairwise=1)
    for messages in ALL.values():
        for route in ROUTES:
            post(bot, messages, route, user="ann")

    assert recorded(bot) == NOTHING
    assert counted(bot) == []
    post(bot, user(ASKED), user="ann")
    assert counted(bot)
    assert recorded(bot)["assignments"] == 1


def counted(bot: Bot) -> list[str]:
    """What the metrics count about answers."""
    told = bot.http("admin").get("/metrics").text
    return re.findall(r"^understudy_(?:answers|outcomes|tokens)_total\{.*$", told, re.MULTILINE)


def test_the_question_itself_is_recorded_as_always(grounded: Bot) -> None:
    post(grounded, user(ASKED))
    post(grounded, TITLES["Open WebUI"])

    (reply,) = grounded.wait_closed()
    assert conversations.exchange(grounded.store.db, reply.id)[0] == ASKED


def test_a_program_with_prompts_of_its_own_names_its_task(grounded: Bot) -> None:
    mine = user(f"Name this chat.\n<chat_history>\nUSER: {ASKED}\n</chat_history>")
    named = {"X-Understudy-Task": "title_generation"}

    written = post(grounded, mine, headers=named)
    form = user("### Task:\n" + mine[0]["content"])
    told = post(grounded, form, headers=named)

    assert written["understudy"]["adapter"] == "base"
    assert json.loads(content(told)) == {"title": "When do you open on Sundays"}
    assert recorded(grounded) == NOTHING
    post(grounded, user(ASKED), headers={"X-Understudy-Task": ""})  # as Open WebUI sends it
    assert recorded(grounded)["replies"] == 1


def test_open_webui_names_the_person_in_a_header(bot: Bot) -> None:
    post(bot, user(ASKED), headers={"X-OpenWebUI-User-Id": "8f3"})
    post(bot, user(ASKED), headers={"X-OpenWebUI-User-Id": "8f3"}, user="ann")

    assert [r.person for r in bot.wait_closed(2)] == ["http:1/8f3", "http:1/ann"]
    body = {"model": "helpdesk", "messages": user(ASKED)}
    refused = bot.http("member").post(
        ROUTES[0], json=body, headers={"X-OpenWebUI-User-Id": "x" * 257}
    )
    assert refused.status_code == 400


def messages(given: list[dict[str, Any]]) -> list[ChatMessage]:
    return [ChatMessage.model_validate(m) for m in given]


@pytest.mark.parametrize("program", ALL)
def test_a_question_about_such_a_prompt_is_no_task(program: str) -> None:
    given = messages(ALL[program])
    assert recognise(given) is not None
    *before, last = given
    if any(m.role == "system" for m in given):  # the same words without the program's system prompt
        assert recognise([last]) is None
    else:
        for text in (f"What does this mean?\n{last.content}", last.content[1:]):
            assert recognise([*before, ChatMessage(role="user", content=text)]) is None
    answered = [*given, ChatMessage(role="assistant", content="A title")]
    assert recognise([*answered, ChatMessage(role="user", content="Is that a good title?")]) is None


@pytest.mark.parametrize(
    "question",
    [
        "Generate a concise title summarizing the chat history.",
        "### Task:\nGenerate a concise title for my ticket.\n### Output:\nplain text",
        '### Task:\nWrite JSON\n### Output:\n{ "title": "x" }',
        "### Task:\nExplain <chat_history> and </chat_history>",
        "Provide a concise, 5-word-or-less title for the conversation, using title case.",
        "Please generate a four to five word title summarizing our conversation.",
        "Based on the chat history, give this conversation a name.",
        "Summarize the conversation into a title in English",
        "Hold on, before you continue I need you to write me a checkpoint of everything so far.",
        "You are a chat thread titling assistant.",
        'User message: "hello"',
    ],
)
def test_what_looks_alike_is_a_question(question: str) -> None:
    assert recognise(messages(user(question))) is None


def test_no_question_of_the_example_domain_is_a_task() -> None:
    lines = [line for f in HELPDESK.glob("*.jsonl") for line in f.read_text().splitlines()]
    asked = [json.loads(line)["prompt"] for line in lines]
    assert len(asked) > 100
    assert [q for q in asked if recognise(messages(user(q)))] == []


def test_recognition_takes_no_longer_for_a_hostile_prompt() -> None:
    """Half a megabyte of beginnings without ends."""
    for piece in (
        "<chat_history>\n",
        "</chat_history>",
        "<user>\n",
        "USER: a\n",
        '{ "title"\n',
        "#",
    ):
        system = "You are a professional conversation summarizer. Generate a concise title that x"
        given = messages(user("### Task:\n" + piece * (500_000 // len(piece)), system))
        began = time.process_time()
        recognise(given)
        assert time.process_time() - began < 1


@pytest.mark.parametrize("given", ['[{"role":"user","mainText":5}]', '[{"role":"user"}]', "[1]"])
def test_a_conversation_in_another_form_is_left_to_the_model(bot: Bot, given: str) -> None:
    (system, _) = TITLES["Cherry Studio"]
    bot.vllm.say = lambda body: words(body["model"], "A title")

    asked = [system, {"role": "user", "content": given}]
    assert content(post(bot, asked)) == "A title"
