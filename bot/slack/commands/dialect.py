"""`/understudy …` as people type it in Slack: the dialect of `bot/commands/grammar.py`.

Slack's apps turn `--full` into a dash and a word while people type, so dashes count as `--`. People
arrive as `<@U1|ada>`, since the manifest asks for that.
"""

import re

from bot.commands import grammar
from bot.commands.grammar import Dialect
from bot.commands.registry import Command
from bot.slack.commands import argument_forms

PERSON = re.compile(r"<@([UW][A-Z0-9]{1,20})(?:\|[^<>]*)?>|([UW][A-Z0-9]{1,20})")
PREFIX = "/understudy "


def parse(text: str, team: str) -> Command:
    """Read what followed `/understudy` in the workspace `team`. Raises NotUnderstood."""
    return grammar.parse(text, dialect(team))


def dialect(team: str) -> Dialect:
    """The dialect of one workspace, whose people are named `slack:TEAM/USER`."""

    def person(word: str) -> str | None:
        match = PERSON.fullmatch(word.removeprefix(f"slack:{team}/"))
        return f"slack:{team}/{match[1] or match[2]}" if match else None

    return Dialect(
        prefix=PREFIX,
        person=person,
        ask_person="Who? Type @ and choose the name from Slack's list.",
        word=_as_typed,
        forms=frozenset(argument_forms.TITLES),
    )


def _as_typed(word: str) -> str:
    """A word, before Slack made entities of `<`, `>` and `&`, and one dash of two."""
    word = word.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    stripped = word.lstrip("—–-")
    dashes = word[: len(word) - len(stripped)]
    return f"--{stripped}" if stripped[:1].isalpha() and dashes in ("—", "–", "--", "——") else word
