"""What all tests share: one real engine for a whole session.

`engine` is `understudy serve` in a thread, over a home folder of its own: vLLM with the pocket
base model, kept in step with `engine.store`. It takes some ten seconds, so tests that use it are
marked `slow`. Register an adapter (`tests/adapter_maker.py` makes one in milliseconds), call
`engine.wait_for(adapter)`, then ask `engine.url` for its `served_name`. `base@0` is always there.
A test that harms the engine must leave it ready: `engine.wait_ready()`.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from data.adapters import placements
from data.adapters.registry import Adapter
from data.config.settings import AnswersSettings, GateSettings, ServingSettings, Settings
from data.store.db import Store
from serving import serve

# A shell that runs the tests in its background ignores Ctrl-C for them, and for every process that
# they start: those that are to end by it would run on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


STARTS_SOMETHING = {
    "base", "bot", "client", "engine", "fake", "loud", "open_bot", "page", "process", "program",
    "quick", "slack", "supervisor", "taught", "tiny_base", "tokenizer", "tuned", "vllm",
}  # fmt: skip

WHOLE_FOLDERS = ("answering", "fleet", "mutants", "runtime", "tools", "training")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `make unit` skips: their fixtures start a server, a browser or a model,
    or their whole folder is about processes and training. A `long` test is `slow`, so that the
    quick part of `make test` leaves it out."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("slow"):
            item.add_marker("slow")
        starts = STARTS_SOMETHING & set(getattr(item, "fixturenames", ()))
        if starts or item.path.parent.name in WHOLE_FOLDERS:
            item.add_marker("integration")


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """`understudy --config` names its settings file to child processes in the environment. A test
    that runs it leaves nothing there for the next one."""
    before = {name: value for name, value in os.environ.items() if name.startswith("UNDERSTUDY_")}
    yield
    for name in [name for name in os.environ if name.startswith("UNDERSTUDY_")]:
        del os.environ[name]
    os.environ.update(before)


unit_test: str | None = None  # the id of the unit test that is running
PROCESS_EVENTS = ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.spawn")


def refuse_processes(event: str, args: tuple[object, ...]) -> None:
    """An audit hook: a unit test that starts a process fails, so that `make unit` stays quick. The
    fake `nvidia-smi` (`tests/fake_nvidia_smi.py`), a script of one line, is allowed."""
    if unit_test is None or event not in PROCESS_EVENTS:
        return
    if event == "subprocess.Popen" and "nvidia-smi" in str(args[:2]):
        return
    raise RuntimeError(f"{unit_test} starts a process: mark it with @pytest.mark.integration")


sys.addaudithook(refuse_processes)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    global unit_test
    marked = any(item.get_closest_marker(name) for name in ("integration", "slow"))
    unit_test = None if marked else item.nodeid
    try:
        return (yield)
    finally:
        unit_test = None


ALONE = AnswersSettings(mode="adapter")  # for tests of engines, routing and comparisons


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class RunningEngine:
    settings: Settings
    store: Store

    @property
    def url(self) -> str:
        """Where the engine answers; a restart may have moved it."""
        known = [r.url for r in placements.replicas(self.store.db)]
        return next(iter([*placements.ready_urls(self.store.db), *known]), "")

    def ready(self) -> bool:
        return bool(placements.ready_urls(self.store.db))

    def wait_ready(self) -> None:
        wait_until(self.ready, "the engine to be ready", 120)

    def holds(self, adapter: Adapter) -> bool:
        return adapter.id in placements.loaded(self.store.db)

    def wait_for(self, adapter: Adapter) -> None:
        wait_until(lambda: self.holds(adapter), f"the engine to hold {adapter.name}")

    def pid(self) -> int | None:
        """vLLM's API server, which leads the group of all its processes."""
        port = f"\0{urlsplit(self.url).port}\0".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (folder / "cmdline").read_bytes()
                if b"vllm_process.py" in line and port in line:
                    return int(folder.name)
        return None

    def kill(self) -> None:
        """SIGKILL to vLLM's API server, and wait until that is noticed."""
        pid = self.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.ready(), "the crash to be noticed")


@contextlib.contextmanager
def running_engine(settings: Settings) -> Iterator[RunningEngine]:
    """`understudy serve` in a thread, until the end of the block."""
    stop = threading.Event()
    with Store(settings.store_path) as store:
        serving = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
        serving.start()
        try:
            running = RunningEngine(settings, store)
            wait_until(lambda: running.ready() or not serving.is_alive(), "the engine", 240)
            assert running.ready(), "the engine did not start; see what pytest captured"
            yield running
        finally:
            stop.set()
            serving.join()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    home = tmp_path_factory.mktemp("engine-home")
    with running_engine(
        Settings(
            home=home,
            serving=ServingSettings(port=free_port(), threads=1),
            answers=ALONE,
            gate=GateSettings(repeats=0.0),  # short runs may not know their pairs
        )
    ) as running:
        yield running
