"""The whole service on this machine, in a folder of its own: what several benchmarks run.

Runs `understudy serve`, `understudy bot` and, on request, `understudy worker`, supervised as
`understudy up` does it. The benchmark also opens the store and gets one API key.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bot.runtime.supervisor import Supervisor
from data import domains
from data.adapters import placements
from data.adapters.registry import Adapter
from data.config import settings as config_settings
from data.config.settings import Settings
from data.domains import Domain
from data.people import keys
from data.store.db import Store
from tests.conftest import free_port

WAIT_S = 180.0


@dataclass(frozen=True)
class Service:
    settings: Settings
    store: Store
    supervisor: Supervisor
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.bot.port}"

    def domain(self, name: str, system: str) -> Domain:
        with self.store.write() as db:
            return domains.create(db, name, system_prompt=system)

    def ready(self) -> list[placements.Replica]:
        return placements.ready(self.store.db)

    def wait_ready(self) -> None:
        """Until every replica is."""
        wanted = self.settings.serving.replicas
        wait_for(lambda: len(self.ready()) >= wanted, "the engines to be ready")

    def wait_held(self, adapter: Adapter) -> float:
        """Until every ready replica holds the adapter; returns the seconds."""
        began = time.perf_counter()

        def held() -> bool:
            at = placements.holders(self.store.db).get(adapter.id, [])
            return len(at) >= max(1, len(self.ready()))

        wait_for(held, f"the engines to hold {adapter.name}", pause=0.01)
        return time.perf_counter() - began


def wait_for(
    true: Callable[[], bool], what: str, seconds: float = WAIT_S, pause: float = 0.1
) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(f"Waited {seconds:.0f} s for {what}.")
        time.sleep(pause)


@contextlib.contextmanager
def running(
    home: Path,
    replicas: int = 1,
    parts: Sequence[str] = ("serve", "bot"),
    mode: str = "adapter",  # the engine is measured, not the search
    base: str = "pocket",
    **bot: int,
) -> Iterator[Service]:
    """Start the service, wait until it answers, and stop it at the end. `mode` is that of
    `[answers]`, and `bot` holds settings of `[bot]`."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / config_settings.FILE_NAME
    lines = [
        "[serving]",
        f"port = {free_port()}",
        f"replicas = {replicas}",
        "threads = 1",
        "[bot]",
        f"port = {free_port()}",
        "history_turns = 0",
        *(f"{key} = {value}" for key, value in bot.items()),
        "[answers]",
        f'mode = "{mode}"',
        "[base]",
        f'model = "{base}"',
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    environ = {"UNDERSTUDY_CONFIG": str(file)}
    settings = config_settings.load(
        file, {k: v for k, v in os.environ.items() if k != "UNDERSTUDY_HOME"}
    )
    with Store(settings.store_path) as store:
        with store.write() as db:
            _, key = keys.create(db, "load", "member", "benchmark")
        supervisor = Supervisor(settings, parts, log_folder=home / "logs", environ=environ)
        stopping = threading.Event()

        def look_after() -> None:
            while not stopping.wait(0.2):
                supervisor.revive()

        started, watch = Service(settings, store, supervisor, key), threading.Thread()
        supervisor.start()
        try:
            watch = threading.Thread(target=look_after, daemon=True)
            watch.start()
            if "serve" in parts:
                started.wait_ready()
            yield started
        finally:
            stopping.set()
            watch.join()
            supervisor.stop()


def processes(home: Path) -> dict[int, str]:
    """Every process of a service: its id -> engine, serve, worker or bot."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().split(b"\0")
            files = [os.readlink(file) for file in (folder / "fd").iterdir()]
            if not any(file.startswith(f"{home}/") for file in files):  # its log, its store
                continue
            if any(b"vllm_process.py" in part for part in line):
                found[int(folder.name)] = "engine"
            elif b"-m" in line and b"bot" in line:
                found[int(folder.name)] = line[line.index(b"bot") + 1].decode()
    return found


def memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
