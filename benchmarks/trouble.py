"""Random kills and pauses of the processes of `understudy up`, from a seed."""

import contextlib
import heapq
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

PARTS = {  # how often each is hit: what answers needs up to half a minute to come back
    "bot": 4,
    "worker": 3,
    "tuning run": 3,
    "serve": 1,
    "engine server": 1,
    "engine core": 1,
    "up": 1,
}
PAUSES_S = (0.2, 2.0, 10.0, 30.0, 75.0)  # the longest costs a worker its run
BETWEEN_S = (3.0, 15.0)


class Process(NamedTuple):
    """A process, told from a later one with the same number by when it was started."""

    pid: int
    started: str
    parent: int


def process(pid: int) -> Process | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else Process(pid, fields[19], int(fields[1]))


def parts(up: int) -> dict[str, list[Process]]:
    """The processes of an `understudy up`, by what they do."""
    numbers = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    known = {p.pid: p for p in map(process, numbers) if p is not None}
    found: dict[str, list[Process]] = {}
    for each in known.values():
        line: list[Process] = [each]
        while line[-1].pid != up and line[-1].parent in known:
            line.append(known[line[-1].parent])
        if line[-1].pid == up:
            found.setdefault(_part(each, line), []).append(each)
    return found


def _part(each: Process, line: list[Process]) -> str:
    """`line` leads from the process to `understudy up`."""
    if len(line) == 1:
        return "up"
    words = _words(each.pid)
    if "vllm_process.py" in words:
        return "engine server"
    if "EngineCore" in words:
        return "engine core"
    if "tuning.worker.child" in words:
        return "tuning run"
    return next((p for p in ("serve", "worker", "bot") if f"-m bot {p}" in words), "other")


def _words(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return line.replace(b"\0", b" ").decode(errors="replace")


@dataclass
class Trouble:
    """Makes trouble in a thread of its own until it is stopped; then nothing is paused any more."""

    up: Callable[[], int]  # the process id of `understudy up`
    seed: int
    flood: Callable[[], None]  # lets many people ask at once
    stop: threading.Event = field(default_factory=threading.Event)
    done: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    _paused: list[tuple[float, Process]] = field(default_factory=list)

    def run(self) -> None:
        draw = random.Random(self.seed)
        began = time.monotonic()
        due = began + draw.uniform(*BETWEEN_S)
        try:
            while not self.stop.wait(0.1):
                self._resume(time.monotonic())
                if time.monotonic() < due:
                    continue
                due = time.monotonic() + draw.uniform(*BETWEEN_S)
                told = self._make(draw)
                self.log.append(f"{time.monotonic() - began:6.1f} s  {told}")
        finally:
            self._resume(float("inf"))

    def _make(self, draw: random.Random) -> str:
        """Something bad; says what."""
        kind = draw.choices(("kill", "pause", "flood"), (4, 4, 2))[0]
        here = {part: found for part, found in parts(self.up()).items() if part in PARTS}
        if kind == "flood" or not here:
            self.done["floods"] += 1
            self.flood()
            return "a flood"
        part = draw.choices(list(here), [PARTS[each] for each in here])[0]
        chosen, seconds = draw.choice(here[part]), draw.choice(PAUSES_S)
        if kind == "kill":
            self.done["kills"] += 1
            _signal(chosen, signal.SIGKILL)
            return f"{part} is killed"
        self.done["pauses"] += 1
        _signal(chosen, signal.SIGSTOP)
        heapq.heappush(self._paused, (time.monotonic() + seconds, chosen))
        return f"{part} is paused for {seconds:g} s"

    def _resume(self, now: float) -> None:
        while self._paused and self._paused[0][0] <= now:
            _signal(heapq.heappop(self._paused)[1], signal.SIGCONT)


def _signal(to: Process, number: signal.Signals) -> None:
    now = process(to.pid)
    if now is not None and now.started == to.started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(to.pid, number)
