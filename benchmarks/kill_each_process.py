"""Kills processes while people ask: what is lost, and how soon does everything recover?

    python benchmarks/kill_each_process.py --minutes 6 --rate 12

Runs the whole service as `understudy up` does, with two engine replicas, and asks at a steady rate
over HTTP as OpenAI's clients do. A refused request (429, 503, no connection) is retried up to twice
after the requested pause; anything else that is not one complete, correct answer counts as lost.
Every `--every` seconds one process gets SIGKILL, in turn: an engine's server, an engine's core,
`understudy serve`, the worker, the bot. The exit code is 1 if more than 0.5% is lost, if an adapter
takes more than five seconds to come back after its engine is healthy, or if a process is orphaned.
"""

import argparse
import asyncio
import itertools
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import load
import one_word
import report
import service
from load import Asked, Client, Register
from service import Service

from data.adapters import placements, registry
from serving.engine.engine import healthy

VICTIMS = ("engine server", "engine core", "serve", "worker", "bot")
RETRIES = 2  # of OpenAI's clients
AGAIN = (0, 429, 503)  # statuses after which they try again
MOST_LOST = 0.005
BACK_S = 5.0
END_S = 5.0  # for the kernel to end what a killed process had started


@dataclass
class Kill:
    """One kill and what followed."""

    victim: str
    at: float
    back_s: float | None = None  # from an engine's health until it holds everything
    whole_s: float | None = None  # from the kill until every replica is ready again
    orphans: int = 0


@dataclass
class Killer:
    """Kills processes in a thread of its own, and watches how everything recovers."""

    running: Service
    every_s: float
    victims: tuple[str, ...] = VICTIMS
    kills: list[Kill] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for victim in itertools.cycle(self.victims):
            if self.stop.wait(self.every_s):
                return
            found = self._find(victim)
            if found is None:
                return
            pid, before = found
            kill = Kill(victim, time.monotonic())
            self.kills.append(kill)
            os.kill(pid, signal.SIGKILL)
            self._watch(kill, pid, before)

    def _find(self, victim: str) -> tuple[int, dict[int, str]] | None:
        """The process to kill, once it runs, and all that run; of two engines the second, then
        the first, and so on. None when it is not back at the end."""
        while not self.stop.wait(0.05):
            found = service.processes(self.running.settings.home)
            part = "engine" if victim.startswith("engine") else victim
            pids = [pid for pid, name in found.items() if name == part]
            if part == "engine":
                cores = [pid for pid in pids if _parent(pid) in pids]
                servers = [pid for pid in pids if pid not in cores]
                pids = sorted(cores if victim == "engine core" and cores else servers)
            if pids:
                return pids[(len(self.kills) + 1) % len(pids)], found
        return None

    def _watch(self, kill: Kill, killed: int, before: dict[int, str]) -> None:
        """Wait until all replicas are ready and hold everything; count what was left behind."""
        db, settings = self.running.store.db, self.running.settings
        wanted = registry.wanted_ids(db)
        healthy_at: dict[str, float] = {}
        lost = kill.victim.startswith("engine") or kill.victim == "serve"
        while lost and not self.stop.is_set():
            ready = self.running.ready()
            for replica in placements.replicas(db):
                if replica.state != "ready" and healthy(replica.url, 1.0):
                    healthy_at.setdefault(replica.name, time.monotonic())
            held = placements.holders(db)
            whole = all(len(held.get(a, [])) == settings.serving.replicas for a in wanted)
            gone = time.monotonic() - kill.at
            if gone > 1.5 and len(ready) == settings.serving.replicas and whole:
                kill.whole_s = gone
                if healthy_at:
                    kill.back_s = time.monotonic() - max(healthy_at.values())
                break
            time.sleep(0.05)
        children = {pid for pid in before if pid != killed and _started_by(pid, killed)}
        deadline = time.monotonic() + END_S
        while any(map(_lives, children)) and time.monotonic() < deadline:
            time.sleep(0.05)
        kill.orphans = sum(map(_lives, children))


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def _started_by(pid: int, killed: int) -> bool:
    """Whether the killed process was the parent of this one when it was first seen."""
    return _family.get(pid) == killed


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


_family: dict[int, int] = {}  # process -> its parent when it was first seen


@dataclass
class Lost:
    """The outcome of every request."""

    asked: int = 0
    retried: int = 0
    lost: list[Asked] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)


