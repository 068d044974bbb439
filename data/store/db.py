"""The store: one SQLite file, opened through sqlite-utils and written in whole transactions.

- WAL, `foreign_keys=ON`, `synchronous=FULL`, a busy timeout: several processes share the file.
- Opening applies the pending migrations; a file from a newer Understudy is refused.
- Deleted bytes are overwritten (`secure_delete`). `user_version` is 1 in a file that was created
  this way. `erasure.scrub` rewrites an older file the first time a person is erased.
- Each thread has a connection of its own (`Store.db`). Plain code writes inside `store.write()`,
  one `BEGIN IMMEDIATE` transaction.
- Async code never touches SQLite on the event loop. It awaits `store.read(fn)`, which runs on a
  small thread pool, and `store.submit(fn)`, which hands `fn` to the one writer thread. That
  thread commits all waiting functions together (group commit). `submit` returns only after the
  commit, so everything that was acknowledged is on disk.
"""

import asyncio
import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlite_utils import Database
from sqlite_utils.utils import sqlite3 as sqlite3  # type: ignore[attr-defined] # the same one

from data.store import lease_clock
from data.store.errors import Invalid, Unavailable, UnderstudyError
from data.store.migrations import migrations

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = dict[str, Any]

QUEUE_LENGTH = 10_000
COMMIT_TOGETHER = 256
BUSY_TIMEOUT_MS = 10_000
ADAPTERS = "adapters/*/[0-9]*-" + "[0-9a-f]" * 12  # where adapters are, beside a store
TOO_LARGE = "That number is too large."


class StoreTooNew(UnderstudyError):
    """A newer version has migrated the file; this version does not know its schema."""


class StoreFull(Unavailable):
    """The disk is full or the file cannot be written; nothing was changed."""


class StoreBusy(Unavailable):
    """The writer's queue is full, or another process held the write lock for too long."""


def rows(db: Database, sql: str, params: Any = ()) -> list[Row]:
    """All rows of a query, as dicts. Raises Invalid if a number is too large for SQLite."""
    try:
        return list(db.query(sql, params))
    except OverflowError as error:
        raise Invalid(TOO_LARGE) from error


def row(db: Database, sql: str, params: Any = ()) -> Row | None:
    """The first row of a query, or None. Raises as `rows` does."""
    try:
        return next(iter(db.query(sql, params)), None)
    except OverflowError as error:
        raise Invalid(TOO_LARGE) from error


def value(db: Database, sql: str, params: Any = ()) -> Any:
    """The first column of the first row, or None. Raises as `rows` does."""
    try:
        found = db.execute(sql, params).fetchone()
    except OverflowError as error:
        raise Invalid(TOO_LARGE) from error
    return None if found is None else found[0]


def insert(db: Database, table: str, **columns: Any) -> int:
    """Insert one row and return its rowid."""
    names = ", ".join(columns)
    marks = ", ".join("?" * len(columns))
    sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
    return int(db.execute(sql, list(columns.values())).lastrowid or 0)


def changed(db: Database, sql: str, params: Any = ()) -> int:
    """Run a statement and return how many rows it changed."""
    return int(db.execute(sql, params).rowcount)


def _connect(path: Path | str) -> Database:
    conn = sqlite3.connect(
        str(path),
        timeout=BUSY_TIMEOUT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,  # one thread uses it, but another may close it
    )
    db = Database(conn)
    conn.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("PRAGMA foreign_keys = ON")
    conn.execute("PRAGMA secure_delete = ON")  # overwrite deleted bytes
    return db


def _translated(error: Exception) -> Exception:
    """Turn SQLite's operational errors into ours; return any other error unchanged."""
    text = str(error).lower()
    if isinstance(error, sqlite3.OperationalError):
        if "readonly" in text:
            return StoreFull("The store cannot be written: its file or folder is read-only here.")
        if "full" in text or "i/o error" in text:
            return StoreFull(f"The store cannot be written ({error}). Free some disk space.")
        if "locked" in text or "busy" in text:
            return StoreBusy("The store is busy; nothing was changed. Try again in a moment.")
    return error


