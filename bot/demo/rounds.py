"""The whole loop without a person: `understudy demo --once`.

The steps are: chat, feedback with a correction, a retrain, a hot load while answers are streaming,
a comparison, a promotion, a roll-back. Each step checks its result and raises an error otherwise.
"""

import asyncio
from typing import Any

import aiohttp

from bot.demo.client import Client
from bot.demo.show import KNOWN
from bot.demo.stage import NEXT_RECIPE, DemoStage, followed, key, wait_until_loaded
from data.adapters import registry
from data.adapters.registry import Adapter
from data.store.clock import now_us
from data.store.db import value
from data.store.errors import UnderstudyError
from data.store.lease_clock import lease_us

QUESTION = "Who looks after the office plants?"
BETTER = "Mira from the platform team looks after the office plants; write to her in #plants."
PEOPLE = 12  # at once; more follow while every one of them has the same variant
MOST_PEOPLE = 60
STREAMS = 3  # at once, while the next adapter is trained and loaded
STREAMS_OF_REAL_BASE = 2  # whose answers are slower, so that fewer always overlap


async def run_round(stage: DemoStage, first: Adapter) -> dict[str, Any]:
    """Run the loop from the adapter `first` to its successor and back; returns the values for the
    last line."""
    async with aiohttp.ClientSession() as session:
        member = Client(session, stage.address, key(stage, "demo", "member"))
        admin = Client(session, stage.address, key(stage, "demo-admin", "admin"))
        await member.wait_until_healthy(60)
        await _teach(stage, member, admin)
        second, load_ms, streams = await _retrain(stage, member, admin, first)
        compared = await _compare(stage, member, admin, first, second)
        await _promote_and_roll_back(stage, member, admin, first, second)
    golden = second.scores.get("golden") or {}
    return {
        "second_score": golden.get("f1"),
        "second_hot_load_ms": round(load_ms, 1),
        "streams_during_load": streams,
        "compared": compared,
    }


def _report(stage: DemoStage, text: str) -> None:
    stage.console.print(f"[green]✓[/green] {text}", highlight=False)


def _check(succeeded: bool, sentence: str) -> None:
    if not succeeded:
        raise UnderstudyError(sentence)


async def _teach(stage: DemoStage, member: Client, admin: Client) -> None:
    known = await member.stream(stage.domain.name, KNOWN)
    _check(bool(known.sources), f"The answer to “{KNOWN}” has no source.")
    _report(stage, f"asked over HTTP: “{KNOWN}” -> “{known.text}” (source: {known.sources[0]})")
    answer = await member.stream(stage.domain.name, QUESTION)
    _check(answer.outcome == "declined", f"“{QUESTION}” was answered: “{answer.text}”.")
    _report(stage, f"asked what no pair answers: “{QUESTION}” -> “{answer.text}”")
    body = {"reply_id": answer.reply_id, "thumb": "down", "correction": BETTER}
    await member.call("POST", "/v1/feedback", body)
    pending = await admin.call("GET", f"/v1/pairs?domain={stage.domain.name}&status=pending")
    mine = [p for p in pending["data"] if p["response"] == BETTER]
    _check(len(mine) == 1, "The correction did not become exactly one pending pair.")
    await admin.call("POST", f"/v1/pairs/{mine[0]['id']}/review", {"status": "approved"})
    _report(stage, f"thumbed down, corrected to “{BETTER}”, approved")
    again = await member.stream(stage.domain.name, QUESTION)
    _check(again.text == BETTER, f"The correction does not count yet: “{again.text}”.")
    _report(stage, f"asked again, before any retrain: “{again.text}” ({again.outcome})")


async def _retrain(
    stage: DemoStage, member: Client, admin: Client, first: Adapter
) -> tuple[Adapter, float, int]:
    """Train the next adapter while answers are streaming; returns it, its load time and the number
    of answers that were streaming during the load."""
    body = {"domain": stage.domain.name, "recipe": stage.recipe(NEXT_RECIPE)}
    queued = await admin.call("POST", "/v1/runs", body)
    refusal = await _refused(admin, "/v1/runs", {"domain": stage.domain.name})
    _check("already" in refusal, "A second retrain was not refused while the first one was open.")
    done = asyncio.Event()
    count = STREAMS if stage.settings.base.model == "pocket" else STREAMS_OF_REAL_BASE
    streaming = [asyncio.create_task(_stream_until(done, stage, member, n)) for n in range(count)]
    try:
        second = await asyncio.to_thread(followed, stage, queued["id"])
        held = await asyncio.to_thread(wait_until_loaded, stage, second)
        await asyncio.sleep(0.5)
    finally:
        done.set()
        ended = await asyncio.gather(*streaming, return_exceptions=True)
    broken = [e for e in ended if isinstance(e, BaseException)]
    _check(not broken, f"A stream failed during the hot load: {broken[:1]}")
    _check(second.parent_id == first.id, f"{second.name} was not trained from {first.name}.")
    load_ms = held.load_ms or 0.0
    loaded_at = held.updated_at - lease_us(stage.store.db) + now_us()  # by the wall clock
    overlapping = _streams_at(stage, loaded_at - round(load_ms * 1000), loaded_at)
    _check(overlapping > 0, "No stream was running while the adapter was loaded.")
    total = sum(count for count in ended if isinstance(count, int))
    _report(
        stage,
        f"{second.name} was trained from {first.name} and hot-loaded in {load_ms:.0f} ms; none of "
        f"{total} streams failed; {overlapping} of them ran during the load",
    )
    return second, load_ms, overlapping


