"""The recipe: its defaults, overrides, and the errors for wrong ones."""

import json
from pathlib import Path
from typing import Literal

import pytest

from data.store.errors import Invalid
from tuning.recipe import recipe
from tuning.recipe.recipe import Recipe

REAL = 4_000_000_000
SMALL = 135_000_000


@pytest.mark.parametrize(
    ("pairs", "rank", "targets", "batch_size"),
    [(50, 8, "mlp", 4), (1_000, 16, "all-linear", 16), (50_000, 64, "all-linear", 32)],
)
def test_defaults_follow_the_number_of_pairs(
    pairs: int, rank: int, targets: str, batch_size: int
) -> None:
    chosen = Recipe.for_pairs(pairs, base_parameters=REAL)

    assert (chosen.rank, chosen.target_modules, chosen.batch_size) == (rank, targets, batch_size)
    assert f"{pairs:,} pairs" in chosen.why


@pytest.mark.parametrize(("pairs", "epochs"), [(1, 8), (60, 8), (300, 5.3), (1_000, 3)])
def test_a_small_base_gets_the_rate_that_was_measured_on_one(pairs: int, epochs: int) -> None:
    chosen = Recipe.for_pairs(pairs, base_parameters=SMALL)

    shape = (chosen.rank, chosen.alpha, chosen.target_modules)
    assert shape == (16, 32, "all-linear")
    assert (chosen.learning_rate, chosen.batch_size, chosen.epochs) == (1e-3, 8, epochs)
    assert f"{pairs:,} pairs on a small base: a rate of 1e-3" in chosen.why


def test_many_pairs_get_the_same_recipe_on_every_base() -> None:
    small, real = (Recipe.for_pairs(50_000, base_parameters=size) for size in (SMALL, REAL))

    assert small == real


def test_for_few_pairs_the_reason_suggests_cross_validation() -> None:
    def why(pairs: int, *, incremental: bool = False) -> str:
        return Recipe.for_pairs(pairs, base_parameters=REAL, incremental=incremental).why

    assert "--folds 5" in why(50)
    assert "--folds" not in why(50, incremental=True) + why(1_000)


def test_a_tiny_base_gets_more_training_than_a_real_one() -> None:
    tiny = Recipe.for_pairs(600, base_parameters=3_000_000)
    real = Recipe.for_pairs(600, base_parameters=REAL)

    assert tiny.learning_rate > 3 * real.learning_rate
    assert tiny.epochs > 2 * real.epochs


def test_an_incremental_run_uses_a_fraction_of_the_rate() -> None:
    full = Recipe.for_pairs(1_000, base_parameters=REAL)
    incremental = Recipe.for_pairs(1_000, base_parameters=REAL, incremental=True)

    assert incremental.learning_rate < full.learning_rate / 2


def test_requested_settings_take_precedence_and_are_named() -> None:
    chosen = Recipe.for_pairs(
        1_000, base_parameters=REAL, overrides={"rank": 32, "target_modules": "q_proj, v_proj"}
    )

    assert (chosen.rank, chosen.target_modules) == (32, ("q_proj", "v_proj"))
    assert "Asked for: rank=32, target_modules=q_proj,v_proj." in chosen.why


def test_requested_settings_that_equal_the_defaults_are_not_named() -> None:
    usual = Recipe.for_pairs(1_000, base_parameters=REAL)
    asked = usual.model_dump(mode="json", exclude={"why"}) | {"epochs": 7}

    assert Recipe.for_pairs(1_000, base_parameters=REAL, overrides=asked).why == (
        f"{usual.why} Asked for: epochs=7."
    )


@pytest.mark.parametrize(
    ("served", "words"),
    [
        ("nf4", "The base is held in NF4 (4 bits), as the engines serve it."),
        ("none", "The base is not quantised, as the engines serve it."),
    ],
)
def test_a_run_holds_the_base_as_the_engines_serve_it(
    served: Literal["nf4", "none"], words: str
) -> None:
    chosen = Recipe.for_pairs(1_000, base_parameters=REAL, served=served)

    assert chosen.quantization == served
    assert words in chosen.why


@pytest.mark.parametrize(
    ("asked", "served", "words"),
    [
        ("nf4", "none", "held in NF4, but the engines serve it unquantised"),
        ("none", "nf4", "held unquantised, but the engines serve it in NF4"),
    ],
)
def test_a_requested_precision_that_is_not_served_is_named_with_its_cure(
    asked: str, served: Literal["nf4", "none"], words: str
) -> None:
    chosen = Recipe.for_pairs(
        1_000, base_parameters=REAL, served=served, overrides={"quantization": asked}
    )

    assert chosen.quantization == asked
    assert words in chosen.why
    assert "or change [serving] quantization" in chosen.why


def test_a_saved_recipe_can_be_requested_again(tmp_path: Path) -> None:
    """`--recipe recipe.json` of an adapter: the same values, whatever is usual for other pairs."""
    asked = {"rank": 32, "target_modules": "q_proj,v_proj", "packing": True, "dropout": 0.2}
    made = Recipe.for_pairs(1_000, base_parameters=REAL, overrides=asked)
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(made.model_dump(mode="json")))

    again = Recipe.for_pairs(50, base_parameters=10**6, overrides=recipe.read(file))

    assert again.model_dump(exclude={"why"}) == made.model_dump(exclude={"why"})


