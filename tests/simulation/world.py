"""What the processes run on: clocks, a disk that may be full, and engines that may lapse."""

import contextlib
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlite_utils import Database

from data.adapters import files as adapters_files
from data.adapters.registry import BASE_SERVED_NAME
from data.bases import digest
from data.experiments import experiments, policies
from data.store import clock, lease_clock
from data.store.db import Store, StoreFull
from serving.adapters import sync, zero_adapter
from serving.engine import liveness
from serving.engine.management_api import NO_ANSWER, EngineRefused
from serving.fleet import reconciler
from tuning import progress

T = TypeVar("T")
START_S = 1_800_000_000


class Crash(BaseException):
    """The process that runs now dies here, as by SIGKILL."""


@dataclass
class Clocks:
    """Seconds. The wall clock can be set; the other one counts from the machine's start."""

    since_boot: float = 100.0
    wall_offset: float = START_S
    boot: int = 1
    true: float = 0.0  # since the simulation began; no process can read it

    def time_ns(self) -> int:
        return int((self.since_boot + self.wall_offset) * 1e9)

    def monotonic(self) -> float:
        return self.since_boot

    def perf_counter(self) -> float:
        return self.since_boot

    def go_on(self, seconds: float) -> None:
        self.since_boot += seconds
        self.true += seconds

    def reboot(self, wall_step: float) -> None:
        self.wall_offset += self.since_boot + wall_step
        self.since_boot = 1.0
        self.boot += 1


@dataclass
class Disk:
    full: bool = False
    crash_before_commit: bool = False
    crash_after_commit: bool = False


@dataclass
class SimulatedEngine:
    """An external engine, which keeps running whatever happens to `understudy serve`. It has what
    `ReplicaThread` reads of one."""

    number: int
    held: dict[str, str] = field(default_factory=dict)
    health: bool = True
    hung: str = ""
    refuses: bool = False  # to load anything
    hangs: bool = False  # when it is told to load something, though it is healthy
    refused: set[str] = field(default_factory=set)  # what it ever refused or did not answer about
    loads_late: list[tuple[str, str]] = field(default_factory=list)
    listed: dict[str, str] | None = None  # what it said last that it holds
    state: str = "ready"
    detail: str = ""
    starts: int = 1
    capacity: Any = None
    failure: Any = None
    lora_problem: str = ""

    @property
    def name(self) -> str:
        return f"engine:{self.number}"

    @property
    def url(self) -> str:
        return f"http://{self.name}"

    def notice(self) -> None:
        """What the engine's watching thread does every second."""
        if not self.health:
            self.hung = ""
            self.state, self.detail = "down", "does not answer"
        elif self.hung:
            self.state, self.detail = "down", self.hung
        elif self.state != "ready":
            self.state, self.detail = "ready", ""
            self.starts += 1

    def report_hung(self, starts: int, why: str) -> None:
        self.hung = why

    def report_alive(self) -> None:
        self.hung = ""

    def restart(self) -> None:
        self.held.clear()
        self.loads_late.clear()

    def ask(self, path: str, body: dict[str, Any] | None) -> Any:
        if not self.health:
            raise EngineRefused(f"The engine at {self.url} {NO_ANSWER}: refused")
        if path == "/v1/models":
            self.listed = dict(self.held)
            cards = [{"id": n, "root": p, "parent": "base"} for n, p in self.held.items()]
            return {"data": [{"id": "base", "root": "pocket", "parent": None}, *cards]}
        assert body is not None
        name = body["lora_name"]
        if path == "/v1/unload_lora_adapter":
            if self.hangs:
                raise EngineRefused(f"The engine at {self.url} {NO_ANSWER}: timed out")
            self.held.pop(name, None)
        elif self.refuses or self.hangs:
            self.refused.add(name)
            if self.hangs:
                self.loads_late.append((name, body["lora_path"]))
                raise EngineRefused(f"The engine at {self.url} {NO_ANSWER}: timed out")
            raise EngineRefused("The engine answered 500: out of memory", 500)
        else:
            self.held[name] = body["lora_path"]
        return "Success"


