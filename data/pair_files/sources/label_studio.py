"""Tasks of Label Studio: JSON, and the short forms JSON-MIN, CSV and TSV.

A task has its texts under `data`, and one annotation for each annotator, whose `result` has a value
for each control: `text` (TextArea), `choices`, `rating` or `selected` (Pairwise). An annotation
that was cancelled was skipped. The short forms leave those out and put texts and results side by
side.

https://labelstud.io/guide/task_format and https://labelstud.io/guide/export
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from data.pair_files.sources import annotations
from data.pair_files.sources.annotations import Annotated, Answers
from data.pair_files.sources.translation import Given, Record, RecordSource, Translation, without

TASK = frozenset({
    "id", "data", "annotations", "completions", "drafts", "predictions", "meta", "created_at",
    "updated_at", "inner_id", "total_annotations", "cancelled_annotations", "total_predictions",
    "comment_count", "unresolved_comment_count", "last_comment_updated_at", "project", "updated_by",
    "comment_authors", "file_upload", "allow_skip", "agreement", "precomputed_agreement",
    "is_labeled", "overlap", "state", "comments", "reviewers", "annotators",
})  # fmt: skip
SHORT = frozenset({
    "id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement",
})  # fmt: skip


def _task(record: Record, given: Given) -> Translation:
    data = record["data"]
    done = record.get("annotations", record.get("completions")) or []
    kept = [each for each in done if not (each.get("was_cancelled") or each.get("skipped"))]
    proposed = [*(record.get("drafts") or []), *(record.get("predictions") or [])]
    about = Annotated(
        {**data, **without(record, TASK)},
        submitted=[found for each in kept if (found := _answers(each.get("result"), data))],
        drafts=[found for each in proposed if (found := _answers(each.get("result"), data))],
        discarded=len(kept) < len(done),
    )
    return annotations.translate(about, given)


def _short(record: Record, given: Given) -> Translation:
    """JSON-MIN or a row of the table."""
    answers: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for key, value in without(record, SHORT).items():
        value = _parsed(value)
        if isinstance(value, list) and all(isinstance(each, dict) for each in value) and value:
            found = _merged(value, record)
            (fields if found is None else answers)[key] = value if found is None else found
        elif isinstance(value, str) and annotations.is_rating_word(value):
            answers[key] = value
        else:
            fields[key] = value
    return annotations.translate(Annotated(fields, submitted=[answers]), given)


def _answers(result: Any, data: Record) -> Answers:
    """The values of an annotation by control."""
    values: dict[str, list[Any]] = {}
    for region in result or []:
        if isinstance(region.get("value"), Mapping) and region.get("from_name"):
            values.setdefault(region["from_name"], []).append(region["value"])
    answers = {name: _merged(found, data) for name, found in values.items()}
    return {name: value for name, value in answers.items() if value is not None}


def _merged(values: Sequence[Record], data: Record) -> Any:
    """The values of one control as one; None if they are nothing that can be learned."""
    first = values[0]
    if "text" in first:
        return "\n".join(_text(value.get("text")) for value in values)
    if "choices" in first:
        chosen = [choice for value in values for choice in value.get("choices") or []]
        return chosen[0] if len(chosen) == 1 else chosen
    if "rating" in first:
        return first["rating"]
    if "number" in first:
        return first["number"]
    if "selected" in first:
        return _side(str(first["selected"]), data)
    return None


def _side(selected: str, data: Record) -> str:
    """The text that a pairwise comparison selects: the first of the compared ones is the left."""
    compared = [key for key, value in data.items() if annotations.is_compared(key, value)]
    if len(compared) != 2 or selected not in ("left", "right"):
        return selected
    return compared[selected == "right"]


def _text(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _parsed(value: Any) -> Any:
    """A cell of the table that holds JSON."""
    if isinstance(value, str) and value.startswith("[{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


SOURCES = (
    RecordSource(
        "tasks of Label Studio",
        lambda keys: "data" in keys and bool({"annotations", "completions"} & set(keys)),
        _task,
        lambda record: isinstance(record["data"], Mapping),
    ),
    RecordSource(
        "tasks of Label Studio",
        lambda keys: {"annotator", "annotation_id", "lead_time"} <= set(keys),
        _short,
    ),
)
