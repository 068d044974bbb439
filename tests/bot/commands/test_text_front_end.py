"""The seam: a front end that knows nothing of Slack gives every kind of command."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from bot.commands import executor
from bot.commands.commands import Promote
from data.adapters import registry
from data.command_queue import DeliveryAddress
from data.domains import Domain
from data.experiments import experiments
from data.feedback import feedback
from data.people import roles
from data.store.db import Store, row, rows
from tests import text_front_end
from tests.data import given

SESSION = {
    "bob promote 2": "Only admins can do that. Ask an admin: text:ada.",
    "ada promt 2": "There is no command `promt`. Did you mean `promote 2`?",
    "ada promote": "Which version? `promote VERSION [DOMAIN] [--yes]`",
    "ada forget carol": "Who? Name the person as in @ada. `forget @PERSON [--retrain]`",
    "ada review": "`review` cannot be done here.",
    "ada status": "helpdesk: helpdesk@1 answers",
    "ada retrain --dry-run": "train on 3 new approved pairs",
    "ada ab start 1 2 --split 20": "Experiment 2 compares helpdesk@1 with helpdesk@2.",
    "ada ab ramp 40": "Stage 2 of experiment 2: A 60%, B 40% of the new people.",
    "ada ab status": "B: helpdesk@2, 40%",
    "ada ab stop": "Experiment 2 has ended.",
    "ada promote 2": "helpdesk@2 is live.",
    "ada rollback": "helpdesk@1 answers again.",
    "ada retire 3": "helpdesk@3 is retired.",
    "ada roles add @bob admin": "text:bob now has the role admin.",
    "bob promote 3": "helpdesk@3 is live.",
    "bob roles": "text:bob: admin, granted by text:ada",
    "ada roles remove @bob": "The granted role of text:bob was revoked.",
    "ada retrain": "Run 1 of helpdesk is queued.",
    "ada cancel 1": "Run 1 is cancelled.",
    "ada forget @carol": "The data about text:carol is deleted. Receipt: ",
    "carol help": "status: Show the live adapter",
}


def talk(home: Path, *lines: str) -> str:
    """What the front end prints when these lines are typed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.text_front_end", str(home), "ada"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.integration
def test_a_session_of_typed_lines_gives_every_kind_of_command(
    store: Store, domain: Domain, home: Path
) -> None:
    with store.write() as db:
        reply = given.reply(db, domain, "text:carol", "My secret?", "No.")
        feedback.thumb(db, reply, "text:carol", True)

    printed = talk(home, *SESSION)

    position = 0
    for line, answer in SESSION.items():
        assert answer in printed[position:], line
        position = printed.index(answer, position) + len(answer)
    live = registry.live(store.db, domain.id)
    assert live is not None
    assert live.name == "helpdesk@3"
    assert experiments.running(store.db, domain.id) is None
    assert roles.list_grants(store.db) == []
    assert row(store.db, "SELECT 1 FROM messages WHERE text = 'My secret?'") is None
    assert row(store.db, "SELECT 1 FROM forgettings") is None  # the erasure has ended
    done = [r["action"] for r in rows(store.db, "SELECT action FROM audit ORDER BY id")]
    assert done == [
        "ab start", "ab ramp", "ab stop", "promote", "rollback", "retire", "grant role", "promote",
        "revoke role", "retrain", "cancel", "forget",
    ]  # fmt: skip


@pytest.mark.integration
def test_a_command_that_a_crash_left_queued_is_carried_out_once(
    store: Store, domain: Domain, home: Path
) -> None:
    with store.write() as db:
        for address in (DeliveryAddress("text"), DeliveryAddress("T1", "C1")):
            executor.enqueue(db, Promote("2"), key="k", user="ada", address=address)

    assert talk(home, "ada status").startswith("helpdesk@2 is live.")

    assert "helpdesk@2 is live" not in talk(home, "ada status")
    assert [r["state"] for r in rows(store.db, "SELECT state FROM deeds ORDER BY id")] == [
        "told",
        "waiting",  # which is for another front end
    ]


def test_what_a_person_typed_is_erased_in_every_front_end(
    store: Store, domain: Domain, home: Path
) -> None:
    front = text_front_end.TextFrontEnd(store, text_front_end.Settings(home=home), "ada")
    asyncio.run(front.answer("carol", "promote 2"))
    assert rows(store.db, "SELECT user FROM deeds") == [{"user": "carol"}]
    asyncio.run(front.answer("ada", "forget @carol"))
    assert rows(store.db, "SELECT user FROM deeds") == [{"user": "ada"}]


@pytest.mark.integration
def test_it_loads_nothing_of_slack() -> None:
    code = "import sys, tests.text_front_end; print([m for m in sys.modules if 'slack' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    front_end = [m for m in eval(done.stdout) if m.startswith(("bot.slack", "slack_"))]
    assert front_end == []
