"""Many requests while adapters are swapped all the time: does any answer come from the wrong one?

    python benchmarks/soak.py --requests 100000 --swaps 1000

Runs the whole service (`understudy serve` and `understudy bot`) in a folder of its own. Many people
ask over HTTP, streamed and not: three domains, one of them with a comparison; live adapters, pinned
ones and the base model in one engine. A swap registers a new version, waits until it is routable,
promotes it (or puts it into the comparison, or rolls back) and removes an old one. Pinned versions
are not rolled back during the run, because a request for a rolled-back version is refused by
design. Every answer is checked (`load.py`) and compared with the store's record of it. The exit
code is 1 if a single answer was wrong.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import load
import one_word
import report
import service
from load import Client, Register, Tally
from service import Service

from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import experiments
from data.store.db import rows, value
from data.store.errors import Conflict

PEOPLE = 200
PINNED, BASE = 0.2, 0.2  # shares of the questions that name the live adapter, the bare base
BACK_EVERY = 3  # swaps of the first domain: then one is a roll-back


@dataclass
class Swapper:
    """Swaps adapters in a thread of its own, while the requests continue."""

    service: Service
    register: Register
    trained: dict[str, Path]
    domains: list[Domain]
    swaps: int
    done: int = 0
    routable_s: list[float] = field(default_factory=list)
    live: dict[str, Adapter] = field(default_factory=dict)
    error: BaseException | None = None

    def begin(self) -> None:
        """Give every domain a live adapter; the last domain compares it with another one."""
        for domain in self.domains:
            first = self._new(domain)
            self._promote(domain, first)
        self._compare(self.domains[-1])

    def run(self, share: "threading.Event", progress: list[float]) -> None:
        """Keep the swaps in step with `progress[0]`, the share of requests that are done."""
        try:
            while not share.is_set() and self.done < self.swaps:
                if self.done >= progress[0] * self.swaps:
                    time.sleep(0.01)
                    continue
                self._swap(self.domains[self.done % len(self.domains)])
                self.done += 1
                self.register.forget_before(time.monotonic() - 2 * load.TIMEOUT_S)
        except BaseException as error:
            self.error = error
            raise

    def _swap(self, domain: Domain) -> None:
        if domain is self.domains[-1]:
            self._compare(domain)
        elif domain is self.domains[0] and self.done // len(self.domains) % BACK_EVERY == 2:
            self._roll_back(domain)
        else:
            self._promote(domain, self._new(domain))
        self._remove_old(domain)

    def _new(self, domain: Domain) -> Adapter:
        """A new version with another word than the live one, held by every engine."""
        live = self.live.get(domain.name)
        words = [w for w in one_word.WORDS if live is None or w != one_word.word_of(live)]
        trained = self.trained[words[self.done % len(words)]]
        made = one_word.register(self.service.store, self.service.settings, domain, trained)
        self.register.says[made.name] = one_word.said(one_word.word_of(made))
        self.routable_s.append(self.service.wait_held(made))
        return made

    def _promote(self, domain: Domain, made: Adapter) -> None:
        before = self.live.get(domain.name)
        self.register.may_answer(domain.name, made.name, before.name if before else "base")
        with self.service.store.write() as db:
            registry.promote(db, made, "benchmark")
        self.live[domain.name] = made
        self.register.may_answer(domain.name, made.name)

    def _roll_back(self, domain: Domain) -> None:
        before = self.live[domain.name]
        back = registry.previous_live(self.service.store.db, domain.id)
        if back is None:
            return self._promote(domain, self._new(domain))
        self.register.may_answer(domain.name, before.name, back.name)
        with self.service.store.write() as db:
            registry.roll_back(db, domain, "benchmark")
        self.live[domain.name] = back
        self.register.may_answer(domain.name, back.name)
        return None

    def _compare(self, domain: Domain) -> None:
        """Replace the candidate that is compared with the live adapter by a new one."""
        store, live = self.service.store, self.live[domain.name]
        running = experiments.running(store.db, domain.id)
        compared = [v.adapter for v in running.variants] if running else [live.name]
        made = self._new(domain)
        self.register.may_answer(domain.name, live.name, made.name, *compared)
        with store.write() as db:
            if running is not None:
                experiments.stop(db, running, "benchmark")
                for variant in running.variants:
                    if variant.adapter_id not in (None, live.id):
                        registry.retire(db, registry.by_id(db, variant.adapter_id), "benchmark")
            experiments.start(db, domain, live, made, "benchmark")
        self.register.may_answer(domain.name, live.name, made.name)

    def _remove_old(self, domain: Domain) -> None:
        """Delete the files of versions that nobody can need anymore."""
        store = self.service.store
        for adapter in registry.list_adapters(store.db, domain)[4:8]:
            if adapter.state == "retired" and adapter.removal_asked_at is None:
                try:
                    with store.write() as db:
                        registry.remove(db, adapter, "benchmark")
                except Conflict:
                    continue  # what a roll-back would bring back


async def ask_all(
    running: Service, swapper: Swapper, total: int, at_once: int, progress: list[float]
) -> tuple[Tally, float]:
    """Ask `total` questions, `at_once` at a time; returns their outcome and the seconds."""
    tally, names = Tally(), [domain.name for domain in swapper.domains]
    asked = 0
    told = time.monotonic()
    async with Client(running.url, running.key) as client:
        await load.learn_the_base(client, swapper.register, f"{names[0]}@base", at_once)
        began = time.monotonic()

        async def keep_asking(seed: int) -> None:
            nonlocal asked, told
            draw = random.Random(seed)
            while asked < total and swapper.error is None:
                asked += 1
                domain, kind = draw.choice(names), draw.random()
                model = domain
                if kind < BASE:
                    model = f"{domain}@base"
                elif kind < BASE + PINNED:
                    domain = names[1]
                    model = swapper.live[domain].name
                person, question = f"p{draw.randrange(PEOPLE)}", draw.choice(one_word.QUESTIONS)
                stream = draw.random() < 0.5
                answer = await client.ask(domain, model, question, person, stream=stream)
                tally.add(answer, swapper.register)
                progress[0] = tally.total / total
                if time.monotonic() - told > 10:
                    told = time.monotonic()
                    rate = tally.total / (told - began)
                    print(
                        f"{tally.total:,} answers, {swapper.done} swaps, {rate:.0f}/s, "
                        f"{dict(tally.verdicts)}",
                        file=sys.stderr,
                    )

        await asyncio.gather(*[keep_asking(i) for i in range(at_once)])
    return tally, time.monotonic() - began


def differing(running: Service, tally: Tally) -> int:
    """How many replies the store attributes to another adapter than the answer named."""
    stored = {
        r["id"]: r["name"]
        for r in rows(
            running.store.db,
            "SELECT r.id, coalesce(d.name || '@' || a.version, 'base') AS name FROM replies r "
            "LEFT JOIN adapters a ON a.id = r.adapter_id LEFT JOIN domains d ON d.id = a.domain_id "
            "WHERE r.status = 'done'",
        )
    }
    return sum(stored.get(reply) != adapter for reply, adapter in tally.told.items())


def burden(running: Service) -> dict[str, tuple[float, int]]:
    """Megabytes and open files of each process."""
    found: dict[str, tuple[float, int]] = {}
    for pid, part in sorted(service.processes(running.settings.home).items()):
        name = part if part not in found else f"{part} {pid}"
        found[name] = (service.memory_mb(pid), service.open_files(pid))
    return found


def leftovers(running: Service) -> int:
    """Adapters that engines hold but should not, or should hold but do not."""
    store = running.store
    wanted = registry.wanted_ids(store.db)

    def settled() -> bool:
        return all(
            {p.adapter_id for p in placements.placements_on(store.db, r.name)} == wanted
            for r in placements.ready(store.db)
        )

    deadline = time.monotonic() + 30
    while not settled() and time.monotonic() < deadline:
        time.sleep(0.2)
    return 0 if settled() else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--swaps", type=int, default=30)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "one-word")
    options = parser.parse_args()
    trained = one_word.train_all(options.cache)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        with service.running(home, options.replicas) as running:
            found = [running.domain(name, one_word.SYSTEM) for name in ("alpha", "beta", "gamma")]
            swapper = Swapper(running, Register(), trained, found, options.swaps)
            swapper.begin()
            before, progress, stop = burden(running), [0.0], threading.Event()
            thread = threading.Thread(target=swapper.run, args=(stop, progress))
            thread.start()
            try:
                tally, seconds = asyncio.run(
                    ask_all(running, swapper, options.requests, options.concurrency, progress)
                )
            finally:
                stop.set()
                thread.join()
            ok = _report(running, swapper, tally, seconds, before)
    raise SystemExit(0 if ok else 1)


def _report(
    running: Service,
    swapper: Swapper,
    tally: Tally,
    seconds: float,
    before: dict[str, tuple[float, int]],
) -> bool:
    db, counted = running.store.db, tally.verdicts
    differ, left = differing(running, tally), leftovers(running)
    starts = sum(r.generation for r in placements.replicas(db))
    restarts = starts - running.settings.serving.replicas
    wrong = {k: n for k, n in counted.items() if k not in ("right", "fallback")}
    unexpected = value(db, "SELECT count(*) FROM replies WHERE status <> 'done'")
    figures = {
        "requests": tally.total,
        "failed": counted["failed"],
        "wrong_adapter": counted["wrong adapter"],
        "mixed": counted["mixed"],
        "misrouted": counted["misrouted"],
        "fallbacks": counted["fallback"],
        "store_differs": differ,
        "replies_not_done": unexpected,
        "swaps": swapper.done,
        "engine_restarts": restarts,
        "adapters_left_over": left,
        "requests_per_s": round(tally.total / seconds, 1),
        "answer_p50_ms": round(report.median(tally.seconds) * 1000, 1),
        "answer_p99_ms": round(report.percentile(tally.seconds, 0.99) * 1000, 1),
        "routable_p50_ms": round(report.median(swapper.routable_s) * 1000),
        "routable_p99_ms": round(report.percentile(swapper.routable_s, 0.99) * 1000),
        "store_mb": round(running.settings.store_path.stat().st_size / 1e6, 1),
    }
    report.table(("", "figure"), list(figures.items()))
    print()
    after = burden(running)
    report.table(
        ("process", "MB before", "MB after", "files before", "files after"),
        [(k, before[k][0], after[k][0], before[k][1], after[k][1]) for k in before if k in after],
    )
    for example in tally.examples:
        print(example, file=sys.stderr)
    if swapper.error is not None:
        print(f"The swaps ended early: {swapper.error!r}", file=sys.stderr)
    report.finish(benchmark="soak", seconds=round(seconds, 1), **figures)
    bad = [*wrong.values(), differ, left, restarts, unexpected]
    return swapper.error is None and swapper.done == swapper.swaps and not any(bad)


if __name__ == "__main__":
    main()
