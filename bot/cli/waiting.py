"""Waits for a tuning run in the terminal, and executes it where no worker does.

Ctrl-C pauses a run that is executed here: its child process ends, and the run waits in the queue
with its last checkpoint. A second Ctrl-C leaves without waiting for that. SIGTERM, and SIGHUP from
a terminal that is closed, do the same. None of them cancels a run; `understudy runs cancel` does.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from typing import NoReturn

from bot.cli import interruption, terminal
from bot.cli.context import App, print_json, with_threads
from bot.cli.interruption import LIKE_CTRL_C
from bot.commands import scores
from data.adapters import registry
from data.runs import runs, search_report, trials
from data.runs.phases import Phase, RunPhase
from data.runs.report import headline, repeats
from data.store.errors import UnderstudyError

WORKER_GRACE_S = 3.0  # how long a running worker may take to claim the run


def wait_for_run(app: App, run_id: int, threads: int | None, quiet: bool) -> runs.Run:
    """Follow the run to its end. If no worker takes it, run a worker in this process, with
    `threads` where they are given. Exits with 128 and the number of the signal on Ctrl-C and
    `LIKE_CTRL_C`."""

    from bot.cli.follow import follow

    stop, local_worker = threading.Event(), None
    grace_ends = time.monotonic() + WORKER_GRACE_S

    def start_worker_if_needed() -> None:
        nonlocal local_worker
        db = app.store.db
        stopped = local_worker is not None and not local_worker.is_alive()
        if stopped and runs.get(db, run_id).open:
            raise UnderstudyError(f"Run {run_id} could not be executed; the reason is shown above.")
        if local_worker is not None or time.monotonic() < grace_ends:
            return
        if not runs.any_running(db):  # the run is queued, or its worker has disappeared
            local_worker = threading.Thread(target=_run_worker, args=(app, stop, threads))
            local_worker.start()

    try:
        with interruption.raised():
            console = terminal.console(stderr=True, quiet=quiet)
            return follow(app.store, run_id, console, start_worker_if_needed)
    except KeyboardInterrupt as ended:
        code = 128 + getattr(ended, "number", signal.SIGINT)
        if local_worker is None:
            _leave(app, run_id, code)
        _pause(app, run_id, local_worker, stop, code)
    finally:
        stop.set()
        if local_worker is not None:
            local_worker.join()


def report(app: App, finished: runs.Run, as_json: bool) -> None:
    """Print what a run made. Raises UnderstudyError when it made nothing that people may get."""
    if as_json:
        print_json(finished)
    elif tried := trials.list_trials(app.store.db, finished.id):
        folder = app.settings.runs_path / str(finished.id)
        terminal.echo(search_report.text_with_path(tried, folder))
    if finished.state != "done" or finished.adapter_id is None:
        raise UnderstudyError(
            f"Run {finished.id} {finished.state}: {finished.error or finished.phase}"
        )
    adapter = registry.by_id(app.store.db, finished.adapter_id)
    if not as_json:
        terminal.echo(f"Recipe: {adapter.recipe.get('why', '')}")
        if said := headline(adapter):
            terminal.echo(said)
        terminal.echo(f"Created {adapter.name}: {scores.sentence(adapter)}")
        terminal.echo(f"To see all metrics: `understudy runs show {finished.id}`.")
    last = "" if as_json else repeats(adapter)
    if adapter.state == "rejected" and last:
        terminal.echo(last)
    if adapter.state == "rejected":
        raise UnderstudyError(
            f"{adapter.name} was rejected: {adapter.state_reason} To use it anyway: "
            f"`understudy adapters accept {adapter.name} --reason TEXT`."
        )
    if not as_json:
        terminal.echo(f"To make it live: `understudy adapters promote {adapter.name}`.")
        if last:
            terminal.echo(last)


def _tell(message: str) -> None:
    """Print to standard error, if there is still a terminal."""
    with contextlib.suppress(OSError):
        terminal.echo(message, err=True)


def _leave(app: App, run_id: int, code: int) -> NoReturn:
    """Stop following a run that is not executed here."""
    queued = runs.get(app.store.db, run_id).state == "queued"
    _tell(
        f"\nRun {run_id} {'stays queued' if queued else 'continues'}. To follow it again: "
        f"`understudy runs resume {run_id}`. To cancel it: `understudy runs cancel {run_id}`."
    )
    sys.exit(code)


def _pause(
    app: App, run_id: int, worker: threading.Thread, stop: threading.Event, code: int
) -> NoReturn:
    """End the run's child process and return the run to the queue, with its last checkpoint."""
    try:
        stop.set()
        _tell(f"\nPausing run {run_id}. Press Ctrl-C again to leave at once.")
        worker.join()
        _say_how_to_go_on(app, run_id)
    except KeyboardInterrupt:
        for number in (signal.SIGINT, *LIKE_CTRL_C):
            signal.signal(number, signal.SIG_IGN)
        _give_back(app, run_id)
        _say_how_to_go_on(app, run_id)
        for stream in (sys.stderr, sys.stdout):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)  # without waiting for the worker's thread
    sys.exit(code)


def _give_back(app: App, run_id: int) -> None:
    """Return the run to the queue: its child process ends with this process."""
    try:
        with app.store.write() as db:
            run = runs.get(db, run_id)
            if run.state == "running":
                runs.give_back(db, run, RunPhase(Phase.WAITING_FOR_WORKER), spent=False)
    except UnderstudyError as error:
        _tell(f"Run {run_id} could not be returned to the queue: {error}")


def _say_how_to_go_on(app: App, run_id: int) -> None:
    ended = runs.get(app.store.db, run_id)
    if not ended.open:
        _tell(f"Run {run_id} has ended: {ended.state}.")
        return
    at = f" at step {ended.step} of {ended.total_steps}" if ended.total_steps else ""
    folder = app.settings.checkpoints_path(run_id)
    kept = (
        "its last checkpoint is kept"
        if folder.is_dir() and any(folder.iterdir())
        else "it had no checkpoint yet, so it will begin again"
    )
    _tell(
        f"Run {run_id} is paused{at}; {kept}. To go on: `understudy runs resume {run_id}`. To give "
        f"it up: `understudy runs cancel {run_id}`."
    )


def _run_worker(app: App, stop: threading.Event, threads: int | None) -> None:
    from tuning.worker import worker

    worker.run(with_threads(app.settings, threads), stop=stop, once=True)