def test_values_of_a_search_apply_and_are_not_named_as_requested() -> None:
    chosen = Recipe.for_pairs(
        1_000,
        base_parameters=REAL,
        overrides={"learning_rate": "auto", "max_steps": 9, "packing": True},
        found={"max_steps": 12, "rank": 8},
    )

    assert (chosen.max_steps, chosen.rank) == (12, 8)
    assert chosen.why.endswith("Asked for: learning_rate=auto, packing=true.")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"rank": 16}, r"rank cannot change in a run that continues helpdesk@1 \(8\).*--full"),
        ({"alpha": 8}, r"alpha cannot change .* \(16\)"),
        ({"rslora": True}, r"rslora cannot change .* \(false\)"),
        ({"target_modules": "k_proj"}, r"target_modules cannot change .* \(q_proj,v_proj\)"),
    ],
)
def test_another_shape_than_the_parents_is_refused(asked: dict[str, object], words: str) -> None:
    has = {"rank": 8, "alpha": 16.0, "rslora": False, "target_modules": ["v_proj", "q_proj"]}

    with pytest.raises(Invalid, match=words):
        recipe.check_shape(asked, has, "helpdesk@1")


@pytest.mark.parametrize(
    "asked",
    [
        {"rank": 8, "target_modules": "q_proj, v_proj"},  # as it is
        {"dropout": 0.3, "epochs": 4},  # decided anew for each run
        {"target_modules": "all-linear"},  # what that is only the base tells
        {"frozen_layers": 1},  # not known of this adapter
    ],
)
def test_a_shape_that_may_equal_the_parents_is_not_refused(asked: dict[str, object]) -> None:
    has = {"rank": 8, "target_modules": ["v_proj", "q_proj"]}

    recipe.check_shape(asked, has, "helpdesk@1")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"lr": 1e-4}, "has no 'lr'. Did you mean learning_rate? It has method, rank, alpha"),
        ({"epoch": 3}, "has no 'epoch'. Did you mean epochs? It has"),
        ({"xyzzy": 3}, "has no 'xyzzy'. It has method, rank"),
        ({"rank": "many"}, "rank cannot be 'many'"),
        ({"dropout": 1.5}, "dropout cannot be 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate cannot be nan"),
        ({"quantization": "int3"}, "quantization cannot be 'int3'"),
        ({"why": "because"}, "why cannot be set"),
        ({"loss_turns": "first"}, "loss_turns cannot be 'first'"),
        (
            {"modules_to_save": "embed_tokens"},
            "modules_to_save cannot be set: the engine serves no",
        ),
        ({"init_lora_weights": "pissa"}, "init_lora_weights cannot be set: PiSSA"),
    ],
)
def test_a_wrong_override_is_refused_by_its_name(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(Invalid) as refused:
        recipe.check_overrides(overrides)

    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"rank": 0}, "rank is 0; engines serve ranks from 1 to 512"),
        ({"rank": 513}, "rank is 513; engines serve ranks from 1 to 512"),
        ({"rank": 8, "alpha": 1e4}, "multiplies the adapter's output by 1250"),
        ({"rank": 8, "alpha": 513}, "512 is the most"),
        ({"rank": 16, "alpha": 257, "rslora": True}, "256 is the most"),
        ({"rank": 128}, "rank is 128, but this deployment serves at most 64"),
        ({"target_modules": "q_proj,lm_head"}, "lm_head, which the engine cannot serve"),
        ({"target_modules": ","}, "names no module"),
        ({"dora": True}, "the engine cannot serve DoRA"),
    ],
)
def test_unservable_settings_are_refused_before_training(
    overrides: dict[str, object], words: str
) -> None:
    chosen = Recipe.for_pairs(100, base_parameters=REAL, overrides=overrides)

    with pytest.raises(Invalid) as refused:
        chosen.check_servable(max_lora_rank=64)

    assert words in str(refused.value)


@pytest.mark.parametrize("overrides", [{"rank": 4}, {"rank": 12}, {"rank": 8, "alpha": 512}])
def test_every_rank_and_large_alphas_can_be_trained(overrides: dict[str, object]) -> None:
    Recipe.for_pairs(100, base_parameters=REAL, overrides=overrides).check_servable(64)


def test_without_held_out_pairs_no_early_stopping_is_promised() -> None:
    def why(pairs: int, *, held_out: bool) -> str:
        return Recipe.for_pairs(pairs, base_parameters=REAL, held_out=held_out).why

    for pairs in (50, 1_000, 50_000):
        assert "Nothing is held out, so there is no early stopping." in why(pairs, held_out=False)
        assert "epochs, early stopping" not in why(pairs, held_out=False)
        assert "epochs, early stopping" in why(pairs, held_out=True)


def test_a_setting_from_a_command_line_becomes_what_the_recipe_holds() -> None:
    assert recipe.parse("rank", "32") == 32
    assert recipe.parse("learning_rate", "3e-4") == 3e-4
    assert recipe.parse("quantization", "none") == "none"
    with pytest.raises(Invalid, match="rank takes a whole number, not 'big'"):
        recipe.parse("rank", "big")
    with pytest.raises(Invalid, match="has no 'ranks'"):
        recipe.parse("ranks", "8")
