"""Data rows of Labelbox, as a project's export writes them, one a line (NDJSON).

A data row holds its text or a conversation under `row_data`, and the labels of each project: one
for each annotator, with classifications that answer a question in words (`text_answer`) or by a
choice (`radio_answer`). For model comparisons `row_data` is JSON with `messages` and
`modelOutputs`. Only labels of rows that are done count; others wait for review.

https://docs.labelbox.com/reference/label-export and
https://docs.labelbox.com/reference/export-llm-human-preference-annotations
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from data.pair_files.sources import annotations
from data.pair_files.sources.annotations import Annotated, Answers
from data.pair_files.sources.translation import Given, Record, RecordSource, Translation, without

ABOUT = frozenset({"data_row", "media_details", "media_type", "projects", "embeddings"})
DONE = frozenset({"DONE", ""})  # '': the export lacks the project's details


def _data_row(record: Record, given: Given) -> Translation:
    text = record["data_row"].get("row_data")
    if isinstance(text, str) and text.startswith(("https://", "http://", "gs://", "s3://")):
        return Translation(
            left_out="its text is not in the file but behind a link; put it under row_data"
        )
    fields = _fields(text) | {key: value for key, value in without(record, ABOUT).items() if value}
    submitted: list[Answers] = []
    drafts: list[Answers] = []
    for project in (record.get("projects") or {}).values():
        state = str((project.get("project_details") or {}).get("workflow_status") or "")
        for label in project.get("labels") or []:
            if answers := _answers(label):
                (submitted if state in DONE else drafts).append(answers)
    return annotations.translate(Annotated(fields, submitted, drafts), given)


def _fields(text: Any) -> dict[str, Any]:
    """The texts of a data row."""
    if isinstance(text, str) and text.lstrip().startswith("{"):
        try:
            text = json.loads(text)
        except ValueError:
            return {"prompt": text}
    if not isinstance(text, Mapping):
        return {"prompt": text} if text else {}
    messages = [_message(each) for each in text.get("messages") or []]
    fields: dict[str, Any] = {"prompt": messages} if messages else {}
    for output in text.get("modelOutputs") or []:
        fields[str(output.get("title"))] = output.get("content")
    known = {"type", "version", "messages", "modelOutputs"}
    return fields | {key: value for key, value in text.items() if key not in known}


def _message(found: Record) -> dict[str, Any]:
    """A message; those on the right are the customer's in Labelbox's own examples, but the user's
    name tells better."""
    user = found.get("user") or {}
    name = str(user.get("name") or user.get("userId") or "").casefold()
    is_bot = any(word in name for word in ("bot", "assistant", "agent", "model", "gpt"))
    return {"role": "assistant" if is_bot else "user", "content": found.get("content")}


def _answers(label: Record) -> Answers:
    found = (label.get("annotations") or {}).get("classifications") or []
    return dict(_each_answer(found))


def _each_answer(classifications: Any) -> Iterator[tuple[str, Any]]:
    for one in classifications:
        name = str(one.get("name"))
        if "text_answer" in one:
            yield name, (one["text_answer"] or {}).get("content")
        elif "radio_answer" in one:
            answer = one["radio_answer"] or {}
            yield name, answer.get("name")
            yield from _each_answer(answer.get("classifications") or [])
        elif "checklist_answers" in one:
            yield name, [each.get("name") for each in one["checklist_answers"] or []]


SOURCES = (
    RecordSource(
        "data rows of Labelbox",
        lambda keys: {"data_row", "projects"} <= set(keys),
        _data_row,
        lambda record: isinstance(record["data_row"], Mapping),
    ),
)
