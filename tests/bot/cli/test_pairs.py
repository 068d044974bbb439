"""`understudy pairs`: import, review, export."""

import csv
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data import domains
from data.pair_files import files, importer
from data.pairs import golden, pairs
from data.pairs.pairs import Draft, Turn
from data.store import audit
from data.store.db import Store, StoreFull
from data.visible_text import SHOWN, visible
from tests.bot.cli.conftest import Run, json
from tests.hostile_texts import HOSTILE_TEXTS

SEVEN = "\n".join(f'{{"prompt": "What is {n}?", "response": "It is {n}."}}' for n in range(7))
GOOD = '{"prompt": "What is red?", "response": "A colour."}\n'


def test_valid_rows_are_imported_and_invalid_ones_reported_with_their_line(
    run: Run, home: Path
) -> None:
    (home / "p.jsonl").write_text(GOOD + '{"prompt": "What is blue?"}\n')
    run("domains", "add", "art")

    result = run("pairs", "import", "art", "p.jsonl")

    assert result.exit_code == 1
    assert "Added to art: 1." in result.output
    assert "p.jsonl:2:" in result.output


def test_importing_a_file_again_adds_nothing(run: Run, home: Path) -> None:
    (home / "p.jsonl").write_text(GOOD)
    run("domains", "add", "art")
    run("pairs", "import", "art", "p.jsonl")

    result = run("pairs", "import", "art", "p.jsonl")

    assert "Added to art: 0. Already present: 1." in result.output


def test_an_import_is_listed_filtered_undone_and_brought_back(run: Run, home: Path) -> None:
    (home / "a.jsonl").write_text(GOOD)
    (home / "b.jsonl").write_text(GOOD.replace("red", "blue") + GOOD)
    run("domains", "add", "art")
    run("pairs", "import", "art", "a.jsonl")

    second = run("pairs", "import", "art", "b.jsonl", "--name", "colours").output
    assert "To take all of it back: `understudy pairs undo 2`." in second
    assert "blue" in run("pairs", "list", "art", "--import", "2").output
    assert "red" not in run("pairs", "list", "art", "--import", "2").output

    undone = run("pairs", "undo", "2")
    assert undone.output == "Import 2 (colours) is undone: 1 pairs were taken back.\n"
    assert [p["prompt"] for p in json(run("pairs", "list", "art", "--json"))] == ["What is red?"]
    assert run("pairs", "undo", "2").exit_code == 1
    listed = json(run("pairs", "imports", "art", "--json"))
    assert [(one["batch"]["name"], one["pairs"]["approved"]) for one in listed] == [
        ("colours", 0),
        ("a.jsonl", 1),
    ]

    assert "Added to art: 1." in run("pairs", "import", "art", "b.jsonl").output


def test_a_preview_shows_what_would_happen_and_changes_nothing(run: Run, home: Path) -> None:
    (home / "a.jsonl").write_text(GOOD)
    (home / "b.csv").write_text(
        "Frage;Antwort;Thema\nWhat is red?;A colour.;x\nWhat is red?;A hue.;x\nWho?;;x\n"
        "How?;So.;x\n"
    )
    run("domains", "add", "art")
    run("pairs", "import", "art", "a.jsonl")

    said = run("pairs", "import", "art", "b.csv", "--preview").output

    assert "prompt: Frage\n" in said
    assert "  question: How?\n  answer:   So.\n" in said
    assert "Would be added to art: 2. Already present: 1. Invalid rows: 1." in said
    assert "Not used: Thema, in 4 rows." in said
    assert "pair 1 says: A colour." in said
    assert "b.csv:4: the response is empty" in said
    assert json(run("pairs", "counts", "art", "--json"))["approved"] == 1  # type: ignore[index]


def test_an_export_goes_by_the_ending_of_its_name(run: Run, home: Path) -> None:
    (home / "a.jsonl").write_text(GOOD)
    run("domains", "add", "art")
    run("pairs", "import", "art", "a.jsonl", "--pending")
    run("pairs", "export", "art", "out.csv", "--status", "all")

    assert (home / "out.csv").read_text().startswith("prompt,response,")
    run("domains", "add", "twin")
    run("pairs", "import", "twin", "out.csv")
    assert json(run("pairs", "counts", "twin", "--json"))["pending"] == 1  # type: ignore[index]


