"""`understudy people` and `understudy forget`."""

from pathlib import Path

import orjson
import pytest
from sqlite_utils import Database

from data import domains
from data.feedback import feedback
from data.pairs import datasets, review_status
from data.people import consent
from data.privacy import personal_data
from data.store import audit
from data.store.db import Store
from tests.bot.cli.conftest import Run, json, make_adapter
from tests.data import given
from tests.data.privacy.test_erasure import in_files

ANN, SECRET = "slack:T1/UANN", "xylophone"


@pytest.fixture
def ann(run: Run, store: Store) -> str:
    """A person who asked a question, and whose correction an adapter has learned."""
    run("domains", "add", "helpdesk")

    def live(db: Database) -> int:
        domain = domains.get(db, "helpdesk")
        reply = given.reply(db, domain, ANN, f"Where is the {SECRET}?")
        pair_id = feedback.correction(db, reply, ANN, f"The {SECRET} is upstairs.").pair_id
        assert pair_id is not None
        review_status.set_status(db, pair_id, "approved", "cli:test")
        return datasets.freeze(db, domain).id

    with store.write() as db:
        dataset = live(db)
    made = make_adapter(store, "helpdesk", 1)
    with store.write() as db:
        db.execute("UPDATE adapters SET dataset_id = ? WHERE id = ?", [dataset, made.id])
    return ANN


def test_the_stored_data_is_shown_as_counts(run: Run, ann: str) -> None:
    output = run("people", "show", ann).output
    assert "corrections" in output
    assert "was learned by helpdesk@1" in output
    found = json(run("people", "show", ann, "--json"))
    assert found["person"]["questions"] == 1  # type: ignore[index]
    assert "There are no corrections." in run("people", "show", "web:nobody").output


def test_everything_is_exported(run: Run, ann: str, home: Path) -> None:
    shown = orjson.loads(run("people", "export", ann).stdout)
    assert run("people", "export", ann, "ann.json").exit_code == 0
    saved = orjson.loads((home / "ann.json").read_bytes())
    assert saved["conversations"] == shown["conversations"]
    assert SECRET in str(saved)
    again = run("people", "export", ann, "ann.json")
    assert (again.exit_code, "already exists" in again.output) == (1, True)
    assert "could not be written" in run("people", "export", ann, "no/such/folder.json").output


def test_learning_is_switched_off_and_on(run: Run, store: Store, ann: str) -> None:
    assert f"{ann} has opted out of learning" in run("people", "opt-out", ann).output
    assert not consent.may_learn(store.db, ann)
    run("people", "opt-in", ann)
    assert consent.may_learn(store.db, ann)


def test_a_dry_run_says_what_would_be_erased_and_changes_nothing(
    run: Run, store: Store, ann: str
) -> None:
    result = run("forget", ann, "--dry-run")
    assert "2 messages, 1 rating and 1 pair would be erased" in result.output
    assert "Adapters trained on these pairs: helpdesk@1" in result.output
    assert personal_data.summarise(store.db, ann).questions == 1
    assert json(run("forget", ann, "--dry-run", "--json"))["pairs"] == 1  # type: ignore[index]


def test_it_asks_before_it_erases(run: Run, store: Store, ann: str) -> None:
    refused = run("forget", ann, input="n\n")
    assert refused.exit_code == 1
    assert personal_data.summarise(store.db, ann).questions == 1

    done = run("forget", ann, input="y\n")
    assert done.exit_code == 0
    assert "Erase the data of slack:T1/UANN? This cannot be undone" in done.output
    assert "helpdesk@1" in done.output
    assert "understudy tune helpdesk --full" in done.output
    assert "Earlier backups" in done.output
    assert personal_data.summarise(store.db, ann).questions == 0
    assert in_files(store, SECRET) == []


def test_with_yes_it_does_not_ask(run: Run, store: Store, ann: str) -> None:
    found = json(run("forget", ann, "--yes", "--json"))
    entry = next(e for e in audit.recent(store.db) if e.action == "forget")
    assert entry.subject == f"receipt {found['receipt']}"  # type: ignore[index]
    assert entry.actor.startswith("cli:")


def test_an_id_in_another_spelling_is_the_same_person(run: Run, store: Store, ann: str) -> None:
    """Something else was erased than the preview had shown: nothing."""
    spelt = " slack:t1/uann"
    assert "was learned by helpdesk@1" in run("people", "show", spelt).output
    assert SECRET in run("people", "export", spelt).stdout
    run("people", "opt-out", spelt)
    assert not consent.may_learn(store.db, ann)
    run("people", "opt-in", spelt)
    assert consent.may_learn(store.db, ann)
    assert json(run("forget", spelt, "--yes", "--json"))["messages"] == 2  # type: ignore[index]
    assert personal_data.summarise(store.db, ann).questions == 0


@pytest.mark.parametrize("command", [("people", "show"), ("people", "export"), ("forget",)])
def test_an_invalid_person_is_refused(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "ann")
    assert (result.exit_code, "is not the id of a person" in result.output) == (2, True)
