"""Roles: their sources, who is refused, and who can grant them."""

from dataclasses import replace
from typing import Any

import pytest

from bot.commands.roles import role_of
from bot.slack import app as front
from bot.slack.client.clock import Clock
from bot.slack.workspace.roles import FRESH_S, Roles
from data.config.settings import SlackSettings
from data.people import roles
from tests.bot.slack.commands.test_handlers import command
from tests.bot.slack.conftest import ADMIN, MEMBER, QUICK, REVIEWER, Bot
from tests.fake_slack.workspace import BOT_USER

GUEST: dict[str, Any] = {"is_restricted": True}
SINGLE_CHANNEL_GUEST: dict[str, Any] = {"is_ultra_restricted": True, "is_restricted": True}
EXTERNAL: dict[str, Any] = {"team_id": "T9"}
STRANGER: dict[str, Any] = {"is_stranger": True}


class Patience(Clock):
    """A clock that tests can advance."""

    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Patience()


async def settle(bot: Bot, **more: Any) -> None:
    """Restart the bot with other settings."""
    slack = bot.settings.slack.model_copy(update=more)
    settings = bot.settings.model_copy(update={"slack": slack})
    service = replace(bot.front.service, settings=settings)
    await bot.front.stop()
    bot.front = front.create(service, QUICK, follow_s=0.05, clock=bot.front.workspace.api.clock)
    await bot.front.start()


async def role(bot: Bot, user: str) -> str:
    requester = await bot.front.workspace.roles.requester("T1", user)
    found: str = await bot.store.read(lambda db: role_of(db, requester))
    return found


async def test_roles_come_from_the_settings(bot: Bot) -> None:
    found = [await role(bot, user) for user in (ADMIN, REVIEWER, MEMBER)]
    assert found == ["admin", "reviewer", "member"]


async def test_a_person_named_in_the_settings_needs_no_lookup(bot: Bot) -> None:
    bot.slack.profiles[ADMIN] = GUEST
    bot.slack.faults["users.info"] += ["500"] * 3
    assert await role(bot, ADMIN) == "admin"
    assert bot.slack.called("users.info") == []


async def test_plain_ids_mean_nobody_in_a_workspace_installed_through_oauth(bot: Bot) -> None:
    workspace = bot.front.workspace
    elsewhere = Roles(bot.settings.slack, workspace.api, workspace.names, own=False)
    assert (await elsewhere.requester("T1", ADMIN)).role == "member"
    named = bot.settings.slack.model_copy(update={"admins": (f"T1/{ADMIN}",)})
    elsewhere = Roles(named, workspace.api, workspace.names, own=False)
    assert (await elsewhere.requester("T1", ADMIN)).role == "admin"
    assert (await elsewhere.requester("T2", ADMIN)).role == "member"


async def test_workspace_admins_are_admins_if_the_settings_say_so(bot: Bot) -> None:
    bot.slack.profiles[MEMBER] = {"is_owner": True}
    assert await role(bot, MEMBER) == "member"
    await settle(bot, workspace_admins=True)
    assert await role(bot, MEMBER) == "admin"


async def test_user_groups_give_roles(bot: Bot, clock: Patience) -> None:
    await settle(bot, admin_group="S1", reviewer_group="S2")
    bot.slack.groups = {"S1": ["U9"], "S2": [MEMBER]}
    assert await role(bot, MEMBER) == "reviewer"
    bot.slack.groups["S1"] = [MEMBER]
    assert await role(bot, MEMBER) == "reviewer"  # looked up less than five minutes ago
    clock.ahead_s = FRESH_S
    assert await role(bot, MEMBER) == "admin"


async def test_the_highest_of_several_roles_counts(bot: Bot) -> None:
    bot.slack.profiles[REVIEWER] = {"is_admin": True}
    await settle(bot, workspace_admins=True, reviewer_group="S2")
    bot.slack.groups = {"S2": [MEMBER]}
    assert await role(bot, REVIEWER) == "admin"  # a reviewer from the settings
    bot.write(lambda db: roles.grant(db, f"slack:T1/{MEMBER}", "admin", "test"))
    assert await role(bot, MEMBER) == "admin"  # a reviewer from a group


async def test_a_reviewer_from_the_settings_stays_one_without_slack(
    bot: Bot,
) -> None:
    await settle(bot, workspace_admins=True)
    bot.slack.faults["users.info"] += ["500"] * 3
    assert await role(bot, REVIEWER) == "reviewer"
    assert "Try again in a minute" in await command(bot, REVIEWER, "rollback")
    bot.slack.profiles[REVIEWER] = GUEST
    bot.slack.faults["users.info"].clear()
    assert await role(bot, REVIEWER) == "reviewer"


async def test_an_unavailable_user_group_gives_nobody_a_role(bot: Bot) -> None:
    await settle(bot, admin_group="S404")
    assert "could not tell me who is in the user group S404" in await command(
        bot, MEMBER, "rollback"
    )
    assert "the base model" in await command(bot, MEMBER, "status")


