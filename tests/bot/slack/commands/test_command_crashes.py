"""Crashes at any moment: each command, click and form is executed exactly once, and its result is
delivered, over both transports. How the bot dies is in `test_crashes.py`."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlite_utils import Database

from bot.commands import executor
from bot.commands.commands import GrantRole
from bot.commands.requester import Requester
from bot.slack.commands import argument_forms, dialect
from bot.slack.render import admin_forms
from bot.slack.render.admin_forms import Origin
from data import command_queue, domains
from data.command_queue import DeliveryAddress
from data.config.settings import Settings, SlackSettings
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.store.clock import now_us
from data.store.db import Store, row, rows
from tests.bot.slack.conftest import ADMIN, Bot
from tests.bot.slack.test_crashes import mortal
from tests.bot.slack.test_matrix import CHANGES, state
from tests.bot.slack.test_matrix import prepare as prepare_all
from tests.fake_slack import FakeSlack
from tests.fake_slack.workspace import BOT_USER, TEAM, Json, Message
from tests.serving.fake_vllm import FakeVllm

DOMAINS = 6
UNFINISHED = "SELECT 1 FROM deeds WHERE state <> 'told'"


def typed(slack: FakeSlack, text: str) -> tuple[str, Json]:
    return "slash_commands", {
        "command": "/understudy",
        "text": text,
        "user_id": ADMIN,
        "team_id": TEAM,
        "channel_id": "C1",
        "trigger_id": slack.trigger(),
        "response_url": slack.response_url(),
    }


def clicked(slack: FakeSlack, text: str) -> tuple[str, Json]:
    message = slack.add(Message("C1", slack.next_ts(), BOT_USER))
    return "interactive", {
        "type": "block_actions",
        "team": {"id": TEAM},
        "user": {"id": ADMIN, "team_id": TEAM},
        "trigger_id": slack.trigger(),
        "response_url": slack.response_url(),
        "channel": {"id": "C1"},
        "container": {"type": "message", "message_ts": message.ts, "channel_id": "C1"},
        "message": {"ts": message.ts, "user": BOT_USER},
        "actions": [{"type": "button", "action_id": "command:x", "block_id": "b", "value": text}],
    }


def confirmed(slack: FakeSlack, text: str) -> tuple[str, Json]:
    """The form that asks before a command."""
    where = Origin("C1", "", slack.response_url(), command=text).dump()
    return "interactive", _sent(
        slack, {"callback_id": admin_forms.CONFIRM, "private_metadata": where}
    )


def chosen(slack: FakeSlack, text: str) -> tuple[str, Json]:
    """The form in which the rest of a command is chosen; for others than roles, as `confirmed`."""
    person = text.partition("@")[2].partition(">")[0]
    if not person:
        return confirmed(slack, text)
    values = {
        "person": {"chosen": {"type": "users_select", "selected_user": person}},
        "role": {"chosen": {"type": "static_select", "selected_option": {"value": "reviewer"}}},
    }
    where = Origin("C1", "", slack.response_url(), command="roles add").dump()
    view = {
        "callback_id": argument_forms.CHOOSE,
        "private_metadata": where,
        "state": {"values": values},
    }
    return "interactive", _sent(slack, view)


def _sent(slack: FakeSlack, view: Json) -> Json:
    return {
        "type": "view_submission",
        "team": {"id": TEAM},
        "user": {"id": ADMIN, "team_id": TEAM},
        "trigger_id": slack.trigger(),
        "view": {"id": f"V{slack.next_id()}", "type": "modal", "blocks": [], **view},
    }


def name_of(payload: Json) -> str:
    """Slack's own id of what somebody did."""
    return str(payload.get("view", {}).get("id") or payload["trigger_id"])


WAYS = (typed, confirmed, clicked, chosen)


async def give(slack: FakeSlack, count: int, seed: int) -> dict[str, str]:
    """Commands, clicks and forms, each delivered one to three times, five at once; what was not
    acknowledged is given again, as people do. Returns the text of what was acknowledged, by its
    name."""
    rng = random.Random(seed)
    acknowledged: dict[str, str] = {}

    async def one(number: int) -> None:
        text = f"roles add <@U{1000 + number}> reviewer"
        if number < DOMAINS:
            text = f"retrain domain{number}"
        make = WAYS[number % len(WAYS)]
        while True:
            kind, payload = make(slack, text)
            times = rng.randint(1, 3)
            acks = [await slack.transport.send(kind, payload, 0, "") for _ in range(times)]
            if any(ack.status == 200 for ack in acks):
                acknowledged[name_of(payload)] = text
                return
            await asyncio.sleep(0.1)

    for first in range(0, count, 5):
        await asyncio.gather(*(one(n) for n in range(first, min(first + 5, count))))
    return acknowledged


