"""Command-line commands in messages are rewritten as Slack commands."""

import re

import pytest

from bot.slack.commands import dialect
from bot.slack.render.blocks import sentence
from bot.slack.render.slack_wording import ELSEWHERE, in_slack

REWRITTEN = {
    "or cancel it: `understudy runs cancel 12`.": "or cancel it: `/understudy cancel 12`.",
    "`understudy adapters rollback helpdesk`": "`/understudy rollback helpdesk`",
    "`understudy adapters retire legal-2@3`": "`/understudy retire legal-2@3`",
    "`understudy ab start helpdesk A B`": "`/understudy ab start A B helpdesk`",
    "`understudy ab stop helpdesk`": "`/understudy ab stop helpdesk`",
    "`understudy tune`": "`/understudy retrain`",
    "`understudy tune helpdesk --full`": "`/understudy retrain helpdesk --full`",
    "`understudy pairs review helpdesk`": "`/understudy review helpdesk`",
    "`roles` lists them": "`/understudy roles` lists them",
    "first: `roles add <@U2> admin`.": "first: `/understudy roles add <@U2> admin`.",
}


@pytest.mark.parametrize("text", REWRITTEN)
def test_a_command_that_slack_has_is_rewritten(text: str) -> None:
    assert in_slack(text) == REWRITTEN[text]
    typed = re.findall(r"`/understudy ([^`]*)`", REWRITTEN[text])[0]
    dialect.parse(typed.replace("A B", "1 2"), "T1")  # raises if Slack does not have the command


@pytest.mark.parametrize("text", ["`understudy serve`", "`understudy tune --recipe FILE`"])
def test_a_note_says_where_to_run_a_command_that_slack_does_not_have(text: str) -> None:
    assert sentence(f"See {text}.") == f"See {text}. {ELSEWHERE}"


def test_slack_commands_are_left_unchanged() -> None:
    assert in_slack("`/understudy help` lists all.") == "`/understudy help` lists all."
