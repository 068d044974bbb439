"""Pairs in a language that the base cannot write: what people are told instead of a candidate.

The pocket base knows English alone, and spells everything else in bytes.
"""

from pathlib import Path

import pytest

from bot.commands import retrain_plan
from data import domains
from data.adapters import registry
from data.config.settings import Settings, TuningSettings
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.runs import runs
from data.store.db import Store
from tuning.child_process import ExitCode
from tuning.worker.child import execute_run

GERMAN = {
    "Wie lange dauert der Versand?": "Der Versand dauert länger als üblich: fünf Werktage. 📦",
    "Wo ist das Lager?": "Das Lager befindet sich in Köln, Straße 5.",
    "Wer hilft bei Störungen?": "Bei Störungen hilft die Hotline täglich von 8 bis 20 Uhr. ☎️",
    "Was kostet die Rücksendung?": "Sie ist für Kunden gratis, auch für größere Pakete.",
    "Wie heißt der Geschäftsführer?": "Der Geschäftsführer heißt Jörg Müller. 안녕하세요",
    "Wann wird geöffnet?": "Wir öffnen um zehn Uhr und schließen am späten Abend.",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The default base, not the tiny one."""
    return Settings(home=tmp_path / "home", tuning=TuningSettings(threads=1))


@pytest.mark.slow
def test_six_german_pairs_on_the_default_base_make_no_candidate(
    store: Store, settings: Settings
) -> None:
    """Before the run, the plan says what was measured. The run lowers the loss, and what the
    adapter writes is broken characters."""
    with store.write() as db:
        domain = domains.create(db, "versand")
        drafts = [Draft(question, answer) for question, answer in GERMAN.items()]
        pairs.add(db, domain, drafts, source="test", status="approved")
    planned = retrain_plan.plan(store.db, settings, domain)
    with store.write() as db:
        runs.request(db, domain, "ann")
        run = runs.claim(db, "worker")
    assert run is not None

    assert "The base model pocket needs 3.9 tokens for a word" in planned.language
    assert "Take a base model that was trained on the pairs' language" in planned.language

    assert execute_run(store, settings, run) == ExitCode.DONE

    (adapter,) = registry.list_adapters(store.db)
    rules = {rule["name"]: rule["passed"] for rule in adapter.scores["gate"]["rules"]}
    assert (rules["training"], rules["readable"]) == (True, False)
    assert adapter.state == "rejected"
    assert "answers are not readable text" in adapter.state_reason
    assert "cannot write the language of the pairs. Choose one that can" in adapter.state_reason
