"""Ctrl-C in `understudy tune`: real processes and real signals.

The tuning process is a small program, started by the real worker of the real command. It behaves as
a training does: it takes steps, keeps a checkpoint, and ends on SIGTERM.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data.runs import runs
from data.store.db import Store
from tests.bot.cli.conftest import Run
from tuning.child_process import ExitCode

ROOT = Path(__file__).parents[3]
CHILD = """
import argparse, os, signal, sys, time
from pathlib import Path
from data.config.settings import Settings
from data.runs import runs
from data.store.db import Store
parser = argparse.ArgumentParser()
for name in ("--config-json", "--run", "--worker", "--attempt", "--parent"):
    parser.add_argument(name)
options = parser.parse_args()
settings = Settings.model_validate_json(options.config_json)
run = int(options.run)
slow_to_end = (settings.home / "slow").exists()
signal.signal(signal.SIGTERM, lambda *_: None if slow_to_end else sys.exit({stopped}))
folder = settings.checkpoints_path(run)
folder.mkdir(parents=True, exist_ok=True)
checkpoint = folder / "step"
begun = int(checkpoint.read_text()) if checkpoint.exists() else 0
with (settings.home / "pids").open("a") as file:
    file.write(str(os.getpid()) + " ")
with (settings.home / "begun").open("a") as file:
    file.write(str(begun) + " ")
with Store(settings.store_path) as store:
    claimed = runs.claimed(store.db, run, options.worker, int(options.attempt))
    for step in range(begun + 1, begun + 400):
        checkpoint.write_text(str(step))
        with store.write() as db:
            runs.progress(db, claimed, step=step, total_steps=400)
        if begun:  # the second time it ends
            with store.write() as db:
                runs.fail(db, claimed, "went on from step " + str(begun))
            sys.exit({failed})
        time.sleep(0.05)
"""
PROGRAM = """
import sys
from tuning import child_process
from bot.cli import main, waiting
child_process.PROGRAM = (sys.executable, {child!r})
waiting.WORKER_GRACE_S = 0.0
main()
"""


class Command:
    """`understudy` in a process of its own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        child = home / "child.py"
        child.write_text(CHILD.format(stopped=int(ExitCode.STOPPED), failed=int(ExitCode.FAILED)))
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(child=str(child)), *arguments],
            cwd=home,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Ctrl-C: the terminal sends SIGINT to the foreground process group; and SIGHUP when it is
        closed."""
        os.killpg(self.process.pid, number)

    def ended(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output


@pytest.fixture
def start(run: Run, home: Path) -> Iterator[Callable[..., Command]]:
    (home / "p.jsonl").write_text('{"prompt": "What is red?", "response": "A colour."}\n')
    run("domains", "add", "art")
    run("pairs", "import", "art", "p.jsonl")
    started: list[Command] = []

    def begin(*arguments: str) -> Command:
        started.append(Command(home, *arguments))
        return started[-1]

    yield begin
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
        command.process.wait()
    for pid in (home / "pids").read_text().split() if (home / "pids").exists() else []:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.kill(int(pid), signal.SIGKILL)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def stepping(store: Store) -> bool:
    return any(run.state == "running" and run.step > 2 for run in runs.recent(store.db))


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_ctrl_c_pauses_and_resume_goes_on_from_the_checkpoint(
    start: Callable[..., Command], store: Store, home: Path, number: int
) -> None:
    tune = start("tune", "art")
    wait_for(lambda: stepping(store))
    tune.interrupt(number)
    code, output = tune.ended()

    paused = runs.get(store.db, 1)
    checkpoint = home / "runs" / "1" / "checkpoint" / "step"
    assert code == 128 + number
    assert "its last checkpoint is kept. To go on: `understudy runs resume 1`" in output
    assert "To give it up: `understudy runs cancel 1`" in output
    assert (paused.state, paused.cancel_requested, paused.attempts) == ("queued", False, 0)
    assert checkpoint.exists()

    kept = int(checkpoint.read_text())
    code, output = start("runs", "resume", "1").ended()

    assert (home / "begun").read_text().split() == ["0", str(kept)]
    assert f"went on from step {kept}" in output
    assert code == 1


@pytest.mark.integration
@pytest.mark.parametrize("asked", [(), ("--method", "auto")], ids=["as usual", "auto"])
def test_a_run_whose_process_was_killed_goes_on_with_the_next_tune(
    start: Callable[..., Command], store: Store, home: Path, asked: tuple[str, ...]
) -> None:
    tune = start("tune", "art", *asked)
    wait_for(lambda: stepping(store))
    tune.process.kill()
    tune.process.wait()
    with store.write() as db:
        db.execute("UPDATE runs SET heartbeat_at = heartbeat_at - 61000000")

    _, output = start("tune", "art", *asked).ended()

    assert "Run 1 lost its worker; it goes on from its last checkpoint." in output
    assert "went on from step" in output
    assert [run.id for run in runs.recent(store.db)] == [1]


@pytest.mark.integration
def test_a_run_whose_process_was_killed_can_be_cancelled(
    start: Callable[..., Command], run: Run, store: Store
) -> None:
    tune = start("tune", "art")
    wait_for(lambda: stepping(store))
    tune.process.kill()
    tune.process.wait()

    assert "is being stopped" in run("runs", "cancel", "1").output
    with store.write() as db:
        db.execute("UPDATE runs SET heartbeat_at = heartbeat_at - 61000000")
    assert "is cancelled" in run("runs", "cancel", "1").output
    assert runs.get(store.db, 1).state == "cancelled"


@pytest.mark.integration
def test_a_second_ctrl_c_leaves_at_once(
    start: Callable[..., Command], store: Store, home: Path
) -> None:
    """The tuning process ignores that it was asked to end, which takes ten seconds."""
    (home / "slow").touch()
    tune = start("tune", "art")
    wait_for(lambda: stepping(store))
    tune.interrupt()
    time.sleep(0.5)
    assert tune.process.poll() is None
    tune.interrupt()
    before = time.monotonic()
    code, output = tune.ended()

    assert code == 130
    assert time.monotonic() - before < 8
    assert "Press Ctrl-C again to leave at once" in output
    assert "To go on: `understudy runs resume 1`" in output
    assert runs.get(store.db, 1).state == "queued"


def test_a_run_that_has_ended_cannot_be_resumed(run: Run, store: Store, home: Path) -> None:
    (home / "p.jsonl").write_text('{"prompt": "What is red?", "response": "A colour."}\n')
    run("domains", "add", "art")
    run("pairs", "import", "art", "p.jsonl")
    run("tune", "art", "--no-wait")
    run("runs", "cancel", "1")

    refused = run("runs", "resume", "1")

    assert refused.exit_code == 1
    assert "Run 1 has already ended (cancelled). Request a new one" in refused.output
