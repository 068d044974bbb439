"""The store: acknowledged writes are on disk, and failed writes change nothing."""

import asyncio
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from data import domains
from data.store.db import Store, StoreBusy, StoreFull, StoreTooNew, row, rows, value
from data.store.errors import Conflict, Unavailable, UnderstudyError
from data.store.migrations import migrations


def add(name: str) -> Any:
    """A job that adds a domain of that name."""
    return lambda db: domains.create(db, name).name


def names(store: Store) -> list[str]:
    return [domain.name for domain in domains.list_domains(store.db)]


def held_up(store: Store) -> tuple[threading.Event, "Future[None]"]:
    """Stop the writer inside a job until the event is set, so that others queue up behind it."""
    begun, go = threading.Event(), threading.Event()

    def wait(_: Database) -> None:
        begun.set()
        go.wait(10)

    future = store.submit_soon(wait)
    assert begun.wait(10)
    return go, future


# Opening


def test_a_new_store_has_every_migration(store: Store) -> None:
    assert migrations.pending(store.db) == []
    assert value(store.db, "PRAGMA journal_mode") == "wal"
    assert value(store.db, "PRAGMA foreign_keys") == 1
    assert value(store.db, "PRAGMA synchronous") == 2  # FULL


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        with Store(tmp_path / "a.db") as store:
            schema = rows(store.db, "SELECT name, sql FROM sqlite_master ORDER BY name")
    with Store(tmp_path / "a.db") as store:
        assert rows(store.db, "SELECT name, sql FROM sqlite_master ORDER BY name") == schema


def test_a_store_from_a_newer_version_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db") as store, store.write() as db:
        table = value(db, "SELECT name FROM sqlite_master WHERE name LIKE '%migrations%'")
        sql = f"INSERT INTO {table} (migration_set, name, applied_at) VALUES (?, ?, ?)"
        db.execute(sql, ["understudy", "m999_from_the_future", "2099-01-01"])
    with pytest.raises(StoreTooNew, match="m999_from_the_future"):
        Store(tmp_path / "a.db")


def test_a_file_that_is_not_a_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    file.write_text("Dear diary, " * 100)
    with pytest.raises(UnderstudyError, match="is not a usable store"):
        Store(file)
    assert file.read_text() == "Dear diary, " * 100


def test_the_error_names_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(UnderstudyError, match="Cannot open the store"):
        Store(tmp_path / "a" / "b" / "understudy.db")


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnderstudyError, match="Cannot open the store"):
        Store(tmp_path)


def test_a_read_only_store_is_reported(tmp_path: Path) -> None:
    """Not that the disk is full."""
    with Store(tmp_path / "a.db") as store:
        store.db.execute("PRAGMA query_only = 1")
        with pytest.raises(StoreFull, match="is read-only here"), store.write() as db:
            domains.create(db, "one")


@pytest.mark.integration
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    """SQLite itself says that it is unable to open a file."""
    home = tmp_path / "home"
    with Store(home / "a.db"):
        pass
    home.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", OPEN_READ_ONLY, str(home / "a.db")], capture_output=True, text=True
    )
    home.chmod(0o755)
    assert f"the folder {home} is read-only here" in done.stdout, done


