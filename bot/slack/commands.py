"""`/understudy …`: what was typed, as a value. Pure, so that the grammar is a table of tests.

Each command is a frozen dataclass that knows the role it needs. A domain that is not named is
None: the channel's own. Slack's apps turn `--full` into a dash and a word while people type, so
dashes count as `--`; people come as `<@U1|ada>`, since the manifest asks for that.
"""

import difflib
import re
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
class Menu(Command):
    """Nothing was typed: the form from which everything can be done."""


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
class ListDomains(Command):
    pass


@dataclass(frozen=True)
class ListAdapters(Command):
    domain: str | None = None


@dataclass(frozen=True)
class ShowRoles(Command):
    pass


@dataclass(frozen=True)
class ListRuns(Command):
    needs = "reviewer"
    domain: str | None = None


@dataclass(frozen=True)
class Review(Command):
    needs = "reviewer"
    domain: str | None = None  # None: every domain


@dataclass(frozen=True)
class PlanRetrain(Command):
    needs = "reviewer"
    domain: str | None = None
    full: bool = False
    preferences: bool = False


@dataclass(frozen=True)
class ShowComparison(Command):
    needs = "reviewer"
    domain: str | None = None


@dataclass(frozen=True)
class Retrain(Command):
    needs = "admin"
    domain: str | None = None
    full: bool = False  # from the bare base
    preferences: bool = False  # from thumbs instead of pairs


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
    pairwise: bool = False  # now and then both answer, blinded, and the person chooses


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
class Retire(Command):
    needs = "admin"
    version: str
    domain: str | None = None


@dataclass(frozen=True)
class RollBack(Command):
    needs = "admin"
    domain: str | None = None


@dataclass(frozen=True)
class Forget(Command):
    needs = "admin"
    user: str


@dataclass(frozen=True)
class GrantRole(Command):
    needs = "admin"
    user: str
    role: Literal["reviewer", "admin"]


@dataclass(frozen=True)
class RevokeRole(Command):
    needs = "admin"
    user: str


USAGE: tuple[tuple[Role, str, str], ...] = (
    ("member", "help", "this list"),
    ("member", "status", "which adapter answers, what is running"),
    ("member", "ask QUESTION", "an answer that only you see"),
    ("member", "domains", "the subjects I answer on"),
    ("member", "adapters [DOMAIN]", "the versions there are, and how well they answer"),
    ("member", "roles", "who may do what"),
    ("reviewer", "review [DOMAIN]", "decide which suggested answers I learn"),
    ("reviewer", "runs [DOMAIN]", "the last tuning runs"),
    ("reviewer", "retrain [DOMAIN] --dry-run", "what a retrain would do, without doing it"),
    ("reviewer", "ab status [DOMAIN]", "how the comparison stands"),
    ("admin", "retrain [DOMAIN] [--full]", "learn the new pairs; --full starts from the base"),
    ("admin", "retrain [DOMAIN] --preferences", "learn from thumbs up and down"),
    ("admin", "cancel RUN", "stop a run"),
    ("admin", "ab start A B [DOMAIN] [--split 20]", "compare two versions; 20 % of people get B"),
    ("admin", "ab start A B --pairwise", "… and now and then let people choose between both"),
    ("admin", "ab stop [DOMAIN]", "end the comparison"),
    ("admin", "promote VERSION [DOMAIN]", "make a version answer everybody"),
    ("admin", "rollback [DOMAIN]", "undo the last promotion"),
    ("admin", "retire VERSION [DOMAIN]", "discard a version that waits"),
    ("admin", "forget @PERSON", "delete what I know of somebody"),
    ("admin", "roles add @PERSON ROLE", "make somebody a reviewer or an admin"),
    ("admin", "roles remove @PERSON", "take that back"),
)
PERSON = re.compile(r"<@([UW][A-Z0-9]{1,20})(?:\|[^<>]*)?>|([UW][A-Z0-9]{1,20})")


def parse(text: str) -> Command:
    """Read what followed `/understudy`. Raises NotUnderstood."""
    words = [_dashes(word) for word in unescaped(text).split()]
    if not words:
        return Menu()
    name = words[0].lower()
    if name == "ask":
        return _ask(text)
    group = GROUPS.get(name)
    if group is not None:
        return _of_group(name, group, words[1:])
    build = COMMANDS.get(name)
    if build is None:
        known = [f"{name} {verb}" for name, verbs in GROUPS.items() for verb in verbs]
        raise _unknown(name, [*COMMANDS, *GROUPS, *known, "ask"], "")
    return build(words[1:])


