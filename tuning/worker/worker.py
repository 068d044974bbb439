"""The worker: takes queued runs one at a time, and starts a child process for each.

A child process frees its memory when it ends, and its crash affects nothing else. The worker itself
loads no torch. Its guarantees:

- Two workers never do the same run (`runs.claim` is one conditional update).
- It writes a heartbeat every few seconds. When a worker disappears, another one continues its run.
- A run is cancelled within seconds: the child is asked to end, then its process group is killed.
- A child that crashes, or that hangs (`standstill.py`), is started again, up to
  `tuning.max_attempts` times in all. Then the run fails with a sentence about the cause.
- When it is stopped (SIGTERM, `stop`), it ends its child and returns the run to the queue without
  using up an attempt.
- On a GPU that it shares with the engine by time (`data/gpu/time_sharing.py`), it starts a run when
  the engine sleeps, and interrupts it when the configured hours end.
"""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import IO

from sqlite_utils import Database

from data import free_memory
from data.bases import folders
from data.config.settings import Settings
from data.gpu import time_sharing
from data.runs import runs
from data.runs.phases import Phase, RunPhase
from data.runs.runs import Run, RunLost
from data.store.clock import now_us
from data.store.db import Store
from data.store.errors import Unavailable, UnderstudyError
from data.triggers import firing
from tuning import child_process, threads
from tuning.child_process import ExitCode
from tuning.worker.standstill import Standstill

log = logging.getLogger(__name__)

POLL_S = 1.0  # between two checks of the queue
TRIGGERS_S = 30.0  # between two checks of the triggers
HEARTBEAT_S = 5.0
WATCH_S = 0.25  # between two checks of the child
LOOK_S = 2.0  # between two looks at what the child does
SLEEP_TIMEOUT_S = 900.0  # how long the engine may take to go to sleep
GRACE_S = 10.0  # between asking the child to end and killing it
HUNG_S = 600.0  # without any processor time; a training that waits for an engine uses some
WAITING = RunPhase(Phase.WAITING_FOR_WORKER)
HUNG = "The process of the run hung: it used no processor time for ten minutes"
LOG_TAIL_BYTES = 4000  # of a log, searched for the reason of a crash


def run(
    settings: Settings,
    *,
    stop: threading.Event | None = None,
    once: bool = False,
    clock: Callable[[], datetime] = datetime.now,
) -> int:
    """Work until `stop` is set (or SIGTERM or SIGINT arrives, in the main thread); with `once`,
    until the queue is empty. Returns the exit code: 1 when `once` did a run that failed. `clock`
    returns the local time."""
    stop = stop or threading.Event()
    name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
    failed = False
    gpu = _GpuAccess(settings, clock)
    triggers = _Triggers(settings)
    with Store(settings.store_path) as store, _signals(stop):
        log.info("worker %s is waiting for runs", name)
        while not stop.is_set():
            try:
                triggers.check(store)
                claimed = _next(store, settings, name, gpu)
                if claimed is not None:
                    ended = _execute(store, gpu, claimed, stop)
                    failed = failed or ended.state == "failed"
                    continue
            except Unavailable as error:  # the store is busy or the disk is full; this passes
                log.warning("%s", error)
                stop.wait(HEARTBEAT_S)
                continue
            if once and not gpu.waits:
                break
            stop.wait(POLL_S)
        log.info("worker %s has stopped", name)
    return int(once and failed)


class _Triggers:
    """Queues the runs whose triggers have fired. Other workers may do the same at the same time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._next = 0.0

    def check(self, store: Store) -> None:
        """Does nothing if the last check was a moment ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + TRIGGERS_S
        try:
            for domain, plan in firing.plans(store.db, self.settings, now_us()):
                with store.write() as db:
                    queued = firing.fire(db, domain, plan, now_us())
                if queued is not None:
                    log.info("run %d of %s: %s", queued.id, domain.name, queued.why)
        except UnderstudyError as error:
            log.warning("The triggers could not be checked: %s", error)


