"""Rewrites command-line commands in messages as Slack commands.

Errors and alerts from other packages name commands of the command line. The command registry
(`bot/commands/registry.py`) says which of them Slack has, too. Those become `/understudy …`; a note
explains where to run the others."""

import re

from bot.commands import registry
from bot.commands.registry import Verb

CLI_COMMAND = re.compile(r"`understudy ([^`]+)`")
QUOTED = re.compile(r"`([a-z][^`]*)`")
ELSEWHERE = "(`understudy …` commands run on the command line of the machine that hosts me.)"


def in_slack(text: str) -> str:
    """The text of an error or alert, with Slack's commands where it has them."""
    text = QUOTED.sub(_without_cli, CLI_COMMAND.sub(_from_cli, text))
    return f"{text} {ELSEWHERE}" if "`understudy " in text else text


def _from_cli(quoted: re.Match[str]) -> str:
    """A command of the command line as typed in Slack; unchanged if Slack does not have it."""
    words = quoted[1].split()
    # those with an option in their name, such as `tune --dry-run`, before those without
    for verb in sorted(registry.verbs(), key=lambda verb: -verb.cli.count("--")):
        if verb.cli and (typed := _typed(verb, words)):
            return f"`/understudy {typed}`"
    return quoted[0]


def _without_cli(quoted: re.Match[str]) -> str:
    """A command that the command line does not have is named as in every front end: `roles add`."""
    for verb in registry.verbs():
        names = () if verb.cli or verb.hidden else (*verb.typed, verb.alone)
        if any(name and f"{quoted[1]} ".startswith(f"{name} ") for name in names):
            return f"`/understudy {quoted[1]}`"
    return quoted[0]


def _typed(verb: Verb, words: list[str]) -> str:
    """The words of the command line as typed in Slack, if they are this command; else ''. On the
    command line the domain comes first, in Slack last, after `--domain` where words are free."""
    name = [word for word in verb.cli.split() if not word.startswith("--")]
    needed = [word for word in verb.cli.split() if word.startswith("--")]
    if words[: len(name)] != name or not set(needed) <= set(words):
        return ""
    takes_value = {a.option: a.kind != "flag" for a in verb.arguments if a.option}
    given: list[str] = []
    options: list[str] = []
    rest = iter(words[len(name) :])
    for word in rest:
        if not word.startswith("--"):
            given.append(word)
        elif word in takes_value:
            options += [word, next(rest, "")] if takes_value[word] else [word]
        elif word not in needed:
            return ""  # Slack does not have this option
    expected = sum(not a.option and a.kind != "domain" for a in verb.arguments)
    if len(given) == expected + 1 and any(a.kind == "domain" for a in verb.arguments):
        takes_words = any(a.kind == "words" for a in verb.arguments)  # all that follow
        given = [*given[1:], *(["--domain"] if takes_words else []), given[0]]
    elif len(given) != expected:
        return ""
    return " ".join([verb.typed[0], *given, *([verb.flag] if verb.flag else []), *options])
