"""`understudy search` shows what an answer rests on."""

from pathlib import Path

import orjson
import pytest

from data import domains
from data.pairs.pairs import Draft
from data.store.db import Store, value
from tests.bot.cli.conftest import Run, json
from tests.data import given
from tests.data.search.test_language_check import READING, drafts

HOURS = Draft("When is the workshop open?", "From 9 to 18 on weekdays.", fact="hours")
PARKING = Draft("Where can I park my car?", "Behind the house.", fact="parking")

pytestmark = pytest.mark.integration


@pytest.fixture
def workshop(run: Run, store: Store) -> Run:
    run("domains", "add", "workshop")
    with store.write() as db:
        given.approved(db, domains.get(db, "workshop"), HOURS, PARKING)
    return run


def test_the_best_pair_comes_first_with_its_similarity(workshop: Run) -> None:
    result = workshop("search", "workshop", "Until what time can I bring in my bike?")

    assert result.exit_code == 0
    assert result.output.index("From 9 to 18") < result.output.index("Behind the house")
    assert "Searched by meaning" in result.output


def test_it_prints_json_and_takes_a_limit_and_earlier_questions(workshop: Run) -> None:
    found = json(
        workshop(
            "search", "workshop", "And my car?", "--after", "Where is it?", "--limit", "1", "--json"
        )
    )

    assert [r["fact"] for r in found["references"]] == ["parking"]
    assert found["method"] == "encoder"


def test_words_are_searched_where_the_settings_say_so(
    workshop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_SEARCH_ENCODER", "words")

    assert "Searched by words" in workshop("search", "workshop", "opening of the workshop").output
    assert "No approved pair" in workshop("search", "workshop", "zzyzx", "--no-wait").output


def test_an_encoder_that_cannot_be_used_is_no_error(
    workshop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_SEARCH_ENCODER", "nowhere")

    result = workshop("search", "workshop", "workshop", "--no-wait")

    assert result.exit_code == 0
    assert "Searched by words" in result.output


def imported(run: Run, home: Path, name: str) -> str:
    """The output of importing a shipped domain."""
    pairs = [{"prompt": d.prompt, "response": d.response, "fact": d.fact} for d in drafts(name)]
    (home / "p.jsonl").write_bytes(b"\n".join(map(orjson.dumps, pairs)))
    run("domains", "add", "imported")
    return run("pairs", "import", "imported", "p.jsonl").output


def test_an_import_says_when_the_encoder_does_not_know_the_language(run: Run, home: Path) -> None:
    output = imported(run, home, "clinica_veterinaria")

    assert "imported is searched by words" in " ".join(output.split())
    assert "docs/search.md" in output

    planned = run("tune", "imported", "--dry-run").output

    assert "imported is searched by words" in " ".join(planned.split())


def test_an_import_in_english_says_nothing_of_it(run: Run, home: Path) -> None:
    assert READING.is_dir()
    assert "searched by" not in imported(run, home, "climbing_gym")
    assert "searched by" not in run("tune", "imported", "--dry-run").output


def test_an_import_says_that_the_encoder_cannot_be_used(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_SEARCH_ENCODER", "nowhere")

    output = imported(run, home, "climbing_gym")

    assert "imported is searched by words" in output
    assert "tools.export_encoder" in " ".join(output.split())


def test_imported_pairs_are_found_by_meaning_at_once(
    run: Run, store: Store, tmp_path: Path
) -> None:
    run("domains", "add", "workshop")
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(orjson.dumps({"prompt": HOURS.prompt, "response": HOURS.response}))

    assert run("pairs", "import", "workshop", str(file)).exit_code == 0

    assert value(store.db, "SELECT count(*) FROM pair_vectors") == 1
