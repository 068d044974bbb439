"""The child process that does a run or one trial of a search: its command line and its exit codes.

The worker starts a child for each run, and a run starts one for each trial. The program is
`tuning/worker/child.py`.
"""

import os
import sys
from enum import IntEnum

from data.config.settings import Settings
from data.runs.runs import Run

PROGRAM = (sys.executable, "-m", "tuning.worker.child")


class ExitCode(IntEnum):
    """How a child process ended. Any other code means that it crashed and may be tried again."""

    DONE = 0  # the adapter is registered, or the trial is measured
    FAILED = 1  # it cannot succeed; the store says why
    STOPPED = 3  # it was asked to stop, or the run belongs to another worker; it can be resumed


def command(settings: Settings, run: Run, *, trial: int = 0) -> list[str]:
    """The command line of a child of this process. It carries the settings except the section that
    holds secrets, and whose the run is: the child does nothing for another owner."""
    return [
        *PROGRAM,
        "--config-json", settings.model_dump_json(exclude={"slack"}),
        "--run", str(run.id),
        "--worker", run.worker,
        "--attempt", str(run.attempts),
        *(["--trial", str(trial)] if trial else []),
        "--parent", str(os.getpid()),
    ]  # fmt: skip