class _GpuAccess:
    """Whether the worker may use the GPU now, and how long it has been waiting for the engine."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self.clock = clock
        self.waits: RunPhase | None = None  # what the next run waits for
        self._since = 0.0

    def update(self, db: Database) -> None:
        """Find out what the next run has to wait for."""
        queued = runs.any_queued(db)
        waits = time_sharing.wait_reason(db, self.settings, self.clock()) if queued else None
        if waits != self.waits:
            self.waits, self._since = waits, time.monotonic()

    @property
    def too_long(self) -> bool:
        """Whether the engine has taken too long to go to sleep."""
        return (
            self.waits == time_sharing.WAITING and time.monotonic() - self._since > SLEEP_TIMEOUT_S
        )

    @property
    def over(self) -> RunPhase | None:
        """What a running run has to wait for now; None when it may continue."""
        return time_sharing.closed_until(self.settings, self.clock())


def _next(store: Store, settings: Settings, name: str, gpu: _GpuAccess) -> Run | None:
    """Return lost runs to the queue, and claim a run if the GPU is free."""
    if not _anything_to_do(store.db):
        gpu.update(store.db)
        return None
    with store.write() as db:
        for run_id in runs.requeue_silent(db, settings.tuning.max_attempts):
            log.warning("run %d has lost its worker", run_id)
        gpu.update(db)
        if gpu.too_long:
            _give_up(db, name)
        elif gpu.waits:
            time_sharing.request_card(db, gpu.waits)
        else:
            return runs.claim(db, name)
    return None


def _give_up(db: Database, name: str) -> None:
    """Fail the run that waits for an engine that does not go to sleep."""
    claimed = runs.claim(db, name)
    if claimed is not None:
        log.warning("run %d: the engine did not go to sleep", claimed.id)
        runs.fail(
            db,
            claimed,
            f"The engine did not free the GPU within {SLEEP_TIMEOUT_S / 60:.0f} minutes. The log "
            "of `understudy serve` says why. Request the run again when that is fixed.",
        )


def _anything_to_do(db: Database) -> bool:
    """A check without a write lock: most polls find nothing."""
    return any(run.open for run in runs.recent(db, limit=100))


def _execute(store: Store, gpu: _GpuAccess, claimed: Run, stop: threading.Event) -> Run:
    """Do a claimed run in a child process; returns the run as the store has it at the end."""
    settings = folders.as_asked(gpu.settings, claimed.recipe)
    folder = settings.runs_path / str(claimed.id)
    folder.mkdir(parents=True, exist_ok=True)
    log.info(
        "run %d (%s, %s), attempt %d", claimed.id, claimed.domain, claimed.kind, claimed.attempts
    )
    with open(folder / "run.log", "ab") as output:
        child = _start(settings, claimed, output)
        try:
            stop_reason = _watch(store, gpu, claimed, child, stop, folder / "run.log")
        finally:
            _end(child)
    _record(store, gpu, claimed, child.returncode, stop_reason, folder / "run.log")
    _delete_checkpoints(store, settings, claimed.id)
    ended = runs.get(store.db, claimed.id)
    log.info("run %d: %s %s", ended.id, ended.state, ended.error)
    return ended


def _start(settings: Settings, claimed: Run, output: IO[bytes]) -> "subprocess.Popen[bytes]":
    environment = os.environ | {
        **threads.environment(settings),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if Path(settings.base.path).is_dir():
        environment["HF_HUB_OFFLINE"] = "1"
    return subprocess.Popen(
        child_process.command(settings, claimed),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        cwd=Path(__file__).parents[2],
        start_new_session=True,  # Ctrl-C reaches only the worker, which then stops the child
    )


def _watch(
    store: Store,
    gpu: _GpuAccess,
    claimed: Run,
    child: "subprocess.Popen[bytes]",
    stop: threading.Event,
    log_file: Path,
) -> str:
    """Wait for the child. Returns '' when it has ended, else why it must be ended: 'cancel',
    'stop', 'late' when the engine needs the GPU, 'lost' when the run belongs to another worker, or
    'hung' when it does nothing any more."""
    beat = looked = 0.0
    standstill = Standstill(child.pid, log_file)
    while child.poll() is None:
        if stop.is_set():
            return "stop"
        if gpu.over:
            return "late"
        if time.monotonic() - looked >= LOOK_S:
            looked = time.monotonic()
            if standstill.seconds() >= HUNG_S:
                return "hung"
        if time.monotonic() - beat >= HEARTBEAT_S:
            beat = time.monotonic()
            try:
                with store.write() as db:
                    if runs.heartbeat(db, claimed):
                        return "cancel"
            except RunLost:
                # the child may have finished the run after `poll`
                return "" if not runs.get(store.db, claimed.id).open else "lost"
            except Unavailable as error:
                log.warning("no heartbeat for run %d: %s", claimed.id, error)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(WATCH_S)
    return ""


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ask the child's process group to end, then kill it."""
    for number, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        if child.poll() is not None and number is signal.SIGTERM:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience)
            break