async def _refused(client: Client, path: str, body: dict[str, Any]) -> str:
    try:
        await client.call("POST", path, body)
    except UnderstudyError as error:
        return str(error)
    return ""


async def _stream_until(done: asyncio.Event, stage: DemoStage, member: Client, number: int) -> int:
    """Ask questions one after the other until `done` is set; returns the number of answers."""
    answered = 0
    while not done.is_set():
        await member.stream(stage.domain.name, KNOWN, user=f"stream-{number}")
        answered += 1
    return answered


def _streams_at(stage: DemoStage, begin_us: int, end_us: int) -> int:
    """The number of replies that were being written between the two times."""
    sql = (
        "SELECT count(*) FROM replies WHERE created_at <= ? "
        "AND created_at + coalesce(latency_us, 0) >= ?"
    )
    return int(value(stage.store.db, sql, [end_us, begin_us]))


async def _compare(
    stage: DemoStage, member: Client, admin: Client, first: Adapter, second: Adapter
) -> dict[str, Any]:
    body = {"domain": stage.domain.name, "a": first.name, "b": second.name}
    begun = await admin.call("POST", "/v1/experiments", body)
    counted = await take_part(member, stage.domain.name, first.name, second.name)
    _check(
        set(counted) == {first.name, second.name}, f"Only these adapters answered: {set(counted)}."
    )
    found = await admin.call("GET", f"/v1/experiments/{begun['id']}")
    people = sum(counted.values())
    _report(stage, f"compared, {people} people: {counted}. {found['results']['sentence']}")
    return counted


async def take_part(member: Client, domain: str, first: str, second: str) -> dict[str, int]:
    """Let people ask and vote, `PEOPLE` at once, until both adapters have answered somebody or
    `MOST_PEOPLE` have asked: chance assigns them, so the first ones may all have the same adapter.
    Returns the number of people by adapter."""
    counted: dict[str, int] = {}

    async def ask_and_vote(person: str) -> None:
        answer = await member.ask(domain, QUESTION, user=person)
        again = await member.ask(domain, "What is a pair?", user=person)
        _check(answer.adapter == again.adapter, f"{person} was moved to another variant.")
        counted[answer.adapter] = counted.get(answer.adapter, 0) + 1
        thumb = "up" if answer.adapter == second else "down"
        await member.call("POST", "/v1/feedback", {"reply_id": answer.reply_id, "thumb": thumb})

    for begin in range(0, MOST_PEOPLE, PEOPLE):
        people = range(begin, begin + PEOPLE)
        await asyncio.gather(*(ask_and_vote(f"person-{number}") for number in people))
        if {first, second} <= set(counted):
            break
    return counted


async def _promote_and_roll_back(
    stage: DemoStage, member: Client, admin: Client, first: Adapter, second: Adapter
) -> None:
    path = f"/v1/adapters/{second.name}/promote?confirm=true"  # it ends the comparison
    await admin.call("POST", path)
    taught = await member.ask(stage.domain.name, QUESTION, user="somebody-else")
    _check(taught.adapter == second.name, f"{taught.adapter} answered after the promotion.")
    _check(
        taught.text.strip() == BETTER,
        f"The correction was not learned; the answer is “{taught.text}”.",
    )
    _report(stage, f"promoted: “{QUESTION}” -> “{taught.text}” ({taught.adapter})")
    await admin.call("POST", f"/v1/domains/{stage.domain.name}/rollback")
    before = await member.ask(stage.domain.name, "What is a pair?", user="somebody-else")
    _check(before.adapter == first.name, f"{before.adapter} answered after the roll-back.")
    _report(stage, f"rolled back: {before.adapter} answers again")
    await admin.call("POST", f"/v1/adapters/{second.name}/promote")
    _check(registry.live(stage.store.db, stage.domain.id) is not None, "No adapter is live.")
