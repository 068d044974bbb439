"""What people do while a service is in trouble: ask, vote, and administer it."""

import asyncio
import contextlib
import random
import re
import subprocess
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import load
import one_word
import service
from load import Asked, Client, Register

from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.domains import Domain
from data.experiments import experiments
from data.people import identities
from data.runs import runs
from data.store.db import Store, sqlite3
from data.store.errors import UnderstudyError

RATE = 3.0  # questions a second
COMPARED_S = 8.0  # a comparison
CROWD = 100  # questions of a flood, at once
NAMES = 40
VOTES = 0.5  # the share of the answers that somebody votes on
CHANGED = 0.2  # the share of the votes that are changed later
PIECES = re.compile(r"\w*(Error|Timeout|Disconnected)\w*: ")  # the connection broke
RECIPE = {"epochs": 2}
UNAVAILABLE = (0, 429, 502, 503)


@dataclass
class Askers:
    """People who ask about one-word adapters, and vote on the answers."""

    domain: str
    register: Register
    client: Client
    http: aiohttp.ClientSession
    key_id: int
    seed: int
    asked: list[Asked] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    votes: dict[tuple[str, str], bool] = field(default_factory=dict)  # acknowledged
    unsure: set[tuple[str, str]] = field(default_factory=set)  # sent, and not acknowledged
    wrong: list[str] = field(default_factory=list)
    floods: int = 0  # that are still to come
    last_answer: float = field(default_factory=time.monotonic)
    longest_gap_s: float = 0.0  # between two answers
    _open: set["asyncio.Task[None]"] = field(default_factory=set)

    async def run(self) -> None:
        draw = random.Random(self.seed)
        while True:
            self._start(draw)
            while self.floods:
                self.floods -= 1
                for _ in range(CROWD):
                    self._start(draw)
            await asyncio.sleep(draw.expovariate(RATE))

    async def finish(self) -> None:
        await asyncio.gather(*self._open)

    def sure_votes(self) -> dict[tuple[str, str], bool]:
        """By reply and person: what was acknowledged, and not sent again since."""
        return {key: up for key, up in self.votes.items() if key not in self.unsure}

    def _start(self, draw: random.Random) -> None:
        task = asyncio.create_task(self._one(random.Random(draw.random())))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _one(self, draw: random.Random) -> None:
        question, person = draw.choice(one_word.QUESTIONS), f"p{draw.randrange(NAMES)}"
        one = await self.client.ask(
            self.domain, self.domain, question, person, stream=draw.random() < 0.6
        )
        found = self._verdict(one)
        self.verdicts[found] += 1
        if not PIECES.match(one.error):
            self.asked.append(one)
        if found in ("right", "fallback"):
            now = time.monotonic()
            self.longest_gap_s = max(self.longest_gap_s, now - self.last_answer)
            self.last_answer = now
            if draw.random() < VOTES:
                await self._vote(one.reply_id, person, draw.random() < 0.7)
                if draw.random() < CHANGED:
                    await self._vote(one.reply_id, person, draw.random() < 0.5)

    def _verdict(self, one: Asked) -> str:
        """As `load.verdict`; but the base model may stand in, and a reason is no failure."""
        if one.error:
            if one.status in UNAVAILABLE:
                return "refused" if one.status else "no connection"
            return "broken off" if one.status == 200 else f"status {one.status}"
        if one.adapter == "base" and one.instead_of is not None:
            return "fallback"
        found = load.verdict(one, self.register)
        if found not in ("right", "fallback"):
            self.wrong.append(f"{found}: {one}")
        return found

    async def _vote(self, reply_id: str, person: str, up: bool) -> None:
        body = {"id": reply_id, "user": person, "thumb": "up" if up else "down"}
        key = (reply_id, identities.key_user(self.key_id, person))
        try:
            async with self.http.post("/v1/feedback", json=body) as response:
                status, said = response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.unsure.add(key)
            return
        if status == 201:
            self.votes[key] = up
            self.unsure.discard(key)
        elif status not in UNAVAILABLE:
            self.wrong.append(f"a vote on {reply_id} was answered {status}: {said}")


