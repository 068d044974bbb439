"""What a person may see, take along and decide about what the store keeps of them.

`see` is a summary in figures, `export` is every word they wrote with what was made of it, and
opting out keeps what they write from being learned. `forgetting.py` removes it all. A person is
named as everywhere: `slack:T1/U2`, `http:KEY/USER`, `web:SESSION`.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson
from sqlite_utils import Database

from data import fates
from data.clock import iso, now_us
from data.db import Row, changed, row, rows, value
from data.errors import Invalid
from data.pairs import STATUSES

PERSON = re.compile(r"(slack|http|web|cli):[^\x00-\x1f\x7f]{1,300}")
OPTED_OUT = "withdrawn, as its author opted out of learning"


@dataclass(frozen=True)
class Seen:
    """What there is of a person, in figures. Times in microseconds since the epoch."""

    person: str
    questions: int
    thumbs: int
    reasons: int
    corrections: int
    pairs: dict[str, int]  # that they wrote, by status; every status is there
    since: int | None  # their first question or judgement
    learning: bool  # False: nothing they write becomes a pair
    domain: str | None  # that they chose to be answered by


def check(person: str) -> str:
    """`person`, if that can be one. Raises Invalid."""
    if not PERSON.fullmatch(person):
        raise Invalid(
            f"{person[:60]!r} names no person. People are named by where they ask from: "
            "slack:TEAM/USER, http:KEY/USER or web:SESSION."
        )
    return person


# -- learning ------------------------------------------------------------------------------------


def may_learn(db: Database, *people: str) -> bool:
    """Whether words of all these people may become a pair."""
    marks = ", ".join("?" * len(people))
    return row(db, f"SELECT 1 FROM opt_outs WHERE person IN ({marks})", list(people)) is None


def opt_out(db: Database, person: str) -> int:
    """Learn nothing from this person any more; pairs of theirs that wait for review are withdrawn.
    Returns how many."""
    now = now_us()
    db.execute("INSERT OR IGNORE INTO opt_outs (person, at) VALUES (?, ?)", [person, now])
    return changed(
        db,
        "UPDATE pairs SET status = 'rejected', reviewed_by = ?, reviewed_at = ? "
        "WHERE status = 'pending' AND (author = ? "
        "OR source_ref IN (SELECT id FROM replies WHERE person = ?) "
        "OR id IN (SELECT pair_id FROM pair_words WHERE person = ?))",
        [OPTED_OUT, now, person, person, person],
    )


def opt_in(db: Database, person: str) -> None:
    """What the person writes from now on may be learned again."""
    db.execute("DELETE FROM opt_outs WHERE person = ?", [person])


# -- see and export ------------------------------------------------------------------------------


def see(db: Database, person: str) -> Seen:
    """A summary of what there is of them; zeros when there is nothing."""
    kinds = {r["kind"]: r["n"] for r in rows(db, KINDS, [person])}
    found = {r["status"]: r["n"] for r in rows(db, WRITTEN, [person])}
    chosen = value(
        db,
        "SELECT d.name FROM domain_choices c JOIN domains d ON d.id = c.domain_id "
        "WHERE c.person = ?",
        [person],
    )
    return Seen(
        person=person,
        questions=int(value(db, "SELECT count(*) FROM replies WHERE person = ?", [person])),
        thumbs=kinds.get("thumb", 0),
        reasons=kinds.get("reason", 0),
        corrections=kinds.get("correction", 0),
        pairs=dict.fromkeys(STATUSES, 0) | found,
        since=value(db, SINCE, {"person": person}),
        learning=may_learn(db, person),
        domain=chosen,
    )


KINDS = "SELECT kind, count(*) AS n FROM feedback WHERE person = ? AND live = 1 GROUP BY kind"
WRITTEN = (
    "SELECT status, count(*) AS n FROM pairs WHERE author = ? AND forgotten_at IS NULL "
    "GROUP BY status"
)
SINCE = (
    "SELECT min(at) FROM (SELECT min(created_at) AS at FROM replies WHERE person = :person "
    "UNION ALL SELECT min(created_at) FROM feedback WHERE person = :person)"
)


def export(db: Database, person: str) -> dict[str, Any]:
    """Everything they wrote and what was made of it, ready to be JSON. Times are ISO 8601, UTC."""
    seen = see(db, person)
    return {
        "person": person,
        "exported_at": iso(now_us()),
        "learning": seen.learning,
        "domain": seen.domain,
        "conversations": _conversations(db, person),
        "waiting": _waiting(db, person),
        "feedback": [_timed(r) for r in rows(db, JUDGED, [person])],
        "pairs": _written_pairs(db, person),
        "comparisons": [_timed(r) for r in rows(db, COMPARED, [person])],
    }


SAID = """
SELECT d.name AS domain, c.thread, m.role, m.text, m.created_at AS at, m.reply_id,
       r.status, coalesce(ad.name || '@' || a.version, 'base') AS adapter
FROM messages m JOIN conversations c ON c.id = m.conversation_id
JOIN domains d ON d.id = c.domain_id LEFT JOIN replies r ON r.id = m.reply_id
LEFT JOIN adapters a ON a.id = r.adapter_id LEFT JOIN domains ad ON ad.id = a.domain_id
WHERE m.person = :person OR r.person = :person ORDER BY m.conversation_id, m.id
"""
JUDGED = """
SELECT reply_id, kind, value, text, pair_id, live AS stands, created_at AS at
FROM feedback WHERE person = ? ORDER BY id
"""
COMPARED = """
SELECT s.experiment_id AS comparison, v.label AS variant, s.at
FROM assignments s JOIN variants v ON v.id = s.variant_id WHERE s.person = ? ORDER BY s.at
"""
PAIRS = """
SELECT p.id, d.name AS domain, p.prompt, p.response, p.system, p.turns, p.source, p.status,
       p.created_at AS at
FROM pairs p JOIN domains d ON d.id = p.domain_id
WHERE p.author = ? AND p.forgotten_at IS NULL ORDER BY p.id
"""


def _conversations(db: Database, person: str) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for r in rows(db, SAID, {"person": person}):
        domain, thread = r.pop("domain"), r.pop("thread")
        conversation = found.setdefault(thread, {"domain": domain, "messages": []})
        conversation["messages"].append(_timed(r))
    return [{"thread": thread, **conversation} for thread, conversation in found.items()]


def _waiting(db: Database, person: str) -> list[dict[str, Any]]:
    """Questions in Slack that are not answered yet."""
    front, _, rest = person.partition(":")
    team, _, user = rest.partition("/")
    if front != "slack":
        return []
    sql = "SELECT text, created_at AS at FROM questions WHERE team = ? AND user = ? AND text <> ''"
    return [_timed(r) for r in rows(db, sql, [team, user])]


def _written_pairs(db: Database, person: str) -> list[dict[str, Any]]:
    became = {f.pair_id: f.sentence for f in fates.of(db, person, -1)}
    return [
        {**_timed(r), "turns": orjson.loads(r["turns"]), "became": became.get(r["id"], "")}
        for r in rows(db, PAIRS, [person])
    ]


def _timed(found: Row) -> dict[str, Any]:
    return {**found, "at": iso(found["at"])}
