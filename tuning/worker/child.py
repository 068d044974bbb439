"""The child process of the worker: does one run, or one trial of a run, and records how it ended.

    python -m tuning.worker.child --config-json '{"home": ...}' --run 7 --worker NAME --attempt 1

Its exit code (`tuning/child_process.py`) tells the worker what to do next. People read one sentence
in `runs.error`; the traceback goes to the log, which is this process's standard error.
"""

import argparse
import errno
import logging
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from data import free_memory
from data.config.settings import Settings
from data.processes import die_with_parent
from data.runs import runs
from data.runs import trials as trial_store
from data.runs.runs import Run, RunLost
from data.store.db import Store
from data.store.errors import UnderstudyError
from tuning.child_process import ExitCode
from tuning.progress import ProgressReporter, StoredProgress
from tuning.search import search
from tuning.worker import run as tuning_run

log = logging.getLogger(__name__)

DISK_FULL = (
    "The disk is full. Free some space and request the run again; no partial result was kept."
)


class Terminated(BaseException):
    """SIGTERM arrived: stop at once and clean up."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tuning.worker.child", description=__doc__)
    parser.add_argument("--config-json", required=True, help="the settings, without secrets")
    parser.add_argument("--run", type=int, required=True)
    parser.add_argument("--worker", required=True, help="which worker has claimed the run")
    parser.add_argument("--attempt", type=int, required=True, help="the attempt that it claimed")
    parser.add_argument("--trial", type=int, default=0, help="do only this trial of the run")
    parser.add_argument("--parent", type=int, default=0, help="end when this process ends")
    options = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if options.parent and not die_with_parent(signal.SIGTERM, options.parent):
        return ExitCode.STOPPED  # the worker has gone already
    signal.signal(signal.SIGTERM, _terminate)
    settings = Settings.model_validate_json(options.config_json)
    with Store(settings.store_path) as store:
        try:
            run = runs.claimed(store.db, options.run, options.worker, options.attempt)
        except RunLost as error:
            log.info("nothing to do: %s", error)
            return ExitCode.STOPPED
        if options.trial:
            return execute_trial(store, settings, run, options.trial)
        return execute_run(store, settings, run)


def execute_run(
    store: Store, settings: Settings, run: Run, progress: ProgressReporter | None = None
) -> ExitCode:
    """Do the run, as its worker has claimed it, and record how it ended."""
    try:
        reporter = progress or StoredProgress(store, run)
        adapter = tuning_run.tune(store, settings, run, reporter)
        log.info("run %d made %s", run.id, adapter.name)
        return ExitCode.DONE
    except (Terminated, search.Interrupted, KeyboardInterrupt):
        log.info("run %d was stopped", run.id)
        return ExitCode.STOPPED
    except RunLost as error:
        log.info("run %d was lost: %s", run.id, error)
        return ExitCode.STOPPED
    except Exception as error:
        sentence = explain(error)
        log.exception("run %d failed: %s", run.id, sentence)
        try:
            with store.write() as db:
                runs.fail(db, run, sentence)
        except RunLost as lost:
            log.info("its failure is not recorded: %s", lost)
            return ExitCode.STOPPED
        return ExitCode.FAILED


def execute_trial(store: Store, settings: Settings, run: Run, number: int) -> ExitCode:
    """Do one trial of a run and record its metrics, or why it failed."""
    try:
        from tuning.search import trial  # loads torch

        trial.run_trial(store, settings, run, number)
        return ExitCode.DONE
    except (Terminated, RunLost, KeyboardInterrupt):
        return ExitCode.STOPPED
    except Exception as error:
        sentence = explain(error)
        log.exception("trial %d of run %d failed: %s", number, run.id, sentence)
        with store.write() as db:
            trial_store.fail(db, run, number, sentence)
        return ExitCode.FAILED


def explain(error: Exception) -> str:
    """One sentence for people about what went wrong."""
    if isinstance(error, UnderstudyError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    if free_memory.ran_out(_all_causes(error)):
        return (
            "The machine ran out of memory while tuning. Request the run again with a smaller "
            "micro_tokens or max_length, or use a smaller base model."
        )
    if "no space left" in str(error).lower():  # an error of safetensors
        return DISK_FULL
    return (
        f"Tuning failed unexpectedly ({type(error).__name__}: {_first_line(error)}). "
        "The log of the run has the details."
    )


def _all_causes(error: BaseException) -> str:
    """The error and what led to it: where memory ran out, a library may report a missing function
    or module."""
    texts: list[str] = []
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        texts.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    return "\n".join(texts)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no details"])[0][:200]


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main())
