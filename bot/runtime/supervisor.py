"""`understudy up`: keeps the engine, the tuning worker and the bot running, each a child process.

A child that ends is started again, at once and then later each time it ends soon; on SIGINT or
SIGTERM all are asked to finish, and the engine last, so that answers in flight can end. Children
die with us, even when we are killed (`data/processes.py`). The bot's socket is ours: while the bot
is started again, connections wait instead of being refused.
"""

import functools
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
from data.config.settings import Settings
from data.processes import die_with_parent

log = logging.getLogger("understudy.up")

PARTS = ("serve", "worker", "bot")  # started in this order, stopped in the reverse one
LOOK_S = 0.2  # between looks at the children
FIRST_DELAY_S = 1.0  # before the second start in a row; the first comes at once
LONGEST_DELAY_S = 30.0
STEADY_S = 60.0  # a child that lived so long starts again at once
KILLED_S = 10.0  # the same where a signal ended it, memory that ran out, say: it did not give up
GRACE_S = 40.0  # for a child to finish by itself


@dataclass
class Child:
    part: str
    process: "subprocess.Popen[bytes]"
    started: float
    delay: float = 0.0
    due: float | None = None  # when to start it again, once it has ended


@dataclass
class Supervisor:
    """Starts and watches the parts. `start` and `stop` by hand, or `run` until a signal."""

    settings: Settings
    parts: Sequence[str] = PARTS
    log_folder: Path | None = None  # children write to files there; None: to our own output
    environ: dict[str, str] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)
    listener: socket.socket | None = None  # where the bot answers

    def start(self, *parts: str) -> None:
        """Start the given parts, or all. Raises Unavailable when the bot's address is taken."""
        wanted = parts or self.parts
        if "bot" in wanted and self.listener is None:
            self.listener = open_listener(self.settings.bot)
        for part in wanted:
            self.children[part] = Child(part, self._spawn(part), time.monotonic())

    def ended(self, part: str) -> int | None:
        """The exit code of a part that has ended, None while it runs."""
        return self.children[part].process.poll()

    def run(self) -> int:
        """Until SIGINT or SIGTERM; returns the exit code."""
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        self.start()
        log.info("Starting. The web chat will be at %s", web_address(self.settings))
        while not stopping.wait(LOOK_S):
            self.revive()
        log.info("Stopping.")
        self.stop()
        return 0

    def revive(self) -> None:
        """Start again what has ended and is due."""
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
                    "`understudy %s` ended with code %d; again in %.0f s",
                    child.part,
                    code,
                    child.delay,
                )
                child.delay = min(max(child.delay * 2, FIRST_DELAY_S), LONGEST_DELAY_S)
            if now >= child.due:
                self._start_again(child, now)

    def _start_again(self, child: Child, now: float) -> None:
        try:
            child.process, child.started, child.due = self._spawn(child.part), now, None
        except OSError as error:  # no memory for another process just now, say
            log.warning("`understudy %s` cannot be started: %s", child.part, error)
            child.due = now + child.delay

    def stop(self) -> None:
        """Ask every part to finish, the bot first and the engine last; kill what does not."""
        if self.listener is not None:
            self.listener.close()  # the bot closes its own, and nobody new is kept waiting
            self.listener = None
        for part in reversed(self.parts):
            child = self.children.get(part)
            if child is None or child.process.poll() is not None:
                continue
            child.process.send_signal(signal.SIGTERM)
            try:
                child.process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                log.warning("`understudy %s` did not finish in time and is killed", part)
                child.process.kill()
                child.process.wait()

    def _spawn(self, part: str) -> "subprocess.Popen[bytes]":
        output: IO[bytes] | None = None
        handed_over: tuple[int, ...] = ()
        environ = {**os.environ, **self.environ}
        if part == "bot" and self.listener is not None:
            handed_over = (self.listener.fileno(),)
            environ[VARIABLE] = str(handed_over[0])
        if self.log_folder is not None:
            self.log_folder.mkdir(parents=True, exist_ok=True)
            output = (self.log_folder / f"{part}.log").open("ab")
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "bot", part],
                env=environ,
                pass_fds=handed_over,
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
    """Where a browser finds the web chat."""
    host = settings.bot.host if settings.bot.host not in ("0.0.0.0", "::") else "localhost"  # noqa: S104
    return f"http://{host}:{settings.bot.port}"


def _die_with_parent(parent: int) -> None:
    """In the child: receive SIGTERM when the parent dies (Linux; elsewhere nothing happens)."""
    if not die_with_parent(signal.SIGTERM, parent):  # it died before the kernel was asked
        os._exit(1)
