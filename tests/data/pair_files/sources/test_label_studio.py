"""Tasks of Label Studio: JSON as its API exports it, and the short forms of its converter."""

import json
from pathlib import Path
from typing import Any

from data.pair_files.verdicts import LeftOut
from data.pairs.judged_answers import JudgedDraft
from data.pairs.pairs import Draft
from tests.data.pair_files.sources.given import read_records, read_with

QUESTION = {"question": "Is it open?"}
STAMPS = {
    "annotator": 1, "annotation_id": 12, "created_at": "2024-05-02T10:00:00Z",
    "updated_at": "2024-05-02T10:00:00Z", "lead_time": 4.2,
}  # fmt: skip


def result(name: str, kind: str, **value: Any) -> dict[str, Any]:
    return {
        "id": "aB3x", "from_name": name, "to_name": "q", "type": kind, "origin": "manual",
        "value": value,
    }  # fmt: skip


def annotation(*results: dict[str, Any], cancelled: bool = False) -> dict[str, Any]:
    return {
        "id": 12, "completed_by": 1, "result": list(results), "was_cancelled": cancelled,
        "ground_truth": False, "created_at": "2024-05-02T10:00:00Z", "lead_time": 4.2, "task": 1,
        "draft_created_at": None, "prediction": {}, "result_count": 1, "unique_id": "5d1",
    }  # fmt: skip


def task(data: dict[str, Any], *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": 1, "annotations": list(annotations), "file_upload": "a.json", "drafts": [],
        "predictions": [], "data": data, "meta": {}, "created_at": "2024-05-02T10:00:00Z",
        "inner_id": 1, "total_annotations": 1, "cancelled_annotations": 0, "project": 3, **more,
    }  # fmt: skip


def answer(text: str) -> dict[str, Any]:
    return result("answer", "textarea", text=[text])


def test_the_text_of_an_annotator_is_the_answer(tmp_path: Path) -> None:
    file = tmp_path / "project-1.json"
    file.write_text(json.dumps([task(QUESTION, annotation(answer("Yes.")))], indent=1))
    found, reading = read_with(file)
    assert found == [Draft("Is it open?", "Yes.")]
    assert reading.columns.notes() == ["Read as tasks of Label Studio: 1."]
    assert reading.columns.unused == {}


def test_a_skipped_task_is_never_a_pair(tmp_path: Path) -> None:
    skipped = annotation(answer("Yes."), cancelled=True)
    assert read_records(tmp_path, task(QUESTION, skipped)) == [
        LeftOut(1, "discarded by the annotator")
    ]
    assert read_records(tmp_path, task(QUESTION, annotation(answer("Yes.")), skipped)) == [
        Draft("Is it open?", "Yes.", status="pending")
    ]


def test_drafts_and_predictions_wait_for_review(tmp_path: Path) -> None:
    draft = {"id": 3, "result": [answer("Perhaps.")], "created_username": "ada@b.io"}
    guess = {"model_version": "m", "score": 0.4, "result": [answer("No.")]}
    assert read_records(
        tmp_path,
        task(QUESTION, drafts=[draft]),
        task(QUESTION, predictions=[guess]),
        task(QUESTION),
    ) == [
        Draft("Is it open?", "Perhaps.", status="pending"),
        Draft("Is it open?", "No.", status="pending"),
        LeftOut(3, "no annotator has answered"),
    ]


def test_choices_and_ratings_about_an_answer(tmp_path: Path) -> None:
    data = {"prompt": "Is it open?", "response": "Always."}
    assert read_records(
        tmp_path,
        task(data, annotation(result("quality", "choices", choices=["Good"]))),
        task(data, annotation(result("quality", "choices", choices=["Bad"]))),
        task(data, annotation(result("stars", "rating", rating=4))),
        task(data, annotation(result("topic", "choices", choices=["desk"]))),
    ) == [
        JudgedDraft("Is it open?", "Always.", True),
        JudgedDraft("Is it open?", "Always.", False),
        Draft("Is it open?", "Always.", status="pending"),
        Draft("Is it open?", "Always."),
    ]


def test_a_pairwise_comparison_becomes_rated_answers(tmp_path: Path) -> None:
    data = {"prompt": "Is it open?", "answer1": "No.", "answer2": "Yes."}
    right = result("comparison", "pairwise", selected="right")
    assert read_records(tmp_path, task(data, annotation(right))) == [
        JudgedDraft("Is it open?", "Yes.", True),
        JudgedDraft("Is it open?", "No.", False),
    ]


def test_json_min(tmp_path: Path) -> None:
    assert read_records(
        tmp_path,
        {"id": 1, **QUESTION, "answer": "Yes.", **STAMPS},
        {"id": 2, **QUESTION, "answer": [{"text": ["Yes."]}, {"text": ["From 8."]}], **STAMPS},
        {"id": 3, **QUESTION, "answer": "Yes.", "quality": "good", **STAMPS},
        {"id": 4, **QUESTION, "answer": "Yes.", "stars": [{"rating": 2}], **STAMPS},
    ) == [
        Draft("Is it open?", "Yes."),
        Draft("Is it open?", "Yes.\nFrom 8."),
        JudgedDraft("Is it open?", "Yes.", True),
        Draft("Is it open?", "Yes.", status="pending"),
    ]


def test_a_table(tmp_path: Path) -> None:
    file = tmp_path / "project-1.csv"
    file.write_text(
        '"annotation_id","annotator","answer","created_at","id","lead_time","question",'
        '"sure","updated_at"\n'
        '12,"1","Yes.","2024-05-02",1,4.2,"Is it open?","bad","2024-05-02"\n'
        '13,"1","[{""text"": [""No."", ""Closed.""]}]","2024-05-02",2,4.2,"And now?","",'
        '"2024-05-02"\n'
    )
    found, reading = read_with(file)
    assert found == [JudgedDraft("Is it open?", "Yes.", False), Draft("And now?", "No.\nClosed.")]
    assert reading.columns.unused == {}
