"""Command-line commands in messages are rewritten as Slack commands."""

import re
from typing import Any

import click
import pytest

from bot.commands import registry
from bot.commands.registry import Argument, Verb
from bot.slack.commands import dialect
from bot.slack.render.blocks import sentence
from bot.slack.render.slack_wording import ELSEWHERE, in_slack
from tests.bot.cli.test_verbs import command_of

REWRITTEN = {
    "or cancel it: `understudy runs cancel 12`.": "or cancel it: `/understudy cancel 12`.",
    "`understudy adapters rollback helpdesk`": "`/understudy rollback helpdesk`",
    "`understudy adapters retire legal-2@3`": "`/understudy retire legal-2@3`",
    "`understudy ab start helpdesk A B`": "`/understudy ab start A B helpdesk`",
    "`understudy ab start helpdesk live 3 --split 20`": (
        "`/understudy ab start live 3 helpdesk --split 20`"
    ),
    "`understudy ab stop helpdesk`": "`/understudy ab stop helpdesk`",
    "`understudy tune`": "`/understudy retrain`",
    "`understudy tune helpdesk --full`": "`/understudy retrain helpdesk --full`",
    "`understudy tune --dry-run`": "`/understudy retrain --dry-run`",
    "`understudy pairs review helpdesk`": "`/understudy review helpdesk`",
    "`understudy status` shows the state": "`/understudy status` shows the state",
    "`roles` lists them": "`/understudy roles` lists them",
    "first: `roles add <@U2> admin`.": "first: `/understudy roles add <@U2> admin`.",
}
VALUES: dict[str, tuple[Any, str]] = {  # of an argument, and as they are typed
    "domain": ("helpdesk", "helpdesk"),
    "version": ("helpdesk@2", "helpdesk@2"),
    "person": ("slack:T1/U2", "slack:T1/U2"),
    "variant": ("B", "B"),
    "percent": (0.4, "40"),
    "number": (7, "7"),
    "flag": (True, ""),
    "words": ("20", "20"),
}


def value(argument: Argument) -> tuple[Any, str]:
    if argument.kind == "choice":
        return argument.choices[0], argument.choices[0]
    return VALUES[argument.kind]


def typed_in_slack(text: str) -> str:
    (typed,) = re.findall(r"`/understudy ([^`]*)`", in_slack(text))
    return str(typed)


@pytest.mark.parametrize("text", REWRITTEN)
def test_a_command_that_slack_has_is_rewritten(text: str) -> None:
    assert in_slack(text) == REWRITTEN[text]
    typed = typed_in_slack(text)
    dialect.parse(typed.replace("A B", "1 2"), "T1")  # raises if Slack does not have the command


@pytest.mark.parametrize("verb", [v for v in registry.verbs() if v.cli], ids=lambda verb: verb.name)
@pytest.mark.parametrize("with_options", [False, True])
def test_every_command_of_the_command_line_that_slack_has_too_is_rewritten(
    verb: Verb, with_options: bool
) -> None:
    name = [word for word in verb.cli.split() if not word.startswith("--")]
    positional = [a for a in verb.arguments if not a.option and a.kind != "domain"]
    options = [a for a in verb.arguments if a.option and a.kind != "domain"]
    options = options[: 1 if with_options else 0]
    words = [value(a)[1] for a in positional]
    flags = [word for word in verb.cli.split() if word.startswith("--")]
    flags += [word for a in options for word in (a.option, value(a)[1]) if word]
    given = {a.name: value(a)[0] for a in (*positional, *options)}
    takes_domain = any(a.kind == "domain" for a in verb.arguments)
    lines = [[VALUES["domain"][1], *words, *flags]] if takes_domain else []
    for line in (*lines, [*words, *flags]):
        try:
            command_of(name).make_context(name[-1], list(line)).close()
        except click.UsageError:
            continue  # the domain is part of the version's name there
        break
    else:
        pytest.fail(f"the command line does not accept {verb.usage}")
    if takes_domain and ("helpdesk" in line or "helpdesk@2" in line):
        given["domain"] = "helpdesk"
    typed = typed_in_slack(f"Try `understudy {' '.join([*name, *line])}`.")
    assert dialect.parse(typed, "T1") == verb.command(**given)


@pytest.mark.parametrize(
    "text",
    [
        "`understudy serve`",
        "`understudy tune --recipe FILE`",
        "`understudy ab status --json`",
        "`understudy adapters retry helpdesk@2`",
        "`understudy runs cancel 1 2`",
    ],
)
def test_a_note_says_where_to_run_a_command_that_slack_does_not_have(text: str) -> None:
    assert sentence(f"See {text}.") == f"See {text}. {ELSEWHERE}"


@pytest.mark.parametrize(
    "text", ["`/understudy help` lists all.", "Set `[slack] mode`, or `rolesX`."]
)
def test_other_quoted_text_is_left_unchanged(text: str) -> None:
    assert in_slack(text) == text
