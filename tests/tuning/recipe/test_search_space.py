"""The search space: points, folds, and requests that are refused."""

from pathlib import Path
from typing import Any

import pytest

from data.store.errors import Invalid
from tuning.recipe import recipe, search_space


def test_a_sweep_tries_every_combination_in_the_order_given() -> None:
    found = search_space.search_space_of(
        {"sweep": {"rate": [1e-4, 2e-4], "rank": [8, 16]}, "epochs": 3}
    )

    assert [(t.number, t.changes) for t in found.trials] == [
        (1, {"learning_rate": 1e-4, "rank": 8}),
        (2, {"learning_rate": 1e-4, "rank": 16}),
        (3, {"learning_rate": 2e-4, "rank": 8}),
        (4, {"learning_rate": 2e-4, "rank": 16}),
    ]


def test_folds_are_tried_for_each_point() -> None:
    found = search_space.search_space_of({"sweep": {"rank": [8, 16]}, "folds": 2})

    assert [(t.changes["rank"], t.fold) for t in found.trials] == [(8, 0), (8, 1), (16, 0), (16, 1)]
    assert [t.fold for t in search_space.search_space_of({"folds": 3}).trials] == [0, 1, 2]
    assert not search_space.search_space_of({"epochs": 3})


def test_the_overrides_leave_out_the_search() -> None:
    asked = {"epochs": 3, "sweep": {"rank": [8]}, "folds": 2, "accept_licence": "mit"}

    assert search_space.overrides(asked) == {"epochs": 3}


def test_an_axis_is_read_from_a_command_line() -> None:
    assert search_space.parse_axis("rate=1e-4,2e-4") == ("learning_rate", [1e-4, 2e-4])
    assert search_space.parse_axis("schedule=linear, cosine") == ("schedule", ["linear", "cosine"])
    for wrong in ("rank", "rank=", "ranks=8"):
        with pytest.raises(Invalid):
            search_space.parse_axis(wrong)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"sweep": {"rank": [8, 16]}, "rank": 8}, "rank is both set and swept"),
        ({"sweep": {"rank": [8, 8]}}, "rank has a value twice"),
        ({"sweep": {"rank": 8}}, "rank must be a list"),
        ({"sweep": {"rank": ["many"]}}, "rank cannot be 'many'"),
        ({"sweep": {"ranks": [8]}}, "has no 'ranks'"),
        ({"sweep": {"learning_rate": ["auto"]}}, "compares learning rates itself"),
        ({"sweep": {"seed": list(range(30))}, "folds": 5}, "150 trials, and a run does at most"),
        ({"folds": 1}, "folds is 1"),
        ({"folds": True}, "folds is True"),
        ({"epochs": -1}, "epochs cannot be -1"),
    ],
)
def test_an_impossible_search_is_refused_at_the_request(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        search_space.check(asked)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"rank": 100_000}, "rank is 100000; engines serve ranks from 1 to 512"),
        ({"sweep": {"rank": [8, 513]}}, "rank is 513; engines serve"),
        ({"alpha": 1e4}, "training would diverge"),
        ({"dora": True}, "cannot serve DoRA"),
    ],
)
def test_unservable_settings_are_refused_at_the_request(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        search_space.check(asked)


def test_facts_are_spread_evenly_over_folds_whatever_their_order() -> None:
    facts = [f"fact {i}" for i in range(13)]

    dealt = search_space.folds_of(facts, 5)
    again = search_space.folds_of(list(reversed(facts)) * 2, 5)

    assert dealt == again
    assert sorted(list(dealt.values()).count(i) for i in range(5)) == [2, 2, 3, 3, 3]


def test_a_recipe_file_is_toml_or_the_json_of_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('lr = "auto"\nepochs = 3\n[sweep]\nrank = [8, 16]\n')
    (tmp_path / "recipe.json").write_text('{"rank": 8, "why": "few pairs"}')

    assert recipe.read(tmp_path / "a.toml") == {
        "learning_rate": "auto", "epochs": 3, "sweep": {"rank": [8, 16]},
    }  # fmt: skip
    assert recipe.read(tmp_path / "recipe.json") == {"rank": 8}
    (tmp_path / "b.toml").write_text("rank = = 8")
    with pytest.raises(Invalid, match="cannot be read"):
        recipe.read(tmp_path / "b.toml")


def test_auto_asks_for_a_rate_to_be_found() -> None:
    chosen = recipe.Recipe.for_pairs(
        1000, base_parameters=10**9, overrides={"learning_rate": "auto"}
    )

    assert (chosen.find_rate, chosen.learning_rate) == (True, 2e-4)
    assert recipe.parse("lr", "auto") == "auto"


def test_the_method_cannot_be_swept() -> None:
    with pytest.raises(Invalid, match="method cannot be swept"):
        search_space.check({"sweep": {"method": ["sft", "kto"]}})
