"""Commands that wait while the bot is upgraded are executed after the upgrade, and undelivered
results are delivered. The store is from before commands were stored as JSON."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from bot.commands import command_json
from bot.slack.commands import dialect
from data import domains
from data.adapters import registry as adapters
from data.domains import Domain
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.people import roles
from data.privacy import erasure
from data.store.clock import now_us
from data.store.db import Store, insert, sqlite3
from data.store.migrations import migrations
from data.store.migrations.m023_queued_commands_as_json import NotUnderstood, parsed
from tests.bot.conftest import add_adapter
from tests.bot.slack.conftest import ADMIN, Bot

QUEUED = (
    "retrain", "retrain HelpDesk", "retrain —full", "retrain –full helpdesk",
    "retrain --preferences", "cancel 7", "cancel #7", "ab start 2 3",
    "ab start base @3", "ab start helpdesk@2 helpdesk@3",
    "ab start 2 helpdesk@3 --split 20", "ab start 2 3 helpdesk --split=5%", "ab start v2 V3",
    "ab start --split 99 2 3", "ab start 2 3 --pairwise", "ab start helpdesk 2 3", "ab ramp 40",
    "ab ramp helpdesk 40%", "ab tester <@U2|grace> b", "ab tester <@U2> A Helpdesk", "ab stop",
    "ab stop helpdesk", "policy Auto", "policy helpdesk auto-roll-back", "promote 3",
    "promote helpdesk@3", "promote 3 helpdesk", "promote helpdesk 3", "rollback",
    "rollback helpdesk", "retire 3", "retire helpdesk@3", "forget <@U2|grace>",
    "forget &lt;@U2&gt;", "forget U2", "roles add <@W2> Admin", "roles add <@U2|grace> reviewer",
    "roles remove <@U2>",
)  # fmt: skip
M023 = "m023_queued_commands_as_json"
BLOCKS = [{"type": "section", "text": {"type": "mrkdwn", "text": "Something was done."}}]
# command -> state, where its result is told, the result
LEFT: dict[str, tuple[str, str, list[object]]] = {
    "promote 2": ("waiting", "private", []),
    "roles add <@U8|ada> reviewer": ("waiting", "private", []),
    "retrain —full": ("waiting", "private", []),
    "forget <@U9>": ("done", "private", BLOCKS),  # its erasure was only begun
    "retire 3": ("done", "thread", BLOCKS),
    "make me a sandwich": ("waiting", "thread", []),
    "status": ("waiting", "private", []),
    "": ("done", "channel", BLOCKS),  # a digest
    "cancel 9": ("told", "private", []),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "understudy.db"
    old = Database(sqlite3.connect(str(path), isolation_level=None))
    migrations.apply(old)
    _fill(old)  # with the functions of this version, so under its schema
    old.execute("DELETE FROM _sqlite_migrations WHERE name = ?", [M023])
    assert [m.name for m in migrations.pending(old)] == [M023]
    old.conn.close()
    with Store(path) as opened:
        yield opened


@pytest.fixture
def domain(store: Store) -> Domain:
    return domains.get(store.db, "helpdesk")


def _fill(db: Database) -> None:
    domain = domains.create(db, "helpdesk", "the help desk", "Answer.")
    made = [add_adapter(db, domain, version) for version in (1, 2, 3)]
    adapters.promote(db, made[0], "test")
    pairs.add(db, domain, [Draft("A question?", "An answer.")], source="test", status="approved")
    erasure.begin(db, "slack:T1/U9", "test")
    db.execute("DELETE FROM audit")
    for key, (command, (state, how, said)) in enumerate(LEFT.items()):
        insert(
            db,
            "deeds",
            team="T1",
            key=str(key),
            channel="C1",
            thread_ts="1.1" if how == "thread" else "",
            user=ADMIN,
            command=command,
            how=how,
            response_url="",
            state=state,
            said=json.dumps(said),
            created_at=now_us(),
        )


async def test_commands_queued_before_an_upgrade_are_executed_and_delivered(bot: Bot) -> None:
    unfinished = "SELECT 1 FROM deeds WHERE state <> 'told'"
    await bot.slack.until(lambda: bot.rows(unfinished) == [], "every command to be told", 30)

    live = adapters.live(bot.store.db, bot.domain.id)
    assert live is not None
    assert live.name == "helpdesk@2"
    assert [(g.person, g.role) for g in roles.list_grants(bot.store.db)] == [
        ("slack:T1/U8", "reviewer")
    ]
    assert bot.row("SELECT kind FROM runs") == {"kind": "full"}
    assert bot.rows("SELECT 1 FROM forgettings") == []
    assert adapters.get(bot.store.db, "helpdesk@3").state == "candidate"  # done before, not again
    done = bot.rows("SELECT action FROM audit WHERE actor LIKE 'slack:%' ORDER BY id")
    assert [d["action"] for d in done] == ["promote", "grant role", "retrain"]

    told = bot.slack.told(ADMIN)
    assert "helpdesk@2* answers everyone" in told
    for refused in ("make me a sandwich", "status"):
        assert f"you asked for `{refused}`, which I cannot read. Nothing was changed." in told
    posted = [message.text for message in bot.slack.from_bot()]
    assert posted.count("Something was done.") == 2  # in the thread, and the digest
    assert "Something was done." in told  # that somebody was forgotten
    assert len(posted) == 3  # with the message that follows the run


@pytest.mark.parametrize("text", QUEUED)
def test_the_migration_keeps_the_meaning_of_a_command(text: str) -> None:
    assert command_json.load_command(parsed(text, "T1")) == dialect.parse(text, "T1")


def test_the_migration_reads_every_kind_of_command_that_could_be_queued() -> None:
    kinds = {
        "retrain", "cancel", "ab start", "ab ramp", "ab tester", "ab stop", "policy set", "promote",
        "rollback", "retire", "forget", "roles add", "roles remove",
    }  # fmt: skip
    assert {parsed(text, "T1")["command"] for text in QUEUED} == kinds


@pytest.mark.parametrize(
    "text",
    [
        "", "status", "make me a sandwich", "retrain --dry-run", "retrain a b",
        "retrain --full --x", "cancel", "cancel seven", "ab", "ab start 1",
        "ab start a@1 b@2", "ab start 1 2 --x",
        "ab start 1 2 --split 100", "ab ramp 40 50", "ab tester <@U2>", "policy", "policy a b",
        "promote", "promote 1 2", "promote the newest", "forget ada", "forget <@U1> <@U2>",
        "roles add <@U2>", "roles add <@U2> king", "rollback -x",
    ],
)  # fmt: skip
def test_the_migration_refuses_what_could_not_be_queued(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parsed(text, "T1")