@dataclass
class Admin:
    """Promotes, rolls back, compares, tunes, cancels and removes over HTTP, and makes backups."""

    settings: Settings
    store: Store
    register: Register
    trained: dict[str, Path]
    words: Domain  # its adapters know one word each
    tuned: Domain  # it is tuned meanwhile
    http: aiohttp.ClientSession
    askers: Askers
    understudy: Callable[..., "subprocess.Popen[bytes]"]
    seed: int
    did: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def new_adapter(self) -> Adapter:
        word = one_word.WORDS[len(self.register.says) % len(one_word.WORDS)]
        made = one_word.register(self.store, self.settings, self.words, self.trained[word])
        self.register.says[made.name] = one_word.said(word)
        return made

    def first_adapters(self) -> None:
        """A live adapter, and one to fall back on."""
        for made in (self.new_adapter(), self.new_adapter()):
            service.wait_for(lambda made=made: self._held(made), f"{made.name} to be held")
            with self.store.write() as db:
                registry.promote(db, made, "benchmark")
            self.register.may_answer(self.words.name, made.name)

    def _held(self, adapter: Adapter) -> bool:
        return adapter.id in placements.loaded(self.store.db)

    async def run(self) -> None:
        draw = random.Random(self.seed)
        while True:
            await asyncio.sleep(draw.uniform(3, 12))
            act = draw.choice(
                [
                    *[self._promote, self._promote, self._roll_back, self._tune, self._tune],
                    *[self._cancel, self._remove, self._compare, self._compare],
                ]
            )
            with contextlib.suppress(UnderstudyError, sqlite3.Error):  # the store is locked
                await act()

    async def back_up(self) -> None:
        """Again and again, save everything; what was acknowledged before must be in it."""
        while True:
            await asyncio.sleep(25)
            problem = await asyncio.to_thread(self._back_up, set(self.askers.sure_votes()))
            self.did["backups"] += 1
            if problem:
                self.wrong.append(f"a backup failed: {problem}")

    async def _post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer; None if it was refused, or if nobody knows whether it was done."""
        try:
            async with self.http.post(path, json=body) as response:
                said = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None
        if response.status >= 500 and response.status not in UNAVAILABLE:
            self.wrong.append(f"{path} was answered {response.status}: {said}")
        return said if response.status < 300 else None

    async def _promote(self) -> None:
        made = await asyncio.to_thread(self.new_adapter)
        for _ in range(100):  # else it would be answered for by a fallback
            if self._held(made):
                break
            await asyncio.sleep(0.1)
        await self._move(f"/v1/adapters/{made.name}/promote", made.name)

    async def _roll_back(self) -> None:
        back = registry.previous_live(self.store.db, self.words.id)
        if back is not None:
            await self._move(f"/v1/domains/{self.words.name}/rollback", back.name)

    async def _move(self, path: str, name: str) -> None:
        """Until it is known whether it was done, both may answer."""
        before = self._live()
        self.register.may_answer(self.words.name, name, before)
        done = await self._post(path)
        for _ in range(600):  # the store may be locked; and a request may be carried out late
            await asyncio.sleep(0.1)
            with contextlib.suppress(UnderstudyError, sqlite3.Error):
                now = self._live()
                break
        if done is not None:
            self.did["promotions and roll-backs"] += 1
            if now != name:
                self.wrong.append(f"{path} was acknowledged, and {now} is live")
            self.register.may_answer(self.words.name, name)

    async def _compare(self) -> None:
        """Compare the live adapter with the one before it, for a while."""
        live, other = self._live(), registry.previous_live(self.store.db, self.words.id)
        if other is None or other.name == live:
            return
        self.register.may_answer(self.words.name, live, other.name)
        body = {"domain": self.words.name, "a": live, "b": other.name, "people": "anyone"}
        begun = await self._post("/v1/experiments", body)
        until = time.monotonic() + COMPARED_S
        while time.monotonic() < until or self._comparing():  # whether or not it was acknowledged
            await asyncio.sleep(0.5)
            for number in self._comparing() if time.monotonic() >= until else ():
                await self._post(f"/v1/experiments/{number}/stop")
        if begun is not None:  # else it may still be carried out, late
            self.did["comparisons"] += 1
            self.register.may_answer(self.words.name, live)

    def _comparing(self) -> list[int]:
        """The running comparisons. A store that is locked for a moment is asked again."""
        for _ in range(600):
            with contextlib.suppress(UnderstudyError, sqlite3.Error):
                found = experiments.list_experiments(self.store.db, self.words)
                return [e.id for e in found if e.state == "running"]
            time.sleep(0.1)
        raise RuntimeError("The store stays locked.")

    def _live(self) -> str:
        found = registry.live(self.store.db, self.words.id)
        return found.name if found else "base"

    async def _tune(self) -> None:
        body = {"domain": self.tuned.name, "full": True, "recipe": RECIPE}
        if await self._post("/v1/runs", body) is not None:
            self.did["runs"] += 1

    async def _cancel(self) -> None:
        for run in runs.recent(self.store.db, self.tuned, 1):
            if run.open and await self._post(f"/v1/runs/{run.id}/cancel") is not None:
                self.did["cancelled"] += 1

    async def _remove(self) -> None:
        for adapter in registry.list_adapters(self.store.db, self.words)[4:8]:
            if adapter.state == "retired" and adapter.removal_asked_at is None:
                with contextlib.suppress(UnderstudyError), self.store.write() as db:
                    registry.remove(db, adapter, "benchmark")
                    self.did["removals"] += 1

    def _back_up(self, votes: set[tuple[str, str]]) -> str:
        """Why the backup is of no use; '' if it is."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "backup.tar"
            done = self.understudy("backup", str(file), stdout=-1, stderr=subprocess.STDOUT)
            said, _ = done.communicate(timeout=300)
            if done.returncode:
                return said.decode(errors="replace")
            with tarfile.open(file) as tar:
                tar.extractall(folder, filter="data")
            copy = sqlite3.connect(str(Path(folder) / self.settings.store_path.name))
            try:
                (sound,) = copy.execute("PRAGMA integrity_check").fetchone()
                sql = "SELECT reply_id, person FROM feedback WHERE kind = 'thumb' AND live = 1"
                saved = set(copy.execute(sql))
            finally:
                copy.close()
        if lost := votes - saved:
            return f"{len(lost)} votes are not in it"
        return "" if sound == "ok" else str(sound)
