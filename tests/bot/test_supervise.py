"""`understudy up` starts again what crashes, stops in order, and leaves no orphans."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.supervise import Supervisor
from data.config import load
from data.db import Store


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """One that runs the worker alone: it needs no engine and no port."""
    (tmp_path / "understudy.toml").write_text("")
    monkeypatch.setenv("UNDERSTUDY_CONFIG", str(tmp_path / "understudy.toml"))
    settings = load()
    Store(settings.store_path).close()
    return Supervisor(settings, parts=("worker",), log_folder=tmp_path / "logs")


def until(holds: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_part_is_started_again(supervisor: Supervisor) -> None:
    supervisor.start()
    first = supervisor.children["worker"].process.pid
    try:
        os.kill(first, signal.SIGKILL)

        def again() -> bool:
            supervisor.revive()
            return supervisor.children["worker"].process.pid != first

        assert until(again)
        assert supervisor.ended("worker") is None
    finally:
        supervisor.stop()


def test_stop_ends_every_part_cleanly(supervisor: Supervisor) -> None:
    supervisor.start()
    time.sleep(2)  # past its start, so that the signal finds a working worker

    supervisor.stop()

    assert supervisor.ended("worker") == 0


def test_parts_end_when_the_supervisor_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    code = (
        "import sys, time; from bot.supervise import Supervisor; from data.config import load\n"
        "s = Supervisor(load(), parts=('worker',)); s.start()\n"
        "print(s.children['worker'].process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)

    parent.kill()
    parent.wait()

    assert until(lambda: not alive(child))
