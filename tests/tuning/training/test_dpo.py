"""DPO: gradients that do not depend on the passes, the direction of training, and its summary."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tuning.training.test_kto import example
from tuning.data.examples import Example
from tuning.model.base_model import Base, load_base, new_adapter, trainable
from tuning.recipe.recipe import Recipe
from tuning.training import loop
from tuning.training.dpo import Dpo, preferred

RECIPE = Recipe(rank=8, learning_rate=3e-3, batch_size=4, epochs=3, evaluations=1, warmup_share=0)


def answered(number: int) -> tuple[Example, Example]:
    """A question with a chosen and a rejected answer of other lengths."""
    chosen, other = example(number, 8 + number % 4), example(number + 40, 7 + number % 5)
    ids = (*chosen.prompt, *other.ids[4:])
    return chosen, Example(-number, ids, (*chosen.labels[:4], *other.ids[4:]))


PAIRS = dict(answered(number) for number in range(1, 11))


def prepared(base: Base, recipe: Recipe = RECIPE) -> tuple[Any, Dpo]:
    tuned = new_adapter(base, recipe)
    objective = Dpo(PAIRS, beta=0.1)
    objective.prepare(base, tuned, recipe)
    return tuned, objective


def test_the_first_loss_is_that_of_a_coin(base: Base) -> None:
    """Nothing has moved yet: both answers are as likely as under the start adapter."""
    tuned, objective = prepared(base)
    tuned.eval()
    loss, tokens = objective.learn(base, tuned, list(PAIRS), RECIPE)
    assert loss == pytest.approx(0.6931, abs=1e-3)
    longest = max(len(one.ids) for pair in PAIRS.items() for one in pair)
    assert tokens == 2 * len(PAIRS) * longest


def test_gradients_do_not_depend_on_how_a_window_is_split(tiny_base: Path) -> None:
    gradients = []
    for micro_tokens in (16, 4096):
        recipe = RECIPE.model_copy(update={"micro_tokens": micro_tokens})
        base = load_base(str(tiny_base), recipe, torch.device("cpu"))
        tuned, objective = prepared(base, recipe)
        tuned.eval()
        objective.learn(base, tuned, list(PAIRS), recipe)
        gradients.append([p.grad for n, p in trainable(tuned).items() if "lora_B" in n])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-2 * float(one.abs().max()))
        assert float(one.abs().max()) > 0


def test_training_prefers_the_chosen_answers(base: Base) -> None:
    tuned, objective = prepared(base)
    rows = list(PAIRS)
    before = preferred(objective.gains(base, tuned, rows, RECIPE))
    assert (before.chosen, before.rejected) == pytest.approx((0, 0), abs=1e-3)

    recipe = RECIPE.model_copy(update={"epochs": 12.0})
    loop.train(base, tuned, lambda n: rows, {}, (), recipe, objective=objective.learn)

    after = preferred(objective.gains(base, tuned, rows, recipe))
    assert (after.pairs, after.right) == (10, 1.0)
    assert after.chosen > after.rejected + 0.1


def test_the_share_of_pairs_that_moved_apart() -> None:
    found = preferred(torch.tensor([[0.5, -0.2, 0.1, 0.0], [0.1, -0.1, 0.3, -0.4]]))
    assert (found.pairs, found.right) == (4, 0.5)
    assert (found.chosen, found.rejected) == pytest.approx((0.1, -0.025))
