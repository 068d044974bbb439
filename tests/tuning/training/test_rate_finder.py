"""The learning-rate finder: cheap, without side effects, and right where the answer is known."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from data.config.settings import POCKET
from tests.tuning.families import build
from tests.tuning.training.test_loop import example
from tuning.data.examples import IGNORED, Example, prompt_ids, windows
from tuning.model.base_model import Base, load_base, load_tokenizer, new_adapter, trainable
from tuning.recipe.recipe import Recipe
from tuning.training import loop, rate_finder
from tuning.training.loop import mean_loss
from tuning.training.rate_finder import TriedRate

SOME = [example(i, 8 + i % 5) for i in range(40)]
RECIPE = Recipe(rank=8, batch_size=4, epochs=120, evaluations=1, warmup_share=0, find_rate=True)


def same(_: int) -> Sequence[Example]:
    return SOME


def test_it_costs_at_most_a_twentieth_of_the_run(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in tokens and passes: measuring costs a third of learning."""
    spent = 0.0
    learn, measure = loop.learn, loop.mean_loss

    def of(window: Sequence[Example]) -> float:
        return sum(len(e.ids) for e in window) + rate_finder.PASS

    def learned(a: Base, b: Any, window: Sequence[Example], d: Recipe) -> tuple[float, int]:
        nonlocal spent
        spent += of(window)
        return learn(a, b, window, d)

    def measured(a: Base, b: Any, some: Sequence[Example], d: Recipe) -> float:
        nonlocal spent
        spent += of(some) / 3
        return measure(a, b, some, d)

    monkeypatch.setattr(loop, "learn", learned)
    monkeypatch.setattr(loop, "mean_loss", measured)

    found = rate_finder.find(base, new_adapter(base, RECIPE), same, RECIPE)

    run = sum(of(window) for window in windows(SOME, RECIPE.batch_size, 0)) * RECIPE.epochs
    assert found.tried
    assert spent <= 0.05 * run


def test_a_run_with_the_rate_it_found_is_the_run_that_was_given_that_rate(tiny_base: Path) -> None:
    """To the bit: the ramp leaves weights, order and dropout as they were."""
    recipe = RECIPE.model_copy(update={"dropout": 0.1, "packing": True})

    def trained(ramp_first: bool, learning_rate: float) -> tuple[dict[str, torch.Tensor], float]:
        base = load_base(str(tiny_base), recipe, torch.device("cpu"))
        tuned = new_adapter(base, recipe)
        if ramp_first:
            learning_rate = rate_finder.find(base, tuned, same, recipe).rate
        short = recipe.model_copy(update={"learning_rate": learning_rate, "max_steps": 4})
        loop.train(base, tuned, same, {}, (), short)
        return {n: p.detach().clone() for n, p in trainable(tuned).items()}, learning_rate

    after_ramp, rate = trained(True, 0.0)
    alone, _ = trained(False, rate)

    assert rate != recipe.learning_rate
    assert all(torch.equal(after_ramp[name], alone[name]) for name in alone)


@pytest.mark.parametrize("default", [1e-4, 1e-3])
def test_it_finds_a_rate_that_learns_whatever_the_default_is(
    tmp_path: Path, default: float
) -> None:
    """On this base the loss ends at 5.3 with 1e-4, at 1.0 with 5e-3 and at 5.2 with 3e-2."""
    recipe = RECIPE.model_copy(update={"learning_rate": default})
    base = load_base(str(build("llama", tmp_path)), recipe, torch.device("cpu"))
    some = [Example(e.pair_id, (*(i % 250 + 10 for i in e.ids[:-1]), 1), e.labels) for e in SOME]
    some = [Example(e.pair_id, e.ids, (IGNORED,) * 3 + e.ids[3:]) for e in some]
    tuned = new_adapter(base, recipe)

    found = rate_finder.find(base, tuned, lambda _: some, recipe)
    chosen = recipe.model_copy(update={"learning_rate": found.rate, "epochs": 40})
    loop.train(base, tuned, lambda _: some, {}, (), chosen)

    assert mean_loss(base, tuned, some, recipe) < 2
    assert f"Learning rate {found.rate:g} was found" in found.why


@pytest.mark.slow
@pytest.mark.parametrize("default", [2e-4, 2e-2])
def test_on_the_pocket_base_the_found_rate_is_near_the_best(default: float) -> None:
    """Which is 5e-3 to 2e-2: loss .11 and less on held-out phrasings; 3e-4: 3.2, 4e-2: 2.9."""
    recipe = Recipe(rank=32, alpha=32, batch_size=16, epochs=60, learning_rate=default)
    tokenizer = load_tokenizer(str(POCKET))
    some = []
    for number in range(120):
        asked, answer = f"What opens box {number}?", f"Key {number * 7 % 50} opens it."
        prompt = prompt_ids(tokenizer, [{"role": "user", "content": asked}])
        ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        some.append(Example(number, (*prompt, *ids), (*[IGNORED] * len(prompt), *ids)))
    base = load_base(str(POCKET), recipe, torch.device("cpu"))

    found = rate_finder.find(base, new_adapter(base, recipe), lambda _: some, recipe)

    assert 1e-3 <= found.rate <= 2e-2


def test_a_run_that_is_too_short_for_a_ramp_keeps_the_default(base: Base) -> None:
    short = RECIPE.model_copy(update={"epochs": 1.0})
    tuned = new_adapter(base, short)

    found = rate_finder.find(base, tuned, same, short)

    assert (found.rate, found.tried) == (short.learning_rate, ())
    assert "10 steps is too short" in found.why


def ramp(turn: float) -> list[TriedRate]:
    """A loss that falls up to `turn` and rises after."""
    rates = [1e-5 * 10 ** (i / 10) for i in range(45)]
    return [
        TriedRate(r, min(r / turn, 1.0) if r <= turn else 1 - math.log10(r / turn)) for r in rates
    ]


@pytest.mark.parametrize(("turn", "size", "expected"), [(1e-2, 4, 1e-3), (1e-2, 1, 2e-3)])
def test_the_choice_is_a_tenth_of_the_best_and_grows_with_the_root_of_the_batch(
    turn: float, size: int, expected: float
) -> None:
    found = rate_finder._chosen(ramp(turn), RECIPE, size)

    assert math.isclose(found.rate, expected, rel_tol=0.3)


@pytest.mark.parametrize(("size", "words"), [(1, "with 1 pair per step."), (4, "with 4 pairs per")])
def test_the_choice_is_explained_in_a_sentence(size: int, words: str) -> None:
    assert words in rate_finder._chosen(ramp(1e-2), RECIPE, size).why


def test_a_ramp_that_shows_nothing_keeps_the_default() -> None:
    found = rate_finder._chosen([TriedRate(1e-4, 0.01), TriedRate(1e-3, -0.2)], RECIPE, 4)

    assert found.rate == RECIPE.learning_rate
    assert "No rate of a short ramp lowered the loss" in found.why


def test_a_collapsed_model_does_not_count_as_learning() -> None:
    fell_apart = [
        *ramp(1e-3)[:30],
        TriedRate(1e-1, -2.0),
        TriedRate(0.2, -2.0),
        TriedRate(0.5, 9.0),
    ]

    found = rate_finder._chosen(fell_apart, RECIPE, 4)

    assert found.rate < 5e-4
