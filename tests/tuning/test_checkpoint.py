"""A run that was killed goes on to the same bytes as one that was never stopped."""

from pathlib import Path

import pytest
import torch

from tests.tuning.test_train import RECIPE, SOME
from tuning import checkpoint, train
from tuning.checkpoint import Checkpoints
from tuning.model import load_base, new_adapter, trainable
from tuning.recipe import Recipe

DROPPING = RECIPE.model_copy(update={"dropout": 0.2, "epochs": 2.0, "evaluations": 3})
STEPS = 10  # of 20 examples, four a step, twice


class Killed(Exception):
    """Stands for SIGKILL: nothing is written after it."""


def trained(
    tiny_base: Path, checkpoints: Checkpoints | None, kill_after: int = 0, recipe: Recipe = DROPPING
) -> tuple[dict[str, torch.Tensor], train.Outcome]:
    base = load_base(str(tiny_base), recipe, torch.device("cpu"))
    tuned = new_adapter(base, recipe)

    def report(now: train.Progress) -> None:
        if now.step == kill_after:
            raise Killed

    outcome = train.train(
        base, tuned, lambda n: SOME, {"probe": SOME[:4]}, ("probe",), recipe, report, checkpoints
    )
    return {name: p.detach().clone() for name, p in trainable(tuned).items()}, outcome


def kept(folder: Path, identity: str = "this run") -> Checkpoints:
    return Checkpoints(folder, identity, every_s=0.0)


def killed(tiny_base: Path, folder: Path, step: int) -> None:
    with pytest.raises(Killed):
        trained(tiny_base, kept(folder), kill_after=step)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 9, 10])
def test_a_run_killed_at_any_step_ends_with_the_same_bytes(
    tiny_base: Path, tmp_path: Path, step: int
) -> None:
    whole, expected = trained(tiny_base, None)
    assert expected.steps == STEPS
    killed(tiny_base, tmp_path, step)

    resumed, outcome = trained(tiny_base, kept(tmp_path))

    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert (outcome.steps, outcome.best_step) == (expected.steps, expected.best_step)
    assert (outcome.losses, outcome.train_loss) == (expected.losses, expected.train_loss)


def test_a_run_killed_twice_ends_with_the_same_bytes(tiny_base: Path, tmp_path: Path) -> None:
    whole, _ = trained(tiny_base, None)
    killed(tiny_base, tmp_path, 3)
    killed(tiny_base, tmp_path, 6)

    resumed, _ = trained(tiny_base, kept(tmp_path))

    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_resumed_run_does_only_what_was_left(tiny_base: Path, tmp_path: Path) -> None:
    killed(tiny_base, tmp_path, 8)
    steps: list[int] = []
    base = load_base(str(tiny_base), DROPPING, torch.device("cpu"))
    train.train(
        base, new_adapter(base, DROPPING), lambda n: SOME, {"probe": SOME[:4]}, ("probe",),
        DROPPING, lambda now: steps.append(now.step), kept(tmp_path),
    )  # fmt: skip
    assert steps == [9, 10]


def test_patience_that_ran_out_is_remembered(tiny_base: Path, tmp_path: Path) -> None:
    recipe = DROPPING.model_copy(
        update={"learning_rate": 0.5, "epochs": 4.0, "evaluations": 20, "patience": 1}
    )
    whole, expected = trained(tiny_base, None, recipe=recipe)
    assert expected.stopped_early
    with pytest.raises(Killed):
        trained(tiny_base, kept(tmp_path), kill_after=expected.steps, recipe=recipe)

    resumed, outcome = trained(tiny_base, kept(tmp_path), recipe=recipe)

    assert outcome.stopped_early
    assert outcome.steps == expected.steps
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_checkpoint_of_another_run_is_passed_over(tiny_base: Path, tmp_path: Path) -> None:
    whole, _ = trained(tiny_base, None)
    killed(tiny_base, tmp_path, 5)

    fresh, _ = trained(tiny_base, kept(tmp_path, "another run"))

    assert all(torch.equal(whole[name], fresh[name]) for name in whole)


def test_a_damaged_checkpoint_costs_time_and_nothing_else(tiny_base: Path, tmp_path: Path) -> None:
    whole, _ = trained(tiny_base, None)
    killed(tiny_base, tmp_path, 5)
    file = tmp_path / checkpoint.FILE
    file.write_bytes(file.read_bytes()[:-100])

    fresh, _ = trained(tiny_base, kept(tmp_path))

    assert all(torch.equal(whole[name], fresh[name]) for name in whole)


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(
    tiny_base: Path, tmp_path: Path
) -> None:
    whole, _ = trained(tiny_base, None)
    checkpoints = kept(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    nowhere, _ = trained(tiny_base, checkpoints)
    assert all(torch.equal(whole[name], nowhere[name]) for name in whole)


def test_what_decides_a_run_decides_its_identity() -> None:
    one = checkpoint.identity(recipe={"rank": 8}, dataset="aa", parent=None)
    assert one == checkpoint.identity(recipe={"rank": 8}, dataset="aa", parent=None)
    assert one != checkpoint.identity(recipe={"rank": 16}, dataset="aa", parent=None)
    assert one != checkpoint.identity(recipe={"rank": 8}, dataset="bb", parent=None)
