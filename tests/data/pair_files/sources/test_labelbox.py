"""Data rows of Labelbox, as `project.export()` streams them."""

import json
from pathlib import Path
from typing import Any

from data.pair_files.verdicts import LeftOut
from data.pairs.judged_answers import JudgedDraft
from data.pairs.pairs import Draft, Turn
from tests.data.pair_files.sources.given import read_records

SCHEMA = {"feature_id": "clp8gzc7a", "feature_schema_id": "clp8fepqc"}


def text(name: str, content: str) -> dict[str, Any]:
    return {**SCHEMA, "name": name, "value": name, "text_answer": {"content": content}}


def radio(name: str, choice: str) -> dict[str, Any]:
    answer = {**SCHEMA, "name": choice, "value": choice, "classifications": []}
    return {**SCHEMA, "name": name, "value": name, "radio_answer": answer}


def label(*classifications: dict[str, Any]) -> dict[str, Any]:
    return {
        "label_kind": "Default", "version": "1.0.0", "id": "clq1",
        "label_details": {"created_at": "2024-01-11T17:30:21", "created_by": "ada@example.com"},
        "annotations": {
            "objects": [], "classifications": list(classifications), "relationships": []
        },
    }  # fmt: skip


def data_row(row_data: Any, *labels: dict[str, Any], state: str = "DONE") -> dict[str, Any]:
    project = {
        "name": "Desk", "labels": list(labels),
        "project_details": {"ontology_id": "clo1", "workflow_status": state, "priority": 5},
    }  # fmt: skip
    return {
        "data_row": {"id": "clr1", "global_key": "k1", "row_data": row_data, "details": {}},
        "media_details": {"mime_type": "text/plain"}, "attachments": [], "metadata_fields": [],
        "projects": {"clr2": project},
    }  # fmt: skip


def test_a_free_form_answer_is_a_pair(tmp_path: Path) -> None:
    row = data_row("Is it open?", label(text("Answer", "Yes.")))
    assert read_records(tmp_path, row) == [Draft("Is it open?", "Yes.")]


def test_labels_that_are_not_done_wait_for_review(tmp_path: Path) -> None:
    row = data_row("Is it open?", label(text("Answer", "Yes.")), state="IN_REVIEW")
    assert read_records(tmp_path, row) == [Draft("Is it open?", "Yes.", status="pending")]
    assert read_records(tmp_path, data_row("Is it open?", state="TO_LABEL")) == [
        LeftOut(1, "no annotator has answered")
    ]


def test_a_comparison_of_models_becomes_rated_answers(tmp_path: Path) -> None:
    conversation = {
        "type": "application/conversational", "version": 1,
        "messages": [
            {"messageId": "1", "content": "Hello", "align": "right", "user": {"name": "Guest"}},
            {"messageId": "2", "content": "Hi!", "align": "left", "user": {"name": "Chatbot"}},
            {"messageId": "3", "content": "Open?", "align": "right", "user": {"name": "Guest"}},
        ],
        "modelOutputs": [
            {"title": "Response A", "content": "No.", "modelConfigName": "m-1"},
            {"title": "Response B", "content": "Yes.", "modelConfigName": "m-2"},
        ],
    }  # fmt: skip
    turns = (Turn("user", "Hello"), Turn("assistant", "Hi!"))
    given = label(radio("Choose the best response", "Response B"), text("Why?", "It is true."))
    assert read_records(tmp_path, data_row(json.dumps(conversation), given)) == [
        JudgedDraft("Open?", "Yes.", True, "", turns),
        JudgedDraft("Open?", "No.", False, "", turns),
    ]
    tie = label(radio("Choose the best response", "Tie"))
    assert read_records(tmp_path, data_row(conversation, tie)) == [
        LeftOut(1, "no answer was preferred")
    ]


def test_a_text_behind_a_link_is_left_out_with_the_reason(tmp_path: Path) -> None:
    row = data_row("https://storage.labelbox.com/a?token=x", label(text("Answer", "Yes.")))
    (found,) = read_records(tmp_path, row)
    assert isinstance(found, LeftOut)
    assert "behind a link" in found.reason
