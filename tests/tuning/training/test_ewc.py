"""Elastic weight consolidation: the Fisher information, the penalty, and what it keeps."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tuning.training.test_kto import example
from tuning.data.examples import batches
from tuning.model.base_model import Base, load_base, new_adapter, trainable
from tuning.recipe.recipe import Recipe
from tuning.training import loop
from tuning.training.checkpoint import Checkpoints
from tuning.training.ewc import Ewc

RECIPE = Recipe(rank=4, learning_rate=5e-3, batch_size=4, epochs=4, evaluations=1, warmup_share=0)
OLD = [example(number) for number in range(1, 7)]
NEW = [example(number) for number in range(20, 28)]


def taught(base: Base) -> Any:
    """An adapter that was trained on the old examples."""
    tuned = new_adapter(base, RECIPE)
    loop.train(base, tuned, lambda _: OLD, {}, (), RECIPE.model_copy(update={"epochs": 30.0}))
    return tuned


def loss(base: Base, tuned: Any, some: list[Any]) -> float:
    return loop.mean_loss(base, tuned, some, RECIPE)


def test_the_fisher_information_is_that_of_single_examples(base: Base) -> None:
    tuned = taught(base)
    ewc = Ewc(OLD, 1.0)
    ewc.prepare(base, tuned, RECIPE)
    weights = trainable(tuned)
    assert all(p.grad is None for p in weights.values())

    tuned.eval()
    expected = {name: torch.zeros_like(p) for name, p in weights.items()}
    for one in OLD:
        (batch,) = batches([one], 64, base.pad_id)
        loop.summed_loss(base, tuned, batch, whole_rows=True).backward()
        for name, p in weights.items():
            assert p.grad is not None
            expected[name] += p.grad**2
            p.grad = None
    every = torch.cat([f.flatten() for f in expected.values()])
    found = torch.cat([ewc.fisher[name].flatten() for name in expected])
    assert float(found.mean()) == pytest.approx(1.0, rel=1e-4)
    assert torch.allclose(found, every / every.mean(), rtol=1e-3, atol=1e-5)


def test_the_penalty_pulls_towards_the_old_weights(base: Base) -> None:
    """Its gradient is strength x Fisher x distance, on top of that of the pairs."""
    tuned = taught(base)
    ewc = Ewc(OLD, 3.0)
    ewc.prepare(base, tuned, RECIPE)
    weights = trainable(tuned)
    with torch.no_grad():
        for p in weights.values():
            p += 0.01
    tuned.eval()
    loop.learn(base, tuned, NEW[:4], RECIPE)
    plain = {name: p.grad.clone() for name, p in weights.items() if p.grad is not None}
    for p in weights.values():
        p.grad = None
    ewc.learn(base, tuned, NEW[:4], RECIPE)
    for name, p in weights.items():
        assert p.grad is not None
        assert torch.allclose(p.grad - plain[name], 3.0 * ewc.fisher[name] * 0.01, atol=1e-3)


def test_a_run_with_it_forgets_less_and_still_learns(tiny_base: Path) -> None:
    after = {}
    for strength in (0.0, 10.0):
        base = load_base(str(tiny_base), RECIPE, torch.device("cpu"))
        tuned = taught(base)
        ewc = Ewc(OLD, strength)
        ewc.prepare(base, tuned, RECIPE)
        before = loss(base, tuned, OLD), loss(base, tuned, NEW)
        recipe = RECIPE.model_copy(update={"epochs": 8.0})
        loop.train(base, tuned, lambda _: NEW, {}, (), recipe, objective=ewc.learn)
        now = loss(base, tuned, OLD), loss(base, tuned, NEW)
        after[strength] = (now[0] - before[0], now[1] - before[1])
    assert after[10.0][0] < 0.7 * after[0.0][0]
    assert after[10.0][1] < 0


class Killed(Exception):
    """Stands for SIGKILL."""


def test_a_killed_run_with_it_ends_with_the_same_bytes(tiny_base: Path, tmp_path: Path) -> None:
    def run(folder: Path, kill_after: int = 0) -> dict[str, torch.Tensor]:
        base = load_base(str(tiny_base), RECIPE, torch.device("cpu"))
        torch.manual_seed(0)
        tuned = new_adapter(base, RECIPE)
        ewc = Ewc(OLD, 1.0)
        ewc.prepare(base, tuned, RECIPE)

        def report(now: Any) -> None:
            if now.step == kill_after:
                raise Killed

        saved = Checkpoints(folder, "this run", every_s=0.0)
        loop.train(base, tuned, lambda _: NEW, {}, (), RECIPE, report, saved, objective=ewc.learn)
        return {name: p.detach().clone() for name, p in trainable(tuned).items()}

    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_after=3)
    again = run(tmp_path / "killed")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
