"""The worker: exactly one worker does a run, whatever happens to its child process.

The children here are tiny programs that replace `tuning.worker.child`; the real one is tested in
`test_run.py`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data.config.settings import Settings, TuningSettings
from data.domains import Domain
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.runs import runs
from data.runs.runs import Run
from data.store.db import Store
from tests.tuning.conftest import teach
from tuning import child_process, threads
from tuning.worker import worker

ROOT = Path(__file__).parents[3]
PRELUDE = """
import argparse, os, signal, sys, time
from pathlib import Path
from data.runs import runs
from data.config.settings import Settings
from data.store.db import Store
parser = argparse.ArgumentParser()
for name in ("--config-json", "--run", "--worker", "--attempt", "--parent"):
    parser.add_argument(name)
options = parser.parse_args()
settings = Settings.model_validate_json(options.config_json)
run = int(options.run)
tally = settings.home / "tally"
tally.open("a").write(str(os.getpid()) + "\\n")
"""


class Child:
    """Replaces what the worker starts by a program of the test's."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tally = settings.home / "tally"
        self._script = settings.home / "child.py"
        self._monkeypatch = monkeypatch

    def does(self, program: str) -> None:
        self._script.write_text(PRELUDE + program)
        self._monkeypatch.setattr(child_process, "PROGRAM", (sys.executable, str(self._script)))
        self._monkeypatch.setenv("PYTHONPATH", str(ROOT))

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self.tally.read_text().split()] if self.tally.exists() else []


