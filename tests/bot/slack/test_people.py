"""Who may do what."""

import pytest

from bot.slack import people
from bot.slack.commands import Help, ListRuns, Retrain
from data.config import SlackSettings
from data.errors import Forbidden

SETTINGS = SlackSettings(admins=("U1",), reviewers=("U3",))


def test_roles_come_from_the_settings() -> None:
    assert [people.role_of(SETTINGS, user) for user in ("U1", "U3", "U2")] == [
        "admin",
        "reviewer",
        "member",
    ]


def test_a_higher_role_may_what_a_lower_one_may() -> None:
    for user in ("U1", "U3"):
        people.check(SETTINGS, user, ListRuns())
    for user in ("U1", "U2", "U3"):
        people.check(SETTINGS, user, Help())


def test_who_may_not_is_told_whom_to_ask() -> None:
    with pytest.raises(Forbidden, match="<@U1>"):
        people.check(SETTINGS, "U3", Retrain())


def test_while_nobody_is_admin_people_are_told_how_to_become_one() -> None:
    with pytest.raises(Forbidden, match="U2, into `admins`"):
        people.check(SlackSettings(), "U2", Retrain())
