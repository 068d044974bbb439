"""Users' profiles from Slack, and how long they are cached."""

import asyncio

from bot.slack.client import user_names
from bot.slack.client.user_names import UserProfile
from tests.bot.slack.conftest import MEMBER, Bot


async def test_a_name_is_looked_up_once(bot: Bot) -> None:
    names = bot.front.workspace.names
    assert await names.of([MEMBER]) == {MEMBER: "Grace"}
    assert await names.of([MEMBER, "U404"]) == {MEMBER: "Grace"}
    asked = [c.args["user"] for c in bot.slack.called("users.info")]
    assert asked == [MEMBER, "U404"]


async def test_concurrent_lookups_share_one_request(bot: Bot) -> None:
    names = bot.front.workspace.names
    found = await asyncio.gather(*(names.of([MEMBER]) for _ in range(9)))
    assert found == [{MEMBER: "Grace"}] * 9
    assert len(bot.slack.called("users.info")) == 1


async def test_an_old_profile_is_refreshed_and_kept_during_an_outage(bot: Bot) -> None:
    names = bot.front.workspace.names
    first = await names.about(MEMBER)
    bot.slack.users[MEMBER] = "Hopper"
    bot.slack.faults["users.info"] += ["500"]
    assert await names.about(MEMBER, fresh_s=0) == first
    again = await names.about(MEMBER, fresh_s=0)
    assert again is not None
    assert again.name == "Hopper"


def known(**more: object) -> UserProfile:
    return user_names._profile({"id": "U2", "team_id": "T1", **more}, at=0.0)


def test_a_person_is_external_by_their_workspace() -> None:
    assert not known().external("T1")
    assert known(team_id="T9").external("T1")
    assert known(is_stranger=True).external("T1")
    assert not known(team_id="T9", enterprise_user={"teams": ["T1", "T9"]}).external("T1")
