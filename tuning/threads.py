"""The CPU threads of a tuning run: how many, and how they wait for each other.

A run uses all cores while nobody asks. When people ask, it goes on with half of them, from its next
step on, until they have been quiet for a while. The number of threads does not change the result:
gradients are the same to the last bit. A number that is set (`[tuning] threads`, `--threads`) stays
as it is.

Threads wait for each other hundreds of times in a step. OpenMP lets them spin meanwhile, which
keeps a core busy that another process needs: beside one busy process, two spinning threads took
seven times as long for a step as two that soon give up their core. Never spinning costs time on a
quiet machine, so the threads spin for a bounded number of turns. GNU's OpenMP, which PyTorch uses,
reads it when the process starts.
"""

import logging
import os
import time

from data.config.settings import Settings
from data.conversations import conversations
from data.runs.phases import Phase
from data.store.db import Store
from tuning.progress import ProgressReporter, StepProgress

log = logging.getLogger(__name__)

SPIN_TURNS = 1000  # some tens of microseconds; 10,000 made steps on a busy machine 5 times as long
ASKED_S = 30.0  # after the last question, people count as quiet
LOOK_S = 1.0  # between two looks whether people ask


def number(settings: Settings) -> int:
    """The threads of a run while nobody asks."""
    return settings.tuning.threads or os.cpu_count() or 1


def beside_an_engine(settings: Settings) -> int:
    """The threads of a run while engines answer."""
    return settings.tuning.threads or max(1, number(settings) // 2)


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a run's process. A policy that is set for this process stays."""
    threads = str(number(settings))
    chosen = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        chosen["GOMP_SPINCOUNT"] = str(SPIN_TURNS)
    return chosen


class YieldingProgress:
    """Passes a run's progress on, and between steps gives up cores while people ask. The phase says
    how many threads train, and why."""

    def __init__(self, reporter: ProgressReporter, store: Store, settings: Settings) -> None:
        self._reporter = reporter
        self._store = store
        self._most = number(settings)
        self._fewest = beside_an_engine(settings)
        self._now = self._most
        self._looked = 0.0
        self._training = False

    def phase(self, phase: Phase, detail: str = "") -> None:
        self._training = phase is Phase.TRAINING
        self._reporter.phase(phase, self._described if self._training and not detail else detail)

    def step(self, now: StepProgress) -> None:
        self._reporter.step(now)
        if self._fewest < self._most and time.monotonic() - self._looked >= LOOK_S:
            self._looked = time.monotonic()
            asked = conversations.recently_asked(self._store.db, ASKED_S)
            self._use(self._fewest if asked else self._most)

    def _use(self, threads: int) -> None:
        import torch  # loaded by the training anyway

        if threads == self._now:
            return
        self._now = threads
        torch.set_num_threads(threads)
        log.info("training goes on with %s", self._described)
        if self._training:
            self._reporter.phase(Phase.TRAINING, self._described)

    @property
    def _described(self) -> str:
        if self._now < self._most:
            return f"{self._now} of {self._most} CPU threads, because people are asking"
        return "1 CPU thread" if self._now == 1 else f"{self._now} CPU threads"