def prepare(home: Path) -> None:
    with Store(home / "understudy.db") as store, store.write() as db:
        for number in range(DOMAINS):
            made = domains.create(db, f"domain{number}", f"Domain {number}", "Answer.")
            draft = Draft("A question?", "An answer.")
            pairs.add(db, made, [draft], source="test", status="approved")


async def each_is_done_once(
    slack: FakeSlack, engine: FakeVllm, home: Path, mode: str, count: int, odds: float
) -> int:
    slack.per_minute = {}
    prepare(home)
    async with mortal(slack, engine, home, mode, odds, seed=count) as bot:
        acknowledged = await give(slack, count, seed=11)
        with Store(home / "understudy.db") as store:
            await slack.until(
                lambda: not bot.store.dead and row(store.db, UNFINISHED) is None,
                "every result to be delivered",
                60 + count,
            )
        deaths = bot.deaths
    with Store(home / "understudy.db") as store:
        taken_in = rows(store.db, "SELECT id, key, command, how FROM deeds")
        audit = rows(store.db, "SELECT actor, action, subject FROM audit")
        runs = rows(store.db, "SELECT id FROM runs")
        watched = rows(store.db, "SELECT run_id, channel, ts FROM run_watchers")
    # what was acknowledged was taken in
    assert set(acknowledged) <= {d["key"].split(":", 1)[1] for d in taken_in}
    # what was taken in was done once: one entry in the audit log for each
    done = Counter(e["subject"] for e in audit if e["action"] == "grant role")
    asked = Counter(
        command["person"]
        for command in (json.loads(d["command"]) for d in taken_in)
        if command["command"] == "roles add"
    )
    assert done == asked
    assert len(runs) == DOMAINS
    # each run is followed by one message, and nothing that all can see was said twice
    assert sorted(w["run_id"] for w in watched) == sorted(r["id"] for r in runs)
    shown = Counter(m.metadata["event_payload"]["deed"] for m in said(slack))
    assert set(shown.values()) <= {1}
    assert {(w["channel"], w["ts"]) for w in watched} <= {(m.channel, m.ts) for m in said(slack)}
    public = {d["id"] for d in taken_in if d["how"] != "private"}
    assert public == set(shown)
    return deaths


def said(slack: FakeSlack) -> list[Message]:
    """The results that everyone sees."""
    return [m for m in slack.from_bot() if "deed" in m.metadata.get("event_payload", {})]


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_each_command_is_executed_once_whenever_the_bot_crashes(
    slack: FakeSlack, engine: FakeVllm, tmp_path: Path, mode: str
) -> None:
    deaths = await each_is_done_once(slack, engine, tmp_path, mode, count=30, odds=0.02)
    assert deaths > 3


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_five_hundred_commands_with_crashes_are_each_executed_once(
    slack: FakeSlack, engine: FakeVllm, tmp_path: Path, mode: str
) -> None:
    deaths = await each_is_done_once(slack, engine, tmp_path, mode, count=500, odds=0.01)
    assert deaths > 30


@pytest.mark.parametrize("make", WAYS)
async def test_a_request_repeated_after_a_restart_is_not_executed_again(
    bot: Bot, make: Callable[[FakeSlack, str], tuple[str, Json]]
) -> None:
    kind, payload = make(bot.slack, "roles add <@U8> reviewer")
    for _ in range(2):
        await bot.slack.transport.send(kind, payload, 0, "")
        await bot.settled()
        await bot.restart()
    assert len(bot.rows("SELECT 1 FROM audit WHERE action = 'grant role'")) == 1


class DiedError(Exception):
    """The process is no more."""


def die_in(db: Database, bot: Bot, command_id: int, requester: Requester) -> None:
    """In the transaction that carries it out, when all but its commit is done."""
    before = db.conn.total_changes
    executor.execute(db, bot.settings, command_id, requester)
    assert db.conn.total_changes > before + 1  # more than the mark that it is done
    raise DiedError