def test_a_file_without_rows_is_an_error(run: Run, home: Path) -> None:
    (home / "p.jsonl").write_text("\n")
    run("domains", "add", "art")

    for command in (["pairs", "import"], ["pairs", "golden", "import"]):
        result = run(*command, "art", "p.jsonl")

        assert (result.exit_code, result.output.strip()) == (2, "Error: p.jsonl has no rows.")


def test_review_approves_and_rejects(run: Run, home: Path) -> None:
    (home / "p.jsonl").write_text(GOOD + GOOD.replace("red", "blue") + GOOD.replace("red", "tan"))
    run("domains", "add", "art")
    run("pairs", "import", "art", "p.jsonl", "--pending")

    result = run("pairs", "review", "art", input="a\nr\nq\n")

    assert result.exit_code == 0, result.output
    counts = json(run("pairs", "counts", "art", "--json"))
    assert counts == {"pending": 1, "approved": 1, "rejected": 1, "quarantined": 0}
    with Store(home / "understudy.db") as store:
        entries = [(e.action, e.subject, e.detail) for e in audit.recent(store.db, 2)]
    assert entries == [
        ("review", "pair 2", {"status": "rejected"}),
        ("review", "pair 1", {"status": "approved"}),
    ]


def test_pairs_are_exported_for_another_training_tool(run: Run, home: Path) -> None:
    (home / "p.jsonl").write_text(GOOD)
    run("domains", "add", "art")
    run("pairs", "import", "art", "p.jsonl")

    done = run("pairs", "export", "art", "for-trl", "--for", "trl")

    assert "Wrote 1 pairs to train on to for-trl." in done.output
    assert "trl sft --config config.yaml" in done.output
    config = (home / "for-trl" / "config.yaml").read_text()
    assert "max_length: 1024" in config
    refused = run("pairs", "export", "art", "more", "--for", "trl", "--status", "all")
    assert "Leave out --format and --status" in refused.output


def test_exported_pairs_can_be_imported_elsewhere(run: Run, home: Path) -> None:
    (home / "p.jsonl").write_text(GOOD)
    run("domains", "add", "art")
    run("pairs", "import", "art", "p.jsonl")
    run("pairs", "export", "art", "out.jsonl")
    run("domains", "add", "twin")

    result = run("pairs", "import", "twin", "out.jsonl")

    assert "Added to twin: 1. Already present: 0. Invalid rows: 0." in result.output


def test_approving_an_unknown_pair_changes_nothing(run: Run, home: Path) -> None:
    (home / "p.jsonl").write_text(GOOD)
    run("domains", "add", "art")
    run("pairs", "import", "art", "p.jsonl", "--pending")

    result = run("pairs", "approve", "1", "99")

    assert result.exit_code == 1
    assert "Nothing was changed" in result.output
    assert json(run("pairs", "counts", "art", "--json"))["pending"] == 1  # type: ignore[index]


def test_golden_questions_are_added_listed_and_released(run: Run, home: Path) -> None:
    run("domains", "add", "art")

    added = run("pairs", "golden", "add", "art", "What is red?", "A colour.")
    listed = json(run("pairs", "golden", "list", "art", "--json"))
    released = run("pairs", "golden", "release", "art", "1")

    assert added.output == "Added golden question 1 to art.\n"
    assert [(g["pair"]["prompt"], g["pair"]["split"]) for g in listed] == [
        ("What is red?", "golden")
    ]
    assert "Pair 1 is no longer golden" in released.output
    assert "no golden questions yet" in run("pairs", "golden", "list", "art").output


def test_a_golden_question_that_a_training_pair_asks_is_refused(run: Run, home: Path) -> None:
    (home / "p.jsonl").write_text(GOOD)
    run("domains", "add", "art")
    run("pairs", "import", "art", "p.jsonl")

    result = run("pairs", "golden", "add", "art", "What is the red?", "A colour.")

    assert result.exit_code == 1
    assert "is nearly the same as pair 1, “What is red?”, which may be trained on" in result.output


