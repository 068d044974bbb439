"""Records of Argilla 1 and 2, built as their SDKs build them."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.pair_files.verdicts import BadRow, LeftOut
from data.pairs.judged_answers import JudgedDraft
from data.pairs.pairs import Draft
from tests.data.pair_files.sources.given import read_records, read_with

ADA, BEN, CY = "f7a9", "0b1c", "77de"


def flat(answers: list[tuple[str, str, Any]], **more: Any) -> dict[str, Any]:
    """A record of Argilla 2 as `records.to_datasets()` gives it: (user, status, answer)."""
    return {
        "id": "7f1d", "status": "completed", "_server_id": "c2a1",
        "instruction": "When does the desk open?",
        "answer.responses": [answer for _, _, answer in answers],
        "answer.responses.users": [user for user, _, _ in answers],
        "answer.responses.status": [status for _, status, _ in answers],
        **more,
    }  # fmt: skip


def test_a_submitted_answer_is_a_pair(tmp_path: Path) -> None:
    found = read_records(tmp_path, flat([(ADA, "submitted", "At 8.")]))
    assert found == [Draft("When does the desk open?", "At 8.")]


def test_a_discarded_answer_is_never_a_pair(tmp_path: Path) -> None:
    found = read_records(tmp_path, flat([(ADA, "discarded", "At 8.")]))
    assert found == [LeftOut(1, "discarded by the annotator")]


def test_a_draft_waits_for_review(tmp_path: Path) -> None:
    found = read_records(tmp_path, flat([(ADA, "draft", "At 8.")]))
    assert found == [Draft("When does the desk open?", "At 8.", status="pending")]


def test_annotators_who_agree_make_one_pair(tmp_path: Path) -> None:
    found = read_records(tmp_path, flat([(ADA, "submitted", "At 8."), (BEN, "submitted", "At 8.")]))
    assert found == [Draft("When does the desk open?", "At 8.")]


def test_answers_of_annotators_who_differ_all_wait(tmp_path: Path) -> None:
    found = read_records(tmp_path, flat([(ADA, "submitted", "At 8."), (BEN, "submitted", "At 9.")]))
    assert [(d.response, d.status) for d in found if isinstance(d, Draft)] == [
        ("At 8.", "pending"), ("At 9.", "pending"),
    ]  # fmt: skip


def test_an_answer_that_another_annotator_discarded_waits(tmp_path: Path) -> None:
    found = read_records(tmp_path, flat([(ADA, "submitted", "At 8."), (BEN, "discarded", None)]))
    assert found == [Draft("When does the desk open?", "At 8.", status="pending")]


def test_a_suggestion_alone_waits_for_review(tmp_path: Path) -> None:
    suggested = {
        "answer.suggestion": "At 8.", "answer.suggestion.score": 0.7, "answer.suggestion.agent": "m"
    }  # fmt: skip
    record = {"id": "1", "instruction": "When does the desk open?", **suggested}
    assert read_records(tmp_path, record) == [
        Draft("When does the desk open?", "At 8.", status="pending")
    ]
    assert read_records(tmp_path, flat([(ADA, "submitted", "At 9.")], **suggested)) == [
        Draft("When does the desk open?", "At 9.")
    ]


def test_a_record_that_nobody_answered_is_left_out(tmp_path: Path) -> None:
    found = read_records(tmp_path, flat([]))
    assert found == [LeftOut(1, "no annotator has answered")]


def rated(*labels: str) -> dict[str, Any]:
    users = [ADA, BEN, CY][: len(labels)]
    return {
        "id": "1", "prompt": "Is it open?", "response": "Always.",
        "quality.responses": list(labels), "quality.responses.users": users,
        "quality.responses.status": ["submitted"] * len(labels),
    }  # fmt: skip


def test_ratings_become_rated_answers_by_majority(tmp_path: Path) -> None:
    assert read_records(tmp_path, rated("good")) == [JudgedDraft("Is it open?", "Always.", True)]
    assert read_records(tmp_path, rated("bad", "good", "bad")) == [
        JudgedDraft("Is it open?", "Always.", False)
    ]
    assert read_records(tmp_path, rated("bad", "good")) == [LeftOut(1, "the annotators disagree")]


def test_remarks_do_not_make_annotators_disagree(tmp_path: Path) -> None:
    remarks = {
        "reason.responses": ["True.", "I checked."], "reason.responses.users": [ADA, BEN],
        "reason.responses.status": ["submitted", "submitted"],
    }  # fmt: skip
    (found,) = read_records(tmp_path, rated("good", "good") | remarks)
    assert found == JudgedDraft("Is it open?", "Always.", True)


def test_a_rating_on_a_scale_waits_for_review(tmp_path: Path) -> None:
    record = rated("x") | {"quality.responses": [4]}
    assert read_records(tmp_path, record) == [Draft("Is it open?", "Always.", status="pending")]


@pytest.mark.parametrize(
    "value",
    ["response-b", "Response B", [{"value": "response-b", "rank": 1},
                                  {"value": "response-a", "rank": 2}]],
)  # fmt: skip
def test_a_preference_becomes_rated_answers(tmp_path: Path, value: Any) -> None:
    record = {
        "id": "1", "fields": {"prompt": "Is it open?", "response-a": "No.", "response-b": "Yes."},
        "metadata": {}, "suggestions": {}, "vectors": {}, "_server_id": "2",
        "responses": {"preference": [{"value": value, "user_id": ADA, "status": "submitted"}]},
    }  # fmt: skip
    assert read_records(tmp_path, record) == [
        JudgedDraft("Is it open?", "Yes.", True),
        JudgedDraft("Is it open?", "No.", False),
    ]


def test_a_preference_with_an_improved_answer_makes_a_pair_as_well(tmp_path: Path) -> None:
    record = {
        "id": "1", "prompt": "Is it open?", "response_a": "No.", "response_b": "Yes.",
        "best.responses": ["response_b"], "best.responses.users": [ADA],
        "best.responses.status": ["submitted"], "improved.responses": ["Yes, from 8."],
        "improved.responses.users": [ADA], "improved.responses.status": ["submitted"],
    }  # fmt: skip
    assert read_records(tmp_path, record) == [
        Draft("Is it open?", "Yes, from 8."),
        JudgedDraft("Is it open?", "Yes.", True),
        JudgedDraft("Is it open?", "No.", False),
    ]


def test_a_corrected_answer_replaces_that_of_the_model(tmp_path: Path) -> None:
    record = {
        "id": "1", "prompt": "Is it open?", "response": "Always.",
        "corrected_text.responses": ["From 8."], "corrected_text.responses.users": [ADA],
        "corrected_text.responses.status": ["submitted"],
    }  # fmt: skip
    assert read_records(tmp_path, record) == [Draft("Is it open?", "From 8.")]


def test_records_json_of_argilla_2_waits_because_it_has_no_status(tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    record = {
        "id": "1", "fields": {"text": "Is it open?"}, "metadata": {"topic": "desk"},
        "suggestions": {"answer": {"value": "Perhaps.", "score": None, "agent": "m"}},
        "responses": {"answer": [{"value": "Yes.", "user_id": ADA}]},
        "vectors": {}, "_server_id": "2",
    }  # fmt: skip
    file.write_text(json.dumps([record], indent=2))
    found, reading = read_with(file)
    assert found == [Draft("Is it open?", "Yes.", status="pending")]
    assert reading.columns.unused == {"metadata": 1}
    first, second = reading.columns.notes()
    assert first == "Read as records of Argilla: 1."
    assert "does not say which answers were submitted" in second


def test_feedback_records_of_argilla_1(tmp_path: Path) -> None:
    def record(status: str) -> dict[str, Any]:
        return {
            "id": "1", "fields": {"question": "Is it open?"}, "metadata": {}, "external_id": None,
            "responses": [
                {"user_id": ADA, "status": status, "values": {"answer": {"value": "Yes."}}}
            ],
            "suggestions": [
                {"question_name": "answer", "value": "No.", "type": "model", "agent": "m"}
            ],
        }  # fmt: skip

    assert read_records(tmp_path, record("submitted"), record("discarded"), record("draft")) == [
        Draft("Is it open?", "Yes."),
        LeftOut(2, "discarded by the annotator"),
        Draft("Is it open?", "Yes.", status="pending"),
    ]


@pytest.mark.parametrize("as_lists", [False, True])
def test_a_data_set_of_argilla_1_on_the_hub(tmp_path: Path, as_lists: bool) -> None:
    each = [
        {"user_id": ADA, "value": "Yes.", "status": "submitted"},
        {"user_id": BEN, "value": "Yes.", "status": "submitted"},
    ]
    answers = {key: [one[key] for one in each] for key in each[0]} if as_lists else each
    record = {
        "question": "Is it open?", "reply": answers, "reply-suggestion": "No.",
        "reply-suggestion-metadata": {"type": None, "score": None, "agent": None},
        "external_id": None, "metadata": "{}",
    }  # fmt: skip
    assert read_records(tmp_path, record) == [Draft("Is it open?", "Yes.")]


def test_text_to_text_records_of_argilla_1(tmp_path: Path) -> None:
    record: dict[str, Any] = {
        "id": "1", "text": "Is it open?", "annotation": "Yes.", "annotation_agent": "ada",
        "prediction": [{"text": "No.", "score": 0.9}], "prediction_agent": "m",
        "status": "Validated", "metadata": {}, "vectors": None, "metrics": {},
    }  # fmt: skip
    discarded = record | {"status": "Discarded"}
    open_ = record | {"status": "Default", "annotation": None}
    assert read_records(tmp_path, record, discarded, open_) == [
        Draft("Is it open?", "Yes."),
        LeftOut(2, "discarded by the annotator"),
        Draft("Is it open?", "No.", status="pending"),
    ]


def test_the_mapping_names_fields_and_questions(tmp_path: Path) -> None:
    record = {
        "id": "1", "heading": "Desk", "text": "Is it open?",
        "comment.responses": ["Nice."], "comment.responses.users": [ADA],
        "comment.responses.status": ["submitted"], "words.responses": ["Yes."],
        "words.responses.users": [ADA], "words.responses.status": ["submitted"],
    }  # fmt: skip
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(record))
    (bad,), _ = read_with(file)
    assert isinstance(bad, BadRow)
    assert "heading, text, comment, words: --map" in bad.reason
    assert read_with(file, "question=text,answer=words")[0] == [Draft("Is it open?", "Yes.")]


def test_a_record_that_is_built_differently_is_a_bad_row(tmp_path: Path) -> None:
    record = {"fields": {"text": "a"}, "responses": {"answer": ["Yes."]}}
    (bad,) = read_records(tmp_path, record)
    assert isinstance(bad, BadRow)
    assert "resembles the records of Argilla" in bad.reason
