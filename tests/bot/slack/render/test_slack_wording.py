"""What other rooms say of the command line, said for Slack."""

import re

import pytest

from bot.commands import grammar
from bot.slack.render.blocks import sentence
from bot.slack.render.slack_wording import ELSEWHERE, in_slack

SAID = {
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


@pytest.mark.parametrize("said", SAID)
def test_what_slack_has_is_named_as_it_is_typed_there(said: str) -> None:
    assert in_slack(said) == SAID[said]
    typed = re.findall(r"`/understudy ([^`]*)`", SAID[said])[0]
    grammar.parse(typed.replace("A B", "1 2"))  # and is understood


@pytest.mark.parametrize("text", ["`understudy serve`", "`understudy tune --recipe FILE`"])
def test_of_what_slack_has_not_it_is_said_where_to_give_it(text: str) -> None:
    assert sentence(f"See {text}.") == f"See {text}. {ELSEWHERE}"


def test_other_sentences_stay_as_they_are() -> None:
    assert in_slack("`/understudy help` lists all.") == "`/understudy help` lists all."