@pytest.mark.parametrize("moment", ["before it begins", "in its midst", "before it is told"])
async def test_no_command_is_executed_in_part_wherever_the_process_dies(
    bot: Bot, moment: str
) -> None:
    prepare_all(bot)
    admin = Requester(f"slack:{TEAM}/{ADMIN}", "admin")
    for number, (text, (_, action)) in enumerate(CHANGES.items()):
        before = state(bot)
        await bot.front.stop()
        given = {"key": str(number), "user": ADMIN, "address": DeliveryAddress(TEAM, "C1")}
        command = dialect.parse(text, TEAM)
        command_id = bot.write(lambda db, g=given, c=command: executor.enqueue(db, c, **g))
        if moment == "in its midst":
            with pytest.raises(DiedError):
                bot.write(lambda db, i=command_id: die_in(db, bot, i, admin))
            assert state(bot) == before, text
        if moment == "before it is told":
            bot.write(lambda db, i=command_id: executor.execute(db, bot.settings, i, admin))
        assert command_queue.get(bot.store.db, command_id).state != "told"
        told = len(bot.slack.from_bot()) + len(bot.slack.ephemerals)
        await bot.restart()
        await bot.slack.until(lambda: bot.rows(UNFINISHED) == [], f"{text} to be told")
        entries = state(bot)["audit"][len(before["audit"]) :]
        assert [(e["actor"], e["action"]) for e in entries] == [(admin.person, action)]
        assert len(bot.slack.from_bot()) + len(bot.slack.ephemerals) == told + 1, text
    assert bot.rows("SELECT 1 FROM forgettings") == []  # the last one, which goes on in the files


@pytest.mark.parametrize("fault", ["lost before", "lost after", "500", "limited"])
async def test_a_public_result_is_posted_once_whatever_slack_does(
    slack: FakeSlack, engine: FakeVllm, tmp_path: Path, fault: str
) -> None:
    prepare(tmp_path)
    async with mortal(slack, engine, tmp_path, "socket", 0.0, seed=1) as bot:
        slack.faults["chat.postMessage"] += [fault] * 2
        kind, payload = typed(slack, "retrain domain0")
        await slack.transport.send(kind, payload, 0, "")
        await slack.until(lambda: row(bot.store.db, UNFINISHED) is None, "it to be told", 20)
        watched = rows(bot.store.db, "SELECT ts FROM run_watchers")
    (message,) = said(slack)
    assert watched == [{"ts": message.ts}]


async def test_two_processes_execute_a_command_once(
    slack: FakeSlack, engine: FakeVllm, tmp_path: Path
) -> None:
    prepare(tmp_path)
    settings = Settings(home=tmp_path, slack=SlackSettings(admins=(ADMIN,)))
    requester = Requester(f"slack:{TEAM}/{ADMIN}", "admin")
    with Store(tmp_path / "understudy.db") as one, Store(tmp_path / "understudy.db") as two:
        with one.write() as db:
            command = GrantRole(f"slack:{TEAM}/U9", "reviewer")
            address = DeliveryAddress(TEAM, "C1")
            command_id = executor.enqueue(db, command, key="k", user=ADMIN, address=address)
        assert command_id is not None
        for store in (one, two):
            await store.submit(lambda db: executor.execute(db, settings, command_id, requester))
        assert len(rows(one.db, "SELECT 1 FROM audit")) == 1


def test_a_command_is_queued_once_and_deleted_when_it_is_old(store: Store) -> None:
    given = {"key": "k", "user": ADMIN, "command": {"command": "status"}}
    given["address"] = DeliveryAddress(TEAM, "C1")
    with store.write() as db:
        command_id = command_queue.add(db, **given)
        assert command_id is not None
        assert command_queue.add(db, **given) is None
        assert command_queue.add(db, **{**given, "address": DeliveryAddress("T2")}) is not None
        assert command_queue.mark_executed(db, command_id, {"result": "Refused", "reason": "No."})
        assert not command_queue.mark_executed(db, command_id, {})
        assert command_queue.mark_delivered(db, command_id)
        assert not command_queue.mark_delivered(db, command_id)
        assert command_queue.forget(db, now_us() + 1) == 1
        assert command_queue.get(db, command_id) is None
        assert [d.address.team for d in command_queue.unfinished(db, now_us())] == ["T2"]
        assert command_queue.end_all_of(db, "T2") == 1
        assert command_queue.unfinished(db, now_us()) == []