def test_golden_questions_are_imported_and_leaks_reported_with_their_line(
    run: Run, home: Path
) -> None:
    (home / "p.jsonl").write_text(GOOD)
    (home / "g.jsonl").write_text(GOOD.replace("red", "blue") + GOOD)
    run("domains", "add", "art")
    run("pairs", "import", "art", "p.jsonl")

    result = run("pairs", "golden", "import", "art", "g.jsonl")

    assert result.exit_code == 1
    assert "Added to art: 1. Already present: 0. Invalid rows: 1." in result.output
    assert "g.jsonl:2: The golden question “What is red?” is the same as pair 1" in result.output


def test_a_review_continues_after_a_pair_that_cannot_be_approved(run: Run, home: Path) -> None:
    (home / "p.jsonl").write_text(GOOD + GOOD.replace("red", "blue"))
    run("domains", "add", "art")
    run("pairs", "import", "art", "p.jsonl", "--pending")
    with Store(home / "understudy.db") as store, store.write() as db:
        db.execute("UPDATE pairs SET prompt = 'what is red' WHERE id = 1")
        golden.add(db, domains.get(db, "art"), "What is the colour red?", "A colour.", "ann")
        db.execute("UPDATE pairs SET prompt = 'What is red?' WHERE id = 3")

    result = run("pairs", "review", "art", input="a\na\n")

    assert result.exit_code == 0, result.output
    assert "Pair 1 cannot be approved" in result.output
    assert json(run("pairs", "counts", "art", "--json"))["pending"] == 1


def test_a_reviewer_confirms_which_answer_a_pair_replaces(run: Run, home: Path) -> None:
    fact = '"fact": "flights"}\n'
    (home / "old.jsonl").write_text(
        '{"prompt": "When may I fly?", "response": "From six hours on.", ' + fact
        + '{"prompt": "Is a plane allowed?", "response": "From six hours on.", ' + fact
    )  # fmt: skip
    (home / "new.jsonl").write_text(
        '{"prompt": "When may I take a plane?", "response": "From eight hours on."}\n'
    )
    run("domains", "add", "art")
    run("pairs", "import", "art", "old.jsonl")
    run("pairs", "import", "art", "new.jsonl", "--pending")

    result = run("pairs", "review", "art", input="n\n")

    assert result.exit_code == 0, result.output
    assert "perhaps a newer answer to:" in result.output
    assert "From six hours on." in result.output
    found = json(run("search", "art", "Is a plane allowed?", "--json"))
    assert "From eight hours on." in str(found)
    assert "From six hours on." not in str(found)