def _is_read_only(folder: Path) -> bool:
    return folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK)


def _why_not_opened(path: Path, error: sqlite3.OperationalError) -> str:
    """The reason, as a sentence. SQLite says only that it could not open a file: its own, or one
    that it makes beside it, even to read."""
    folder = path.parent
    if _is_read_only(folder):
        return (
            f"the folder {folder} is read-only here, and SQLite makes files in it, even to read. "
            "Make it writable for this user, or name another folder with UNDERSTUDY_HOME."
        )
    for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        if file.exists():
            try:
                os.close(os.open(file, os.O_RDWR))
            except OSError as refused:
                return f"{file.name}: {refused.strerror}."
    return f"{error}."


class Store:
    """An open store. Thread-safe; close it once, from any thread."""

    def __init__(self, path: Path | str) -> None:
        """Open (or create) the store at `path` and bring its schema up to date.

        Raises StoreTooNew when the file was written by a newer version, UnderstudyError when it
        is not a store at all.
        """
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnderstudyError(f"Cannot open the store {self.path}: {error.strerror}") from error
        self._local = threading.local()
        self._connections: list[Database] = []
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="store-read")
        self._jobs: queue.Queue[tuple[Callable[[Database], Any], Future[Any]] | None]
        self._jobs = queue.Queue(maxsize=QUEUE_LENGTH)
        self._writer: threading.Thread | None = None
        self._before_close: list[Callable[[], None]] = []
        self._closed = False  # no new writes are accepted
        self._gone = False  # all connections are closed
        self._in_use = False  # it was opened and brought up to date
        self._migrate()
        self._in_use = True

    def _migrate(self) -> None:
        try:
            applied = {m.name for m in migrations.applied(self.db)}
            unknown = applied - {m.name for m in migrations._migrations}
            if unknown:
                raise StoreTooNew(
                    f"{self.path} was written by a newer Understudy (it has {min(unknown)!r}). "
                    "Upgrade this installation, or open the backup made before the upgrade."
                )
            if not applied:
                self._refuse_empty()
            if migrations.pending(self.db):
                with self.write() as db:  # another process may be creating the file right now
                    if not migrations.applied(db):
                        db.execute("PRAGMA user_version = 1")
                    migrations.apply(db)
            if not lease_clock.is_set(self.db):
                with self.write() as db:
                    lease_clock.set_clock(db)
        except sqlite3.DatabaseError as error:
            known = _translated(error)
            if known is error:
                raise UnderstudyError(f"{self.path} is not a usable store: {error}") from error
            raise known from error

    def _refuse_empty(self) -> None:
        """Raises UnderstudyError for a new store beside adapters: theirs was lost. A new one would
        know none of them."""
        left = sorted(self.path.parent.glob(ADAPTERS))
        if left:
            raise UnderstudyError(
                f"{self.path} is empty, but there are adapters beside it, such as {left[0]}. Put "
                "the store back from a backup; or, to begin anew, move the folder "
                f"{self.path.parent / 'adapters'} away."
            )

    @property
    def db(self) -> Database:
        """This thread's own connection."""
        if self._gone:
            raise Unavailable("The store is closed.")
        db: Database | None = getattr(self._local, "db", None)
        if db is None:
            try:
                db = _connect(self.path)
            except sqlite3.DatabaseError as error:
                raise self._not_opened(error) from error
            self._local.db = db
            with self._lock:
                self._connections.append(db)
        return db

    def _not_opened(self, error: sqlite3.DatabaseError) -> Exception:
        """Why a connection could not be opened. Once the store is in use, the path is for the log
        alone, because the error may reach people who ask the service."""
        known = _translated(error)
        if known is not error and not _is_read_only(self.path.parent):
            return known
        if isinstance(error, sqlite3.OperationalError):
            said = f"Cannot open the store {self.path}: {_why_not_opened(self.path, error)}"
        else:
            said = f"{self.path} is not a usable store: {error}"
        if not self._in_use:
            return UnderstudyError(said)
        log.error("%s", said)
        return UnderstudyError("The store cannot be opened. The log of the service says why.")

    @contextlib.contextmanager
    def write(self) -> Iterator[Database]:
        """Run the block as one transaction on this thread's connection: all of it, or none."""
        db = self.db
        try:
            db.conn.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise _translated(error) from error
        try:
            yield db
            db.conn.execute("COMMIT")
        except BaseException as error:
            if db.conn.in_transaction:
                db.conn.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise _translated(error) from error
            raise

    async def read(self, fn: Callable[[Database], T]) -> T:
        """Run `fn` on a reader thread. Raises StoreBusy, StoreFull."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._readers, lambda: fn(self.db))
        except sqlite3.OperationalError as error:
            raise _translated(error) from error

    async def submit(self, fn: Callable[[Database], T]) -> T:
        """Run `fn` in the writer thread; returns after its commit.

        `fn` runs in a savepoint: if it raises, only its own changes are rolled back, and its error
        is raised here. Raises StoreBusy if too many writes are waiting, StoreFull if the commit
        failed.
        """
        return await asyncio.wrap_future(self.submit_soon(fn))

    @property
    def waiting(self) -> int:
        """The number of writes waiting for the writer thread."""
        return self._jobs.qsize()

    def submit_soon(self, fn: Callable[[Database], T]) -> "Future[T]":
        """The same as `submit`, for callers in a thread: the future resolves after the commit."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise Unavailable("The service is shutting down.")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_loop, name="store-write")
                self._writer.daemon = True
                self._writer.start()
            try:  # with the lock held, so that `close` cannot run in between
                self._jobs.put_nowait((fn, future))
            except queue.Full:
                raise StoreBusy("Too many writes are waiting. Try again in a moment.") from None
        return future

    def _write_loop(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch, last = [first], False
            while len(batch) < COMMIT_TOGETHER:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    last = True
                    break
                batch.append(job)
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: list[tuple[Callable[[Database], Any], Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        failed: list[tuple[Future[Any], Exception]] = []
        try:
            with self.write() as db:
                for fn, future in batch:
                    try:
                        with db.atomic():
                            result = fn(db)
                        done.append((future, result))
                    except Exception as error:
                        if not db.conn.in_transaction:  # SQLite rolled back: disk full, I/O error
                            raise
                        failed.append((future, _translated(error)))
        except Exception as error:
            for _, future in batch:
                _resolve(future, error=error)
            return
        for future, result in done:
            _resolve(future, result=result)
        for future, problem in failed:
            _resolve(future, error=problem)

    def release(self) -> None:
        """Close this thread's connection. Call it in a thread that ends before the store closes."""
        db: Database | None = getattr(self._local, "db", None)
        if db is None:
            return
        self._local.db = None
        with self._lock:
            self._connections.remove(db)
        db.conn.close()

    def before_close(self, stop: Callable[[], None]) -> None:
        """Have `stop` called when the store closes, before its connections do. For threads that
        use the store."""
        with self._lock:
            self._before_close.append(stop)

    def close(self) -> None:
        """Finish the queued writes, then close every connection."""
        with self._lock:
            stops, self._before_close = self._before_close, []
        for stop in stops:
            stop()
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._writer is not None:
            self._jobs.put(None)
            self._writer.join()
        self._readers.shutdown(wait=True)
        self._gone = True
        with self._lock:
            for db in self._connections:
                db.conn.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _resolve(future: "Future[Any]", result: Any = None, error: Exception | None = None) -> None:
    """Resolve a future, unless its caller cancelled it."""
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
