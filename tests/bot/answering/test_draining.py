"""Adapters are swapped on two replicas while people ask: no request ever reaches a replica without
its adapter, and no adapter is unloaded while an answer still needs it."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bot.answering.chat import Chat
from bot.answering.events import Delta, Started
from bot.answering.prompt import Ask
from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.config.settings import BotSettings, Settings
from data.conversations import conversations
from data.store.db import Store
from serving.client import EngineClient
from tests.bot.conftest import add_adapter, add_replica
from tests.conftest import ALONE
from tests.serving.fake_vllm import FakeVllm, running, words

SWAPS = 120
ASKERS = 3


def speaking(fake: FakeVllm, faults: list[str]) -> Any:
    """An engine where each adapter slowly writes its own name; a missing adapter is a fault."""

    def say(body: dict[str, Any]) -> Iterator[Any]:
        name = body["model"]
        for event in words(name, *[f"{name} "] * 5):
            if name not in fake.held:
                faults.append(name)
            time.sleep(0.0002)  # so that answers are being written when the adapter is drained
            yield event

    return say


def swap(store: Store, name: str, fake: FakeVllm, adapter: Adapter) -> None:
    """Do what a reconciler does: drain, wait for the answers, unload, load again."""
    with store.write() as db:
        sql = "UPDATE placements SET state = 'draining' WHERE replica = ? AND adapter_id = ?"
        db.execute(sql, [name, adapter.id])
    while conversations.count_streaming(store.db, name, 60, adapter.id):
        time.sleep(0.001)
    del fake.held[adapter.served_name]
    time.sleep(0.02)  # long enough for a misrouted request to arrive
    fake.held[adapter.served_name] = "/path"
    with store.write() as db:
        db.execute(
            "DELETE FROM placements WHERE replica = ? AND adapter_id = ?", [name, adapter.id]
        )
        placements.record_loaded(db, name, adapter.id, 1.0)


async def test_swaps_under_load_fail_no_answer(tmp_path: Path) -> None:
    faults: list[str] = []
    fakes = {"one": FakeVllm(), "two": FakeVllm()}
    with (
        running(fakes["one"]),
        running(fakes["two"]),
        Store(tmp_path / "understudy.db") as store,
    ):
        with store.write() as db:
            domain = domains.create(db, "helpdesk")
            made = [add_adapter(db, domain, version) for version in (1, 2)]
            for adapter in made:
                registry.promote(db, adapter, "cli:test")
            for name, fake in fakes.items():
                fake.held = {a.served_name: "/path" for a in made} | {"base@0": "/base"}
                fake.say = speaking(fake, faults)
                add_replica(db, fake.url, *made, name=name)
        client = EngineClient()
        chat = Chat(store, client, Settings(bot=BotSettings(), answers=ALONE))
        over = asyncio.Event()
        answered = 0

        async def ask_repeatedly(person: str) -> None:
            nonlocal answered
            while not over.is_set():
                ask = Ask(person, f"{person}/{answered}", "Who?", domain, history=())
                events = [event async for event in chat.answer(ask)]
                assert isinstance(events[0], Started)
                said = {w for e in events if isinstance(e, Delta) for w in e.text.split()}
                (name,) = said  # never two in one answer
                assert name.split("-")[0].replace("base@0", "base") == events[0].adapter
                answered += 1

        async def reconcile() -> None:
            rolls = random.Random(5)
            for _ in range(SWAPS):
                name, adapter = rolls.choice([*fakes]), rolls.choice(made)
                await asyncio.to_thread(swap, store, name, fakes[name], adapter)
            over.set()

        async with asyncio.TaskGroup() as group:
            for n in range(ASKERS):
                group.create_task(ask_repeatedly(f"cli:{n}"))
            group.create_task(reconcile())
        await client.close()

        assert faults == []
        assert answered > SWAPS
        (found,) = store.db.query("SELECT count(*) AS n, sum(status = 'done') AS done FROM replies")
        assert found == {"n": answered, "done": answered}
        assert {r.state for r in placements.replicas(store.db)} == {"ready"}
        assert chat.breaker.open() == []
