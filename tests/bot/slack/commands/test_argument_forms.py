"""Forms that ask for the arguments of a command."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlite_utils import Database

from bot.commands.commands import Incomplete
from bot.slack.commands import argument_forms, dialect
from data import domains
from data.adapters import registry
from data.experiments import experiments, policies
from data.people import roles
from data.runs import runs
from tests.bot.conftest import add_adapter
from tests.bot.slack.commands.test_handlers import (
    command,
    confirm,
    form,
    labels,
    live_version,
    said_in,
    with_adapters,
    with_pairs,
)
from tests.bot.slack.conftest import ADMIN, MEMBER, REVIEWER, Bot


async def choose(bot: Bot, text: str, times: int = 1, **chosen: str | bool) -> str:
    """Type a command without its details, choose them; returns what was told."""
    before = len(bot.slack.responses)
    await command(bot, ADMIN, text)
    ack = await bot.slack.submit(ADMIN, form(bot), times, **chosen)
    await bot.settled()
    told = [str(ack.payload.get("errors", ""))]
    return "\n".join([*told, *(str(r["blocks"]) for r in bot.slack.responses[before:])])


async def test_a_chosen_version_is_promoted_after_confirmation(bot: Bot) -> None:
    with_adapters(bot, 3)
    await choose(bot, "promote", version="helpdesk@2")
    assert "*helpdesk@2* will answer everyone" in said_in(form(bot))
    assert live_version(bot) == 1
    await confirm(bot, ADMIN, times=2)
    assert live_version(bot) == 2
    assert len(bot.rows("SELECT 1 FROM audit WHERE action = 'promote' AND actor <> 'test'")) == 1


async def test_a_version_rejected_meanwhile_is_reported_in_the_form(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "promote")
    sql = "UPDATE adapters SET state = 'rejected', state_reason = 'It forgot.' WHERE version = 2"
    bot.write(lambda db: db.execute(sql))
    ack = await bot.slack.submit(ADMIN, form(bot))
    assert "was rejected: It forgot." in ack.payload["errors"]["version"]
    assert "run on the command line of the machine" in ack.payload["errors"]["version"]


async def test_a_chosen_person_is_erased_after_confirmation(bot: Bot) -> None:
    await choose(bot, "forget", person=MEMBER)
    assert f"This deletes everything that <@{MEMBER}> said" in said_in(form(bot))
    assert bot.rows("SELECT 1 FROM audit") == []
    await confirm(bot, ADMIN)
    assert "is deleted" in bot.slack.told(ADMIN)


async def test_a_comparison_is_started_and_ramped_by_forms(bot: Bot) -> None:
    with_adapters(bot, 3)
    assert "must lie between 1 and 99" in await choose(bot, "ab start", split="half")
    assert "B: helpdesk@2 (30 %)" in await choose(
        bot, "ab start", 3, a="helpdesk@1", b="helpdesk@2", split="30 %", pairwise=True
    )
    running = experiments.running(bot.store.db, bot.domain.id)
    assert running is not None
    assert running.pairwise == 0.1
    assert "B: helpdesk@2 (60 %)" in await choose(bot, "ab ramp")  # twice as many, if not said
    assert "The share can only grow" in await choose(bot, "ab ramp", split="10")


async def test_a_tester_gets_the_chosen_variant(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "ab start 1 2")
    told = await choose(bot, "ab tester", 2, person=MEMBER, b="B")
    assert f"<@{MEMBER}> now gets answers from B (helpdesk@2)" in told


async def test_the_policy_form_starts_with_the_current_policy(bot: Bot) -> None:
    await choose(bot, "policy set", 2, policy="auto")
    assert policies.policy_of(bot.store.db, bot.domain.id).policy == "auto"
    assert "policy of *the help desk* is *auto*" in await choose(bot, "policy set")


async def test_a_chosen_candidate_is_retired(bot: Bot) -> None:
    with_adapters(bot)
    assert "helpdesk@2* is discarded" in await choose(bot, "retire", 2)
    assert "no version that can be discarded" in await command(bot, ADMIN, "retire")


async def test_a_chosen_run_is_cancelled(bot: Bot) -> None:
    with_pairs(bot)
    await command(bot, ADMIN, "retrain")
    assert "Run 1 of helpdesk is cancelled" in await choose(bot, "cancel", 2)
    assert runs.get(bot.store.db, 1).state == "cancelled"


async def test_a_form_can_be_sent_again_after_slacks_timeout(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "promote")
    go_on = asyncio.Event()

    async def slow(fn: Callable[[Database], Any]) -> Any:
        await go_on.wait()

    with monkeypatch.context() as patch:
        patch.setattr("bot.slack.commands.handlers.FORM_S", 0.1)
        patch.setattr(bot.store, "read", slow)
        ack = await bot.slack.submit(ADMIN, form(bot))
    go_on.set()
    assert "Send it again" in ack.payload["errors"]["version"]
    await bot.slack.submit(ADMIN, form(bot))
    await confirm(bot, ADMIN)
    assert live_version(bot) == 2


async def test_a_chosen_role_is_granted_and_revoked(bot: Bot) -> None:
    told = await choose(bot, "roles add", 2, person=MEMBER, role="admin")
    assert f"<@{MEMBER}> is now an admin" in told
    await choose(bot, "roles remove", 2, person=MEMBER)
    assert roles.list_grants(bot.store.db) == []
    assert len(bot.rows("SELECT 1 FROM audit")) == 2


async def test_the_role_is_checked_when_it_opens_and_when_it_is_sent(bot: Bot) -> None:
    with_adapters(bot)
    for user in (MEMBER, REVIEWER):
        assert "Only admins" in await command(bot, user, "promote")
    assert bot.slack.views == []
    await command(bot, ADMIN, "promote")
    ack = await bot.slack.submit(MEMBER, form(bot))
    assert "Only admins" in ack.payload["errors"]["version"]
    await command(bot, ADMIN, "retire")
    await bot.slack.submit(REVIEWER, form(bot))
    await bot.settled()
    assert "Only admins" in bot.slack.told(REVIEWER)
    assert registry.get(bot.store.db, "helpdesk@2").state == "candidate"


async def test_a_missing_argument_is_chosen_in_a_form_from_the_menu(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "")
    await bot.slack.press_in(ADMIN, form(bot), "Promote")
    await bot.settled()
    await bot.slack.submit(ADMIN, form(bot))
    await confirm(bot, ADMIN)
    assert live_version(bot) == 2
    assert len(bot.slack.views) == 1  # all in one form


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("Increase B's share", "No comparison is running in helpdesk"),
        ("Results", "has had no comparison yet"),
        ("Stop the comparison", "No comparison is running in helpdesk"),
        ("Cancel a run", "No run is queued or running"),
    ],
)
async def test_errors_of_the_menu_are_shown_in_the_menu(
    bot: Bot, label: str, sentence: str
) -> None:
    await command(bot, ADMIN, "")
    await bot.slack.press_in(ADMIN, form(bot), label)
    await bot.settled()
    assert sentence in said_in(form(bot))
    assert "Promote" in labels(form(bot))  # it is the menu still
    assert bot.slack.responses == []


async def test_the_menus_choices_belong_to_the_shown_domain(bot: Bot) -> None:
    law = bot.write(lambda db: domains.create(db, "legal", "the law", "Answer."))
    made = [bot.write(lambda db, v=v: add_adapter(db, law, v)) for v in (1, 2)]
    bot.hold(*made)
    await command(bot, ADMIN, "ab start legal 1 2")
    await command(bot, ADMIN, "")
    option = {"text": {"type": "plain_text", "text": "the law (legal)"}, "value": "legal"}
    await bot.slack.press_in(ADMIN, form(bot), "menu_domain", selected_option=option)
    await bot.settled()
    await bot.slack.press_in(ADMIN, form(bot), "Add a tester")
    await bot.settled()
    assert "B: legal@2" in said_in(form(bot))


async def test_the_menu_offers_every_command_of_the_persons_role(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "")
    elements = [e for b in form(bot)["blocks"] for e in b.get("elements", [])]
    given = [dialect.parse(e["value"], "T1") for e in elements if e["type"] == "button"]
    offered = {type(c) for c in given} | {c.name for c in given if isinstance(c, Incomplete)}
    typed = {type(dialect.parse(text, "T1")) for text in TYPED}
    assert typed <= offered
    assert set(argument_forms.TITLES) <= offered
    assert "Ask a question" in said_in(form(bot))
    assert len(labels(form(bot))) == len(set(labels(form(bot))))


TYPED = (
    "status", "domains", "adapters", "roles", "review", "runs", "retrain --dry-run", "ab status",
    "ab decisions", "policy", "retrain", "ab stop", "rollback",
)  # fmt: skip


@pytest.mark.parametrize("what", ["promote", "retire", "ab start"])
async def test_a_form_without_choices_says_so(bot: Bot, what: str) -> None:
    told = await command(bot, ADMIN, what)
    assert "helpdesk has no version that" in told
    assert "`/understudy retrain` trains one" in told