def test_a_store_that_is_gone_shows_its_path_to_nobody_but_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error of a store in use reaches people who ask the service."""
    (tmp_path / "home").mkdir()
    with Store(tmp_path / "home" / "a.db") as store, ThreadPoolExecutor(1) as other:
        (tmp_path / "home").rename(tmp_path / "elsewhere")
        with pytest.raises(UnderstudyError) as raised:
            other.submit(lambda: store.db).result()
        (tmp_path / "elsewhere").rename(tmp_path / "home")
    assert str(raised.value) == "The store cannot be opened. The log of the service says why."
    assert f"Cannot open the store {tmp_path / 'home' / 'a.db'}: " in caplog.text


@pytest.mark.integration
def test_a_full_disk_is_reported_when_the_store_is_opened(tmp_path: Path) -> None:
    """Opening makes files beside the store: where none may grow, SQLite has an I/O error."""
    with Store(tmp_path / "a.db"):
        pass
    done = subprocess.run(
        [sys.executable, "-c", OPEN_FULL, str(tmp_path / "a.db")], capture_output=True, text=True
    )
    assert "Free some disk space" in done.stdout, done


def _open(path: Path, start: Any, told: Any) -> None:
    start.wait()
    try:
        with Store(path) as store:
            told.put(len(migrations.pending(store.db)))
    except Exception as error:
        told.put(repr(error))


@pytest.mark.integration
def test_many_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, told = context.Event(), context.Queue()
    args = (tmp_path / "a.db", start, told)
    children = [context.Process(target=_open, args=args) for _ in range(4)]
    for child in children:
        child.start()
    time.sleep(1)
    start.set()
    assert [told.get(timeout=30) for _ in children] == [0] * 4
    for child in children:
        child.join()


# Writing


def test_a_write_block_is_all_or_nothing(store: Store) -> None:
    def half() -> None:
        with store.write() as db:
            domains.create(db, "one")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert names(store) == []
    with store.write() as db:
        domains.create(db, "two")
    assert names(store) == ["two"]


def test_foreign_keys_hold(store: Store) -> None:
    def orphan() -> None:
        with store.write() as db:
            db.execute("INSERT INTO domain_channels VALUES ('T1', 'C1', 42)")

    with pytest.raises(Exception, match="FOREIGN KEY"):
        orphan()


async def test_submit_returns_what_the_job_returned(store: Store) -> None:
    assert await store.submit(add("one")) == "one"
    assert await store.read(lambda db: [d.name for d in domains.list_domains(db)]) == ["one"]


def test_waiting_jobs_are_committed_together(store: Store) -> None:
    ran: list[str] = []
    store.submit_soon(lambda db: db.conn.set_trace_callback(ran.append)).result(10)
    go, first = held_up(store)
    jobs = [store.submit_soon(add(f"d{n}")) for n in range(50)]
    assert store.waiting == 50
    go.set()
    assert [job.result(10) for job in jobs] == [f"d{n}" for n in range(50)]
    assert first.result(10) is None
    assert len(names(store)) == 50
    assert ran.count("COMMIT") == 3  # of the tracing job itself, of the first, of the fifty


def test_a_job_is_acknowledged_only_after_its_commit(store: Store) -> None:
    """While the last job of a batch runs, the first is neither visible nor acknowledged."""
    go, _ = held_up(store)
    early = store.submit_soon(add("early"))
    reached, end = threading.Event(), threading.Event()

    def last(_: Database) -> None:
        reached.set()
        end.wait(10)

    late = store.submit_soon(last)
    go.set()
    assert reached.wait(10)
    assert not early.done()
    assert names(store) == []
    end.set()
    late.result(10)
    assert early.result(10) == "early"
    assert names(store) == ["early"]


def test_a_failing_job_does_not_affect_others(store: Store) -> None:
    go, _ = held_up(store)

    def half(db: Database) -> None:
        domains.create(db, "half")
        raise Conflict("no")

    before, broken = store.submit_soon(add("before")), store.submit_soon(half)
    twice, after = store.submit_soon(add("before")), store.submit_soon(add("after"))
    go.set()
    assert (before.result(10), after.result(10)) == ("before", "after")
    with pytest.raises(Conflict, match="no"):
        broken.result(10)
    with pytest.raises(Conflict, match="already"):
        twice.result(10)
    assert names(store) == ["after", "before"]


async def test_nobody_waits_for_a_cancelled_caller(store: Store) -> None:
    go, _ = held_up(store)
    task = asyncio.create_task(store.submit(add("one")))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    assert await store.submit(add("two")) == "two"  # the writer lives


def test_too_many_waiting_writes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.store.db.QUEUE_LENGTH", 3)
    with Store(tmp_path / "a.db") as store:
        go, _ = held_up(store)
        for n in range(3):
            store.submit_soon(add(f"d{n}"))
        with pytest.raises(StoreBusy, match="Try again"):
            store.submit_soon(add("one-too-many"))
        go.set()


def test_a_lock_that_is_held_too_long_is_busy_not_broken(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.store.db.BUSY_TIMEOUT_MS", 50)
    with Store(store.path) as other, store.write(), pytest.raises(StoreBusy):
        other.submit_soon(add("one")).result(10)
    assert names(store) == []


def test_threads_write_side_by_side(store: Store) -> None:
    def count(_: Database) -> None:
        with_row = row(store.db, "SELECT count(*) AS n FROM domains")
        assert with_row is not None

    def write(thread: int) -> None:
        for n in range(10):
            with store.write() as db:
                domains.create(db, f"t{thread}-{n}")
            store.submit_soon(count).result(10)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(store)) == 40


# Closing


def test_closing_finishes_waiting_jobs(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    go, _ = held_up(store)
    jobs = [store.submit_soon(add(f"d{n}")) for n in range(20)]
    threading.Timer(0.05, go.set).start()
    store.close()
    assert all(job.done() for job in jobs)
    with Store(tmp_path / "a.db") as again:
        assert len(names(again)) == 20


def test_a_closed_store_accepts_no_jobs(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    store.close()
    store.close()
    with pytest.raises(Unavailable, match="shutting down"):
        store.submit_soon(add("one"))
    with pytest.raises(Unavailable, match="closed"), store.write():
        pass


# Faults


def limit_to_present_size(db: Database) -> None:
    db.execute(f"PRAGMA max_page_count = {value(db, 'PRAGMA page_count')}")


def fill(db: Database) -> None:
    db.execute("UPDATE domains SET title = hex(randomblob(2000000))")


def test_a_full_disk_is_reported_and_changes_nothing(store: Store) -> None:
    with store.write() as db:
        domains.create(db, "one")
        limit_to_present_size(db)

    def overfill() -> None:
        with store.write() as db:
            domains.create(db, "two")
            fill(db)

    with pytest.raises(StoreFull, match="Free some disk space"):
        overfill()
    assert names(store) == ["one"]


def test_a_full_disk_fails_the_whole_batch_but_not_the_writer(store: Store) -> None:
    store.submit_soon(add("one")).result(10)
    store.submit_soon(limit_to_present_size).result(10)
    go, _ = held_up(store)
    jobs = [store.submit_soon(job) for job in (add("two"), fill, add("three"))]
    go.set()
    results = []
    for job in jobs:
        try:
            results.append(job.result(10))
        except StoreFull:
            results.append("full")
    acknowledged = {result for result in results if isinstance(result, str)} - {"full"}
    assert results[1] == "full"
    assert set(names(store)) == {"one"} | acknowledged
    store.submit_soon(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone()).result()
    assert store.submit_soon(add("four")).result(10) == "four"


def test_a_transaction_that_sqlite_rolled_back_is_never_acknowledged(store: Store) -> None:
    """As after an I/O error: jobs before it are undone, so all of its batch must hear of it."""
    store.submit_soon(add("one")).result(10)

    def give_up(db: Database) -> None:
        db.execute("INSERT OR ROLLBACK INTO domains SELECT * FROM domains")

    go, _ = held_up(store)
    jobs = [store.submit_soon(job) for job in (add("two"), give_up, add("three"))]
    go.set()
    for job in jobs:
        with pytest.raises(Exception, match="UNIQUE"):
            job.result(10)
    assert names(store) == ["one"]
    assert store.submit_soon(add("four")).result(10) == "four"


OPEN_READ_ONLY = """
import ctypes, os, sys
from data.store.db import Store
from data.store.errors import UnderstudyError
CAP_DAC_OVERRIDE, DROP = 1, 24
if os.geteuid() == 0 and len(sys.argv) == 2:  # with it, the superuser writes to any folder
    ctypes.CDLL(None).prctl(DROP, CAP_DAC_OVERRIDE)
    os.execv(sys.executable, [*sys.orig_argv, "dropped"])
