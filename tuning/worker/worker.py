"""The worker: takes queued runs, one after the other, and does each in a child process.

A child, because its memory is given back when it ends and its crash hurts nobody. The worker
itself loads no torch. What it promises:

- two workers never do the same run (`runs.claim` is one conditional update);
- a heartbeat every few seconds; a worker that disappears is noticed and its run goes on elsewhere;
- a run is cancelled within seconds: the child is asked to end, then its process group is killed;
- a child that crashes is tried again, `tuning.max_attempts` times in all; then the run fails with
  what killed it, in words;
- asked to stop (SIGTERM, `stop`), it ends its child and gives the run back to the queue unspent;
- on a card that it shares with the engine by turns (`data/gpu/time_sharing.py`) it begins when the
  engine sleeps, and interrupts a run when the hours for that end.
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

from data import domains
from data.adapters import registry
from data.config.settings import Settings
from data.gpu import time_sharing
from data.pairs import pairs
from data.runs import runs
from data.runs.phases import Phase, RunPhase
from data.runs.runs import Run, RunLost
from data.store.db import Store
from data.store.errors import Conflict, Unavailable
from tuning import child_process
from tuning.child_process import ExitCode

log = logging.getLogger(__name__)

POLL_S = 1.0  # between looks into the queue
HEARTBEAT_S = 5.0
WATCH_S = 0.25  # between looks at the child
PATIENCE_S = 900.0  # with an engine that does not go to sleep
GRACE_S = 10.0  # between asking the child to end and killing it
WAITING = RunPhase(Phase.WAITING_FOR_WORKER)
AUTOMATIC = "understudy:auto-retrain"  # who asked, for runs that nobody asked for
LAST_WORDS = 4000  # bytes of a log that are looked at for the reason of a crash


def run(
    settings: Settings,
    *,
    stop: threading.Event | None = None,
    once: bool = False,
    clock: Callable[[], datetime] = datetime.now,
) -> int:
    """Work until `stop` is set (or SIGTERM, SIGINT, when called in the main thread); with `once`
    until the queue is empty. Returns the exit code: 1 when `once` met a run that failed. `clock`
    gives the local time."""
    stop = stop or threading.Event()
    name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
    failed = False
    turn = _Turn(settings, clock)
    with Store(settings.store_path) as store, _signals(stop):
        log.info("worker %s waits for runs", name)
        while not stop.is_set():
            try:
                claimed = _next(store, settings, name, turn)
                if claimed is not None:
                    ended = _carry_out(store, turn, claimed, stop)
                    failed = failed or ended.state == "failed"
                    continue
            except Unavailable as error:  # the store is busy or the disk full: not for ever
                log.warning("%s", error)
                stop.wait(HEARTBEAT_S)
                continue
            if once and not turn.waits:
                break
            stop.wait(POLL_S)
        log.info("worker %s has stopped", name)
    return int(once and failed)


class _Turn:
    """Whether the card is ours now, and how long the engine has kept us waiting for it."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self.clock = clock
        self.waits: RunPhase | None = None  # what the next run waits for
        self._since = 0.0

    def look(self, db: Database) -> None:
        """Find out what the next run has to wait for."""
        queued = runs.any_queued(db)
        waits = time_sharing.wait_reason(db, self.settings, self.clock()) if queued else None
        if waits != self.waits:
            self.waits, self._since = waits, time.monotonic()

    @property
    def too_long(self) -> bool:
        """Whether the engine has not gone to sleep for longer than it may take."""
        return self.waits == time_sharing.WAITING and time.monotonic() - self._since > PATIENCE_S

    @property
    def over(self) -> RunPhase | None:
        """What a running run has to wait for now; None when it may continue."""
        return time_sharing.closed_until(self.settings, self.clock())


def _next(store: Store, settings: Settings, name: str, turn: _Turn) -> Run | None:
    """Bring back lost runs, queue those that are due, take one when the card is free for it."""
    if not _anything_to_do(store.db, settings):
        turn.look(store.db)
        return None
    with store.write() as db:
        for run_id in runs.requeue_silent(db, settings.tuning.max_attempts):
            log.warning("run %d had lost its worker", run_id)
        queue_due(db, settings.tuning.auto_retrain_pairs)
        turn.look(db)
        if turn.too_long:
            _give_up(db, name)
        elif turn.waits:
            time_sharing.request_card(db, turn.waits)
        else:
            return runs.claim(db, name)
    return None


def _give_up(db: Database, name: str) -> None:
    """Fail the run that waits for an engine which does not sleep."""
    claimed = runs.claim(db, name)
    if claimed is not None:
        log.warning("run %d: the engine did not go to sleep", claimed.id)
        runs.fail(
            db,
            claimed.id,
            f"The engine did not make room within {PATIENCE_S / 60:.0f} minutes. The log of "
            "`understudy serve` says why. Ask again when that is mended.",
        )


def _anything_to_do(db: Database, settings: Settings) -> bool:
    """A look that takes no write lock: most polls find nothing."""
    if settings.tuning.auto_retrain_pairs:
        return True
    return any(run.open for run in runs.recent(db, limit=100))


