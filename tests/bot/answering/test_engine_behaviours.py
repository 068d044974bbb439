"""A table of what engines may do: what the person then sees, what is recorded, and how long it
takes until the next question is answered.

The whole service answers over HTTP, and the engine is a program at the other end of a socket. In
every line, the text that was shown is the text that is recorded.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.answering import circuit_breaker
from data.adapters import registry
from data.conversations import conversations
from tests.bot.answering.scripted_engine import (
    EVENTS,
    HANG,
    NAME,
    RESET,
    WELL,
    Script,
    ScriptedEngine,
    answer,
    chunk,
    data,
    refused,
    scripted,
)
from tests.bot.conftest import Bot, answering
from tests.conftest import wait_until
from tests.serving.fake_vllm import FakeVllm

STOP = chunk(finish="stop")
END = (STOP, "[DONE]")
MAX_TOKENS = 8
NOT_AN_ANSWER = "something that is not an answer"
MIDDLE = "failed in the middle of the answer"
TIMEOUT_S = 3
SLOW_MACHINE_S = 10.0  # added to each time, for a machine that does other work
USAGE = {"prompt_tokens": 5, "completion_tokens": 2}


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    does: str  # the engine
    script: Script
    shown: str  # the text that the person reads
    error: str = ""  # part of the message that the person reads below it; '': none
    status: str = "done"  # of the recorded reply
    finish: str = "stop"
    well_s: float = 0.5  # until the next question is answered


def complete(does: str, *events: Any, shown: str = "w0 w1", finish: str = "stop") -> Line:
    return Line(does, answer(*events), shown, finish=finish)


def cut(does: str, *events: Any, error: str = MIDDLE) -> Line:
    """It fails after the word `w0`."""
    return Line(does, answer(chunk("w0"), *events), "w0", error, "partial", "")


def failed(does: str, script: Script, error: str, well_s: float = 0.5) -> Line:
    """It fails before any word."""
    return Line(does, script, "", error, "failed", "", well_s)


def raw(event: Any) -> bytes:
    return json.dumps(event).encode()


W0, W1 = chunk("w0"), chunk(" w1")
BIG = b"x" * (2 << 20)
HTML = "<!DOCTYPE html><html><body>nginx at 10.0.0.7</body></html>"

FORMS = [
    complete("as vLLM does", W0, W1, *END),
    complete("a comment between events", W0, b": ping\n\n", W1, *END),
    complete("a comment before data", W0, b": ping\n" + data(W1), *END),
    complete("an id before data", W0, b"id: 7\n" + data(W1), *END),
    complete("a name before data", W0, b"event: message\n" + data(W1), *END),
    complete("a retry time before data", W0, b"retry: 10\n" + data(W1), *END),
    complete("an unknown field before data", W0, b"junk\n" + data(W1), *END),
    complete("an id after data", W0, b"data: " + raw(W1) + b"\nid: 7\n\n", *END),
    complete("data without a space", W0, b"data:" + raw(W1) + b"\n\n", *END),
    complete("data in two lines", W0, b"data: " + raw(W1).replace(b", ", b",\ndata: ") + b"\n\n", *END),  # noqa: E501
    complete("CRLF", (data(W0) + data(W1) + data(STOP) + data("[DONE]")).replace(b"\n", b"\r\n")),
    complete("CR", (data(W0) + data(W1) + data(STOP) + data("[DONE]")).replace(b"\n", b"\r")),
    complete("CR and LF mixed", data(W0).replace(b"\n\n", b"\r\n\n"), b"data: " + raw(W1) + b"\n\r\n", *END),  # noqa: E501
    complete("a byte order mark", b"\xef\xbb\xbf" + data(W0), W1, *END),
    complete("empty data", W0, b"data:\n\n", b"data\n\n", W1, *END),
    complete("many empty lines", b"\n\n\n", W0, b"\n\n", W1, *END),
    complete("a space after [DONE]", W0, W1, STOP, b"data: [DONE] \n\n"),
    complete("text after [DONE]", W0, W1, *END, chunk(" more"), *END),
    complete("usage in its own event", W0, W1, STOP, {"model": NAME, "choices": [], "usage": USAGE}, "[DONE]"),  # noqa: E501
    complete("usage that is a string", W0, chunk(" w1", usage="many"), *END),
    complete("usage that is a list", W0, chunk(" w1", usage=[1]), *END),
    complete("counts that are no counts", W0, chunk(" w1", usage={"prompt_tokens": -1, "completion_tokens": True}), *END),  # noqa: E501
    complete("counts beyond any integer", W0, chunk(" w1", usage={"prompt_tokens": 10**18, "completion_tokens": 1e300}), *END),  # noqa: E501
    complete("an error that is null", W0, chunk(" w1", error=None), *END),
    complete("fields that nobody knows", chunk("w0", x={"y": [1]}), W1, *END),
    complete("no text at first", chunk(""), chunk(), W0, W1, *END),
    complete("nothing but an end", *END, shown=""),
    complete("its own name for the end", W0, W1, chunk(finish="eos_token"), "[DONE]"),
    complete("a limit", W0, W1, chunk(finish="length"), "[DONE]", finish="length"),
    complete("the last text with the end", W0, chunk(" w1", "stop"), "[DONE]"),
    complete("no delta at the end", W0, W1, {"model": NAME, "choices": [{"finish_reason": "stop"}]}, "[DONE]"),  # noqa: E501
    complete("letters of other scripts", chunk("w0 ü"), chunk(" 試"), *END, shown="w0 ü 試"),
    complete("a NUL in the text", chunk("w0 \0 w1"), *END, shown="w0 \0 w1"),
    Line("a letter in two packets", [EVENTS, b'data: {"model":"' + NAME.encode() + b'","choices":[{"delta":{"content":"w\xc3', 0.05, b'\xbc"}}]}\n\n', *answer(*END)[1:]], "wü"),  # noqa: E501
    Line("CR and LF in two packets", [EVENTS, data(W0)[:-2] + b"\r", 0.05, b"\n\r\n", *answer(W1, *END)[1:]], "w0 w1"),  # noqa: E501
    Line("an open connection after [DONE]", [*answer(W0, W1, *END), HANG], "w0 w1"),
    Line("a flood after [DONE]", [*answer(W0, W1, *END), *[BIG] * 8], "w0 w1"),
    Line("a reset after [DONE]", [*answer(W0, W1, *END), 0.02, RESET], "w0 w1"),
    Line("pauses between words", [EVENTS, data(W0), 0.2, data(W1), 0.2, *answer(*END)[1:]], "w0 w1"),  # noqa: E501
    Line("a wrong content type", [EVENTS.replace(b"text/event-stream", b"text/html"), *answer(W0, W1, *END)[1:]], "w0 w1"),  # noqa: E501
]  # fmt: skip
LIMITS = [
    complete("more tokens than asked, uncounted", *[W0] * 20, *END, shown="w0" * 8, finish="length"),  # noqa: E501
    complete("more tokens than asked, counted", *[chunk("w", usage={"prompt_tokens": 1, "completion_tokens": 3 * i}) for i in range(1, 9)], *END, shown="ww", finish="length"),  # noqa: E501
    complete("all tokens at once", chunk("w" * 100_000), *END, shown="", finish="length"),
    Line("words without end", [EVENTS, *[data(W0), 0.001] * 2000], "w0" * 8, finish="length"),
    cut("a line of 2 MB", BIG, error=MIDDLE),
    cut("data of 2 MB in small lines", (b"data: " + b"x" * 1000 + b"\n") * 2100, error=MIDDLE),
    failed("a first line of 2 MB", answer(BIG), NOT_AN_ANSWER),
]  # fmt: skip
SHAPES: dict[str, Any] = {
    "null": None, "a number": 5, "a list": [], "a string": "w1", "a truth": True,
    "an empty object": {"model": NAME},
    "no choices": {"model": NAME, "usage": USAGE},
    "choices null": {"model": NAME, "choices": None},
    "choices an object": {"model": NAME, "choices": {"0": {}}},
    "a choice that is null": {"model": NAME, "choices": [None]},
    "two choices": {"model": NAME, "choices": W1["choices"] * 2},
    "another choice": {"model": NAME, "choices": [W1["choices"][0] | {"index": 1}]},
    "no delta": {"model": NAME, "choices": [{"index": 0}]},
    "a delta that is a string": {"model": NAME, "choices": [{"delta": "w1"}]},
    "content a number": chunk() | {"choices": [{"delta": {"content": 5}}]},
    "content a list": chunk() | {"choices": [{"delta": {"content": ["w1"]}}]},
    "a finish reason that is a number": {"model": NAME, "choices": [{"delta": {}, "finish_reason": 1}]},  # noqa: E501
    "a model that is a number": W1 | {"model": 5},
}  # fmt: skip
BROKEN = [
    *(cut(f"JSON of another shape: {what}", data(json.dumps(shape)), *END) for what, shape in SHAPES.items()),  # noqa: E501
    *(failed(f"at first, {what}", answer(data(json.dumps(shape)), *END), NOT_AN_ANSWER) for what, shape in SHAPES.items()),  # noqa: E501
    cut("no JSON", b"data: <html>\n\n", *END),
    cut("half a JSON", b'data: {"model":\n\n', *END),
    cut("no UTF-8", b'data: {"model": "\xff"}\n\n', *END),
    cut("half a surrogate", b'data: {"model": "\\ud800"}\n\n', *END),
    cut("deeply nested JSON", b"data: " + b"[" * 100_000 + b"\n\n", *END),
    cut("NaN", b'data: {"model": NaN}\n\n', *END),
    cut("an error", {"error": {"message": "EngineCore died"}}, "[DONE]"),
    cut("an error that is a string", {"error": "EngineCore died"}, "[DONE]"),
    cut("an error in a named event", b"event: error\n" + data({"error": {"message": HTML}})),
    cut("no [DONE]", STOP),
    cut("no empty line after [DONE]", STOP, b"data: [DONE]\n"),
    cut("no end", error=MIDDLE),
    cut("[DONE] without a reason", "[DONE]", error="stopped in the middle"),
    cut("an abort", chunk(finish="abort"), "[DONE]", error="stopped in the middle"),
    Line("a reset after a word", [*answer(W0), 0.05, RESET], "w0", MIDDLE, "partial", ""),
    Line("silence after a word", [*answer(W0), HANG], "w0", "took longer than", "partial", ""),
    Line("comments for ever", [*answer(W0), *[b": ping\n\n", 0.05] * 120], "w0", "took longer than", "partial", ""),  # noqa: E501
    Line("empty pieces for ever", [*answer(W0), *[data(chunk("")), 0.05] * 120], "w0", "took longer than", "partial", ""),  # noqa: E501
]  # fmt: skip
OTHERS = [
    Line("another model from the start", answer(W0 | {"model": "travel@1"}), "", "answered as 'travel@1'", "failed", "", 2.5),  # noqa: E501
    Line("another model later", answer(W0, W1 | {"model": "travel@1"}, *END), "w0", "answered as 'travel@1'", "partial", "", 2.5),  # noqa: E501
    Line("no model", answer({"choices": W0["choices"]}, *END), "", "answered as nobody", "failed", "", 2.5),  # noqa: E501
    Line("a web page as its name", answer(W0 | {"model": HTML}), "", "answered as something else", "failed", "", 2.5),  # noqa: E501
]  # fmt: skip
REFUSALS = [
    failed("silence", [HANG], "took longer than"),
    failed("a head and then silence", [EVENTS, HANG], "took longer than"),
    failed("half a head", [b"HTTP/1.1 200 OK\r\nContent-", HANG], "took longer than"),
    failed("a reset", [RESET], "cannot be reached"),
    failed("another protocol", [b"SSH-2.0-OpenSSH_9.6\r\n\r\n"], "cannot be reached"),
    failed("a closed connection", [], "cannot be reached"),
    failed("an empty answer", [EVENTS], "closed the connection"),
    failed("a web page", [EVENTS, HTML.encode()], "closed the connection"),
    failed("204", refused(204, ""), "answered 204"),
    *(failed(f"a redirect: {s}", refused(s, "", "Location: http://127.0.0.1:9/"), "another address")
      for s in (301, 302, 303, 307, 308)),
    failed("401", refused(401, '{"error": {"message": "no key"}}'), "answered 401: no key"),
    failed("a 404 of another server", refused(404, HTML), "answered 404."),
    failed("a 404 of another route", refused(404, '{"detail": "Not Found"}'), "answered 404."),
    failed("a forgotten adapter", refused(404, '{"error": {"message": "no such model"}}'), "does not hold", 2.5),  # noqa: E501
    failed("500 with a web page", refused(500, HTML), "answered 500."),
    failed("500 with a web page in JSON", refused(500, json.dumps({"error": {"message": HTML}})), "answered 500."),  # noqa: E501
    failed("500 with a list", refused(500, "[1]"), "answered 500."),
    failed("500 with null", refused(500, "null"), "answered 500."),
    failed("500 with a number for a message", refused(500, '{"error": {"message": 5}}'), "answered 500."),  # noqa: E501
    failed("500 with a string", refused(500, '{"error": "out of memory"}'), "answered 500: out of memory"),  # noqa: E501
    failed("500 with 1 MB", refused(500, "x" * (1 << 20)), "answered 500."),
    failed("500 without its body", [b"HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n", RESET], "cannot be reached"),  # noqa: E501
    failed("502 of a proxy", refused(502, HTML), "answered 502."),
    failed("503", refused(503, ""), "answered 503."),
    failed("429 for two seconds", refused(429, "", "Retry-After: 2"), "answered 429. Try again in 2 seconds", 3.5),  # noqa: E501
    failed("503 until an odd time", refused(503, "", "Retry-After: soon"), "answered 503."),
    failed("a 400 of a proxy", refused(400, HTML), "answered 400."),
    failed("a 400 of its own", refused(400, '{"error": {"message": "no top_k"}}'), "refused the question: no top_k"),  # noqa: E501
    failed("a 400 with a web page", refused(400, json.dumps({"error": {"message": HTML}})), "refused"),  # noqa: E501
]  # fmt: skip
TABLE = [*FORMS, *LIMITS, *BROKEN, *OTHERS, *REFUSALS]


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedEngine]:
    with scripted() as engine:
        yield engine


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory, engine: ScriptedEngine) -> Iterator[Bot]:
    home: Path = tmp_path_factory.mktemp("home")
    with answering(home, FakeVllm(url=engine.url), answer_timeout_s=TIMEOUT_S) as bot:
        yield bot


@dataclass(frozen=True)
class Seen:
    """What a person sees of one answer."""

    text: str
    error: str
    finish: str


def ask(bot: Bot) -> Seen:
    body = {
        "model": "helpdesk",
        "messages": [{"role": "user", "content": "Where?"}],
        "stream": True,
        "max_tokens": MAX_TOKENS,
    }
    text, error, finish, done = "", "", "", False
    with (
        bot.http("member", timeout=20) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        if response.status_code != 200:
            return Seen("", json.loads(response.read())["error"]["message"], "")
        for line in response.iter_lines():
            done = done or line == "data: [DONE]"
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            error = event.get("error", {}).get("message", error)
            for choice in event.get("choices", ()):
                text += choice["delta"].get("content") or ""
                finish = choice["finish_reason"] or finish
    assert done == (not error)
    return Seen(text, error, finish)


def recorded(bot: Bot) -> tuple[str, str, str]:
    """Status, text and finish reason of the newest reply."""
    sql = "SELECT id FROM replies ORDER BY rowid DESC LIMIT 1"
    (newest,) = bot.store.db.query(sql)
    reply = conversations.reply(bot.store.db, newest["id"])
    _, text = conversations.exchange(bot.store.db, reply.id)
    return reply.status, text, reply.finish_reason


@pytest.mark.parametrize("line", TABLE, ids=[line.does for line in TABLE])
def test_what_an_engine_may_do(bot: Bot, engine: ScriptedEngine, line: Line) -> None:
    engine.script = lambda asked: WELL
    wait_until(lambda: ask(bot).text == "All well.", "the engine to be well", 40)
    engine.script = lambda asked: line.script
    seen = ask(bot)
    wait_until(lambda: recorded(bot)[0] != "streaming", "the end of the answer", 20)

    assert recorded(bot) == (line.status, seen.text, line.finish)
    assert seen.text == line.shown
    assert line.error in seen.error
    assert bool(line.error) == bool(seen.error)
    assert "<" not in seen.error
    assert "10.0.0.7" not in seen.error
    assert seen.finish == line.finish

    engine.script = lambda asked: WELL
    began = time.monotonic()
    while (again := ask(bot)).text != "All well.":
        assert time.monotonic() - began < line.well_s + SLOW_MACHINE_S, again.error
        time.sleep(0.1)
    assert recorded(bot) == ("done", "All well.", "stop")


def test_an_endless_line_is_read_no_further_than_its_bound(
    bot: Bot, engine: ScriptedEngine
) -> None:
    """64 MB of it once stood still for everybody, for as long as they took to read."""
    engine.script, engine.sent = lambda asked: answer(W0) + [BIG] * 32, 0
    seen = ask(bot)
    engine.script = lambda asked: WELL
    wait_until(lambda: ask(bot).text == "All well.", "the engine to be well", 40)
    assert seen.text == "w0"
    assert MIDDLE in seen.error
    assert engine.sent < 32 << 20, "it was read to the end"


@pytest.mark.parametrize("what", ["null", "a number", "no choices", "choices null"])
def test_an_answer_of_another_shape_falls_back_and_opens_the_circuit(
    bot: Bot, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The adapter that was live before answers; after three failures the live one is let alone."""
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_S", 60.0)
    second, first = registry.list_adapters(bot.store.db, bot.domain)

    def say(asked: dict[str, Any]) -> Script:
        if asked["model"] == second.served_name:
            return answer(data(json.dumps(SHAPES[what])), *END)
        before = chunk("before", "stop") | {"model": first.served_name}
        return answer(before, "[DONE]")

    engine.script = lambda asked: answer(chunk("w", "stop") | {"model": asked["model"]}, "[DONE]")
    wait_until(lambda: ask(bot).text == "w", "the engine to be well", 40)
    bot.write(lambda db: registry.promote(db, second, "cli:test"))
    try:
        engine.script, asked = say, len(engine.asked)
        for _ in range(5):
            assert ask(bot) == Seen("before", "", "stop")
            assert recorded(bot) == ("done", "before", "stop")
            reply = bot.replies()[-1]
            assert (reply.adapter_id, reply.instead_of) == (first.id, second.id)
        models = [each["model"] for each in engine.asked[asked:]]
        assert models.count(second.served_name) == circuit_breaker.ADAPTER_LIMIT
        assert models.count(first.served_name) == 5
    finally:
        engine.script = lambda asked: WELL
        bot.write(lambda db: registry.promote(db, first, "cli:test"))
        bot.write(lambda db: db.execute("UPDATE replicas SET generation = generation + 1"))


def test_no_question_is_lost_to_an_address_that_a_redirect_names(
    bot: Bot, engine: ScriptedEngine
) -> None:
    with scripted() as elsewhere:
        engine.script = lambda asked: refused(307, "", f"Location: {elsewhere.url}/v1")
        assert "another address" in ask(bot).error
        assert elsewhere.asked == []
    engine.script = lambda asked: WELL


def test_people_learn_how_long_the_engine_wants_to_be_left_alone(
    bot: Bot, engine: ScriptedEngine
) -> None:
    engine.script = lambda asked: refused(429, "", "Retry-After: 1")
    body = {"model": "helpdesk", "messages": [{"role": "user", "content": "Where?"}]}
    with bot.http("member") as http:
        asked = len(engine.asked)
        answers = [http.post("/v1/chat/completions", json=body) for _ in range(3)]
    assert [r.status_code for r in answers] == [503] * 3
    assert {r.headers["Retry-After"] for r in answers} == {"1"}
    assert len(engine.asked) == asked + 1, "it was asked again although it wanted a pause"
    engine.script = lambda asked: WELL
    wait_until(lambda: ask(bot).text == "All well.", "the engine to be asked again", 20)
