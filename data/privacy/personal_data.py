"""What the store holds about a person: `summarise` returns a summary, `export` every word.

`erasure.py` removes all of it. `data/people/consent.py` says whether the bot may learn from it.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlite_utils import Database

from data.pairs.pairs import STATUSES
from data.people.consent import may_learn
from data.privacy import contributions
from data.store.clock import iso, now_us
from data.store.db import Row, rows, value


@dataclass(frozen=True)
class PersonalDataSummary:
    """A summary of what is stored about a person. Times in microseconds since the epoch."""

    person: str
    questions: int
    thumbs: int
    reasons: int
    corrections: int
    pairs: dict[str, int]  # pairs they wrote, by status; every status is present
    since: int | None  # time of their first question or rating
    learning: bool  # False: nothing they write becomes a pair
    domain: str | None  # the domain that they chose


def summarise(db: Database, person: str) -> PersonalDataSummary:
    """A summary of what is stored about them; zeros if there is nothing."""
    kinds = {r["kind"]: r["n"] for r in rows(db, KINDS, [person])}
    found = {r["status"]: r["n"] for r in rows(db, WRITTEN, [person])}
    chosen = value(
        db,
        "SELECT d.name FROM domain_choices c JOIN domains d ON d.id = c.domain_id "
        "WHERE c.person = ?",
        [person],
    )
    return PersonalDataSummary(
        person=person,
        questions=int(value(db, ASKED, [person])),
        thumbs=kinds.get("thumb", 0),
        reasons=kinds.get("reason", 0),
        corrections=kinds.get("correction", 0),
        pairs=dict.fromkeys(STATUSES, 0) | found,
        since=value(db, SINCE, {"person": person}),
        learning=may_learn(db, person),
        domain=chosen,
    )


ASKED = (  # an erased question leaves its figures, see data/people/figures.py
    "SELECT count(*) FROM replies r WHERE person = ? "
    "AND EXISTS (SELECT 1 FROM messages m WHERE m.reply_id = r.id)"
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
    """Everything they wrote and what it was used for, as JSON values. Times are ISO 8601, UTC."""
    seen = summarise(db, person)
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
       r.status, r.outcome,
       coalesce(ad.name || '@' || a.version, CASE r.outcome WHEN 'generated' THEN 'base' END)
       AS adapter
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
    became = {f.pair_id: f.sentence for f in contributions.contributions_of(db, person, -1)}
    return [
        {**_timed(r), "turns": orjson.loads(r["turns"]), "became": became.get(r["id"], "")}
        for r in rows(db, PAIRS, [person])
    ]


def _timed(found: Row) -> dict[str, Any]:
    return {**found, "at": iso(found["at"])}
