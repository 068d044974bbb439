"""Typed lines to commands and back, made from the registry: one grammar for every front end.

A front end says in its `Dialect` how people are named and what stands before a command. A domain
may stand before or after the versions that a command is about: a word that looks like a version is
one.
"""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bot.commands import registry
from bot.commands.commands import Help, Incomplete, Menu
from bot.commands.registry import Argument, Command, Verb
from data.store.errors import Invalid

VERSION = re.compile(
    r"(?:[vV@]?\d+|[^@\s:]+@[^\s:]*|live|base)(?::[a-z]+)?", re.IGNORECASE
)  # with the answers of a variant: live:ungrounded
PERSON = re.compile(r"[a-z]+:\S+")
ANYWHERE = ("version", "percent", "choice")  # kinds that are recognised by their form


class NotUnderstood(Invalid):
    """The line is not a command. The message names the nearest command, or the missing part."""


def _named_in_full(word: str) -> str | None:
    return word if PERSON.fullmatch(word) else None


@dataclass(frozen=True)
class Dialect:
    """How commands are written in one front end."""

    prefix: str = ""  # before every command, such as "/understudy "
    person: Callable[[str], str | None] = (
        _named_in_full  # a word as a person; None: it names nobody
    )
    ask_person: str = "Who? Name the person as in slack:T1/U2."
    word: Callable[[str], str] = str  # a word as it was typed, before the front end changed it
    forms: frozenset[str] = field(
        default_factory=frozenset
    )  # commands whose arguments it asks for in a form


PLAIN = Dialect()


def parse(text: str, dialect: Dialect = PLAIN) -> Command:
    """Read one line. Raises NotUnderstood."""
    words = [dialect.word(word) for word in text.split()]
    if not words:
        return Menu()
    count, found = _named(words, dialect)
    raw = text.split(maxsplit=count)[count].strip() if len(words) > count else ""
    given, options = _options(words[count:], found, dialect)
    verb = next(v for v in found if v is found[-1] or _meant(v, given, options))
    try:
        return _build(verb, raw, given, options, dialect)
    except NotUnderstood:
        raise
    except Invalid as error:
        raise NotUnderstood(str(error)) from error


def spell(command: Command) -> str:
    """The line that `parse` reads as this command."""
    words = [command.verb.typed[0], *([command.verb.flag] if command.verb.flag else [])]
    for argument in command.verb.arguments:
        given = getattr(command, argument.name)
        if given is None or given is False:
            continue
        text = f"{given * 100:g}" if argument.kind == "percent" else str(given)
        if argument.option:
            words.append(argument.option)
        if argument.kind != "flag":
            words.append(text)
    return " ".join(words)


# -- which command is named ----------------------------------------------------------------------


def _named(words: list[str], dialect: Dialect) -> tuple[int, list[Verb]]:
    """How many words name the command, and the commands they name, the most specific first."""
    typed: dict[str, list[Verb]] = {}
    for verb in registry.verbs():
        for name in verb.typed:
            typed.setdefault(name, []).append(verb)
    groups = {verb.alone: verb for verb in registry.verbs() if verb.alone}
    first, two = words[0].lower(), " ".join(words[:2]).lower()
    if len(words) == 1 and first in groups:
        return 1, [groups[first]]
    if len(words) > 1 and two in typed:
        return 2, typed[two]
    if first in groups:
        within = f"{first} "
        raise _no_command(words, [n for n in typed if n.startswith(within)], dialect, within)
    if first in typed:
        return 1, typed[first]
    raise _no_command(words, [*typed, *groups], dialect)


def _meant(verb: Verb, given: list[str], options: dict[str, str]) -> bool:
    """Whether a command that shares its name with others is the one that is meant."""
    if verb.flag:
        return verb.flag in options
    choices = [a.choices for a in verb.arguments if a.kind == "choice"]
    return all(any(word.lower() in some for word in given) for some in choices)


def _no_command(
    words: list[str], known: list[str], dialect: Dialect, within: str = ""
) -> NotUnderstood:
    """Names the nearest command, with what was typed behind it."""
    group = within.count(" ")  # words that name the group
    typed = [word[:40] for word in words]
    tried = [(" ".join(typed[:count]).lower(), count) for count in (group + 1, group + 2)]
    names = [name.removeprefix(within) for name in known if name != "menu"]
    ranked = [
        (difflib.SequenceMatcher(None, near, text).ratio(), -count, f"{within}{near}")
        for text, count in ((text[len(within) :], count) for text, count in tried)
        for near in difflib.get_close_matches(text, names, n=1, cutoff=0.51)
    ]
    shown = _shown(tried[0][0])
    if not ranked:
        return NotUnderstood(
            f"There is no command `{shown}`. `{dialect.prefix}help` lists them all."
        )
    _, count, nearest = max(ranked)
    rest = _shown(" ".join(words[-count:]))
    also = f" {rest}" if rest and "<" not in rest else ""
    return NotUnderstood(
        f"There is no command `{shown}`. Did you mean `{dialect.prefix}{nearest}{also}`?"
    )


# -- its arguments -------------------------------------------------------------------------------


def _options(
    words: list[str], found: list[Verb], dialect: Dialect
) -> tuple[list[str], dict[str, str]]:
    """The words without options, and the options with their values."""
    known = {a.option: a.kind != "flag" for v in found for a in v.arguments if a.option}
    known |= {v.flag: False for v in found if v.flag}
    if any(verb.lenient or _text_of(verb) for verb in found):
        return words, {}
    given: list[str] = []
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            given.append(word)
            continue
        name, equals, value = word.lower().partition("=")
        if name not in known or (equals and not known[name]):
            raise _no_option(name, list(known), dialect)
        options[name] = (value if equals else next(rest, "")) if known[name] else ""
    return given, options