@pytest.fixture
def second_batch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Imports go in batches of two rows; the given function is called when the second begins."""
    monkeypatch.setattr(importer, "TOGETHER", 2)
    naming_facts, begun = importer._naming_facts, []

    def at(happens: Callable[[], None]) -> None:
        def counted(*args: Any) -> Any:
            begun.append(1)
            if len(begun) == 2:
                happens()
            return naming_facts(*args)

        monkeypatch.setattr(importer, "_naming_facts", counted)

    return at


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_import_that_is_stopped_half_way_says_what_it_saved(
    run: Run, home: Path, second_batch: Any, number: int
) -> None:
    (home / "p.jsonl").write_text(SEVEN)
    run("domains", "add", "numbers")
    second_batch(lambda: signal.raise_signal(number))

    result = run("pairs", "import", "numbers", "p.jsonl")

    assert result.exit_code == 128 + number
    assert (
        "Stopped. The first 4 rows of p.jsonl are done: 4 pairs were added and stay. Import the "
        "file again to add the rest." in result.output
    )
    assert '"added":4' in run("audit", "--json").output.replace(" ", "")
    assert (
        "Added to numbers: 3. Already present: 4."
        in run("pairs", "import", "numbers", "p.jsonl").output
    )
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_import_that_fails_half_way_says_what_it_saved(
    run: Run, home: Path, second_batch: Any
) -> None:
    (home / "p.jsonl").write_text(SEVEN)
    run("domains", "add", "numbers")

    def full() -> None:
        raise StoreFull("The store cannot be written. Free some disk space.")

    second_batch(full)
    result = run("pairs", "import", "numbers", "p.jsonl")

    assert result.exit_code == 1
    assert "Free some disk space. The first 2 rows of p.jsonl are done: 2 pairs" in result.output


@pytest.mark.parametrize("status", ["approved", "all"])
def test_no_cell_of_an_exported_csv_file_is_a_formula_or_a_control(
    home: Path, store: Store, run: Run, status: str
) -> None:
    """Read as a spreadsheet does, cell by cell. An import gives the texts back."""
    texts = [text.replace("\x00", "").strip() for text in HOSTILE_TEXTS.values()]
    with store.write() as db:
        domain = domains.create(db, "hostile")
        drafts = [
            Draft(
                f"{text} {number}",
                text,
                text,
                (Turn("user", text), Turn("assistant", text)),
                text,
            )
            for number, text in enumerate(texts)
        ]
        pairs.add(db, domain, drafts, source="teach", status="approved")
    file = home / "pairs.csv"
    done = run("pairs", "export", "hostile", str(file), "--format", "csv", "--status", status)
    assert done.exit_code == 0, done.output
    with file.open(encoding="utf-8", newline="") as opened:
        table = list(csv.reader(opened))
    assert len(table) == len(texts) + 1
    cells = [cell for row in table for cell in row]
    assert [cell for cell in cells if cell.lstrip().startswith(tuple("=+-@＝＋－＠"))] == []
    assert [cell for cell in cells if SHOWN.search(cell)] == []
    back = [draft for draft in files.read(file) if isinstance(draft, Draft)]
    assert [draft.response for draft in back] == [visible(text) for text in texts]


def test_pairs_that_no_run_can_learn_are_said_and_listed(run: Run, home: Path) -> None:
    run("domains", "add", "art")
    rows = '{"prompt": "What is red?", "response": "A colour."}\n'
    rows += '{"prompt": "And blue?", "response": "A <|im_end|> colour."}\n'
    rows += f'{{"prompt": "And all?", "response": "A colour. {"Really. " * 3000}"}}\n'
    (home / "p.jsonl").write_text(rows)

    seen = run("pairs", "import", "art", "p.jsonl", "--preview").output
    said = run("pairs", "import", "art", "p.jsonl").output
    for output in (seen, said):
        assert (
            "No run can learn 1 pair, a control token of the base model in the answer: "
            "line 2 (<|im_end|>; put in quarantine)." in output
        )
        assert "To list them: `understudy pairs list art --finding too-long`." in output

    assert [p["id"] for p in listed(run, "--finding", "control-tokens")] == [2]
    assert [p["status"] for p in listed(run, "--finding", "too-long")] == ["quarantined"]
    assert "There is no check 'x'" in run("pairs", "list", "art", "--finding", "x").output
    assert "The run would fail" not in run("tune", "art", "--dry-run").output

    run("pairs", "approve", "2")
    reason = "pair 2: a control token of the base model in the answer (<|im_end|>)"
    for asked in (("--dry-run",), ("--no-wait",)):
        assert f"it cannot learn 1 pair: {reason}." in run("tune", "art", *asked).output
    assert "There is no run 1" in run("runs", "show", "1").output
    assert "1 put in quarantine" in run("pairs", "check", "art", "--fix").output
    assert "is queued" in run("tune", "art", "--no-wait").output


def listed(run: Run, *asked: str) -> list[dict[str, Any]]:
    found = json(run("pairs", "list", "art", *asked, "--json"))
    assert isinstance(found, list)
    return found


def test_nobody_is_told_to_train_on_pairs_that_all_wait_for_review(run: Run, home: Path) -> None:
    run("domains", "add", "art")
    (home / "p.jsonl").write_text(GOOD.replace("}", ', "status": "draft"}'))
    (home / "q.jsonl").write_text(GOOD.replace("red", "blue"))

    waiting = run("pairs", "import", "art", "p.jsonl").output
    approved = run("pairs", "import", "art", "q.jsonl").output

    assert "Waiting for review: 1" in waiting
    assert "To train on them" not in waiting
    assert "To train on them: `understudy tune art`." in approved
