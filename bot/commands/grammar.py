"""`/understudy …`: what was typed, as a command. Pure, so that the grammar is a table of tests.

Slack's apps turn `--full` into a dash and a word while people type, so dashes count as `--`;
people come as `<@U1|ada>`, since the manifest asks for that. A domain may stand before or after
the versions that a command is about: what looks like a version is one.
"""

import difflib
import re
from collections.abc import Callable

from bot.commands.commands import (
    AskPrivately,
    CancelRun,
    Choose,
    Command,
    ExplainDecision,
    Forget,
    GrantRole,
    Help,
    ListAdapters,
    ListDecisions,
    ListDomains,
    ListRuns,
    Menu,
    PlanRetrain,
    Promote,
    PutTester,
    RampComparison,
    Retire,
    RetrainCommand,
    ReviewCommand,
    RevokeRole,
    RollBack,
    SetPolicy,
    ShowComparison,
    ShowPolicy,
    ShowRoles,
    StartComparison,
    StatusCommand,
    StopComparison,
    What,
)
from data.experiments.policies import POLICIES
from data.people.roles import Role
from data.store.errors import Invalid


class NotUnderstood(Invalid):
    """What was typed is no command; the sentence names the nearest one."""


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
    ("reviewer", "ab decisions [DOMAIN]", "what was decided about it, and why"),
    ("reviewer", "ab explain DECISION", "a decision, worked out anew from its numbers"),
    ("reviewer", "policy [DOMAIN]", "what may be decided about comparisons without a person"),
    ("admin", "retrain [DOMAIN] [--full]", "learn the new pairs; --full starts from the base"),
    ("admin", "retrain [DOMAIN] --preferences", "learn from thumbs up and down"),
    ("admin", "cancel RUN", "stop a run"),
    ("admin", "ab start A B [DOMAIN] [--split 20]", "compare two versions; half get B, or 20 %"),
    ("admin", "ab start A B --pairwise", "… and now and then let people choose between both"),
    ("admin", "ab ramp PERCENT [DOMAIN]", "let more people get B; nobody is moved back"),
    ("admin", "ab tester @PERSON SIDE [DOMAIN]", "let somebody see A or B, without being counted"),
    ("admin", "ab stop [DOMAIN]", "end the comparison; everybody gets the live version"),
    ("admin", "policy NAME [DOMAIN]", "set it: advise, auto-promote, auto-roll-back or auto"),
    ("admin", "promote VERSION [DOMAIN]", "make a version answer everybody"),
    ("admin", "rollback [DOMAIN]", "undo the last promotion"),
    ("admin", "retire VERSION [DOMAIN]", "discard a version that waits"),
    ("admin", "forget @PERSON", "delete what I know of somebody"),
    ("admin", "roles add @PERSON ROLE", "make somebody a reviewer or an admin"),
    ("admin", "roles remove @PERSON", "take that back"),
)
VERSION = re.compile(r"[vV@]?\d+|[^@\s]+@\S*|live|base", re.IGNORECASE)
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
        raise _no_command(words, [*COMMANDS, *GROUPS, *known, "ask"])
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
        raise _no_command([name, *words], [f"{name} {known}" for known in verbs], f"{name} ")
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
    kind = PlanRetrain if "--dry-run" in options else RetrainCommand
    return kind(_domain(given, usage), full, preferences)


def _cancel(words: list[str]) -> Command:
    if not words:
        return Choose("cancel")
    return CancelRun(_number(words, "Which run? `/understudy cancel RUN`; `/understudy runs` "))


def _explain(words: list[str]) -> ExplainDecision:
    sentence = "Which decision? `/understudy ab explain DECISION`; `/understudy ab decisions` "
    return ExplainDecision(_number(words, sentence))


def _number(words: list[str], sentence: str) -> int:
    text = words[0].lstrip("#") if len(words) == 1 else ""
    if not (text.isascii() and text.isdigit()):
        raise NotUnderstood(f"{sentence}lists them.")
    return int(text[:18])


def _ab_start(words: list[str]) -> Command:
    usage = "ab start A B [DOMAIN] [--split 20] [--pairwise]"
    given, options = _options(words, flags=("--pairwise",), valued=("--split",))
    versions, named = _versions(given, usage)
    if not (versions or options):
        return Choose("ab start", named)
    if len(versions) != 2:
        raise _usage("Which two versions?", usage)
    share = _share(options.get("--split", "50"))
    return StartComparison(versions[0], versions[1], named, share, "--pairwise" in options)


def _ab_ramp(words: list[str]) -> Command:
    usage = "ab ramp PERCENT [DOMAIN]"
    given = [word for word in words if not word[:1].isalpha()]
    named = _domain([word for word in words if word[:1].isalpha()], usage)
    if not given:
        return Choose("ab ramp", named)
    if len(given) > 1:
        raise _usage(f"{given[1]!r} is more than this command takes.", usage)
    return RampComparison(_share(given[0]), named)


def _tester(words: list[str]) -> Command:
    usage = "ab tester @PERSON SIDE [DOMAIN]"
    if not words:
        return Choose("ab tester")
    user = _person(words[:1], [], usage)
    if len(words) < 2 or not re.fullmatch(r"[A-Za-z]", words[1]):
        raise _usage("Which side: A, B, …?", usage)
    return PutTester(user, words[1].upper(), _domain(words[2:], usage))


