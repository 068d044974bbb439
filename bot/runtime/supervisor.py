"""`understudy up`: runs the engine, the tuning worker and the bot as child processes.

A child that exits is restarted, at first immediately and then with a growing delay if it keeps
exiting early. On SIGINT or SIGTERM all children are asked to finish, the engine last, so that
answers in progress can be completed. Children exit with the supervisor, even if it is killed
(`data/processes.py`). There is one supervisor for each home folder (`data/home_lock.py`). It owns
the bot's socket: while the bot restarts, connections wait instead of being refused.
"""

import contextlib
import functools
import getpass
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bot.runtime.listener import VARIABLE, open_listener
from data import home_lock
from data.config.settings import Settings
from data.people import sign_in_links
from data.processes import die_with_parent
from data.store.db import Store

log = logging.getLogger("understudy.up")

PARTS = ("serve", "worker", "bot")  # started in this order, stopped in the reverse one
POLL_S = 0.2  # between checks of the children
FIRST_DELAY_S = 1.0  # before the second restart in a row; the first one is immediate
MAX_DELAY_S = 30.0
STEADY_S = 60.0  # a child that ran for longer is restarted immediately
KILLED_S = 10.0  # the same for a child ended by a signal, for example by the out-of-memory killer
GRACE_S = 40.0  # for a child to finish before it is killed


@dataclass
class Child:
    part: str
    process: "subprocess.Popen[bytes]"
    started: float
    delay: float = 0.0
    due: float | None = None  # when to restart it, after it has exited


@dataclass
class Supervisor:
    """Starts and restarts the parts. Call `start` and `stop`, or `run` until a signal."""

    settings: Settings
    parts: Sequence[str] = PARTS
    log_folder: Path | None = None  # for the children's log files; None: they inherit the output
    environ: dict[str, str] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)
    listener: socket.socket | None = None  # the bot's socket
    stopping: threading.Event = field(default_factory=threading.Event)
    _locked: contextlib.ExitStack | None = None  # holds the lock of the home folder

    def start(self, *parts: str) -> None:
        """Start the given parts, or all. Raises RunsAlready when another process runs them for this
        home folder, Unavailable when the bot's address is in use."""
        wanted = parts or self.parts
        if self._locked is None:
            with contextlib.ExitStack() as stack:
                stack.enter_context(home_lock.only_one(self.settings.home, "up"))
                self._locked = stack.pop_all()
        if "serve" in wanted:
            self._await_engines()
        if self.stopping.is_set():
            return
        if "bot" in wanted and self.listener is None:
            self.listener = open_listener(self.settings.bot)
        for part in wanted:
            self.children[part] = Child(part, self._spawn(part), time.monotonic())

    def ended(self, part: str) -> int | None:
        """The exit code of a part; None while it runs."""
        return self.children[part].process.poll()

    def run(self) -> int:
        """Run until SIGINT or SIGTERM; returns the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stopping.set())
        try:
            self.start()
            log.info("Starting. Address of the web chat: %s", web_address(self.settings))
            if (link := first_console_link(self.settings)) is not None:
                log.info("Sign in to the console as its first admin. This works once: %s", link)
            while not self.stopping.wait(POLL_S):
                self.revive()
            log.info("Stopping.")
        finally:
            self.stop()
        return 0

    def _await_engines(self) -> None:
        """Wait until the engines of an earlier `up` have stopped, which was perhaps killed. Raises
        RunsAlready when they do not within the time that they have for it."""
        deadline, told = time.monotonic() + GRACE_S, False
        while True:
            try:
                with home_lock.only_one(self.settings.home, "serve"):
                    return
            except home_lock.RunsAlready:
                if time.monotonic() > deadline:
                    raise
            if not told:
                log.info("Waiting for the engines of an earlier `understudy up` to stop")
                told = True
            if self.stopping.wait(POLL_S):
                return

    def revive(self) -> None:
        """Restart the children that have exited and are due."""
        now = time.monotonic()
        for child in self.children.values():
            code = child.process.poll()
            if code is None:
                continue
            if child.due is None:
                if now - child.started > (KILLED_S if code < 0 else STEADY_S):
                    child.delay = 0.0
                child.due = now + child.delay
                log.warning(
                    "`understudy %s` exited with code %d; restart in %.0f s",
                    child.part,
                    code,
                    child.delay,
                )
                child.delay = min(max(child.delay * 2, FIRST_DELAY_S), MAX_DELAY_S)
            if now >= child.due:
                self._restart(child, now)

    def _restart(self, child: Child, now: float) -> None:
        try:
            child.process, child.started, child.due = self._spawn(child.part), now, None
        except OSError as error:  # for example, not enough memory for another process
            log.warning("`understudy %s` cannot be started: %s", child.part, error)
            child.due = now + child.delay

    def stop(self) -> None:
        """Ask each part to finish, the bot first and the engine last; kill those that do not."""
        if self.listener is not None:
            self.listener.close()  # the bot closes its own copy; new connections are refused
            self.listener = None
        for part in reversed(self.parts):
            child = self.children.get(part)
            if child is None or child.process.poll() is not None:
                continue
            child.process.send_signal(signal.SIGTERM)
            try:
                child.process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                log.warning("`understudy %s` did not finish in time and was killed", part)
                child.process.kill()
                child.process.wait()
        if self._locked is not None:
            self._locked.close()
            self._locked = None

    def _spawn(self, part: str) -> "subprocess.Popen[bytes]":
        output: IO[bytes] | None = None
        inherited: tuple[int, ...] = ()
        environ = {**os.environ, **self.environ}
        if part == "bot" and self.listener is not None:
            inherited = (self.listener.fileno(),)
            environ[VARIABLE] = str(inherited[0])
        if self.log_folder is not None:
            self.log_folder.mkdir(parents=True, exist_ok=True)
            output = (self.log_folder / f"{part}.log").open("ab")
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "bot", part],
                env=environ,
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop them in order
                preexec_fn=functools.partial(_die_with_parent, os.getpid()),
            )
        finally:
            if output is not None:
                output.close()


def web_address(settings: Settings) -> str:
    """The address of the web chat."""
    host = settings.bot.host if settings.bot.host not in ("0.0.0.0", "::") else "localhost"  # noqa: S104
    return f"http://{host}:{settings.bot.port}"


def first_console_link(settings: Settings) -> str | None:
    """A new link for the first admin of the console; None once somebody has signed in. It replaces
    the one that an earlier start printed."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = "admin"
    with Store(settings.store_path) as store, store.write() as db:
        secret = sign_in_links.first_admin(db, name, "understudy up")
    return None if secret is None else console_link(settings, secret)


def console_link(settings: Settings, secret: str, address: str = "") -> str:
    """The address that signs in to the console. `address`: of the service, as browsers reach it."""
    base = address.rstrip("/") or f"{web_address(settings)}{settings.bot.root_path}"
    return f"{base}/console/sign-in?link={secret}"


def _die_with_parent(parent: int) -> None:
    """In the child: receive SIGTERM when the parent dies (Linux; elsewhere nothing happens)."""
    if not die_with_parent(signal.SIGTERM, parent):  # it died before the kernel was asked
        os._exit(1)
