"""The table of tuning methods, and how a request or a stored run names its method."""

from typing import Any

import pytest

from data import domains
from data.runs import methods, runs
from data.runs.methods import METHODS
from data.store.db import Store
from data.store.errors import Conflict, Invalid


def test_every_method_is_under_its_own_name() -> None:
    assert [name for name, method in METHODS.items() if method.name != name] == []
    assert methods.DEFAULT in METHODS
    assert METHODS[methods.PREFERENCES].learns == "preferences"


@pytest.mark.parametrize(
    ("recipe", "learns", "expected"),
    [
        ({}, "pairs", "sft"),
        ({}, "preferences", "kto"),  # as earlier versions stored it
        ({"method": "kto"}, "preferences", "kto"),
        ({"method": "sft", "rank": 8}, "pairs", "sft"),
    ],
)
def test_the_recipe_names_the_method(recipe: dict[str, Any], learns: Any, expected: str) -> None:
    assert methods.method_of(recipe, learns).name == expected


def test_an_unknown_method_is_refused_with_those_that_exist() -> None:
    with pytest.raises(Invalid, match="method is 'ppo'; it takes sft, kto, dpo,"):
        methods.method_of({"method": "ppo"})


def test_the_flag_preferences_stands_for_kto() -> None:
    assert methods.with_preferences({"rank": 8}, True) == {"rank": 8, "method": "kto"}
    assert methods.with_preferences({"rank": 8}, False) == {"rank": 8}
    assert methods.with_preferences(None, False) == {}
    with pytest.raises(Invalid, match="the recipe asks for sft"):
        methods.with_preferences({"method": "sft"}, True)


def test_a_method_refuses_what_it_does_not_support() -> None:
    kto = METHODS["kto"]
    methods.refuse_unsupported(kto, {"packing": False, "folds": 0, "learning_rate": 1e-5})
    methods.refuse_unsupported(METHODS["sft"], {"packing": True, "folds": 5})
    for recipe in ({"packing": True}, {"folds": 2}, {"find_rate": True}, {"sweep": {"rank": [8]}}):
        with pytest.raises(Invalid, match="cannot be used with the method kto"):
            methods.refuse_unsupported(kto, recipe)


def test_the_column_learns_follows_the_method(store: Store) -> None:
    with store.write() as db:
        domain = domains.create(db, "helpdesk")
        run = runs.queue(db, domain, "ann", kind="full", recipe={"method": "kto"})
        assert (run.learns, run.method, run.recipe) == ("preferences", "kto", {"method": "kto"})
        db.execute("UPDATE runs SET recipe = '{}'")
        assert runs.get(db, run.id).method == "kto"


def test_a_method_that_needs_a_live_adapter_is_refused_without_one(store: Store) -> None:
    with store.write() as db:
        domain = domains.create(db, "helpdesk")
        with pytest.raises(Conflict, match="no live adapter"):
            runs.request(db, domain, "ann", recipe={"method": "kto"})