try: Store(sys.argv[1])
except UnderstudyError as error: print(error)
"""
OPEN_FULL = """
import resource, signal, sys
from data.store.db import Store, StoreFull
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try: Store(sys.argv[1])
except StoreFull as error: print(error)
"""
FULL = """
import resource, sys
from data import domains
from data.store.db import Store, StoreFull
store = Store(sys.argv[1])
with store.write() as db: domains.create(db, "one")
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    with store.write() as db: db.execute("UPDATE domains SET title = hex(randomblob(2000000))")
except StoreFull as error: print("full:", error)
with store.write() as db: print(db.execute("SELECT title FROM domains").fetchone()[0])
"""


@pytest.mark.integration
def test_a_file_size_limit_is_reported_and_the_store_stays_intact(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "a.db")], capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("full: "), done
    assert lines[1] == "one", done
    with Store(tmp_path / "a.db") as store:
        assert value(store.db, "PRAGMA integrity_check") == "ok"


LOAD = """
import sys, threading
from data.store.db import Store, insert
store = Store(sys.argv[1])
sys.stdout.reconfigure(line_buffering=True)
lock = threading.Lock()
def write(thread):
    for n in range(10**9):
        key = f"{thread}-{n}"
        def job(db, key=key):
            insert(db, "deliveries", source="t", key=key, at=0)
        store.submit_soon(job).result()
        with lock: print(key)
for t in range(8): threading.Thread(target=write, args=(t,)).start()
"""


@pytest.mark.integration
@pytest.mark.parametrize("round", range(3))
def test_killing_the_writer_loses_no_acknowledged_write(tmp_path: Path, round: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", LOAD, str(tmp_path / "a.db")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = [child.stdout.readline().strip() for _ in range(200 + 150 * round)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in child.stdout if line.endswith("\n")]
    child.wait()
    with Store(tmp_path / "a.db") as store:
        kept = {found["key"] for found in rows(store.db, "SELECT key FROM deliveries")}
        assert value(store.db, "PRAGMA integrity_check") == "ok"
    assert len(acknowledged) >= 200
    assert set(acknowledged) <= kept


@pytest.mark.parametrize("there", [False, True])
def test_a_new_store_beside_adapters_is_refused(tmp_path: Path, there: bool) -> None:
    """Their store was lost: a new one would not know them."""
    if there:
        (tmp_path / "understudy.db").touch()
    adapter = tmp_path / "adapters" / "helpdesk" / "1-0123456789ab"
    adapter.mkdir(parents=True)

    with pytest.raises(UnderstudyError, match="is empty, but there are adapters beside it"):
        Store(tmp_path / "understudy.db")
    assert adapter.is_dir()
