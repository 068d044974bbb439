"""Which method `auto` stands for, and that the run says why."""

from typing import Any

import pytest
from sqlite_utils import Database

from data.domains import Domain
from data.feedback import feedback
from data.pairs import datasets, pairs
from data.runs import method_choice, runs
from data.runs.methods import WHY
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