def _text_of(verb: Verb) -> Argument | None:
    return next((a for a in verb.arguments if a.kind == "text"), None)


def _build(
    verb: Verb, raw: str, words: list[str], options: dict[str, str], dialect: Dialect
) -> Command:
    if verb.lenient:
        return Help()
    if text := _text_of(verb):
        if not raw:
            raise _usage(text.missing, verb, dialect)
        return verb.command(**{text.name: raw})
    rest, values, missing = list(words), {}, []
    positional = [a for a in verb.arguments if not a.option and a.kind != "domain"]
    for argument in positional:
        found = _take(argument, rest, dialect)
        if found is None:
            missing.append(argument)
            if argument.kind not in ANYWHERE:
                break
        else:
            values[argument.name] = found
    if missing and not values and not options and verb.name in dialect.forms:
        least = missing[0].kind in ANYWHERE  # then one word may be the domain
        if len(rest) <= least:
            return Incomplete(verb.name, _domain(verb, rest, dialect))
    versions = [str(values[a.name]) for a in positional if a.kind == "version" and not missing]
    if len(rest) > 1 and any(a.kind == "version" for a in positional):
        stray = next((word for word in rest if not VERSION.fullmatch(word)), None)
        if stray is not None:
            sentence = f"{stray!r} is not a version. Use a number such as `3`, `live` or `base`."
            raise _usage(sentence, verb, dialect)
    if missing:
        raise _missing(missing[0], verb, dialect)
    for argument in positional:
        if argument.kind in ANYWHERE and any(_looks_like(argument, word) for word in rest):
            raise _missing(argument, verb, dialect)
    domain = _domain(verb, rest, dialect)
    named = {v.split("@")[0].lower() for v in versions if "@" in v.strip("@")}
    named |= {domain} if domain else set()
    if len(named) > 1:
        raise NotUnderstood(
            f"That names several domains: {', '.join(sorted(named))}. Name only one."
        )
    if any(a.kind == "domain" for a in verb.arguments):
        values["domain"] = named.pop() if named else None
    values |= _option_values(verb, options)
    return verb.command(**values)


def _take(argument: Argument, rest: list[str], dialect: Dialect) -> Any:
    """The value of an argument, whose word leaves `rest`; None when it is not there."""
    if argument.kind == "words":
        taken = " ".join(rest)
        rest.clear()
        return taken or None
    word: str | None = rest[0] if rest else None
    if argument.kind in ANYWHERE:
        word = next((w for w in rest if _looks_like(argument, w)), None)
    value = None if word is None else _value(argument, word, dialect)
    if word is not None and value is not None:
        rest.remove(word)
    return value


def _looks_like(argument: Argument, word: str) -> bool:
    if argument.kind == "version":
        return VERSION.fullmatch(word) is not None
    if argument.kind == "choice":
        return word.lower() in argument.choices
    return not word[:1].isalpha()  # a percentage


def _value(argument: Argument, word: str, dialect: Dialect) -> Any:
    """A word as the value of an argument; None when it cannot be. Raises NotUnderstood."""
    match argument.kind:
        case "version":
            return re.sub(r"^[vV](?=\d)", "", word)
        case "choice":
            return word.lower()
        case "percent":
            return _share(word)
        case "person":
            return dialect.person(word)
        case "variant":
            return word.upper() if re.fullmatch(r"[A-Za-z]", word) else None
        case "number":
            digits = word.lstrip("#")
            return int(digits[:18]) if digits.isascii() and digits.isdigit() else None
    raise AssertionError(argument.kind)


def _option_values(verb: Verb, options: dict[str, str]) -> dict[str, Any]:
    given = [a for a in verb.arguments if a.option in options]
    return {a.name: _option_value(a, options[a.option]) for a in given}


def _option_value(argument: Argument, text: str) -> Any:
    match argument.kind:
        case "flag":
            return True
        case "domain":
            return text.lower() or None
    return _share(text)


def _share(percent: str) -> float:
    text = percent.rstrip("%")
    if not re.fullmatch(r"0?[1-9]|[1-9][0-9]", text):
        raise NotUnderstood("The percentage of people must lie between 1 and 99.")
    return int(text) / 100


def _domain(verb: Verb, rest: list[str], dialect: Dialect) -> str | None:
    """The domain, which is the one word that is left."""
    most = sum(a.kind == "domain" and not a.option for a in verb.arguments)
    if len(rest) > most:
        raise _usage(f"This command has no argument {rest[most]!r}.", verb, dialect)
    if rest and rest[0].startswith("-"):
        raise _usage(f"There is no option {rest[0]!r}.", verb, dialect)
    return rest[0].lower() if rest else None


# -- messages ------------------------------------------------------------------------------------


def _missing(argument: Argument, verb: Verb, dialect: Dialect) -> NotUnderstood:
    asked = dialect.ask_person if argument.kind == "person" else argument.missing
    refused = _usage(asked, verb, dialect)
    if not argument.listed_by:
        return refused
    return NotUnderstood(f"{refused}; `{dialect.prefix}{argument.listed_by}` lists them.")


def _usage(problem: str, verb: Verb, dialect: Dialect) -> NotUnderstood:
    return NotUnderstood(f"{problem} `{dialect.prefix}{verb.usage}`")


def _no_option(name: str, known: list[str], dialect: Dialect) -> NotUnderstood:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean `{near[0]}`?" if near else f"See `{dialect.prefix}help`."
    return NotUnderstood(f"There is no option `{_shown(name)}`. {hint}")


def _shown(text: str) -> str:
    return text[:40].replace("`", "'")
