"""What a file says about its rows is stored, obeyed or refused, and never ignored."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.domains import Domain
from data.pair_files import columns, files, importer, open_rows
from data.pair_files.importer import ImportReport
from data.pair_files.verdicts import BadRow, LeftOut
from data.pairs import judged_answers, pairs
from data.pairs.judged_answers import JudgedDraft
from data.pairs.pairs import Draft, Turn
from data.store.db import Store
from data.store.errors import Invalid

PAIR = {"prompt": "Is it open?", "response": "Yes."}


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def only(path: Path) -> Any:
    (found,) = files.read(path)
    return found


def imported(store: Store, domain: Domain, file: Path, **options: Any) -> ImportReport:
    return importer.import_file(store, domain, file, **options)


def test_unknown_keys_are_named_with_the_number_of_rows_and_a_suggestion(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    rows = [PAIR | {"prompt": f"q{n}", "fct": "opening", "category": "hours"} for n in range(3)]
    report = imported(store, domain, lines(tmp_path / "a.jsonl", *rows, PAIR | {"category": ""}))
    found = {each.name: (each.rows, each.suggestion) for each in report.unused}
    assert found == {"fct": (3, "fact"), "category": (3, "")}


def test_a_number_of_a_conversation_is_not_its_messages(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("question,answer,Conversation\nIs it open?,Yes.,c-17\n")
    report = imported(store, domain, tmp_path / "a.csv")
    assert (report.added, report.bad_total) == (1, 0)
    assert [(c.name, c.suggestion) for c in report.unused] == [("Conversation", "")]
    assert isinstance(only(lines(tmp_path / "b.jsonl", PAIR | {"conversation": None})), Draft)


def test_the_report_says_why_rated_rows_wait(store: Store, domain: Domain, tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", PAIR | {"Stars": 4}, PAIR | {"prompt": "Why?"})
    report = imported(store, domain, file)
    assert (report.added, report.waiting) == (2, 1)
    assert "The column Stars has ratings on an unknown scale" in report.notes[0]
    again = importer.preview_file(store, domain, file, columns=columns.parse(["ignore=Stars"]))
    assert again.notes == ()


def test_a_misspelt_column_is_named_where_the_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Question;Answr;Priority\nIs it open?;Yes.;1\n")
    with pytest.raises(Invalid, match=r"Did you mean `--map answer=Answr`\?"):
        list(files.read(tmp_path / "a.csv"))


def test_the_question_of_a_row_that_is_left_out_is_no_unused_column(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    left_out = {"prompt": "Is it far?", "response": "No.", "weight": 0, "colour": "red"}
    report = imported(store, domain, lines(tmp_path / "a.jsonl", PAIR, left_out))
    assert [each.name for each in report.unused] == ["colour"]


@pytest.mark.parametrize("key", ["Split", "SPLIT", "split"])
def test_keys_and_splits_may_be_written_in_any_case(tmp_path: Path, key: str) -> None:
    file = lines(tmp_path / "a.jsonl", PAIR | {key: "Golden"})
    assert only(file).split == "golden"


@pytest.mark.parametrize("key", ["system_prompt", "System Prompt", "systemPrompt", "system"])
def test_every_spelling_of_the_system_prompt_counts(tmp_path: Path, key: str) -> None:
    assert only(lines(tmp_path / "a.jsonl", PAIR | {key: "Be brief."})).system == "Be brief."


def test_context_input_and_history_are_part_of_what_was_asked(tmp_path: Path) -> None:
    row = PAIR | {"context": "We open at 9.", "input": "On Monday.", "history": [["Hi", "Hello"]]}
    assert only(lines(tmp_path / "a.jsonl", row)) == Draft(
        "Is it open?\n\nWe open at 9.\n\nOn Monday.",
        "Yes.",
        turns=(Turn("user", "Hi"), Turn("assistant", "Hello")),
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tools": [{"name": "search"}]}, "it has tools"),
        ({"images": ["a.png"]}, "it has images"),
        ({"choices": ["A", "B"]}, "it has choices"),
        ({"weight": 0.5}, "weight is 0.5"),
        ({"label": 3}, "label is 3"),
        ({"active": "perhaps"}, "active is 'perhaps', neither yes nor no"),
        ({"question": "Is it shut?"}, "prompt and question each hold a prompt"),
        ({"turns": [{"role": "user", "content": " "}]}, "turn 1 (user) is empty"),
        ({"turns": [{"role": "user", "content": "\u200b"}]}, "turn 1 (user) is empty"),
        ({"response": "\u200b\u2060"}, "the response is empty"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    found = only(lines(tmp_path / "a.jsonl", PAIR | more))
    assert isinstance(found, BadRow)
    assert words in found.reason


@pytest.mark.parametrize(
    "more",
    [
        {"weight": 0},
        {"active": False},
        {"active": "no"},
        {"archived": True},
        {"status": "Archived"},
        {"answer": "ignore"},
    ],
)
def test_rows_that_the_file_marks_as_not_to_be_learned_are_left_out(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    assert isinstance(only(lines(tmp_path / "a.jsonl", PAIR | more)), LeftOut)


@pytest.mark.parametrize(
    "more",
    [{"tools": []}, {"images": None}, {"weight": 1}, {"active": "yes"}, {"answer": "accept"}],
)
def test_marks_that_change_nothing_change_nothing(tmp_path: Path, more: dict[str, Any]) -> None:
    assert only(lines(tmp_path / "a.jsonl", PAIR | more)) == Draft("Is it open?", "Yes.")


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"status": "pending"}, "pending"),
        ({"status": "In review"}, "pending"),
        ({"draft": True}, "pending"),
        ({"status": "rejected"}, "rejected"),
        ({"rating": 2}, "pending"),
        ({"status": "Published"}, "approved"),
    ],
)
def test_the_status_in_the_file_counts(
    store: Store, domain: Domain, tmp_path: Path, more: dict[str, Any], status: str
) -> None:
    imported(store, domain, lines(tmp_path / "a.jsonl", PAIR | more))
    assert [pair.status for pair in pairs.list_pairs(store.db, domain)] == [status]


YES = JudgedDraft("Is it open?", "Yes.", liked=True)
NO = JudgedDraft("Is it open?", "No.", liked=False)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Is it open?", "chosen": "Yes.", "rejected": "No."},
        {
            "prompt": [{"role": "user", "content": "Is it open?"}],
            "chosen": [{"role": "assistant", "content": "Yes."}],
            "rejected": [{"role": "assistant", "content": "No."}],
        },
        {
            "chosen": [
                {"role": "user", "content": "Is it open?"},
                {"role": "assistant", "content": "Yes."},
            ],
            "rejected": [
                {"role": "user", "content": "Is it open?"},
                {"role": "assistant", "content": "No."},
            ],
        },
        {
            "input": {"messages": [{"role": "user", "content": "Is it open?"}]},
            "preferred_output": [{"role": "assistant", "content": "Yes."}],
            "non_preferred_output": [{"role": "assistant", "content": "No."}],
        },
        {
            "conversations": [{"from": "human", "value": "Is it open?"}],
            "chosen": {"from": "gpt", "value": "Yes."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        {
            "chosen": "\n\nHuman: Is it open?\n\nAssistant: Yes.",
            "rejected": "\n\nHuman: Is it open?\n\nAssistant: No.",
        },
    ],
)
def test_preferences_become_a_liked_and_a_disliked_answer(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    assert list(files.read(lines(tmp_path / "a.jsonl", row))) == [YES, NO]


@pytest.mark.parametrize(
    ("more", "liked"),
    [
        ({"label": True}, True),
        ({"label": "false"}, False),
        ({"kto_tag": False}, False),
        ({"rating": "👍"}, True),
        ({"thumb": "down"}, False),
        ({"answer": "reject"}, False),
    ],
)
def test_a_rated_answer_is_no_pair(
    store: Store, domain: Domain, tmp_path: Path, more: dict[str, Any], liked: bool
) -> None:
    report = imported(store, domain, lines(tmp_path / "a.jsonl", PAIR | more))
    assert (report.added, report.rated_answers) == (0, 1)
    assert pairs.list_pairs(store.db, domain) == []
    assert judged_answers.counts(store.db, domain) == (int(liked), int(not liked))


def test_a_label_in_words_is_a_topic_and_is_named(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    report = imported(store, domain, lines(tmp_path / "a.jsonl", PAIR | {"label": "billing"}))
    assert (report.added, [each.name for each in report.unused]) == (1, ["label"])


def test_the_last_answer_with_a_weight_is_learned(tmp_path: Path) -> None:
    def said(*weights: int | None) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        for number, weight in enumerate(weights):
            found.append({"role": "user", "content": f"q{number}"})
            answer = {"role": "assistant", "content": f"a{number}", "weight": weight}
            found.append(answer)
        return {"messages": found}

    file = lines(tmp_path / "a.jsonl", said(0, 1), said(1, 0), said(0, 0))
    first, second, third = files.read(file)
    assert (first.prompt, first.response) == ("q1", "a1")  # type: ignore[union-attr]
    assert (second.prompt, second.response) == ("q0", "a0")  # type: ignore[union-attr]
    assert isinstance(third, LeftOut)


def test_messages_with_tool_calls_are_refused_and_unknown_keys_are_named(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    def said(**more: Any) -> dict[str, Any]:
        answer = {"role": "assistant", "content": "Yes.", **more}
        return {"messages": [{"role": "user", "content": "Is it open?"}, answer]}

    file = lines(tmp_path / "a.jsonl", said(tool_calls=[{"id": 1}]), said(reasoning="Hm."))
    report = imported(store, domain, file)
    assert "message 2 has tool_calls" in report.bad[0].reason
    assert [each.name for each in report.unused] == ["messages[].reasoning"]


def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    good = json.dumps(PAIR)
    file.write_text(good + '\n{"prompt": "a", "response": "b", "response": "c"}\n')
    assert list(files.read(file)) == [
        Draft("Is it open?", "Yes."),
        BadRow(2, "the key response occurs twice"),
    ]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("prompt,response,Prompt,note,note\na,b,c,x,y\n")
    (bad,) = files.read(file)
    assert isinstance(bad, BadRow)
    assert "prompt and Prompt each hold a prompt" in bad.reason
    file.write_text("prompt,response,prompt\na,b,c\n")
    with pytest.raises(Invalid, match="two columns that are called prompt"):
        list(files.read(file))


def test_a_mapping_names_the_columns(store: Store, domain: Domain, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("What people ask,What we say,rating\nIs it open?,Yes.,4\n")
    given = columns.parse(["question=What people ask,answer=What we say", "ignore=rating"])
    report = imported(store, domain, file, columns=given)
    assert (report.added, report.waiting, report.unused) == (1, 0, ())
    assert report.columns == {"prompt": ("What people ask",), "response": ("What we say",)}


@pytest.mark.parametrize(
    ("given", "words"),
    [("question", "is no mapping"), ("colour=A", "is no part of a pair"), ("q=A,prompt=B", "two")],
)
def test_a_mapping_that_cannot_be_meant_is_refused(given: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        columns.parse([given])


def test_pairs_that_are_there_already_are_named_by_what_they_are(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    rows = [{"prompt": f"q{n}", "response": "a", "status": s} for n, s in enumerate(
        ("approved", "pending", "rejected"))]  # fmt: skip
    file = lines(tmp_path / "a.jsonl", *rows, rows[0])
    assert imported(store, domain, file).known == {"in the file": 1}
    assert imported(store, domain, file).known == {"approved": 2, "pending": 1, "rejected": 1}


def test_other_case_and_other_indentation_are_other_pairs(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    answers = ["cp -r", "cp -R", "a:\n  b: 1", "a:\n    b: 1", "2 m²", "2 m2", "Cp -r"]
    rows = [{"prompt": f"q{n}", "response": text} for n, text in enumerate(answers)]
    same = [{"prompt": "How?", "response": text} for text in answers]
    report = imported(store, domain, lines(tmp_path / "a.jsonl", *rows, *same))
    assert (report.added, report.duplicates) == (14, 0)
    assert [pair.response for pair in pairs.list_pairs(store.db, domain)] == answers * 2


def test_the_indentation_of_the_first_line_is_kept(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    row = {"prompt": " How? ", "response": "\n\n    if x:\n        y()\n\n"}
    imported(store, domain, lines(tmp_path / "a.jsonl", row))
    (pair,) = pairs.list_pairs(store.db, domain)
    assert (pair.prompt, pair.response) == ("How?", "    if x:\n        y()")


def test_a_conflicting_answer_is_named_with_both_answers(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    imported(store, domain, lines(tmp_path / "a.jsonl", PAIR))
    rows = [PAIR | {"prompt": "is it  open?", "response": "No."}, PAIR]
    report = imported(store, domain, lines(tmp_path / "b.jsonl", *rows))
    (found,) = report.conflicts
    assert (found.line, found.pair_id, found.other_answer, found.answer) == (1, 1, "Yes.", "No.")


def test_a_file_that_is_marked_train_throughout_may_be_held_out(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    rows = [{"prompt": f"q{n}", "response": f"a{n}", "split": "train"} for n in range(4)]
    imported(store, domain, lines(tmp_path / "a.jsonl", *rows))
    assert {pair.split for pair in pairs.list_pairs(store.db, domain)} == {"auto"}


def test_an_interrupted_import_keeps_what_the_file_marks(
    store: Store, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "TOGETHER", 2)
    splits = ["train", "train", "val", "train"]
    rows = [{"prompt": f"q{n}", "response": f"a{n}", "split": s} for n, s in enumerate(splits)]
    file = lines(tmp_path / "a.jsonl", *rows)
    asked = iter([False, True])
    assert not imported(store, domain, file, stop=lambda: next(asked)).complete
    assert imported(store, domain, file).added == 2
    found = [pair.split for pair in pairs.list_pairs(store.db, domain)]
    assert found == ["train", "train", "validation", "train"]


def test_a_file_that_marks_train_and_validation_is_obeyed(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    splits = ["train", "train", "val", "train"]
    rows = [{"prompt": f"q{n}", "response": f"a{n}", "split": s} for n, s in enumerate(splits)]
    imported(store, domain, lines(tmp_path / "a.jsonl", *rows))
    found = [pair.split for pair in pairs.list_pairs(store.db, domain)]
    assert found == ["train", "train", "validation", "train"]


def test_rows_with_a_status_that_is_not_understood_wait_for_review(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    rows = [PAIR | {"question": f"Is it {n}?", "Status": word} for n, word in
            enumerate(("halfway", "Halfway", "approved", "à faire"))]  # fmt: skip
    rows = [{k: v for k, v in row.items() if k != "prompt"} for row in rows]
    report = importer.import_file(store, domain, lines(tmp_path / "a.jsonl", *rows))

    assert (report.added, report.waiting, report.bad_total) == (4, 3, 0)
    assert (
        "Status is 'halfway' in 2 rows, which is no known status: they wait for review. "
        "`--map ignore=Status` leaves the column out."
    ) in report.notes
    assert any("'à faire' in 1 row," in note for note in report.notes)


def test_the_name_of_a_column_may_have_commas(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('"Frage, kurz","Antwort, lang",nr\nOffen?,Ja.,1\n')
    assert open_rows.column_names(file) == ("Frage, kurz", "Antwort, lang", "nr")
    given = columns.parse(["question=Frage, kurz,answer=Antwort, lang,ignore=nr"])
    assert given == {"Frage, kurz": "prompt", "Antwort, lang": "response", "nr": "ignore"}
    with pytest.raises(Invalid, match="“kurz” is no mapping"):
        columns.parse(["kurz"])
