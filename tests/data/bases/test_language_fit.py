"""Whether a base suits the language of pairs, by the tokens that it needs for a word."""

import json
from pathlib import Path

import pytest

import data
from data import domains
from data.bases import language_fit
from data.config.settings import BaseModelSettings, Settings
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.store.db import Store

READING = Path(data.__file__).parent / "examples" / "reading"
OTHERS = {
    "agriturismo", "clinica_veterinaria", "freibad_seerose", "imkerverein", "musee_soie"
}  # fmt: skip


def texts(file: Path) -> list[str]:
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [row[key] for row in rows for key in ("question", "response") if key in row]


@pytest.mark.parametrize(
    "file",
    [f for f in sorted(READING.glob("*.jsonl")) if f.stem != "off_topic"],
    ids=lambda f: f.stem,
)
def test_the_pocket_base_knows_english_and_no_other_language(file: Path) -> None:
    found = language_fit.measure(texts(file), Settings())
    assert found is not None
    assert found.suits is (file.stem not in OTHERS)


def test_commands_and_scripts_without_spaces_are_not_judged() -> None:
    code = ["Run `understudy --verböse` or x.ünd.y=z"] * 100
    japanese = ["図書館は何時に開きますか、そして何時に閉まりますか。"] * 100
    words = language_fit.measure(
        [*code, "The shop opens at nine in the morning. " * 20], Settings()
    )
    assert words is not None
    assert words.suits
    assert language_fit.measure(japanese, Settings()) is None


def test_without_enough_words_or_a_tokenizer_nothing_is_said(tmp_path: Path) -> None:
    many = ["The shop opens at nine in the morning."] * 20
    assert language_fit.measure(many[:2], Settings()) is None
    unknown = Settings(base=BaseModelSettings(model=str(tmp_path)))
    assert language_fit.measure(many, unknown) is None


def test_the_sentence_says_what_to_take_instead(store: Store) -> None:
    with store.write() as db:
        domain = domains.create(db, "schwimmbad")
        drafts = [
            Draft(f"{n}. Frage: Wie viel kostet der Eintritt für Schülerinnen?",
                  f"Ermäßigung erhalten Studierende und Schwerbehinderte, Gruppe {n}.")
            for n in range(20)
        ]  # fmt: skip
        pairs.add(db, domain, drafts, source="test", status="approved")
    found = language_fit.of_domain(store.db, domain.id, Settings())
    assert found is not None
    said = found.sentence(domain.name)
    assert said.startswith("The base model pocket needs ")
    assert "tokens for a word of schwimmbad's pairs; for a language that it knows, it is" in said
    assert "Take a base model that was trained on the pairs' language" in said
