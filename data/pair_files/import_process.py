"""Previews and imports staged files in a process of their own, at low priority.

In the process of a front end a large file would slow down every answer. The process writes its
progress beside the file, so whoever asks later sees it, whether their browser stayed open or not.
"""

import asyncio
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import orjson

from data import domains
from data.config.settings import Settings
from data.pair_files import importer
from data.pair_files.importer import ImportReport
from data.pair_files.staged_files import ImportOptions, StagedFile, StagedFiles, State, interrupted
from data.pairs.imports import ImportUndone
from data.processes import die_with_parent
from data.quality import token_counts
from data.quality.check_process import READ
from data.quality.unusable import UnusableDrafts
from data.store import audit
from data.store.db import Store
from data.store.errors import Conflict, Unavailable, UnderstudyError

log = logging.getLogger(__name__)
CLEAN_UP_S = 600
PROGRESS_S = 0.5  # between two notes of the progress
OF_THE_COMMAND_LINE = re.compile(
    r" (?:Did you mean )?`--(?:map|channel)[^`]*`[^.?]*[.?]|; --map [^.]*\."
)


class ImportJobs:
    """The previews and imports of one service. Use it from one event loop."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.files = StagedFiles(settings.home)
        self._store = store
        self._settings = settings
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.files.running = self._tasks.__contains__
        self._turn = asyncio.Semaphore(1)  # each takes a core

    async def preview(self, staged: StagedFile, options: ImportOptions) -> StagedFile:
        """Begin to look at a file. Raises Conflict while it is read or imported already."""
        return await self._begin(staged, "reading", options)

    async def start(self, staged: StagedFile, options: ImportOptions) -> StagedFile:
        """Begin to import a file. Raises Conflict while it is read or imported already."""
        return await self._begin(staged, "importing", options)

    async def wait(self, staged: StagedFile, at_most_s: float) -> None:
        """Wait until the work on a file has ended, but no longer than that."""
        if (task := self._tasks.get(staged.id)) is not None:
            await asyncio.wait([task], timeout=at_most_s)

    async def delete_old_forever(self) -> None:
        """Delete files and reports once they are a day old, whether anybody uploads more or not."""
        while True:
            try:
                await asyncio.to_thread(self.files.remove_old)
            except OSError:
                log.exception("old uploads could not be deleted")
            await asyncio.sleep(CLEAN_UP_S)

    async def close(self) -> None:
        """Stop what runs; an import keeps what it has added."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self, staged: StagedFile, state: State, options: ImportOptions) -> StagedFile:
        if not staged.busy and (task := self._tasks.get(staged.id)) is not None:
            await asyncio.wait([task])  # its process has written the result, and ends
        now = await asyncio.to_thread(self.files.reload, staged)
        if now.busy or now.id in self._tasks:
            raise Conflict(f"{now.file} is being read. Wait until that has ended.")
        if now.state == "done":
            raise Conflict(f"{now.file} was imported before.")
        begun = replace(now, state=state, options=options, read=0, error="")
        saved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._work(begun, saved))
        self._tasks[begun.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(begun.id, None))
        try:
            await asyncio.to_thread(self.files.save, begun)
        except OSError as error:
            task.cancel()
            raise Unavailable(f"The file cannot be read here: {error.strerror}.") from error
        saved.set_result(None)
        return begun

    async def _work(self, begun: StagedFile, saved: asyncio.Future[None]) -> None:
        await saved
        async with self._turn:
            output = await self._run(begun)
        if output:
            log.error("the import of %s failed: %s", begun.file, output)
            await asyncio.to_thread(self.files.save, interrupted(begun))

    async def _run(self, begun: StagedFile) -> str:
        """What the process said before it failed; '' if it did not."""
        given = {
            "store": str(self._store.path),
            "settings": self._settings.model_dump(mode="json", include=READ),
            "id": begun.id,
            "domain": begun.domain_id,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, errors = await process.communicate(orjson.dumps(given))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return errors.decode("utf-8", "replace")[-2000:] or "?" if process.returncode else ""


def work(store: Store, settings: Settings, staged_files: StagedFiles, staged: StagedFile) -> None:
    """Preview or import a file, as its state says. Pairs that no run can learn are put in
    quarantine."""
    domain = domains.by_id(store.db, staged.domain_id)
    unusable = UnusableDrafts(domain, token_counts.of_base(settings, domain), "quarantine")
    path, options = staged_files.path(staged), staged.options
    note = _noting(staged_files, staged)
    saved = ImportReport(0, 0, (), 0, complete=False)
    golden = options.golden

    def show(read: int, committed: ImportReport) -> None:
        nonlocal saved
        saved = committed
        note(read)

    try:
        if staged.state == "reading":
            report = importer.preview_file(
                store,
                domain,
                path,
                format=options.format,
                status=options.status,
                golden=golden,
                columns=options.columns,
                progress=note,
                unusable=unusable,
            )
            report = _for_the_console(report)
            staged_files.save(replace(staged, state="waiting", report=asdict(report)))
            return
        report = importer.import_file(
            store,
            domain,
            path,
            format=options.format,
            author=staged.author,
            status=options.status,
            golden=golden,
            columns=options.columns,
            name=options.name,
            progress=show,
            unusable=unusable,
        )
    except UnderstudyError as error:
        said = OF_THE_COMMAND_LINE.sub("", str(error).replace(str(path), path.name))
        if staged.state == "reading":
            staged_files.save(replace(staged, state="waiting", report=None, error=said))
            return
        if saved.added and not isinstance(error, ImportUndone):
            said += f" {saved.added:,} pairs were added before and stay."
        _record(store, staged, domain.name, saved)
        staged_files.save(replace(staged, state="failed", report=asdict(saved), error=said))
        return
    _record(store, staged, domain.name, report)
    report = _for_the_console(report)
    staged_files.finish(replace(staged, state="done", report=asdict(report)))


def _for_the_console(report: ImportReport) -> ImportReport:
    """The report without sentences about options of the command line."""
    return replace(report, notes=tuple(OF_THE_COMMAND_LINE.sub("", n) for n in report.notes))


def _record(store: Store, staged: StagedFile, domain: str, report: ImportReport) -> None:
    if report.batch is None:
        return
    action = "golden import" if staged.options.golden else "pairs import"
    detail = {"added": report.added, "import": report.batch}
    if report.rated_answers:
        detail["rated_answers"] = report.rated_answers
    with store.write() as db:
        audit.record(db, staged.author, action, domain, **detail)


def _noting(staged_files: StagedFiles, staged: StagedFile) -> Callable[[int], None]:
    last = time.monotonic()

    def note(read: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_S:
            last = time.monotonic()
            staged_files.save(replace(staged, read=read))

    return note


def main() -> None:
    """Read what is to be done from the standard input."""
    if not die_with_parent(parent=int(sys.argv[1])):
        return
    os.nice(10)
    given = orjson.loads(sys.stdin.buffer.read())
    settings = Settings.model_validate(given["settings"])
    staged_files = StagedFiles(settings.home)
    with Store(given["store"]) as store:
        domain = domains.by_id(store.db, given["domain"])
        work(store, settings, staged_files, staged_files.get(domain, given["id"]))


if __name__ == "__main__":
    main()
