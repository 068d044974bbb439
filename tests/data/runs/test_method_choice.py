"""Which method `auto` stands for, and that the run says why."""

from typing import Any

import pytest
from sqlite_utils import Database

from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.feedback import feedback
from data.pairs import datasets, imports, judged_answers, pairs
from data.pairs.judged_answers import JudgedDraft
from data.runs import method_choice, runs
from data.runs.methods import METHODS, WHY
from data.runs.runs import NothingNew
from data.store.db import Store
from tests.data import given
from tests.data.pairs.test_preference_pairs import ANN, corrected


def teach(db: Database, domain: Domain) -> None:
    given.approved(db, domain, pairs.Draft("What is new?", "This is."))


def like(db: Database, domain: Domain) -> None:
    for number in range(8):
        reply = given.reply(db, domain, ANN, f"Rated {number}?", "So.")
        feedback.thumb(db, reply, ANN, up=number < 4)


def rate_in_a_file(db: Database, domain: Domain) -> None:
    made = imports.begin(db, domain, "rated", "rated.jsonl", "cli:ann")
    for number in range(8):
        judged_answers.add(
            db, domain, JudgedDraft(f"In a file {number}?", "So.", number < 4),
            source_ref=f"rated.jsonl:{number}", author="cli:ann", import_id=made,
        )  # fmt: skip


def correct(db: Database, domain: Domain) -> None:
    for number in range(4):
        corrected(db, domain, number)


@pytest.mark.parametrize(
    ("there_is", "expected"),
    [
        ((), "sft"),
        ((teach,), "sft"),
        ((like,), "kto"),
        ((teach, like), "sft+kto"),
        ((correct,), "sft+dpo"),  # an approved correction is a new pair, too
        ((correct, like), "sft+dpo"),
    ],
)
def test_auto_learns_from_all_that_there_is_enough_of(
    store: Store, domain: Domain, there_is: Any, expected: str
) -> None:
    with store.write() as db:
        live = given.adapter(db, domain, "live")
        for make in there_is:
            make(db, domain)
        found = method_choice.choose(db, domain, live)
        assert found.name == expected
        assert found.why.startswith(f"The method {expected} was chosen: there are ")
        if not there_is:
            with pytest.raises(NothingNew):
                runs.request(db, domain, "cli:ann", recipe={"method": "auto"})
            return
        run = runs.request(db, domain, "cli:ann", recipe={"method": "auto", "rank": 8})
        assert run.recipe == {"method": expected, "rank": 8, WHY: found.why}
        assert run.method == expected


def learn(db: Database, domain: Domain, parent: Adapter, method: Any) -> Adapter:
    """The live adapter of a run that learned all that there is."""
    run = runs.queue(db, domain, "cli:ann", kind="incremental", parent_id=parent.id,
                     recipe={"method": method})  # fmt: skip
    judgements = METHODS[run.method].judgements
    if judgements is not None:
        method_choice.freeze(db, run.id, domain, judgements)
    dataset = datasets.freeze(db, domain).id
    made = given.adapter(db, domain, "candidate", dataset)
    db.execute(
        "UPDATE adapters SET run_id = ?, parent_id = ? WHERE id = ?", [run.id, parent.id, made.id]
    )
    runs.cancel(db, run.id, "cli:ann")
    return registry.promote(db, made, "cli:ann")


@pytest.mark.parametrize(
    ("there_is", "method"), [(correct, "sft+dpo"), (like, "kto"), (rate_in_a_file, "kto")]
)
def test_judgements_that_the_adapter_has_learned_are_not_learned_again(
    store: Store, domain: Domain, there_is: Any, method: str
) -> None:
    with store.write() as db:
        teach(db, domain)
        first = given.adapter(db, domain, "live", datasets.freeze(db, domain).id)
        there_is(db, domain)
        assert method_choice.choose(db, domain, first).name == method

        second = learn(db, domain, first, method)
        found = method_choice.choose(db, domain, second)
        assert found.name == "sft"
        assert f"and {second.name} has learned from all of these" in found.why
        with pytest.raises(NothingNew):
            runs.request(db, domain, "cli:ann", recipe={"method": "auto"})
        third = learn(db, domain, second, "sft")  # the adapter that learned them is its parent
        assert method_choice.choose(db, domain, third).name == "sft"

        feedback.thumb(db, given.reply(db, domain, ANN, "One more?", "So."), ANN, up=False)
        corrected(db, domain, 99)
        assert method_choice.choose(db, domain, third).name.endswith(method[-3:])
        assert method_choice.choose(db, domain, first).name.endswith(method[-3:])


def test_judgements_alone_are_said_to_take_a_live_adapter(store: Store, domain: Domain) -> None:
    with store.write() as db:
        like(db, domain)
        found = method_choice.choose(db, domain, None)
        assert (found.name, "it takes a live adapter" in found.why) == ("sft", True)


def test_of_two_kinds_of_judgements_it_learns_the_one_that_there_is_more_of(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        live = given.adapter(db, domain, "live")
        correct(db, domain)
        for number in range(30):
            reply = given.reply(db, domain, f"slack:T1/V{number}", f"Rated {number}?", "So.")
            feedback.thumb(db, reply, f"slack:T1/V{number}", up=number < 15)
        assert method_choice.choose(db, domain, live).name == "sft+kto"


def test_pairs_that_are_only_held_out_are_not_learned_first(store: Store, domain: Domain) -> None:
    """Supervised training on them would fail: there would be nothing new to train on."""
    with store.write() as db:
        correct(db, domain)
        live = given.adapter(db, domain, "live", datasets.freeze(db, domain).id)
        given.approved(db, domain, pairs.Draft("What is apart?", "This is.", split="validation"))
        assert pairs.new_since(db, domain, live.dataset_id) == 1
        found = method_choice.choose(db, domain, live)
        assert found.name == "dpo"
        assert "there are 0 new approved pairs to train on" in found.why


def test_without_new_pairs_answers_with_a_better_one_are_enough(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        correct(db, domain)
        given.approved(db, domain)
        known = pairs.list_pairs(db, domain, "approved")
        live = given.adapter(db, domain, "live", datasets.freeze(db, domain).id)
        assert len(known) == 4
        assert method_choice.choose(db, domain, live).name == "dpo"