def unescaped(text: str) -> str:
    """What was typed, before Slack made entities of `<`, `>` and `&`."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _ask(text: str) -> AskPrivately:
    question = text.strip()[len("ask") :].strip()
    if not question:
        raise NotUnderstood("What would you like to ask? `/understudy ask QUESTION`")
    return AskPrivately(question)


def _of_group(name: str, verbs: "Verbs", words: list[str]) -> Command:
    """`ab …` and `roles …`; the verb that is left out is the one that shows."""
    verb = words[0].lower() if words else next(iter(verbs))
    build = verbs.get(verb)
    if build is None:
        raise _unknown(verb, list(verbs), f"{name} ")
    return build(words[1:])


def _retrain(words: list[str]) -> Command:
    usage = "retrain [DOMAIN] [--full] [--preferences] [--dry-run]"
    given, options = _options(words, flags=("--full", "--preferences", "--dry-run"))
    full, preferences = "--full" in options, "--preferences" in options
    if full and preferences:
        raise NotUnderstood(
            "`--full` starts from the base, `--preferences` goes on from the live adapter with "
            "what people liked and disliked: choose one of them."
        )
    kind = PlanRetrain if "--dry-run" in options else Retrain
    return kind(_domain(given, usage), full, preferences)


def _cancel(words: list[str]) -> CancelRun:
    if len(words) != 1 or not words[0].lstrip("#").isascii() or not words[0].lstrip("#").isdigit():
        raise NotUnderstood("Which run? `/understudy cancel RUN`; `/understudy runs` lists them.")
    return CancelRun(int(words[0].lstrip("#")[:18]))


def _ab_start(words: list[str]) -> StartComparison:
    usage = "ab start A B [DOMAIN] [--split 20] [--pairwise]"
    given, options = _options(words, flags=("--pairwise",), valued=("--split",))
    if not 2 <= len(given) <= 3:
        raise _usage("Which two versions?", usage)
    named = _one_domain([given[0], given[1]], given[2] if len(given) == 3 else None)
    share = _share(options.get("--split", "50"))
    return StartComparison(given[0], given[1], named, share, "--pairwise" in options)


def _of_version(kind: Callable[[str, str | None], Command], name: str) -> "Build":
    def build(words: list[str]) -> Command:
        if not 1 <= len(words) <= 2:
            raise _usage("Which version?", f"{name} VERSION [DOMAIN]")
        return kind(words[0], _one_domain([words[0]], words[1] if len(words) == 2 else None))

    return build


def _forget(words: list[str]) -> Forget:
    return Forget(_person(words[:1], words[1:], "forget @PERSON"))


def _grant(words: list[str]) -> GrantRole:
    usage = "roles add @PERSON reviewer|admin"
    user = _person(words[:1], words[2:], usage)
    match [word.lower() for word in words[1:2]]:
        case ["reviewer"]:
            return GrantRole(user, "reviewer")
        case ["admin"]:
            return GrantRole(user, "admin")
    raise _usage("Which role: reviewer or admin?", usage)


def _revoke(words: list[str]) -> RevokeRole:
    return RevokeRole(_person(words[:1], words[1:], "roles remove @PERSON"))


def _person(words: list[str], more: list[str], usage: str) -> str:
    """The user id of a mention. Raises NotUnderstood."""
    match = PERSON.fullmatch(words[0]) if words else None
    if match is None:
        raise _usage("Whom? Type @ and choose the name from Slack's list.", usage)
    if more:
        raise _usage(f"{more[0]!r} is more than this command takes.", usage)
    return match[1] or match[2]


def _plain(kind: Callable[[], Command], usage: str) -> "Build":
    def build(words: list[str]) -> Command:
        if words:
            raise _usage(f"{words[0]!r} is more than this command takes.", usage)
        return kind()

    return build


def _of_domain(kind: Callable[[str | None], Command], usage: str) -> "Build":
    return lambda words: kind(_domain(words, usage))


Build = Callable[[list[str]], Command]
Verbs = dict[str, Build]

COMMANDS: dict[str, Build] = {
    "help": lambda words: Help(),
    "status": _plain(Status, "status"),
    "domains": _plain(ListDomains, "domains"),
    "adapters": _of_domain(ListAdapters, "adapters [DOMAIN]"),
    "review": _of_domain(Review, "review [DOMAIN]"),
    "retrain": _retrain,
    "runs": _of_domain(ListRuns, "runs [DOMAIN]"),
    "cancel": _cancel,
    "promote": _of_version(Promote, "promote"),
    "retire": _of_version(Retire, "retire"),
    "rollback": _of_domain(RollBack, "rollback [DOMAIN]"),
    "forget": _forget,
}
GROUPS: dict[str, Verbs] = {
    "ab": {
        "status": _of_domain(ShowComparison, "ab status [DOMAIN]"),
        "start": _ab_start,
        "stop": _of_domain(StopComparison, "ab stop [DOMAIN]"),
    },
    "roles": {"list": _plain(ShowRoles, "roles"), "add": _grant, "remove": _revoke},
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
