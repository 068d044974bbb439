"""Records of Argilla 1 and 2, as the SDK writes them.

Argilla 2: `dataset.to_disk` and `records.to_json` nest the answers by question and say nothing
about their status, so they wait for review; `records.to_datasets` (the Hub) is flat and has the
status. Argilla 1: feedback records with `responses` by annotator, the same as a row of a Hub data
set, and the older text-to-text records. An answer is submitted, a draft or discarded.

https://docs.argilla.io/latest/how_to_guides/import_export/ and, for Argilla 1,
https://docs.v1.argilla.io/en/latest/practical_guides/collect_responses.html
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from data.pair_files.sources import annotations
from data.pair_files.sources.annotations import Annotated
from data.pair_files.sources.translation import Given, Record, RecordSource, Translation, without

ABOUT = frozenset({
    "id", "_server_id", "external_id", "vectors", "inserted_at", "updated_at", "dataset_id",
    "status", "agent", "event_timestamp",
})  # fmt: skip
ANSWER = frozenset({"user_id", "value", "status"})
NO_STATUS = (
    "This export of Argilla does not say which answers were submitted, so they wait for review. "
    "`dataset.records.to_datasets().to_json(FILE)` says so."
)


def _nested(record: Record, given: Given) -> Translation:
    """Argilla 2 by `to_json`, and feedback records of Argilla 1."""
    fields = {**record["fields"]}
    if record.get("metadata"):
        fields["metadata"] = record["metadata"]
    fields |= without(record, {*ABOUT, "fields", "metadata", "responses", "suggestions"})
    responses = record.get("responses") or {}
    suggested = _suggestions(record.get("suggestions") or {})
    if isinstance(responses, Mapping):
        users = [
            (str(each.get("user_id")), each.get("status"), {question: each.get("value")})
            for question, answers in responses.items()
            for each in answers or ()
        ]
    else:
        users = [
            (str(each.get("user_id")), each.get("status"), {question: _value(answer)})
            for each in responses
            for question, answer in (each.get("values") or {"": None}).items()
        ]
    return _translated(fields, users, suggested, given)


def _flat(record: Record, given: Given) -> Translation:
    """Argilla 2 by `to_datasets`: `answer.responses`, `.users`, `.status`, `answer.suggestion`."""
    users, suggested, used = [], {}, set[str]()
    for key, value in record.items():
        question, dot, kind = key.rpartition(".")
        if dot and kind == "suggestion":
            used |= {key, f"{key}.score", f"{key}.agent"}
            if value is not None:
                suggested[question] = value
        elif dot and kind == "responses":
            used |= {key, f"{key}.users", f"{key}.status"}
            names = record.get(f"{key}.users") or []
            statuses = record.get(f"{key}.status") or []
            for number, answer in enumerate(value or []):
                user = names[number] if number < len(names) else str(number)
                status = statuses[number] if number < len(statuses) else None
                users.append((str(user), status, {question: answer}))
    return _translated(without(record, {*ABOUT, *used}), users, suggested, given)


def _hub_of_1(record: Record, given: Given) -> Translation:
    """A feedback record of Argilla 1 on the Hub: each question is a column with its answers."""
    users, suggested, used = [], {}, set[str]()
    for key, value in record.items():
        if key.endswith("-suggestion"):
            used |= {key, f"{key}-metadata"}
            if value is not None:
                suggested[key.removesuffix("-suggestion")] = value
        elif _are_answers(value):
            used.add(key)
            users += [(str(u), status, {key: answer}) for u, status, answer in _each_answer(value)]
    return _translated(without(record, {*ABOUT, *used}), users, suggested, given)


def _text_to_text(record: Record, given: Given) -> Translation:
    """Argilla 1's older records: `text`, `annotation`, and `prediction` by a model."""
    fields = without(record, {
        *ABOUT, "text", "annotation", "annotation_agent", "prediction", "prediction_agent",
        "metrics", "search_keywords",
    })  # fmt: skip
    status = str(record.get("status"))
    if status == "Discarded":
        return Translation(left_out="discarded by the annotator")
    predicted = record.get("prediction") or []
    first = predicted[0] if predicted else None
    draft = first.get("text") if isinstance(first, Mapping) else first[0] if first else None
    about = Annotated(
        {"prompt": record["text"], **fields},
        submitted=[{"response": record["annotation"]}]
        if record.get("annotation") and status == "Validated"
        else [],
        drafts=[{"response": text} for text in (record.get("annotation"), draft) if text],
    )
    return annotations.translate(about, given)


def _translated(
    fields: Record,
    users: list[tuple[str, str | None, dict[str, Any]]],
    suggested: Record,
    given: Given,
) -> Translation:
    """`users`: user, status and answer, by question."""
    by_user: dict[str, dict[str, Any]] = {}
    status_of: dict[str, str | None] = {}
    for user, status, answer in users:
        by_user.setdefault(user, {}).update({q: v for q, v in answer.items() if v is not None})
        status_of[user] = status
    in_state = {
        state: [
            answers for user, answers in by_user.items() if status_of[user] == state and answers
        ]
        for state in ("submitted", "draft", None)
    }
    about = Annotated(
        fields,
        submitted=in_state["submitted"],
        drafts=[*in_state[None], *in_state["draft"], *([suggested] if suggested else [])],
        discarded="discarded" in status_of.values(),
    )
    found = annotations.translate(about, given)
    if in_state[None] and found.rows:
        return Translation(found.rows, note=NO_STATUS)
    return found


def _suggestions(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return {question: _value(each) for question, each in given.items()}
    return {each["question_name"]: each.get("value") for each in given if "question_name" in each}


def _value(answer: Any) -> Any:
    return answer.get("value") if isinstance(answer, Mapping) else answer


def _are_answers(value: Any) -> bool:
    """Whether a value holds answers, as a list of objects or as an object of lists."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(v, dict) and v.keys() == ANSWER for v in value)
    return isinstance(value, dict) and value.keys() == ANSWER


def _each_answer(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    if isinstance(value, dict):
        yield from zip(value["user_id"], value["status"], value["value"], strict=False)
    else:
        for each in value:
            yield each["user_id"], each["status"], each["value"]


def _has_flat_answers(keys: Collection[str]) -> bool:
    return any(key.endswith((".responses.status", ".suggestion.agent")) for key in keys)


SOURCES = (
    RecordSource(
        "records of Argilla",
        lambda keys: "fields" in keys and bool({"responses", "suggestions"} & set(keys)),
        _nested,
        lambda record: isinstance(record["fields"], Mapping),
    ),
    RecordSource("records of Argilla", _has_flat_answers, _flat),
    RecordSource(
        "records of Argilla 1",
        lambda keys: (
            any(key.endswith("-suggestion-metadata") for key in keys) or "external_id" in keys
        ),
        _hub_of_1,
        lambda record: (
            any(map(_are_answers, record.values()))
            or any(key.endswith("-suggestion-metadata") for key in record)
        ),
    ),
    RecordSource(
        "records of Argilla 1",
        lambda keys: {"text", "annotation", "prediction", "status"} <= set(keys),
        _text_to_text,
        lambda record: record["status"] in ("Validated", "Default", "Discarded", "Edited"),
    ),
)