@pytest.mark.parametrize(
    ("profile", "setting", "why"),
    [
        (GUEST, "allow_guests", "You are a guest"),
        (SINGLE_CHANNEL_GUEST, "allow_guests", "You are a guest"),
        (EXTERNAL, "allow_external", "from another organisation"),
        (STRANGER, "allow_external", "from another organisation"),
    ],
)
async def test_guests_and_external_people_may_do_nothing_unless_allowed(
    bot: Bot, profile: dict[str, Any], setting: str, why: str
) -> None:
    bot.slack.profiles[MEMBER] = profile
    bot.write(lambda db: roles.grant(db, f"slack:T1/{MEMBER}", "admin", "test"))
    for text in ("status", "help", "", "retrain", "review", "roles"):
        assert why in await command(bot, MEMBER, text), text
    assert bot.slack.views == []
    await settle(bot, **{setting: True})
    assert "the base model" in await command(bot, MEMBER, "status")
    assert "no new approved pairs" in await command(bot, MEMBER, "retrain")


@pytest.mark.parametrize(
    ("profile", "setting"), [(GUEST, "allow_guests"), (EXTERNAL, "allow_external")]
)
async def test_guests_and_external_people_are_not_answered_unless_allowed(
    bot: Bot, profile: dict[str, Any], setting: str
) -> None:
    bot.slack.profiles[MEMBER] = profile
    await bot.slack.say(MEMBER, "C1", f"<@{BOT_USER}> What is our secret?")
    await bot.settled()
    assert bot.slack.from_bot() == []
    assert "My operator can allow it" in bot.slack.told(MEMBER)
    assert bot.engine.asked == []
    await settle(bot, **{setting: True})
    question = await bot.slack.say(MEMBER, "C1", f"<@{BOT_USER}> What is our secret?")
    assert (await bot.slack.answer_to(question)).words == "Hello there"


async def test_a_member_is_answered_while_their_lookup_fails(bot: Bot) -> None:
    bot.slack.faults["users.info"] += ["500"]
    question = await bot.slack.say(MEMBER, f"D{MEMBER}", "Hello?")
    assert (await bot.slack.answer_to(question)).words == "Hello there"


async def test_a_person_who_cannot_be_looked_up_is_told_to_try_again(bot: Bot) -> None:
    bot.slack.faults["users.info"] += ["500"]
    assert "Try again in a minute" in await command(bot, MEMBER, "status")
    assert "the base model" in await command(bot, MEMBER, "status")


async def test_an_admin_grants_and_revokes_a_role(bot: Bot) -> None:
    told = await command(bot, ADMIN, f"roles add <@{MEMBER}|grace> reviewer")
    assert f"<@{MEMBER}> is now a reviewer" in told
    assert "There are no runs yet" in await command(bot, MEMBER, "runs")
    shown = await command(bot, MEMBER, "roles")
    assert f"<@{MEMBER}>: reviewer, granted by <@{ADMIN}>" in shown
    assert f"<@{ADMIN}>: admin, from the settings" in shown
    await command(bot, ADMIN, f"roles remove <@{MEMBER}>")
    assert "Only reviewers" in await command(bot, MEMBER, "runs")
    done = bot.rows("SELECT actor, action, subject FROM audit ORDER BY id")
    assert [(d["action"], d["subject"]) for d in done] == [
        ("grant role", f"slack:T1/{MEMBER}"),
        ("revoke role", f"slack:T1/{MEMBER}"),
    ]
    assert {d["actor"] for d in done} == {f"slack:T1/{ADMIN}"}


@pytest.mark.parametrize("text", ["roles remove <@U2>", "roles add <@U2> reviewer"])
async def test_the_last_admin_cannot_be_removed(bot: Bot, text: str) -> None:
    await settle(bot, admins=())
    bot.write(lambda db: roles.grant(db, f"slack:T1/{MEMBER}", "admin", "test"))
    assert "This is the last admin" in await command(bot, MEMBER, text)
    assert await role(bot, MEMBER) == "admin"
    bot.write(lambda db: roles.grant(db, f"slack:T1/{REVIEWER}", "admin", "test"))
    assert "last admin" not in await command(bot, MEMBER, text)
    assert await role(bot, MEMBER) != "admin"


async def test_without_an_admin_people_are_told_how_to_become_one(bot: Bot) -> None:
    await settle(bot, admins=(), reviewers=())
    told = await command(bot, MEMBER, "retrain")
    assert f"add your user id, {MEMBER}, to `admins`" in told
    assert "Nobody has a role" in await command(bot, MEMBER, "roles")


async def test_a_role_from_the_settings_cannot_be_revoked_by_a_command(bot: Bot) -> None:
    assert "Roles from the settings" in await command(bot, ADMIN, f"roles remove <@{REVIEWER}>")


def test_the_default_settings_give_nobody_a_role() -> None:
    slack = SlackSettings()
    assert not any((slack.admins, slack.reviewers, slack.admin_group, slack.reviewer_group))
    assert not any((slack.workspace_admins, slack.allow_guests, slack.allow_external))
