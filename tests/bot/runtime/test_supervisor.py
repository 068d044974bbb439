"""`understudy up` starts again what crashes, stops in order, and leaves no orphans."""

import concurrent.futures
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bot.runtime.supervisor import Supervisor, first_console_link
from data import home_lock
from data.config.settings import load
from data.home_lock import RunsAlready
from data.people import sign_in_links
from data.store.db import Store
from data.store.errors import Unavailable
from tests.conftest import free_port


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


def handles_sigterm(pid: int) -> bool:
    """Whether a process is past its start, so that it takes SIGTERM as a request."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_a_killed_part_is_restarted(supervisor: Supervisor) -> None:
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
    assert until(lambda: handles_sigterm(supervisor.children["worker"].process.pid))

    supervisor.stop()

    assert supervisor.ended("worker") == 0


def test_parts_end_when_the_supervisor_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom bot.runtime.supervisor import Supervisor\n"
        "from data.config.settings import load\n"
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


def test_a_crashed_part_restarts_immediately_and_then_with_growing_delays(
    supervisor: Supervisor,
) -> None:
    supervisor.start()
    delays = []
    try:
        for _ in range(3):
            child = supervisor.children["worker"]
            child.process.kill()
            child.process.wait()
            began = child.started
            delays.append(child.delay)
            assert until(lambda: supervisor.revive() or child.started != began)  # noqa: B023
    finally:
        supervisor.stop()
    assert delays == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("ended_by", "lived", "at_once"),
    [(signal.SIGKILL, 11, True), (signal.SIGKILL, 9, False), (0, 11, False), (0, 61, True)],
)
def test_when_a_part_restarts_immediately(
    supervisor: Supervisor, ended_by: int, lived: float, at_once: bool
) -> None:
    """A signal is not its own doing; one that ends by itself, soon each time, gets ever later."""
    supervisor.start()
    child = supervisor.children["worker"]
    try:
        assert until(lambda: handles_sigterm(child.process.pid))
        child.process.send_signal(ended_by or signal.SIGTERM)
        child.process.wait()
        child.delay, child.started = 30.0, time.monotonic() - lived
        began = child.started
        supervisor.revive()
        assert (child.started != began) is at_once
    finally:
        supervisor.stop()


def test_connections_wait_while_a_killed_bot_restarts(bot_alone: Supervisor) -> None:
    """A request sent to nobody is answered by the next bot."""
    bot_alone.start()
    url = f"http://127.0.0.1:{bot_alone.settings.bot.port}/health"
    first = bot_alone.children["bot"].process
    try:
        assert httpx.get(url, timeout=30).status_code == 503  # no engine, but it answers
        first.kill()
        first.wait()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            asked = [pool.submit(httpx.get, url, timeout=30) for _ in range(20)]
            assert until(lambda: bot_alone.revive() or all(a.done() for a in asked))
        assert {a.result().status_code for a in asked} == {503}
        assert bot_alone.children["bot"].process.pid != first.pid
    finally:
        bot_alone.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_an_address_in_use_is_reported_before_anything_starts(bot_alone: Supervisor) -> None:
    taken = socket.create_server(("127.0.0.1", bot_alone.settings.bot.port))
    with taken, pytest.raises(Unavailable, match="Perhaps the bot is already running"):
        bot_alone.start()
    assert bot_alone.children == {}


def test_a_second_one_for_the_same_home_ends_with_a_sentence(supervisor: Supervisor) -> None:
    """Also on other ports: its engines could never start."""
    with home_lock.only_one(supervisor.settings.home, "up"):
        environ = {**os.environ, "UNDERSTUDY_BOT_PORT": str(free_port())}
        second = [sys.executable, "-m", "bot", "up"]
        done = subprocess.run(second, env=environ, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr.endswith(
        f"Error: `understudy up` already runs for {supervisor.settings.home} (process "
        f"{os.getpid()}). Stop it first.\n"
    )


def test_it_waits_for_the_engines_of_one_that_was_killed(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    supervisor.parts = ("serve",)
    monkeypatch.setattr(supervisor, "_spawn", lambda part: None)
    starting = threading.Thread(target=supervisor.start)
    try:
        with home_lock.only_one(supervisor.settings.home, "serve"):
            starting.start()
            assert until(lambda: "Waiting for the engines" in caplog.text)
            assert supervisor.children == {}
        starting.join(30)
        assert list(supervisor.children) == ["serve"]
    finally:
        supervisor.children.clear()
        supervisor.stop()


def test_it_ends_if_another_serve_goes_on(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.runtime.supervisor.GRACE_S", 0.1)
    supervisor.parts = ("serve",)
    try:
        with (
            home_lock.only_one(supervisor.settings.home, "serve"),
            pytest.raises(RunsAlready, match="`understudy serve` already runs"),
        ):
            supervisor.start()
    finally:
        supervisor.stop()
    with home_lock.only_one(supervisor.settings.home, "up"):
        pass  # the lock is free again


@pytest.fixture
def bot_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    (tmp_path / "understudy.toml").write_text(f"[bot]\nport = {free_port()}\n")
    monkeypatch.setenv("UNDERSTUDY_CONFIG", str(tmp_path / "understudy.toml"))
    settings = load()
    Store(settings.store_path).close()
    return Supervisor(settings, parts=("bot",), log_folder=tmp_path / "logs")


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_a_part_exits_if_its_supervisor_died_during_the_start() -> None:
    code = (
        "import os, time; from bot.runtime.supervisor import _die_with_parent\n"
        "parent = os.getpid()\n"
        "if os.fork(): os._exit(0)\n"
        "while os.getppid() == parent: time.sleep(0.01)\n"
        "_die_with_parent(parent); print('goes on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_part_that_fails_to_start_is_retried(supervisor: Supervisor) -> None:
    supervisor.start()
    child = supervisor.children["worker"]
    first, logs = child.process.pid, supervisor.log_folder
    assert logs is not None
    try:
        logs.rename(logs.with_name("elsewhere"))
        logs.touch()  # now its log cannot be opened
        os.kill(first, signal.SIGKILL)
        child.process.wait()
        supervisor.revive()
        assert child.process.pid == first

        logs.unlink()

        def again() -> bool:
            supervisor.revive()
            return child.process.pid != first

        assert until(again)
    finally:
        supervisor.stop()


def test_a_link_for_the_first_admin_is_printed_until_somebody_has_signed_in(
    supervisor: Supervisor,
) -> None:
    settings = supervisor.settings
    first = first_console_link(settings)
    assert first is not None
    address, _, secret = first.partition("?link=")
    assert address == f"http://127.0.0.1:{settings.bot.port}/console/sign-in"
    with Store(settings.store_path) as store, store.write() as db:
        assert sign_in_links.use(db, secret).role == "admin"
    assert first_console_link(settings) is None
