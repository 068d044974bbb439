"""`understudy tune`: who does the run."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.cli import tune
from data import domains, runs
from data.db import Store
from tests.bot.cli.conftest import Run, make_adapter
from tuning import worker

GOOD = '{"prompt": "What is red?", "response": "A colour."}\n'


@pytest.fixture(autouse=True)
def child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small program in place of the tuning that a worker starts."""
    monkeypatch.setattr(worker, "CHILD", (sys.executable, "-c", "raise SystemExit('done here')"))
    monkeypatch.setattr(tune, "WORKER_GRACE_S", 0.0)


@pytest.fixture
def taught(run: Run, home: Path) -> None:
    (home / "p.jsonl").write_text(GOOD)
    run("domains", "add", "art")
    run("domains", "add", "other")
    run("pairs", "import", "art", "p.jsonl")


def soon(store: Store, deed: Callable[[], None]) -> threading.Thread:
    """Do `deed` once the command waits."""

    def wait() -> None:
        while not runs.recent(store.db, domains.get(store.db, "art")):
            time.sleep(0.02)
        time.sleep(1)
        deed()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.usefixtures("taught")
def test_where_no_worker_runs_it_is_done_here(run: Run) -> None:
    result = run("tune", "art")

    assert "done here" in result.output


@pytest.mark.usefixtures("taught")
def test_a_worker_that_is_busy_is_waited_for(run: Run, store: Store) -> None:
    with store.write() as db:
        runs.queue(db, domains.get(db, "other"), "cli:ann", kind="full")
        runs.claim(db, "busy")
    made = make_adapter(store, "other", 1)

    def next_one() -> None:
        with store.write() as db:
            runs.finish(db, 1, made.id)
            claimed = runs.claim(db, "busy")
            assert claimed is not None
            runs.fail(db, claimed.id, "done by the worker")

    thread = soon(store, next_one)
    result = run("tune", "art")
    thread.join()

    assert "done by the worker" in result.output