class World:
    """Everything that is not a process. Use it as a context: it replaces the real clocks."""

    def __init__(self, random: random.Random, engines: int = 2) -> None:
        self.random = random
        self.clocks = Clocks()
        self.disk = Disk()
        self.engines = [SimulatedEngine(n) for n in range(engines)]
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> "World":
        put = self._patch.setattr
        put(clock, "time", self.clocks)
        put(lease_clock, "_since_boot_us", lambda: int(self.clocks.since_boot * 1e6))
        put(lease_clock, "boot_id", lambda: f"boot {self.clocks.boot}")
        put(reconciler, "time", self.clocks)
        put(progress, "time", self.clocks)
        put(sync, "time", self.clocks)
        put(sync, "ask", self._ask)
        put(sync, "probe", self._probe)
        put(liveness, "probe", self._probe)
        put(liveness, "progress", lambda url: ())
        put(liveness, "time", self.clocks)
        put(sync, "healthy", lambda url: self._at(url).health)
        put(sync, "_check", lambda *_, **__: _Files())
        put(adapters_files, "check_unchanged", lambda *_: None)
        put(zero_adapter, "ensure", lambda settings, **_: settings.adapters_path / "zero")
        put(digest, "of_base", lambda _: {})
        for module in (experiments, policies):  # of salts
            put(module, "secrets", self)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def token_hex(self, nbytes: int) -> str:
        return self.random.randbytes(nbytes).hex()

    def _at(self, url: str) -> SimulatedEngine:
        return next(e for e in self.engines if url.startswith(e.url))

    def _ask(self, url: str, body: dict[str, Any] | None = None, timeout: float = 0) -> Any:
        engine = self._at(url)
        return engine.ask(url.removeprefix(engine.url), body)

    def _probe(self, url: str, *_: object) -> str | None:
        engine = self._at(url)
        if not engine.health:
            return None
        return "it wrote no token" if engine.hangs else ""

    def lapse(self, engine: SimulatedEngine) -> str:
        """Something goes wrong with an engine, or right again."""
        kind = self.random.choice(
            ("forgets", "forgets", "restarts", "refuses", "hangs", "dies", "heals", "heals")
        )
        match kind:
            case "forgets":
                for name in list(engine.held):
                    if self.random.random() < 0.6 or name == BASE_SERVED_NAME:
                        del engine.held[name]
                engine.refuses = self.random.random() < 0.3
                engine.hangs = not engine.refuses and self.random.random() < 0.3
            case "restarts":
                engine.restart()
            case "refuses":
                engine.refuses = True
            case "hangs":
                engine.hangs = True
            case "dies":
                engine.restart()
                engine.health = False
            case "heals":
                self.heal(engine)
        return kind

    def heal(self, engine: SimulatedEngine) -> None:
        engine.health, engine.refuses, engine.hangs = True, False, False
        for name, path in engine.loads_late:  # a load that nobody waited for any more
            if self.random.random() < 0.5:
                engine.held[name] = path
        engine.loads_late.clear()


class _Files:
    stamp = ()


class SimulatedStore(Store):
    """The real store, on the simulated disk. What other threads would write is written at once."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.disk = disk
        super().__init__(path)

    @contextlib.contextmanager
    def write(self) -> Iterator[Database]:
        if self.disk.full:
            raise StoreFull("The store cannot be written (disk full). Free some disk space.")
        with super().write() as db:
            yield db
            if self.disk.crash_before_commit:
                self.disk.crash_before_commit = False
                raise Crash
        if self.disk.crash_after_commit:
            self.disk.crash_after_commit = False
            raise Crash

    def submit_soon(self, fn: Callable[[Database], T]) -> "Future[T]":
        future: Future[T] = Future()
        try:
            with self.write() as db:
                result = fn(db)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        return future
