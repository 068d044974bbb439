"""KTO: the formula, gradients that do not depend on the passes, and the direction of training."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tuning.data.examples import IGNORED, Example
from tuning.model.base_model import Base, load_base, new_adapter, trainable
from tuning.recipe.recipe import Recipe
from tuning.training import loop
from tuning.training.answer_probabilities import log_probabilities
from tuning.training.kto import Kto, _weights, mismatched

RECIPE = Recipe(rank=8, learning_rate=3e-3, batch_size=4, epochs=3, evaluations=1, warmup_share=0)


def example(number: int, length: int = 9) -> Example:
    ids = (*((number * 11 + i * 5) % 2000 + 3 for i in range(length - 1)), 2)
    return Example(number, ids, (IGNORED,) * 4 + ids[4:])


LIKED = {example(n, 8 + n % 4): n % 3 == 0 for n in range(1, 13)}


def prepared(
    base: Base, recipe: Recipe = RECIPE, liked: Mapping[Example, bool] = LIKED
) -> tuple[Any, Kto]:
    tuned = new_adapter(base, recipe)
    objective = Kto(liked, beta=0.1, seed=0)
    objective.prepare(base, tuned, recipe)
    return tuned, objective


def test_the_log_probability_of_an_answer_is_that_of_its_tokens_one_by_one(base: Base) -> None:
    tuned = new_adapter(base, RECIPE).eval()
    rows = list(LIKED)
    found = log_probabilities(base, tuned, rows, RECIPE).detach()
    for one, whole in zip(rows, found.tolist(), strict=True):
        logits = tuned(input_ids=torch.tensor([one.ids])).logits[0].detach().float().log_softmax(-1)
        answer = range(4, len(one.ids))
        assert whole == pytest.approx(
            sum(float(logits[i - 1, one.ids[i]]) for i in answer), abs=0.1
        )


def test_the_first_loss_is_half_of_the_mean_weight(base: Base) -> None:
    """Nothing has moved yet: every sigmoid is one half."""
    tuned, objective = prepared(base)
    tuned.eval()
    loss, _ = objective.learn(base, tuned, list(LIKED), RECIPE)
    liked, up, down = sum(LIKED.values()), *_weights(sum(LIKED.values()), len(LIKED))
    mean = (liked * up + (len(LIKED) - liked) * down) / len(LIKED)
    assert loss == pytest.approx(mean / 2, rel=1e-3)


def test_the_loss_follows_the_formula_after_a_step(base: Base) -> None:
    tuned, objective = prepared(base)
    with torch.no_grad():
        for number, parameter in enumerate(trainable(tuned).values()):
            parameter += 0.02 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(number)
            )
    tuned.eval()
    window = list(LIKED)[:5]
    others = [objective.mismatched[one] for one in window]
    now = log_probabilities(base, tuned, [*window, *others], RECIPE).tolist()
    ratios = [n - objective.reference[e] for n, e in zip(now, [*window, *others], strict=True)]
    z0 = max(0.0, sum(ratios[5:]) / 5)
    up, down = _weights(sum(LIKED.values()), len(LIKED))
    by_hand = [
        up * (1 - _sigmoid(0.1 * (ratio - z0)))
        if LIKED[one]
        else down * (1 - _sigmoid(0.1 * (z0 - ratio)))
        for one, ratio in zip(window, ratios[:5], strict=True)
    ]
    assert any(abs(ratio) > 0.05 for ratio in ratios)
    loss, _ = objective.learn(base, tuned, window, RECIPE)
    assert loss == pytest.approx(sum(by_hand) / 5, rel=1e-4)


def test_gradients_do_not_depend_on_how_a_window_is_split(tiny_base: Path) -> None:
    gradients = []
    for micro_tokens in (16, 4096):
        recipe = RECIPE.model_copy(update={"micro_tokens": micro_tokens})
        base = load_base(str(tiny_base), recipe, torch.device("cpu"))
        tuned, objective = prepared(base, recipe)
        tuned.eval()
        objective.learn(base, tuned, list(LIKED), recipe)
        gradients.append([p.grad for n, p in trainable(tuned).items() if "lora_B" in n])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-2 * float(one.abs().max()))
        assert float(one.abs().max()) > 0


def test_training_moves_answers_in_the_direction_of_the_ratings(base: Base) -> None:
    tuned, objective = prepared(base)
    before = objective.reward(base, tuned, LIKED, RECIPE)
    assert (before.liked, before.disliked) == pytest.approx((0, 0), abs=1e-3)

    recipe = RECIPE.model_copy(update={"epochs": 12.0})
    rows = list(LIKED)
    loop.train(base, tuned, lambda n: rows, {}, (), recipe, objective=objective.learn)

    after = objective.reward(base, tuned, LIKED, recipe)
    assert after.right >= 0.9
    assert after.liked > after.disliked + 0.1


@pytest.mark.parametrize(("liked", "answers"), [(1, 10), (5, 10), (9, 10), (40, 50)])
def test_the_rarer_kind_weighs_more(liked: int, answers: int) -> None:
    up, down = _weights(liked, answers)
    assert min(up, down) == 1
    assert liked * up / ((answers - liked) * down) == pytest.approx(4 / 3)


def test_a_mismatched_answer_belongs_to_another_example_and_fits() -> None:
    found = mismatched(list(LIKED), 10, seed=3)
    for one, other in found.items():
        assert other.ids[:4] == one.prompt
        assert other.ids[4:] != one.ids[4:]
        assert len(other.ids) <= 10


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
