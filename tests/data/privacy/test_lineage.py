"""Lineage both ways, and the replacement of adapters that learned what was erased."""

import asyncio
from dataclasses import asdict

import orjson
import pytest

from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.feedback import feedback
from data.pairs import datasets, preference_pairs, review_status
from data.pairs.pairs import Draft
from data.privacy import erasure, lineage
from data.privacy.erasure import ErasureReceipt
from data.runs import runs
from data.store.db import Store, value
from data.store.errors import NotFound
from tests.data import given

ANN, BOB = "slack:T1/UANN", "slack:T1/UBOB"
SECRET = "xylophone"


def made_by_a_run(store: Store, domain: Domain, parent: Adapter | None = None) -> Adapter:
    """An adapter that a run trained on all approved pairs."""
    with store.write() as db:
        run = runs.queue(
            db, domain, BOB, kind="incremental" if parent else "full",
            parent_id=parent.id if parent else None,
        )  # fmt: skip
        dataset = datasets.freeze(db, domain)
        made = given.adapter(db, domain, dataset_id=dataset.id)
        db.execute(
            "UPDATE adapters SET run_id = ?, parent_id = ? WHERE id = ?",
            [run.id, parent.id if parent else None, made.id],
        )
        db.execute(
            "UPDATE runs SET state = 'done', dataset_id = ?, adapter_id = ? WHERE id = ?",
            [dataset.id, made.id, run.id],
        )
        return registry.by_id(db, made.id)


@pytest.fixture
def corrected(store: Store, domain: Domain) -> tuple[int, str]:
    """A pair of Ann's correction of an answer by helpdesk@1, and that answer's id."""
    with store.write() as db:
        given.approved(db, domain, Draft("Where?", "There."))
    first = made_by_a_run(store, domain)
    with store.write() as db:
        registry.promote(db, first, BOB)
        reply = given.reply(db, domain, ANN, f"a {SECRET}?", f"no {SECRET}")
        db.execute("UPDATE replies SET adapter_id = ? WHERE id = ?", [first.id, reply])
        feedback.correction(db, reply, ANN, f"one {SECRET}")
        pair = int(value(db, "SELECT id FROM pairs WHERE source_ref = ?", [reply]))
        review_status.set_status(db, pair, "approved", BOB)
    return pair, reply


def test_an_adapter_leads_to_its_pairs_answers_and_people(
    store: Store, domain: Domain, corrected: tuple[int, str]
) -> None:
    first = registry.get(store.db, "helpdesk@1")
    second = made_by_a_run(store, domain, first)
    pair, reply = corrected

    found = lineage.of_adapter(store.db, second.id)

    assert [step.adapter for step in found.steps] == ["helpdesk@2", "helpdesk@1"]
    assert found.steps[0].requested_by == BOB
    (learned,) = [p for p in found.steps[0].pairs if p.id == pair]
    assert (learned.source, learned.reply_id) == ("correction", reply)
    assert (learned.answered_by, learned.people) == ("helpdesk@1", (ANN,))
    assert found.people == (ANN,)
    assert lineage.of_adapter(store.db, first.id).continued_by == ("helpdesk@2",)
    assert "2 pairs: " in found.sentences[0]
    assert SECRET not in orjson.dumps(asdict(found)).decode()


def test_a_pair_leads_to_the_adapters_that_learned_it_or_continue_them(
    store: Store, domain: Domain, corrected: tuple[int, str]
) -> None:
    pair, reply = corrected
    assert lineage.of_pair(store.db, pair).trained == ()
    second = made_by_a_run(store, domain, registry.get(store.db, "helpdesk@1"))
    made_by_a_run(store, domain, second)

    found = lineage.of_pair(store.db, pair)

    assert found.trained == ("helpdesk@2", "helpdesk@3")
    assert [split for _, split in found.datasets] == ["train"]
    assert f"corrects answer {reply}, which helpdesk@1 gave" in found.sentences
    assert SECRET not in orjson.dumps(asdict(found)).decode()


def test_what_is_not_there_has_no_lineage(store: Store) -> None:
    with pytest.raises(NotFound):
        lineage.of_pair(store.db, 9)
    with pytest.raises(NotFound):
        lineage.of_adapter(store.db, 9)


def test_after_an_erasure_the_lineage_names_nobody(
    store: Store, domain: Domain, corrected: tuple[int, str]
) -> None:
    second = made_by_a_run(store, domain, registry.get(store.db, "helpdesk@1"))
    asyncio.run(erasure.erase_person(store, store.path.parent, ANN, BOB))
    found = lineage.of_adapter(store.db, second.id)
    assert (found.people, sum(p.erased for p in found.steps[0].pairs)) == ((), 1)
    assert "1 of its pairs erased since" in found.sentences[0]


@pytest.mark.parametrize("retrain", [True, False])
def test_an_erasure_queues_the_replacement_only_when_that_was_confirmed(
    store: Store, domain: Domain, corrected: tuple[int, str], retrain: bool
) -> None:
    second = made_by_a_run(store, domain, registry.get(store.db, "helpdesk@1"))
    with store.write() as db:
        registry.promote(db, second, BOB)

    def forget() -> ErasureReceipt:
        home = store.path.parent
        return asyncio.run(erasure.erase_person(store, home, ANN, BOB, retrain=retrain))

    done = forget()
    queued = [r for r in runs.recent(store.db, domain) if r.open]
    assert [r.id for r in queued] == list(done.retrains)
    assert [r.kind for r in queued] == ["full"] * retrain
    assert erasure.result_of(store.db, done.receipt) == done
    forget()
    assert len([r for r in runs.recent(store.db, domain) if r.open]) == retrain


def test_an_adapter_that_never_learned_the_words_is_not_replaced(
    store: Store, domain: Domain, corrected: tuple[int, str]
) -> None:
    """helpdesk@1 is live, and is older than Ann's correction."""
    done = asyncio.run(erasure.erase_person(store, store.path.parent, ANN, BOB, retrain=True))
    assert done.retrains == ()


def test_an_open_run_is_not_disturbed(
    store: Store, domain: Domain, corrected: tuple[int, str]
) -> None:
    second = made_by_a_run(store, domain, registry.get(store.db, "helpdesk@1"))
    with store.write() as db:
        registry.promote(db, second, BOB)
        open_run = runs.queue(db, domain, BOB, kind="full")
    done = asyncio.run(erasure.erase_person(store, store.path.parent, ANN, BOB, retrain=True))
    assert done.retrains == ()
    assert runs.get(store.db, open_run.id).state == "queued"


def test_a_preference_run_names_the_answers_that_it_prefers(
    store: Store, domain: Domain, corrected: tuple[int, str]
) -> None:
    pair, reply = corrected
    with store.write() as db:
        run = runs.queue(db, domain, BOB, kind="full", recipe={"method": "dpo"})
        preference_pairs.freeze(db, run.id, domain)
        made = given.adapter(db, domain)
        db.execute("UPDATE adapters SET run_id = ? WHERE id = ?", [run.id, made.id])

    found = lineage.of_adapter(store.db, made.id)

    (step,) = found.steps
    assert [one.id for one in step.preferred] == [pair]
    assert step.ratings == (reply,)
    assert found.people == (ANN,)
    assert ", on 1 rated answer, preferring the answers of 1 pair" in found.sentences[0]
    assert made.name in lineage.of_pair(store.db, pair).trained