async def keep_asking(
    running: Service, register: Register, domain: str, rate: float, until: float
) -> Lost:
    """Send `rate` requests per second, whatever their outcome."""
    found, tasks = Lost(), set()
    async with Client(running.url, running.key) as client:

        async def one(number: int) -> None:
            draw = random.Random(number)
            question, stream = draw.choice(one_word.QUESTIONS), draw.random() < 0.5
            asked = None
            for attempt in range(RETRIES + 1):
                asked = await client.ask(domain, domain, question, f"p{number % 50}", stream=stream)
                if not asked.error or asked.status not in AGAIN:
                    break
                if attempt < RETRIES:
                    found.retried += 1
                    await asyncio.sleep(asked.retry_after or 0.5 * 2**attempt)
            assert asked is not None
            verdict = load.verdict(asked, register)
            found.verdicts[verdict] += 1
            if verdict not in ("right", "fallback"):
                found.lost.append(asked)

        began = time.monotonic()
        while (now := time.monotonic()) < until:
            due = int((now - began) * rate) - found.asked
            for _ in range(due):
                found.asked += 1
                task = asyncio.create_task(one(found.asked))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            for pid in service.processes(running.settings.home):
                _family.setdefault(pid, _parent(pid))
            await asyncio.sleep(1 / rate)
        await asyncio.gather(*tasks)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--rate", type=float, default=10, help="requests a second")
    parser.add_argument("--every", type=float, default=15, help="seconds between kills, at least")
    parser.add_argument(
        "--only", choices=VICTIMS, action="append", help="kill only these; may be given again"
    )
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "one-word")
    options = parser.parse_args()
    trained = one_word.train_all(options.cache)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        with service.running(home, options.replicas, ("serve", "worker", "bot")) as running:
            register = Register()
            domain = running.domain("alpha", one_word.SYSTEM)
            for word in one_word.WORDS[:2]:  # a live one, and one to fall back on
                made = one_word.register(running.store, running.settings, domain, trained[word])
                register.says[made.name] = one_word.said(word)
                running.wait_held(made)
                with running.store.write() as db:
                    registry.promote(db, made, "benchmark")
            register.may_answer(domain.name, made.name)
            killer = Killer(running, options.every, tuple(options.only or VICTIMS))
            thread = threading.Thread(target=killer.run)
            thread.start()
            until = time.monotonic() + options.minutes * 60
            try:
                found = asyncio.run(
                    keep_asking(running, register, domain.name, options.rate, until)
                )
            finally:
                killer.stop.set()
                thread.join()
        left = len(service.processes(home))
    raise SystemExit(0 if _report(found, killer, left, options.replicas) else 1)


def _report(found: Lost, killer: Killer, left: int, replicas: int) -> bool:
    lines, slowest = [], 0.0
    for victim in VICTIMS:
        kills = [k for k in killer.kills if k.victim == victim]
        whole = [k.whole_s for k in kills if k.whole_s is not None]
        back = [k.back_s for k in kills if k.back_s is not None]
        slowest = max([slowest, *back])
        lost = sum(victim == _last_kill(killer.kills, asked) for asked in found.lost)
        lines.append(
            (
                victim,
                len(kills),
                lost,
                report.median(whole) if whole else "",
                max(back) if back else "",
                sum(k.orphans for k in kills),
            )
        )
    report.table(
        ("killed", "times", "requests lost", "recovered, s", "adapters back, s", "orphans"), lines
    )
    for asked in found.lost[:10]:
        print(f"lost: {asked}")
    share = len(found.lost) / max(found.asked, 1)
    orphans = sum(k.orphans for k in killer.kills) + left
    report.finish(
        benchmark="kill_each_process",
        replicas=replicas,
        requests=found.asked,
        kills=len(killer.kills),
        lost=len(found.lost),
        lost_share=round(share, 5),
        retried=found.retried,
        fallbacks=found.verdicts["fallback"],
        wrong=found.verdicts["wrong adapter"] + found.verdicts["mixed"],
        adapters_back_max_s=round(slowest, 2),
        orphans=orphans,
    )
    return share <= MOST_LOST and slowest <= BACK_S and orphans == 0


def _last_kill(kills: list[Kill], asked: Asked) -> str:
    before = [k for k in kills if k.at <= asked.ended]
    return before[-1].victim if before else ""


if __name__ == "__main__":
    main()
