"""`/understudy …`: what was typed, as a value. Pure, so that the grammar is a table of tests.

Each command is a frozen dataclass that knows the role it needs. A domain that is not named is
None: the channel's own. Slack's apps turn `--full` into a dash and a word while people type, so
dashes count as `--`.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from data.errors import Invalid

Role = Literal["member", "reviewer", "admin"]
RANK: dict[Role, int] = {"member": 0, "reviewer": 1, "admin": 2}


class NotUnderstood(Invalid):
    """What was typed is no command; the sentence names the nearest one."""


@dataclass(frozen=True)
class Command:
    needs: ClassVar[Role] = "member"


@dataclass(frozen=True)
class Help(Command):
    pass


@dataclass(frozen=True)
class Status(Command):
    pass


@dataclass(frozen=True)
class AskPrivately(Command):
    question: str


@dataclass(frozen=True)
class ListRuns(Command):
    needs = "reviewer"
    domain: str | None = None


@dataclass(frozen=True)
class ShowComparison(Command):
    needs = "reviewer"
    domain: str | None = None


@dataclass(frozen=True)
class Retrain(Command):
    needs = "admin"
    domain: str | None = None
    full: bool = False


@dataclass(frozen=True)
class CancelRun(Command):
    needs = "admin"
    run_id: int


@dataclass(frozen=True)
class StartComparison(Command):
    needs = "admin"
    a: str
    b: str
    domain: str | None = None
    share: float = 0.5  # of the people, for b


@dataclass(frozen=True)
class StopComparison(Command):
    needs = "admin"
    domain: str | None = None


@dataclass(frozen=True)
class Promote(Command):
    needs = "admin"
    version: str
    domain: str | None = None


@dataclass(frozen=True)
class RollBack(Command):
    needs = "admin"
    domain: str | None = None


USAGE: tuple[tuple[Role, str, str], ...] = (
    ("member", "help", "this list"),
    ("member", "status", "which adapter answers, what is running"),
    ("member", "ask QUESTION", "an answer that only you see"),
    ("reviewer", "runs [DOMAIN]", "the last tuning runs"),
    ("reviewer", "ab status [DOMAIN]", "how the comparison stands"),
    ("admin", "retrain [DOMAIN] [--full]", "learn the new pairs; --full starts from the base"),
    ("admin", "cancel RUN", "stop a run"),
    ("admin", "ab start A B [DOMAIN] [--split 20]", "compare two versions; 20 % of people get B"),
    ("admin", "ab stop [DOMAIN]", "end the comparison"),
    ("admin", "promote VERSION [DOMAIN]", "make a version answer everybody"),
    ("admin", "rollback [DOMAIN]", "undo the last promotion"),
)


def parse(text: str) -> Command:
    """Read what followed `/understudy`. Raises NotUnderstood."""
    words = [_dashes(word) for word in text.split()]
    if not words:
        return Help()
    name = words[0].lower()
    if name == "ask":
        return _ask(text)
    if name == "ab":
        return _ab(words[1:])
    build = COMMANDS.get(name)
    if build is None:
        raise _unknown(name, [*COMMANDS, "ask", "ab start", "ab status", "ab stop"], "")
    return build(words[1:])


def _ask(text: str) -> AskPrivately:
    question = text.strip()[len("ask") :].strip()
    if not question:
        raise NotUnderstood("What would you like to ask? `/understudy ask QUESTION`")
    return AskPrivately(question)


def _ab(words: list[str]) -> Command:
    verb = words[0].lower() if words else "status"
    build = COMPARISONS.get(verb)
    if build is None:
        raise _unknown(verb, list(COMPARISONS), "ab ")
    return build(words[1:])


def _retrain(words: list[str]) -> Retrain:
    given, options = _options(words, flags=("--full",))
    return Retrain(_domain(given, "retrain [DOMAIN] [--full]"), full="--full" in options)


def _cancel(words: list[str]) -> CancelRun:
    if len(words) != 1 or not words[0].lstrip("#").isascii() or not words[0].lstrip("#").isdigit():
        raise NotUnderstood("Which run? `/understudy cancel RUN`; `/understudy runs` lists them.")
    return CancelRun(int(words[0].lstrip("#")[:18]))


def _ab_start(words: list[str]) -> StartComparison:
    usage = "ab start A B [DOMAIN] [--split 20]"
    given, options = _options(words, valued=("--split",))
    if not 2 <= len(given) <= 3:
        raise _usage("Which two versions?", usage)
    named = _one_domain([given[0], given[1]], given[2] if len(given) == 3 else None)
    return StartComparison(given[0], given[1], named, _share(options.get("--split", "50")))


def _promote(words: list[str]) -> Promote:
    if not 1 <= len(words) <= 2:
        raise _usage("Which version?", "promote VERSION [DOMAIN]")
    named = _one_domain([words[0]], words[1] if len(words) == 2 else None)
    return Promote(words[0], named)


def _plain(kind: Callable[[], Command], usage: str) -> Callable[[list[str]], Command]:
    def build(words: list[str]) -> Command:
        if words:
            raise _usage(f"{words[0]!r} is more than this command takes.", usage)
        return kind()

    return build


def _of_domain(kind: Callable[[str | None], Command], usage: str) -> Callable[[list[str]], Command]:
    return lambda words: kind(_domain(words, usage))


COMMANDS: dict[str, Callable[[list[str]], Command]] = {
    "help": lambda words: Help(),
    "status": _plain(Status, "status"),
    "retrain": _retrain,
    "runs": _of_domain(ListRuns, "runs [DOMAIN]"),
    "cancel": _cancel,
    "promote": _promote,
    "rollback": _of_domain(RollBack, "rollback [DOMAIN]"),
}
COMPARISONS: dict[str, Callable[[list[str]], Command]] = {
    "start": _ab_start,
    "status": _of_domain(ShowComparison, "ab status [DOMAIN]"),
    "stop": _of_domain(StopComparison, "ab stop [DOMAIN]"),
}


def _domain(words: list[str], usage: str) -> str | None:
    if len(words) > 1:
        raise _usage(f"{words[1]!r} is more than this command takes.", usage)
    if words and words[0].startswith("-"):
        raise _usage(f"There is no option {words[0]!r}.", usage)
    return words[0].lower() if words else None


def _one_domain(versions: list[str], named: str | None) -> str | None:
    """The domain that `helpdesk@3` or a domain argument names; they must agree."""
    found = {v.split("@")[0].lower() for v in versions if "@" in v.strip("@")}
    if named is not None:
        found.add(named.lower())
    if len(found) > 1:
        raise NotUnderstood(f"That names several domains ({', '.join(sorted(found))}); name one.")
    return found.pop() if found else None


def _options(
    words: list[str], flags: tuple[str, ...] = (), valued: tuple[str, ...] = ()
) -> tuple[list[str], dict[str, str]]:
    """Words without the options, and the options with their values."""
    given: list[str] = []
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            given.append(word)
            continue
        name, equals, value = word.lower().partition("=")
        if name in flags and not equals:
            options[name] = ""
        elif name in valued:
            options[name] = value if equals else next(rest, "")
        else:
            raise _unknown(name, [*flags, *valued], "", what="option")
    return given, options


def _share(percent: str) -> float:
    text = percent.rstrip("%")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= 99):
        raise NotUnderstood("--split takes the share of people who get B, 1 to 99 (per cent).")
    return int(text) / 100


def _dashes(word: str) -> str:
    stripped = word.lstrip("—–-")
    dashes = word[: len(word) - len(stripped)]
    return f"--{stripped}" if stripped[:1].isalpha() and dashes in ("—", "–", "--", "——") else word


def _usage(problem: str, usage: str) -> NotUnderstood:
    return NotUnderstood(f"{problem} `/understudy {usage}`")


def _unknown(name: str, known: list[str], prefix: str, what: str = "command") -> NotUnderstood:
    shown = name[:40].replace("`", "'")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near and what == "option":
        return NotUnderstood(f"There is no option `{shown}`. Did you mean `{near[0]}`?")
    if near:
        return NotUnderstood(
            f"There is no command `{shown}`. Did you mean `/understudy {prefix}{near[0]}`?"
        )
    return NotUnderstood(f"There is no {what} `{shown}`. `/understudy help` lists what there is.")