def _policy(words: list[str]) -> Command:
    usage = "policy [auto|auto-promote|auto-roll-back|advise] [DOMAIN]"
    if words[:1] == ["set"]:  # a button of the form
        return Choose("policy set", _domain(words[1:], usage))
    named = [word for word in words if word.lower() not in POLICIES]
    found = [policy for policy in POLICIES if policy in (word.lower() for word in words)]
    if len(found) > 1:
        raise _usage("Which of these policies?", usage)
    domain = _domain(named, usage)
    return SetPolicy(found[0], domain) if found else ShowPolicy(domain)


def _of_version(kind: Callable[[str, str | None], Command], name: What) -> "Build":
    def build(words: list[str]) -> Command:
        usage = f"{name} VERSION [DOMAIN]"
        versions, named = _versions(words, usage)
        if not versions:
            return Choose(name, named)
        if len(versions) > 1:
            raise _usage("Which version?", usage)
        return kind(versions[0], named)

    return build


def _forget(words: list[str]) -> Command:
    if not words:
        return Choose("forget")
    return Forget(_person(words[:1], words[1:], "forget @PERSON"))


def _grant(words: list[str]) -> Command:
    usage = "roles add @PERSON reviewer|admin"
    if not words:
        return Choose("roles add")
    user = _person(words[:1], words[2:], usage)
    match [word.lower() for word in words[1:2]]:
        case ["reviewer"]:
            return GrantRole(user, "reviewer")
        case ["admin"]:
            return GrantRole(user, "admin")
    raise _usage("Which role: reviewer or admin?", usage)


def _revoke(words: list[str]) -> Command:
    if not words:
        return Choose("roles remove")
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
    "status": _plain(StatusCommand, "status"),
    "domains": _plain(ListDomains, "domains"),
    "adapters": _of_domain(ListAdapters, "adapters [DOMAIN]"),
    "review": _of_domain(ReviewCommand, "review [DOMAIN]"),
    "retrain": _retrain,
    "runs": _of_domain(ListRuns, "runs [DOMAIN]"),
    "cancel": _cancel,
    "policy": _policy,
    "promote": _of_version(Promote, "promote"),
    "retire": _of_version(Retire, "retire"),
    "rollback": _of_domain(RollBack, "rollback [DOMAIN]"),
    "forget": _forget,
}
GROUPS: dict[str, Verbs] = {
    "ab": {
        "status": _of_domain(ShowComparison, "ab status [DOMAIN]"),
        "start": _ab_start,
        "ramp": _ab_ramp,
        "tester": _tester,
        "decisions": _of_domain(ListDecisions, "ab decisions [DOMAIN]"),
        "explain": _explain,
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


def _versions(words: list[str], usage: str) -> tuple[list[str], str | None]:
    """The versions among the words, and the domain that they or another word name; they must
    agree."""
    versions = [re.sub(r"^[vV](?=\d)", "", word) for word in words if VERSION.fullmatch(word)]
    others = [word for word in words if not VERSION.fullmatch(word)]
    if len(others) > 1:
        raise _usage(f"{others[0]!r} is no version; one is `3`, `live` or `base`.", usage)
    named = _domain(others, usage)
    found = {v.split("@")[0].lower() for v in versions if "@" in v.strip("@")}
    if named is not None:
        found.add(named)
    if len(found) > 1:
        raise NotUnderstood(f"That names several domains ({', '.join(sorted(found))}); name one.")
    return versions, found.pop() if found else None


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
            raise _no_option(name, [*flags, *valued])
    return given, options


def _share(percent: str) -> float:
    text = percent.rstrip("%")
    if not re.fullmatch(r"0?[1-9]|[1-9][0-9]", text):
        raise NotUnderstood("The share of the people who get B lies between 1 and 99 per cent.")
    return int(text) / 100


def _dashes(word: str) -> str:
    stripped = word.lstrip("—–-")
    dashes = word[: len(word) - len(stripped)]
    return f"--{stripped}" if stripped[:1].isalpha() and dashes in ("—", "–", "--", "——") else word


def _usage(problem: str, usage: str) -> NotUnderstood:
    return NotUnderstood(f"{problem} `/understudy {usage}`")


def _no_command(words: list[str], known: list[str], within: str = "") -> NotUnderstood:
    """Names the nearest command, with what was typed behind it."""
    group = within.count(" ")  # words that name the group
    typed = [word[:40] for word in words]
    tried = [(" ".join(typed[:count]).lower(), count) for count in (group + 1, group + 2)]
    names = [name.removeprefix(within) for name in known]
    ranked = [
        (difflib.SequenceMatcher(None, near, text).ratio(), -count, f"{within}{near}")
        for text, count in ((text[len(within) :], count) for text, count in tried)
        for near in difflib.get_close_matches(text, names, n=1, cutoff=0.51)
    ]
    shown = _shown(tried[0][0])
    if not ranked:
        return NotUnderstood(f"There is no command `{shown}`. `/understudy help` lists all.")
    _, count, nearest = max(ranked)
    rest = _shown(" ".join(words[-count:]))
    also = f" {rest}" if rest and "<" not in rest else ""
    return NotUnderstood(
        f"There is no command `{shown}`. Did you mean `/understudy {nearest}{also}`?"
    )


def _no_option(name: str, known: list[str]) -> NotUnderstood:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean `{near[0]}`?" if near else "`/understudy help` lists what there is."
    return NotUnderstood(f"There is no option `{_shown(name)}`. {hint}")


def _shown(text: str) -> str:
    return text[:40].replace("`", "'")
