"""OpenAI's batch input and output files, with the keys that the API reference lists."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from data.domains import Domain
from data.pair_files import files, importer
from data.pair_files.verdicts import BadRow
from data.pairs import pairs
from data.pairs.pairs import Draft, Turn
from data.store.db import Store


def request(number: int, *before: dict[str, str], **body: Any) -> dict[str, Any]:
    messages = [*before, {"role": "user", "content": f"Question {number}?"}]
    return {
        "custom_id": f"request-{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-4o-mini", "messages": messages, "max_tokens": 100} | body,
    }


def answered(number: int, text: str = "Yes.", finish: str = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None} | more
    return {
        "id": f"batch_req_{number}",
        "custom_id": f"request-{number}",
        "response": {
            "status_code": 200,
            "request_id": "req_17",
            "body": {
                "id": "chatcmpl-17",
                "object": "chat.completion",
                "created": 1711652795,
                "model": "gpt-4o-mini",
                "choices": [
                    {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
                ],
                "usage": {"prompt_tokens": 22, "completion_tokens": 2, "total_tokens": 24},
            },
        },
        "error": None,
    }


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("output_first", [False, True])
def test_both_files_in_a_zip_become_pairs(
    store: Store, domain: Domain, tmp_path: Path, output_first: bool
) -> None:
    system = {"role": "system", "content": "Be brief."}
    earlier = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    given = {
        "batch_input.jsonl": lines(request(1, system), request(2, *earlier), request(3)),
        "batch_17_output.jsonl": lines(answered(2), answered(1), answered(9)),
    }
    with zipfile.ZipFile(tmp_path / "batch.zip", "w") as archive:
        for name in sorted(given, reverse=not output_first):
            archive.writestr(name, given[name])
    report = importer.import_file(store, domain, tmp_path / "batch.zip")
    found = {(p.prompt, p.response, p.system, p.turns) for p in pairs.list_pairs(store.db, domain)}
    assert found == {
        ("Question 1?", "Yes.", "Be brief.", ()),
        ("Question 2?", "Yes.", "", (Turn("user", "Hi"), Turn("assistant", "Hello"))),
    }
    assert dict(report.left_out) == {"a request of a batch without an answer": 1}
    (bad,) = report.bad
    assert (bad.member, bad.line) == ("batch_17_output.jsonl", 3)
    assert "the answer of a batch without its question" in bad.reason


def test_an_output_alone_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "output.jsonl").write_text(lines(answered(1)))
    (bad,) = files.read(tmp_path / "output.jsonl")
    assert isinstance(bad, BadRow)
    assert "put the batch's input file and this output file into one zip archive" in bad.reason


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answered(1, finish="length"), "the answer was cut off (length)"),
        (answered(1, tool_calls=[{"id": "call_1"}]), "the bot calls no tools"),
        (answered(1) | {"response": None, "error": {"message": "expired"}}, "failed: expired"),
        (
            answered(1)
            | {"response": {"status_code": 400, "body": {"error": {"message": "too long"}}}},
            "failed: too long",
        ),
        (answered(1) | {"response": {"status_code": 200, "body": {"output": [7]}}}, "differently"),
    ],
)
def test_what_is_no_answer_is_refused(tmp_path: Path, answer: Any, words: str) -> None:
    (tmp_path / "a.jsonl").write_text(lines(answer))
    (bad,) = files.read(tmp_path / "a.jsonl")
    assert isinstance(bad, BadRow)
    assert words in bad.reason


def test_requests_with_tools_are_refused(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "search"}}]
    (tmp_path / "a.jsonl").write_text(lines(request(1, tools=tools), answered(1)))
    (bad,) = files.read(tmp_path / "a.jsonl")
    assert isinstance(bad, BadRow)
    assert "it has tools" in bad.reason


def test_the_responses_endpoint_is_read(tmp_path: Path) -> None:
    asked = {
        "custom_id": "r",
        "method": "POST",
        "url": "/v1/responses",
        "body": {"model": "gpt-4.1", "instructions": "Be brief.", "input": "Is it open?"},
    }
    content = [{"type": "output_text", "text": "Yes.", "annotations": []}]
    said = {"type": "message", "role": "assistant", "status": "completed", "content": content}
    body = {"object": "response", "status": "completed", "output": [{"type": "reasoning"}, said]}
    answer = {"id": "b", "custom_id": "r", "error": None,
              "response": {"status_code": 200, "request_id": "q", "body": body}}  # fmt: skip
    (tmp_path / "a.jsonl").write_text(lines(asked, answer))
    assert list(files.read(tmp_path / "a.jsonl")) == [
        Draft("Is it open?", "Yes.", system="Be brief.")
    ]