def queue_due(db: Database, threshold: int) -> list[Run]:
    """Queue a retrain of each domain that has `threshold` new pairs or more; 0: of none.

    New means: since its live adapter, and since its newest run, so that an adapter which nobody
    promoted is not made again and again."""
    if threshold <= 0:
        return []
    queued = []
    for domain in domains.list_domains(db):
        latest = runs.recent(db, domain, limit=1)
        live = registry.live(db, domain.id)
        seen = [live.dataset_id if live else None]
        seen += [latest[0].dataset_id] if latest else []
        if any(run.open or (run.state != "done" and run.dataset_id is None) for run in latest):
            continue  # one that ended before it had a dataset would end so again: people look first
        if min(pairs.new_since(db, domain, dataset_id) for dataset_id in seen) < threshold:
            continue
        with contextlib.suppress(Conflict):  # nothing new after all, or somebody was faster
            queued.append(runs.request(db, domain, AUTOMATIC))
    return queued


def _carry_out(store: Store, turn: _Turn, claimed: Run, stop: threading.Event) -> Run:
    """Do a claimed run in a child process, to whatever end; returns it as the store has it then."""
    settings = turn.settings
    folder = settings.runs_path / str(claimed.id)
    folder.mkdir(parents=True, exist_ok=True)
    log.info(
        "run %d (%s, %s), attempt %d", claimed.id, claimed.domain, claimed.kind, claimed.attempts
    )
    with open(folder / "run.log", "ab") as output:
        child = _start(settings, claimed, output)
        try:
            wish = _watch(store, turn, claimed, child, stop)
        finally:
            _end(child)
    _record(store, turn, claimed, child.returncode, wish, folder / "run.log")
    _tidy(store, settings, claimed.id)
    ended = runs.get(store.db, claimed.id)
    log.info("run %d: %s %s", ended.id, ended.state, ended.error)
    return ended


def _start(settings: Settings, claimed: Run, output: IO[bytes]) -> "subprocess.Popen[bytes]":
    threads = settings.tuning.threads or max(1, (os.cpu_count() or 2) // 2)
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if Path(settings.base.path).is_dir():
        environment["HF_HUB_OFFLINE"] = "1"
    return subprocess.Popen(
        child_process.command(settings, claimed.id),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        cwd=Path(__file__).parents[2],
        start_new_session=True,  # its own process group: Ctrl-C reaches us, we decide about it
    )


def _watch(
    store: Store,
    turn: _Turn,
    claimed: Run,
    child: "subprocess.Popen[bytes]",
    stop: threading.Event,
) -> str:
    """Wait for the child. Returns '' when it ended by itself, else why it has to be ended:
    'cancel', 'stop', 'late' when the engine has the card now, or 'lost' when the run is another
    worker's."""
    beat = 0.0
    while child.poll() is None:
        if stop.is_set():
            return "stop"
        if turn.over:
            return "late"
        if time.monotonic() - beat >= HEARTBEAT_S:
            beat = time.monotonic()
            try:
                with store.write() as db:
                    if runs.heartbeat(db, claimed):
                        return "cancel"
            except RunLost:
                # the child may have finished the run since `poll`
                return "" if not runs.get(store.db, claimed.id).open else "lost"
            except Unavailable as error:
                log.warning("no heartbeat for run %d: %s", claimed.id, error)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(WATCH_S)
    return ""


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ask the child's process group to end, then make it."""
    for number, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        if child.poll() is not None and number is signal.SIGTERM:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience)
            break


def _record(store: Store, turn: _Turn, claimed: Run, code: int, wish: str, log_file: Path) -> None:
    """Write down how the run ended, unless the child has."""
    with store.write() as db:
        now = runs.get(db, claimed.id)
        mine = (now.state, now.worker, now.attempts) == (
            "running", claimed.worker, claimed.attempts,
        )  # fmt: skip
        if not mine or wish == "lost":
            return
        if wish == "cancel" or now.cancel_requested:
            runs.cancelled(db, claimed.id)
        elif wish == "late":
            runs.give_back(db, claimed.id, turn.over or WAITING, spent=False)
        elif wish == "stop" or code == ExitCode.STOPPED:
            runs.give_back(db, claimed.id, WAITING, spent=False)
        elif claimed.attempts < turn.settings.tuning.max_attempts:
            why = reason(code, log_file)
            log.warning("run %d: %s; it is tried again", claimed.id, why)
            runs.give_back(db, claimed.id, RunPhase(Phase.RETRYING, why))
        else:
            times = f" ({claimed.attempts} times)" if claimed.attempts > 1 else ""
            runs.fail(db, claimed.id, f"{reason(code, log_file)}{times}. The run's log: {log_file}")


def _tidy(store: Store, settings: Settings, run_id: int) -> None:
    """A run that has ended needs its checkpoint no more."""
    if not runs.get(store.db, run_id).open:
        shutil.rmtree(settings.checkpoints_path(run_id), ignore_errors=True)


def reason(code: int, log_file: Path) -> str:
    """Why a child ended so, in words: its exit code (negative: the signal that killed it) and the
    last line of its log."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = {
            signal.SIGKILL: ": most likely the machine ran out of memory",
            signal.SIGSEGV: ": a library crashed",
            signal.SIGILL: ": this processor lacks an instruction that a library uses",
            signal.SIGBUS: ": the disk or the shared memory is full",
        }.get(signal.Signals(-code), "")
        return f"The tuning process was killed by {name}{hint}"
    with contextlib.suppress(OSError), log_file.open("rb") as file:
        file.seek(max(0, log_file.stat().st_size - LAST_WORDS))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
        if lines:
            return f"The tuning process ended with code {code}: {lines[-1].strip()[:300]}"
    return f"The tuning process ended with code {code}"


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`, in the main thread; elsewhere the caller sees to it."""
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