def _record(
    store: Store, gpu: _GpuAccess, claimed: Run, code: int, stop_reason: str, log_file: Path
) -> None:
    """Record how the run ended, unless the child has done so."""
    with store.write() as db:
        if stop_reason == "lost":
            return
        try:
            now = runs.claimed(db, claimed.id, claimed.worker, claimed.attempts)
        except RunLost:
            return  # the child has recorded its end, or another worker has the run
        if stop_reason == "cancel" or now.cancel_requested:
            runs.cancelled(db, claimed)
        elif stop_reason == "late":
            runs.give_back(db, claimed, gpu.over or WAITING, spent=False)
        elif stop_reason == "stop" or code == ExitCode.STOPPED:
            runs.give_back(db, claimed, WAITING, spent=False)
        elif claimed.attempts < gpu.settings.tuning.max_attempts:
            why = HUNG if stop_reason == "hung" else reason(code, log_file)
            log.warning("run %d: %s; trying again", claimed.id, why)
            runs.give_back(db, claimed, RunPhase(Phase.RETRYING, why))
        else:
            times = f" ({claimed.attempts} times)" if claimed.attempts > 1 else ""
            why = HUNG if stop_reason == "hung" else reason(code, log_file)
            runs.fail(db, claimed, f"{why}{times}. The log of the run: {log_file}")


def _delete_checkpoints(store: Store, settings: Settings, run_id: int) -> None:
    """Delete the checkpoints of a run that has ended."""
    if not runs.get(store.db, run_id).open:
        shutil.rmtree(settings.checkpoints_path(run_id), ignore_errors=True)


def reason(code: int, log_file: Path) -> str:
    """Why a child ended, as a sentence without its full stop: from its exit code (negative: the
    signal that killed it) and the last line of its log."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = {
            signal.SIGKILL: ": most likely the machine ran out of memory",
            signal.SIGSEGV: ": a library crashed",
            signal.SIGILL: ": this processor lacks an instruction that a library needs",
            signal.SIGBUS: ": the disk or the shared memory is full",
        }.get(signal.Signals(-code), "")
        return f"The tuning process was killed by {name}{hint}"
    with contextlib.suppress(OSError), log_file.open("rb") as file:
        file.seek(max(0, log_file.stat().st_size - LOG_TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
        if free_memory.ran_out("\n".join(lines)):
            return f"The tuning process ended with code {code}: the machine ran out of memory"
        if lines:
            return f"The tuning process ended with code {code}: {lines[-1].strip()[:300]}"
    return f"The tuning process ended with code {code}"


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`, in the main thread; elsewhere the caller handles signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
