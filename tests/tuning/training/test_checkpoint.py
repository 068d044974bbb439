"""A run that was killed and resumed ends with the same bytes as an uninterrupted one."""

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.tuning.training.test_loop import RECIPE, SOME
from tuning.data.examples import Example
from tuning.data.replay import mixed
from tuning.model.base_model import load_base, new_adapter, trainable
from tuning.progress import StepProgress
from tuning.recipe.recipe import Recipe
from tuning.training import checkpoint, loop
from tuning.training.checkpoint import Checkpoints
from tuning.training.kto import Kto

DROPPING = RECIPE.model_copy(update={"dropout": 0.2, "epochs": 2.0, "evaluations": 3})
STEPS = 10  # of 20 examples, four a step, twice


class Killed(Exception):
    """Stands for SIGKILL: nothing is written after it."""


def trained(
    tiny_base: Path,
    checkpoints: Checkpoints | None,
    kill_after: int = 0,
    recipe: Recipe = DROPPING,
    epoch: Callable[[int], Sequence[Example]] = lambda _: SOME,
    liked: Mapping[Example, bool] | None = None,
    steps: list[int] | None = None,
) -> tuple[dict[str, torch.Tensor], loop.TrainingOutcome]:
    """The weights and the outcome of a run; with `liked`, of one on rated answers. `steps` gets
    those that it does."""
    base = load_base(str(tiny_base), recipe, torch.device("cpu"))
    tuned = new_adapter(base, recipe)
    objective = None
    if liked is not None:
        kto = Kto(liked, recipe.preference_beta, recipe.seed)
        kto.prepare(base, tuned, recipe)
        objective = kto.learn

    def report(now: StepProgress) -> None:
        if steps is not None:
            steps.append(now.step)
        if now.step == kill_after:
            raise Killed

    outcome = loop.train(
        base, tuned, epoch, {"probe": SOME[:4]}, ("probe",), recipe, report, checkpoints, objective
    )
    return {name: p.detach().clone() for name, p in trainable(tuned).items()}, outcome


def kept(folder: Path, identity: str = "this run") -> Checkpoints:
    return Checkpoints(folder, identity, every_s=0.0)


def killed(tiny_base: Path, folder: Path, step: int, **more: Any) -> None:
    with pytest.raises(Killed):
        trained(tiny_base, kept(folder), kill_after=step, **more)


def same_after_a_kill_at_every_step(
    tiny_base: Path, folder: Path, **more: Any
) -> loop.TrainingOutcome:
    """Kill a run at each of its steps in turn, and hold what becomes of it against the whole."""
    whole, expected = trained(tiny_base, None, **more)
    for step in range(1, expected.steps + 1):
        killed(tiny_base, folder / str(step), step, **more)

        resumed, outcome = trained(tiny_base, kept(folder / str(step)), **more)

        assert all(torch.equal(whole[name], resumed[name]) for name in whole), step
        assert (outcome.steps, outcome.best_step) == (expected.steps, expected.best_step)
        assert (outcome.losses, outcome.train_loss) == (expected.losses, expected.train_loss)
        assert outcome.tokens == expected.tokens
        assert outcome.stopped_early == expected.stopped_early
    return expected


