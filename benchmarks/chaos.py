"""Kills, pauses and floods at random: does everything that must hold, hold?

    python benchmarks/chaos.py --seconds 600 --seed 1

Runs `understudy up` with the pocket base model. People ask over HTTP and vote; an admin promotes,
rolls back, compares, tunes, cancels and removes; backups are made (`people.py`). Meanwhile random
processes get SIGKILL, or SIGSTOP and later SIGCONT, `understudy up` itself among them, and crowds
ask at once (`trouble.py`). What must hold all the time and at the end is in `invariants.py`. Then
the trouble ends, and the system has to come to rest by itself: every adapter held, no run open,
every question answered. The exit code is 1 if anything did not hold. The same seed draws the same
trouble; which process it hits depends on the times.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import invariants
import load
import one_word
import report
import service
from people import Admin, Askers
from trouble import Trouble

from data import domains
from data.adapters import placements, registry
from data.config import settings as config_settings
from data.config.settings import Settings
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.people import keys
from data.runs import runs
from data.store.db import Store, sqlite3, value
from data.store.errors import UnderstudyError
from tests.conftest import free_port

LOOK_S = 0.5
REST_S = 420.0  # to come to rest: a run that was taken from its worker begins anew
WELL_S = 10.0  # for so long, every question must then be answered
PAIRS = 16
END_S = 90.0
START_S = 600.0  # of the first engine, on a machine that is busy with other things
SETTINGS = """[serving]
port = {engine}
threads = 1
[bot]
port = {bot}
history_turns = 0
[answers]
mode = "adapter"
"""


@dataclass
class Up:
    """`understudy up`, which is started again when it has ended, as systemd would do it."""

    file: Path
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(default_factory=threading.Thread)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    def _run(self) -> None:
        while not self._stop.is_set():
            self.starts += 1
            with (self.file.parent / "up.log").open("ab") as output:
                self.process = self.understudy("up", stdout=output, stderr=output)
            while self.process.poll() is None and not self._stop.wait(0.1):
                pass
            self._stop.wait(1.0)

    def end(self) -> int:
        """Ask it to end; returns its exit code, or that of its death."""
        self._stop.set()
        self._thread.join()
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def understudy(self, *words: str, **more: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "bot", "--config", str(self.file), *words],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **more,
        )


@dataclass
class Chaos:
    store: Store
    askers: Askers
    admin: Admin
    trouble: Trouble
    always: invariants.Always
    rest_s: float | None = None  # from the last trouble until everything was well; None: never
    not_well: str = ""

    async def run(self, seconds: float) -> None:
        doing = (self.askers.run(), self.admin.run(), self.admin.back_up(), self._watch())
        tasks = [asyncio.create_task(each) for each in doing]
        thread = threading.Thread(target=self.trouble.run)
        thread.start()
        try:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await asyncio.sleep(LOOK_S)
                for task in tasks:
                    if task.done():
                        task.result()
        finally:
            self.trouble.stop.set()
            thread.join()
            tasks[1].cancel()
        await self._rest()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.askers.finish()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(UnderstudyError, sqlite3.Error):
                self.always.check(self.store.db)
            await asyncio.to_thread(self._check_engines)
            await asyncio.to_thread(self.always.check_processes)
            await asyncio.sleep(LOOK_S)

    def _check_engines(self) -> None:
        with contextlib.suppress(UnderstudyError, sqlite3.Error):
            self.always.check_held(self.store.db)

    async def _rest(self) -> None:
        """Wait until the system has been well for a while; people go on asking."""
        began = well_since = time.monotonic()
        answered = self._answered()
        while time.monotonic() - began < REST_S:
            await asyncio.sleep(LOOK_S)
            now = self._answered()
            self.not_well = self._open() or ("" if now[1] == answered[1] else "a question failed")
            if self.not_well:
                well_since, answered = time.monotonic(), now
            elif time.monotonic() - well_since > WELL_S and now[0] > answered[0]:
                self.rest_s = well_since - began
                return

    def _answered(self) -> tuple[int, int]:
        """How many questions were answered by the right adapter, and how many were not."""
        right = self.askers.verdicts["right"]
        return right, self.askers.verdicts.total() - right

    def _open(self) -> str:
        """What is not as it should be yet."""
        try:
            db = self.store.db
            held, wanted = placements.loaded(db), registry.wanted_ids(db)
            if not placements.ready(db):
                return f"no engine is ready: {[r.described for r in placements.replicas(db)]}"
            if missing := wanted - held.keys():
                return f"adapters {sorted(missing)} are not held"
            if open_runs := [r.id for r in runs.recent(db) if r.open]:
                return f"runs {open_runs} are open"
        except (UnderstudyError, sqlite3.Error) as error:
            return str(error)
        return ""


@contextlib.contextmanager
def started(home: Path) -> Iterator[tuple[Settings, Store, Up]]:
    """`understudy up` in `home`, once it is ready."""
    file = home / config_settings.FILE_NAME
    file.write_text(SETTINGS.format(engine=free_port(), bot=free_port()), encoding="utf-8")
    settings = config_settings.load(file, {})
    with Store(settings.store_path) as store:
        up = Up(file)
        up.start()
        try:
            service.wait_for(lambda: bool(placements.ready(store.db)), "the engine", START_S)
            yield settings, store, up
        finally:
            up.end()


async def cause_chaos(
    settings: Settings, store: Store, up: Up, trained: dict[str, Path], seconds: float, seed: int
) -> Chaos:
    with store.write() as db:
        words = domains.create(db, "words", system_prompt=one_word.SYSTEM)
        tuned = domains.create(db, "tuned")
        drafts = [Draft(f"What is box {i}?", f"Box {i} has {i * 37 % 101}.") for i in range(PAIRS)]
        pairs.add(db, tuned, drafts, source="benchmark", status="approved")
        member, secret = keys.create(db, "people", "member", "benchmark")
        _, admin_secret = keys.create(db, "admin", "admin", "benchmark")
    register = load.Register()
    url = f"http://127.0.0.1:{settings.bot.port}"
    async with (
        load.Client(url, secret) as client,
        _session(url, secret) as http,
        _session(url, admin_secret) as admin_http,
    ):
        askers = Askers(words.name, register, client, http, member.id, seed)
        admin = Admin(
            settings, store, register, trained, words, tuned, admin_http, askers,
            up.understudy, seed + 1,
        )  # fmt: skip
        await asyncio.to_thread(admin.first_adapters)

        def flood() -> None:
            askers.floods += 1

        trouble, always = Trouble(up.pid, seed + 2, flood), invariants.Always(settings.home)
        chaos = Chaos(store, askers, admin, trouble, always)
        await chaos.run(seconds)
    return chaos


def _session(url: str, secret: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        url,
        headers={"Authorization": f"Bearer {secret}"},
        timeout=aiohttp.ClientTimeout(total=load.TIMEOUT_S),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "one-word")
    parser.add_argument(
        "--keep", action="store_true", help="keep the home folder, which has the logs"
    )
    options = parser.parse_args()
    trained = one_word.train_all(options.cache)
    home = Path(tempfile.mkdtemp(prefix="understudy-chaos-")).resolve()
    try:
        with started(home) as (settings, store, up):
            chaos = asyncio.run(
                cause_chaos(settings, store, up, trained, options.seconds, options.seed)
            )
            print(f"The home folder is {home}.", file=sys.stderr)
            code = up.end()
            left = service.processes(home)
            wrong = [
                *chaos.always.broken,
                *chaos.askers.wrong,
                *chaos.admin.wrong,
                *invariants.answers(store.db, chaos.askers.asked),
                *invariants.votes(store.db, chaos.askers.sure_votes()),
                *([f"left over: {left}"] if left else []),
                *([f"`understudy up` ended with code {code}"] if code else []),
                *([] if chaos.rest_s is not None else [f"no rest: {chaos.not_well}"]),
            ]
            _report(chaos, up, wrong, options.seconds, options.seed)
    finally:
        if not options.keep:
            shutil.rmtree(home)
    raise SystemExit(1 if wrong else 0)


def _report(chaos: Chaos, up: Up, wrong: list[str], seconds: float, seed: int) -> None:
    db, asked, did = chaos.store.db, chaos.askers.verdicts, chaos.admin.did
    states = ("done", "failed", "cancelled")
    sql = "SELECT count(*) FROM runs WHERE state = ?"
    figures = {
        **{kind: chaos.trouble.done[kind] for kind in ("kills", "pauses", "floods")},
        "questions": asked.total(),
        "answered": asked["right"] + asked["fallback"],
        "fallbacks": asked["fallback"],
        "refused": asked["refused"] + asked["no connection"],
        "broken_off": asked["broken off"],
        "longest_gap_s": round(chaos.askers.longest_gap_s, 1),
        "votes": len(chaos.askers.votes),
        "moves": did["promotions and roll-backs"],
        "comparisons": len(chaos.always.compared),
        "held_checks": chaos.always.held,
        "backups": did["backups"],
        **{f"runs_{state}": value(db, sql, [state]) for state in states},
        "engine_starts": sum(r.generation for r in placements.replicas(db)),
        "up_starts": up.starts,
        "rest_s": None if chaos.rest_s is None else round(chaos.rest_s, 1),
        "violations": len(wrong),
    }
    for line in chaos.trouble.log:
        print(line, file=sys.stderr)
    report.table(list(figures), [list(figures.values())])
    for each in wrong[:20]:
        print(f"violation: {each}", file=sys.stderr)
    other = {k: n for k, n in asked.items() if k not in ("right", "fallback")}
    report.finish(benchmark="chaos", seconds=seconds, seed=seed, **figures, not_answered=other)


if __name__ == "__main__":
    main()
