"""Queued commands as JSON.

Column `command` of `deeds` held what was typed after `/understudy`, and `said` the result as
Slack's blocks. From now on both hold JSON objects. This file keeps the grammar of the commands that
were ever queued, so that a later grammar does not change how an old store is read.
"""

import json
import re
from typing import Any

from sqlite_utils import Database

VERSION = re.compile(r"[vV@]?\d+|[^@\s]+@\S*|live|base", re.IGNORECASE)
PERSON = re.compile(r"<@([UW][A-Z0-9]{1,20})(?:\|[^<>]*)?>|([UW][A-Z0-9]{1,20})")
SHARE = re.compile(r"(0?[1-9]|[1-9][0-9])%?")
POLICIES = ("advise", "auto-promote", "auto-roll-back", "auto")
Command = dict[str, Any]


class NotUnderstood(Exception):
    """It is no command that could be queued."""


def upgrade(db: Database) -> None:
    """Commands that wait stay waiting. One that cannot be read is refused, and its author told."""
    found = db.query("SELECT id, team, command, state, said FROM deeds")
    for row in list(found):
        said = json.loads(row["said"] or "[]")
        result: Command | None = {"result": "Rendered", "content": said} if said else None
        state = row["state"]
        try:
            command = parsed(row["command"], row["team"])
        except NotUnderstood:
            command = {}
            if state == "waiting":
                state, result = "done", {"result": "Refused", "reason": _refusal(row["command"])}
        how = "private" if state != row["state"] else None
        db.execute(
            "UPDATE deeds SET command = ?, said = ?, state = ?, how = coalesce(?, how) "
            "WHERE id = ?",
            [
                json.dumps(command, ensure_ascii=False) if command else "",
                json.dumps(result, ensure_ascii=False) if result else "",
                state,
                how,
                row["id"],
            ],
        )


def _refusal(text: str) -> str:
    shown = text.strip()[:80].replace("`", "'")
    return (
        f"Before I was updated, you asked for `{shown}`, which I cannot read. Nothing was "
        "changed. Ask again if you still want it."
    )


def parsed(text: str, team: str) -> Command:
    """A typed command as an object. Raises NotUnderstood."""
    plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    words = [_dashes(word) for word in plain.split()]
    name = " ".join(words[:2] if words[:1] and words[0].lower() in ("ab", "roles") else words[:1])
    rest = words[len(name.split()) :]
    match name.lower():
        case "promote" | "retire" | "rollback":
            return _of_version(name.lower(), rest)
        case "retrain":
            return _retrain(rest)
        case "cancel":
            return {"command": "cancel", "run_id": _number(rest)}
        case "policy":
            return _policy(rest)
        case "forget":
            return {"command": "forget", "person": _person(rest, team)}
        case "roles add":
            role = [word.lower() for word in rest[1:]]
            if role not in (["reviewer"], ["admin"]):
                raise NotUnderstood
            return {"command": "roles add", "person": _person(rest[:1], team), "role": role[0]}
        case "roles remove":
            return {"command": "roles remove", "person": _person(rest, team)}
        case "ab start":
            return _ab_start(rest)
        case "ab ramp":
            shares = [word for word in rest if not word[:1].isalpha()]
            domain = _domain([word for word in rest if word[:1].isalpha()])
            return {"command": "ab ramp", "share": _share(shares), "domain": domain}
        case "ab tester":
            if len(rest) < 2 or not re.fullmatch(r"[A-Za-z]", rest[1]):
                raise NotUnderstood
            person, domain = _person(rest[:1], team), _domain(rest[2:])
            label = rest[1].upper()
            return {"command": "ab tester", "person": person, "label": label, "domain": domain}
        case "ab stop":
            return {"command": "ab stop", "domain": _domain(rest)}
    raise NotUnderstood


def _of_version(name: str, words: list[str]) -> Command:
    if name == "rollback":
        return {"command": name, "domain": _domain(words)}
    versions, domain = _versions(words, 1)
    return {"command": name, "version": versions[0], "domain": domain}


def _retrain(words: list[str]) -> Command:
    flags = [word.lower() for word in words if word.startswith("--")]
    domain = _domain([word for word in words if not word.startswith("--")])
    if len(flags) > 1 or not set(flags) <= {"--full", "--preferences"}:
        raise NotUnderstood
    full, preferences = "--full" in flags, "--preferences" in flags
    return {"command": "retrain", "domain": domain, "full": full, "preferences": preferences}


def _policy(words: list[str]) -> Command:
    found = [word.lower() for word in words if word.lower() in POLICIES]
    domain = _domain([word for word in words if word.lower() not in POLICIES])
    if len(found) != 1:
        raise NotUnderstood
    return {"command": "policy set", "policy": found[0], "domain": domain}


def _ab_start(words: list[str]) -> Command:
    share, pairwise = "50", False
    given: list[str] = []
    rest = iter(words)
    for word in rest:
        name, _, value = word.lower().partition("=")
        if name == "--split":
            share = value or next(rest, "")
        elif name == "--pairwise":
            pairwise = True
        elif name.startswith("--"):
            raise NotUnderstood
        else:
            given.append(word)
    (a, b), domain = _versions(given, 2)
    found = {"command": "ab start", "a": a, "b": b, "domain": domain}
    return {**found, "share": _share([share]), "pairwise": pairwise}


def _versions(words: list[str], count: int) -> tuple[list[str], str | None]:
    """So many versions, and the domain that they or another word name."""
    versions = [re.sub(r"^[vV](?=\d)", "", word) for word in words if VERSION.fullmatch(word)]
    domain = _domain([word for word in words if not VERSION.fullmatch(word)])
    named = {v.split("@")[0].lower() for v in versions if "@" in v.strip("@")}
    named |= {domain} if domain else set()
    if len(versions) != count or len(named) > 1:
        raise NotUnderstood
    return versions, named.pop() if named else None


def _domain(words: list[str]) -> str | None:
    if len(words) > 1 or any(word.startswith("-") for word in words):
        raise NotUnderstood
    return words[0].lower() if words else None


def _share(words: list[str]) -> float:
    match = SHARE.fullmatch(words[0]) if len(words) == 1 else None
    if match is None:
        raise NotUnderstood
    return int(match[1]) / 100


def _number(words: list[str]) -> int:
    digits = words[0].lstrip("#") if len(words) == 1 else ""
    if not (digits.isascii() and digits.isdigit()):
        raise NotUnderstood
    return int(digits[:18])


def _person(words: list[str], team: str) -> str:
    match = PERSON.fullmatch(words[0]) if len(words) == 1 else None
    if match is None:
        raise NotUnderstood
    return f"slack:{team}/{match[1] or match[2]}"


def _dashes(word: str) -> str:
    """Slack's apps turn `--full` into a dash and a word while people type."""
    stripped = word.lstrip("—–-")
    dashes = word[: len(word) - len(stripped)]
    return f"--{stripped}" if stripped[:1].isalpha() and dashes in ("—", "–", "--", "——") else word