def test_a_run_killed_at_any_step_ends_with_the_same_bytes(tiny_base: Path, tmp_path: Path) -> None:
    assert same_after_a_kill_at_every_step(tiny_base, tmp_path).steps == STEPS


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"packing": True},
        {"neftune_alpha": 10.0},
        {"micro_tokens": 16},  # a pass for each pair: gradients are accumulated
        {"schedule": "linear", "warmup_share": 0.5, "weight_decay": 0.1},
        {"gradient_checkpointing": True},
        {"rslora": True, "frozen_layers": 1, "quantization": "none"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_killed_run_of_any_recipe_ends_with_the_same_bytes(
    tiny_base: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    recipe = DROPPING.model_copy(update=changes)
    assert same_after_a_kill_at_every_step(tiny_base, tmp_path, recipe=recipe).steps == STEPS


@pytest.mark.slow
def test_a_killed_run_that_stops_early_ends_with_the_same_bytes(
    tiny_base: Path, tmp_path: Path
) -> None:
    """What patience has left is remembered at every step."""
    diverging = DROPPING.model_copy(
        update={"learning_rate": 1.0, "epochs": 4.0, "evaluations": 20, "patience": 3}
    )
    recipe = next(r for r in _with_seeds(diverging) if _stops_early(tiny_base, r))

    ended = same_after_a_kill_at_every_step(tiny_base, tmp_path, recipe=recipe)

    assert ended.stopped_early
    assert ended.steps > 3


def _with_seeds(recipe: Recipe) -> list[Recipe]:
    return [recipe.model_copy(update={"seed": seed}) for seed in range(10)]


def _stops_early(tiny_base: Path, recipe: Recipe) -> bool:
    outcome = trained(tiny_base, None, recipe=recipe)[1]
    return outcome.stopped_early and outcome.steps > 3


@pytest.mark.slow
def test_an_incremental_run_with_replay_resumes_to_the_same_bytes(
    tiny_base: Path, tmp_path: Path
) -> None:
    """Each pass draws other old pairs."""
    epoch = mixed(SOME[:6], SOME[6:], replay_share=0.5, seed=3, batch_size=4)
    assert epoch(0) != epoch(1)
    same_after_a_kill_at_every_step(tiny_base, tmp_path, epoch=epoch)


@pytest.mark.slow
def test_a_killed_run_on_rated_answers_ends_with_the_same_bytes(
    tiny_base: Path, tmp_path: Path
) -> None:
    liked = {one: n % 3 != 0 for n, one in enumerate(SOME)}
    same_after_a_kill_at_every_step(tiny_base, tmp_path, liked=liked)


@pytest.mark.slow
def test_a_run_that_the_kernel_kills_ends_with_the_same_bytes(
    tiny_base: Path, tmp_path: Path
) -> None:
    """By SIGKILL, in a process of its own, in the middle of a step."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.tuning.training import test_checkpoint as these\n"
        "clip, steps = these.torch.nn.utils.clip_grad_norm_, []\n"
        "def fifth(*given):\n"
        "    steps.append(1)\n"
        "    return os.kill(os.getpid(), 9) if len(steps) == 5 else clip(*given)\n"
        "these.torch.nn.utils.clip_grad_norm_ = fifth\n"
        "these.trained(Path(sys.argv[1]), these.kept(Path(sys.argv[2])))\n"
    )
    command = [sys.executable, "-c", program, str(tiny_base), str(tmp_path)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    whole, _ = trained(tiny_base, None)
    steps: list[int] = []

    resumed, _ = trained(tiny_base, kept(tmp_path), steps=steps)

    assert steps == [5, 6, 7, 8, 9, 10]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_killed_twice_ends_with_the_same_bytes(tiny_base: Path, tmp_path: Path) -> None:
    whole, _ = trained(tiny_base, None)
    killed(tiny_base, tmp_path, 3)
    killed(tiny_base, tmp_path, 6)

    resumed, _ = trained(tiny_base, kept(tmp_path))

    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_resumed_run_does_only_the_remaining_steps(tiny_base: Path, tmp_path: Path) -> None:
    killed(tiny_base, tmp_path, 8)
    steps: list[int] = []
    trained(tiny_base, kept(tmp_path), steps=steps)
    assert steps == [9, 10]


def test_a_resumed_run_knows_that_its_patience_was_exhausted(
    tiny_base: Path, tmp_path: Path
) -> None:
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


def test_the_checkpoint_of_another_run_is_ignored(tiny_base: Path, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
def test_a_flipped_bit_in_a_checkpoint_costs_time_and_nothing_else(
    tiny_base: Path, tmp_path: Path, at: float
) -> None:
    whole, _ = trained(tiny_base, None)
    killed(tiny_base, tmp_path, 5)
    file = tmp_path / checkpoint.FILE
    raw = bytearray(file.read_bytes())
    raw[int(len(raw) * at)] ^= 1
    file.write_bytes(bytes(raw))

    fresh, _ = trained(tiny_base, kept(tmp_path))

    assert all(torch.equal(whole[name], fresh[name]) for name in whole)


def test_a_checkpoint_whose_weights_are_no_numbers_is_not_used(
    tiny_base: Path, tmp_path: Path
) -> None:
    whole, _ = trained(tiny_base, None)
    killed(tiny_base, tmp_path, 5)
    file = tmp_path / checkpoint.FILE
    with safe_open(file, framework="pt") as opened:
        about = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    name = next(n for n in tensors if n.startswith("weight."))
    tensors[name] = tensors[name] * float("nan")
    about["digest"] = checkpoint._digest(tensors, about["memory"])
    save_file(tensors, file, metadata=about)

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


def test_everything_that_determines_a_run_determines_its_identity() -> None:
    one = checkpoint.identity(recipe={"rank": 8}, dataset="aa", parent=None)
    assert one == checkpoint.identity(recipe={"rank": 8}, dataset="aa", parent=None)
    assert one != checkpoint.identity(recipe={"rank": 16}, dataset="aa", parent=None)
    assert one != checkpoint.identity(recipe={"rank": 8}, dataset="bb", parent=None)