@pytest.fixture
def child(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Child:
    monkeypatch.setattr(worker, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(worker, "WATCH_S", 0.02)
    monkeypatch.setattr(worker, "POLL_S", 0.02)
    monkeypatch.setattr(worker, "GRACE_S", 0.5)
    return Child(settings, monkeypatch)


@pytest.fixture
def queued(store: Store, domain: Domain) -> Run:
    teach(store, domain, 3)
    with store.write() as db:
        return runs.request(db, domain, "ann")


@pytest.fixture
def working(settings: Settings) -> Iterator[Callable[[], threading.Event]]:
    """Starts a worker in a thread; its event stops it."""
    stops: list[tuple[threading.Event, threading.Thread]] = []

    def start() -> threading.Event:
        stop = threading.Event()
        thread = threading.Thread(target=worker.run, args=(settings,), kwargs={"stop": stop})
        thread.start()
        stops.append((stop, thread))
        return stop

    yield start
    for stop, thread in stops:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


SLEEP = "time.sleep(60)"
SUCCEED = """
with Store(settings.store_path) as store, store.write() as db:
    db.execute("UPDATE runs SET state = 'done' WHERE id = ?", [run])
"""


@pytest.mark.integration
def test_importing_the_worker_loads_no_torch() -> None:
    code = "import sys, tuning.worker.worker, tuning.worker.child; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_queued_run_is_done_and_an_empty_queue_ends_once(
    settings: Settings, store: Store, child: Child, queued: Run
) -> None:
    child.does(SUCCEED)

    assert worker.run(settings, once=True) == 0
    assert runs.get(store.db, queued.id).state == "done"
    assert worker.run(settings, once=True) == 0
    assert len(child.pids) == 1


def test_two_workers_do_a_run_once(
    store: Store, child: Child, queued: Run, working: Callable[[], threading.Event]
) -> None:
    child.does("time.sleep(0.5)\n" + SUCCEED)

    working(), working()

    until(lambda: runs.get(store.db, queued.id).state == "done")
    assert len(child.pids) == 1


def test_a_killed_child_is_started_again_then_the_run_fails_with_a_sentence(
    settings: Settings, store: Store, child: Child, queued: Run
) -> None:
    child.does("os.kill(os.getpid(), signal.SIGKILL)")

    assert worker.run(settings, once=True) == 1

    ended = runs.get(store.db, queued.id)
    assert (ended.state, ended.attempts, len(child.pids)) == ("failed", 2, 2)
    assert "killed by SIGKILL: most likely the machine ran out of memory (2 times)" in ended.error
    assert str(settings.runs_path / str(queued.id) / "run.log") in ended.error


def test_a_child_that_crashes_once_is_started_again(
    settings: Settings, store: Store, child: Child, queued: Run
) -> None:
    child.does(f"if len(tally.read_text().split()) == 1: os.abort()\n{SUCCEED}")
    left = settings.checkpoints_path(queued.id)
    left.mkdir(parents=True)

    assert worker.run(settings, once=True) == 0
    assert not left.exists()

    assert runs.get(store.db, queued.id).state == "done"
    assert len(child.pids) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_child_that_hangs_is_ended_and_started_again(
    settings: Settings, store: Store, child: Child, queued: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "HUNG_S", 1.0)
    monkeypatch.setattr(worker, "LOOK_S", 0.1)
    monkeypatch.setattr(worker, "GRACE_S", 0.2)
    hang = "os.kill(os.getpid(), signal.SIGSTOP)"
    child.does(f"if len(tally.read_text().split()) == 1: {hang}\n{SUCCEED}")

    assert worker.run(settings, once=True) == 0

    assert runs.get(store.db, queued.id).state == "done"
    assert len(child.pids) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_whose_process_hangs_again_and_again_fails_with_a_sentence(
    settings: Settings, store: Store, child: Child, queued: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "HUNG_S", 0.5)
    monkeypatch.setattr(worker, "LOOK_S", 0.1)
    monkeypatch.setattr(worker, "GRACE_S", 0.2)
    child.does("time.sleep(1000)")

    assert worker.run(settings, once=True) == 1

    assert "hung: it used no processor time" in runs.get(store.db, queued.id).error


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("life", ["sum(range(100_000))", "print('.', flush=True); time.sleep(0.1)"])
def test_a_child_that_computes_or_says_something_does_not_hang(
    settings: Settings,
    store: Store,
    child: Child,
    queued: Run,
    monkeypatch: pytest.MonkeyPatch,
    life: str,
) -> None:
    monkeypatch.setattr(worker, "HUNG_S", 3.0)
    monkeypatch.setattr(worker, "LOOK_S", 0.1)
    child.does(f"end = time.monotonic() + 4\nwhile time.monotonic() < end: {life}\n{SUCCEED}")

    assert worker.run(settings, once=True) == 0

    assert len(child.pids) == 1


def test_a_crash_is_reported_with_the_last_line_of_the_log(
    settings: Settings, store: Store, child: Child, queued: Run
) -> None:
    child.does("sys.exit('libfoo.so: cannot open shared object file' if 0 else 7)")
    log = settings.runs_path / str(queued.id) / "run.log"
    log.parent.mkdir(parents=True)
    log.write_text("first line\nImportError: libfoo is missing\n")

    worker.run(settings, once=True)

    error = runs.get(store.db, queued.id).error
    assert "ended with code 7: ImportError: libfoo is missing (2 times)" in error


def test_a_failure_the_child_has_explained_is_left_as_it_is(
    settings: Settings, store: Store, child: Child, queued: Run
) -> None:
    child.does(
        "with Store(settings.store_path) as store, store.write() as db:\n"
        "    runs.fail(db, runs.get(db, run), 'The disk is full.')\n"
        "sys.exit(1)"
    )

    assert worker.run(settings, once=True) == 1
    ended = runs.get(store.db, queued.id)
    assert (ended.state, ended.error, ended.attempts) == ("failed", "The disk is full.", 1)


def test_a_cancelled_run_ends_its_child_within_seconds(
    store: Store, child: Child, queued: Run, working: Callable[[], threading.Event]
) -> None:
    child.does(SLEEP)
    working()
    until(lambda: len(child.pids) == 1)

    with store.write() as db:
        runs.cancel(db, queued.id, "ann")

    until(lambda: runs.get(store.db, queued.id).state == "cancelled", 5)
    assert gone(child.pids[0])


def test_a_child_that_does_not_end_is_killed_with_its_children(
    store: Store, child: Child, queued: Run, working: Callable[[], threading.Event]
) -> None:
    child.does(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "import subprocess\n"
        "grandchild = subprocess.Popen(['sleep', '60'])\n"
        "tally.open('a').write(str(grandchild.pid) + '\\n')\n" + SLEEP
    )
    working()
    until(lambda: len(child.pids) == 2)

    with store.write() as db:
        runs.cancel(db, queued.id, "ann")

    until(lambda: runs.get(store.db, queued.id).state == "cancelled", 5)
    until(lambda: all(gone(pid) for pid in child.pids), 5)


def test_a_stopped_worker_returns_its_run_without_counting_an_attempt(
    store: Store, child: Child, queued: Run, working: Callable[[], threading.Event]
) -> None:
    child.does(SLEEP)
    stop = working()
    until(lambda: len(child.pids) == 1)

    stop.set()

    until(lambda: runs.get(store.db, queued.id).state == "queued", 5)
    assert runs.get(store.db, queued.id).attempts == 0
    assert gone(child.pids[0])


def test_sigterm_gives_the_run_back_and_ends_the_worker_cleanly(
    settings: Settings, store: Store, child: Child, queued: Run
) -> None:
    """In a process of its own, as `understudy worker` runs it."""
    child.does(SLEEP)
    program = (
        "import sys\n"
        "from data.config.settings import Settings\n"
        "from tuning import child_process\n"
        "from tuning.worker import worker\n"
        "child_process.PROGRAM = (sys.executable, sys.argv[2])\n"
        "sys.exit(worker.run(Settings.model_validate_json(sys.argv[1])))\n"
    )
    given = [settings.model_dump_json(), str(settings.home / "child.py")]
    process = subprocess.Popen([sys.executable, "-c", program, *given], cwd=ROOT)
    until(lambda: len(child.pids) == 1)

    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 0
    assert runs.get(store.db, queued.id).state == "queued"
    assert gone(child.pids[0])


def test_the_run_of_a_worker_that_disappeared_is_done_by_the_next(
    settings: Settings, store: Store, child: Child, queued: Run
) -> None:
    child.does(SUCCEED)
    with store.write() as db:
        runs.claim(db, "gone")
        db.execute("UPDATE runs SET heartbeat_at = heartbeat_at - 61000000")

    assert worker.run(settings, once=True) == 0
    ended = runs.get(store.db, queued.id)
    assert (ended.state, ended.attempts) == ("done", 2)


def test_a_run_that_another_worker_has_taken_over_is_dropped(
    store: Store, child: Child, queued: Run, working: Callable[[], threading.Event]
) -> None:
    child.does(SLEEP)
    working()
    until(lambda: len(child.pids) == 1)

    with store.write() as db:
        db.execute("UPDATE runs SET worker = 'another' WHERE id = ?", [queued.id])

    until(lambda: gone(child.pids[0]), 5)
    assert runs.get(store.db, queued.id).worker == "another"


def test_a_child_is_given_no_secrets_and_its_share_of_threads(
    settings: Settings,
    store: Store,
    child: Child,
    queued: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    secret = settings.model_copy(
        update={"slack": settings.slack.model_copy(update={"bot_token": "xoxb-1"})}
    )
    child.does(
        "(settings.home / 'seen').write_text(options.config_json + ' '.join("
        "os.environ[name] for name in ('OMP_NUM_THREADS', 'GOMP_SPINCOUNT')))" + SUCCEED
    )

    worker.run(secret, once=True)

    seen = (settings.home / "seen").read_text()
    assert "slack" not in seen
    assert seen.endswith(f"}}1 {threads.SPIN_TURNS}")


def test_a_worker_queues_what_a_trigger_asks_for_and_does_it(
    store: Store, domain: Domain, settings: Settings
) -> None:
    drafts = [Draft(f"question {i}", f"answer {i}") for i in range(3)]
    with store.write() as db:
        pairs.add(db, domain, drafts, source="test", status="approved")
    tuning = settings.tuning.model_copy(update={"auto_retrain_pairs": 3})
    checks = worker._Triggers(settings.model_copy(update={"tuning": tuning}))
    checks.check(store)
    checks.check(store)
    (queued,) = runs.recent(store.db)
    assert (queued.requested_by, queued.state) == ("trigger:pairs", "queued")


def test_tuning_settings_say_how_often_a_crash_is_tried_again() -> None:
    assert TuningSettings().max_attempts == 2
