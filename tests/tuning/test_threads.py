"""The threads of a run: all cores while nobody asks, fewer while people do, the same bits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bot.cli.context import with_threads
from data.config.settings import Settings, TuningSettings
from data.domains import Domain
from data.runs.phases import Phase
from data.store.db import Store
from tests.data.conversations.test_conversations import ask
from tests.tuning.model.test_base_model import stirred
from tuning import threads
from tuning.data.examples import IGNORED, Example, batches
from tuning.model.base_model import load_base, trainable
from tuning.progress import StepProgress
from tuning.recipe.recipe import Recipe
from tuning.threads import YieldingProgress
from tuning.training.loop import summed_loss

STEP = StepProgress(1, 2, 0.5, 1e-3, 1.0)


class Recorder:
    def __init__(self) -> None:
        self.phases: list[tuple[Phase, str]] = []
        self.steps: list[StepProgress] = []

    def phase(self, phase: Phase, detail: str = "") -> None:
        self.phases.append((phase, detail))

    def step(self, now: StepProgress) -> None:
        self.steps.append(now)


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr(threads, "LOOK_S", 0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def automatic(settings: Settings) -> Settings:
    return settings.model_copy(update={"tuning": TuningSettings()})


def test_a_run_gives_up_cores_while_people_ask_and_takes_them_back(
    settings: Settings, store: Store, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    progress = YieldingProgress(recorder, store, automatic(settings))
    used = []

    progress.phase(Phase.TRAINING)
    progress.step(STEP)
    used.append(torch.get_num_threads())
    ask(store, domain, "web:1", "Where is the key?")
    progress.step(STEP)
    used.append(torch.get_num_threads())
    monkeypatch.setattr(threads, "ASKED_S", 0.0)
    progress.step(STEP)
    used.append(torch.get_num_threads())

    assert used == [4, 2, 4]
    assert recorder.steps == [STEP] * 3
    assert recorder.phases == [
        (Phase.TRAINING, "4 CPU threads"),
        (Phase.TRAINING, "2 of 4 CPU threads, because people are asking"),
        (Phase.TRAINING, "4 CPU threads"),
    ]


def test_a_number_that_is_set_is_kept(settings: Settings, store: Store, domain: Domain) -> None:
    chosen = with_threads(automatic(settings), 3)
    recorder = Recorder()
    progress = YieldingProgress(recorder, store, chosen)

    torch.set_num_threads(3)
    ask(store, domain, "web:1", "Where is the key?")
    progress.phase(Phase.TRAINING)
    progress.step(STEP)

    assert (torch.get_num_threads(), threads.number(chosen)) == (3, 3)
    assert recorder.phases == [(Phase.TRAINING, "3 CPU threads")]


def test_other_phases_keep_their_own_words(settings: Settings, store: Store) -> None:
    recorder = Recorder()
    progress = YieldingProgress(recorder, store, automatic(settings))

    progress.phase(Phase.EVALUATING, "12 of 40 answers")
    progress.phase(Phase.PUBLISHING)

    assert recorder.phases == [(Phase.EVALUATING, "12 of 40 answers"), (Phase.PUBLISHING, "")]


@pytest.mark.parametrize(
    ("given", "spin"),
    [
        ({}, str(threads.SPIN_TURNS)),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, None),
        ({"GOMP_SPINCOUNT": "7"}, None),
    ],
)
def test_waiting_threads_soon_give_up_their_core_unless_another_policy_is_set(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], spin: str | None
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, text in given.items():
        monkeypatch.setenv(name, text)

    found = threads.environment(automatic(settings))

    assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == "4"
    assert found.get("GOMP_SPINCOUNT") == spin


def test_the_number_of_threads_does_not_change_one_bit_of_a_gradient(tiny_base: Path) -> None:
    """Large enough that PyTorch divides its work: a run that gives up cores ends with the same
    bytes as one that does not."""
    base = load_base(str(tiny_base), Recipe(), torch.device("cpu"))
    tuned: Any = stirred(base)
    tuned.train()
    some = [Example(i, tuple(range(3, 203)), (IGNORED,) * 9 + tuple(range(12, 203))) for i in (1,)]
    (batch,) = batches(some * 2, 10_000, 0)
    wide = batch.__class__(
        batch.ids.expand(16, -1), batch.labels.expand(16, -1), batch.weights.expand(16, -1), 3056
    )

    def gradients(count: int) -> list[torch.Tensor]:
        torch.set_num_threads(count)
        tuned.zero_grad()
        summed_loss(base, tuned, wide).backward()
        return [p.grad.clone() for p in trainable(tuned).values()]

    for one, two in zip(gradients(1), gradients(2), strict=True):
        assert torch.equal(one, two)
