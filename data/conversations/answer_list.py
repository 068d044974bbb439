"""Answers with their questions, the newest first, by version, rating, confidence and text.

It looks at the newest `LOOKED_AT` answers of a store, so that no filter reads a million of them.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from sqlite_utils import Database

from data.conversations.conversations import Outcome, Status
from data.store.db import rows

LOOKED_AT = 50_000
UNSURE = 0.5  # a confidence below this is low

RatingFilter = Literal["", "up", "down", "corrected", "unrated"]
RATING_FILTERS: tuple[RatingFilter, ...] = get_args(RatingFilter)
ConfidenceFilter = Literal["", "low", "high", "unknown"]
CONFIDENCE_FILTERS: tuple[ConfidenceFilter, ...] = get_args(ConfidenceFilter)

THUMB = (
    "EXISTS (SELECT 1 FROM feedback f WHERE f.reply_id = r.id AND f.live = 1 "
    "AND f.kind = 'thumb' AND f.value = {})"
)
RATED: dict[RatingFilter, str] = {
    "": "1",
    "up": THUMB.format(1),
    "down": THUMB.format(0),
    "corrected": "EXISTS (SELECT 1 FROM feedback f WHERE f.reply_id = r.id AND f.live = 1 "
    "AND f.kind = 'correction')",
    "unrated": "NOT EXISTS (SELECT 1 FROM feedback f WHERE f.reply_id = r.id AND f.live = 1)",
}
SURE: dict[ConfidenceFilter, str] = {
    "": "1",
    "low": f"(r.confidence < {UNSURE} OR r.uncertain = 1)",
    "high": f"(r.confidence >= {UNSURE} AND r.uncertain = 0)",
    "unknown": "r.confidence IS NULL",
}
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True)
class AnswerFilter:
    """Which answers are listed. Empty fields leave nothing out."""

    adapter_id: int | None = None  # 0: the bare base
    variant_id: int | None = None
    rating: RatingFilter = ""
    confidence: ConfidenceFilter = ""
    outcome: Outcome | Literal[""] = ""
    text: str = ""  # in the question or the answer


@dataclass(frozen=True)
class ListedAnswer:
    """An answer and its question."""

    number: int  # grows with time; for the next page
    id: str
    person: str
    question: str  # '' if the words are not stored
    answer: str
    adapter: str  # helpdesk@3, or base
    version: int | None
    variant: str  # its label; '' outside comparisons
    experiment_id: int | None
    status: Status
    outcome: Outcome
    confidence: float | None
    uncertain: bool
    up: int
    down: int
    corrections: int
    created_at: int  # microseconds since the epoch


LIST = """
SELECT r.rowid AS number, r.id, r.person,
    coalesce((SELECT text FROM messages m WHERE m.reply_id = r.id AND role = 'user'), '')
        AS question,
    coalesce((SELECT text FROM messages m WHERE m.reply_id = r.id AND role = 'assistant'), '')
        AS answer,
    CASE WHEN a.id IS NULL THEN 'base' ELSE d.name || '@' || a.version END AS adapter, a.version,
    coalesce(v.label, '') AS variant, v.experiment_id, r.status, r.outcome, r.confidence,
    r.uncertain,
    (SELECT count(*) FROM feedback f WHERE f.reply_id = r.id AND f.live = 1 AND f.kind = 'thumb'
        AND f.value = 1) AS up,
    (SELECT count(*) FROM feedback f WHERE f.reply_id = r.id AND f.live = 1 AND f.kind = 'thumb'
        AND f.value = 0) AS down,
    (SELECT count(*) FROM feedback f WHERE f.reply_id = r.id AND f.live = 1
        AND f.kind = 'correction') AS corrections,
    r.created_at
FROM replies r JOIN domains d ON d.id = r.domain_id
LEFT JOIN adapters a ON a.id = r.adapter_id LEFT JOIN variants v ON v.id = r.variant_id
"""


def list_answers(
    db: Database,
    domain_id: int,
    wanted: AnswerFilter | None = None,
    before: int | None = None,
    limit: int = 30,
) -> list[ListedAnswer]:
    """The newest answers of a domain. `before`: only those with a smaller number."""
    wanted = wanted or AnswerFilter()
    where = [
        "r.domain_id = :domain",
        "r.status <> 'streaming'",
        f"r.rowid > (SELECT coalesce(max(rowid), 0) FROM replies) - {LOOKED_AT}",
        RATED[wanted.rating],
        SURE[wanted.confidence],
    ]
    if wanted.adapter_id is not None:
        where.append("coalesce(r.adapter_id, 0) = :adapter")
    if wanted.variant_id is not None:
        where.append("r.variant_id = :variant")
    if wanted.outcome:
        where.append("r.outcome = :outcome")
    if wanted.text:
        where.append(
            "EXISTS (SELECT 1 FROM messages m WHERE m.reply_id = r.id "
            "AND instr(casefold(m.text), :text) > 0)"
        )
        db.conn.create_function("casefold", 1, str.casefold, deterministic=True)
    if before is not None:
        where.append("r.rowid < :before")
    bound = {
        "domain": domain_id,
        "adapter": wanted.adapter_id,
        "variant": wanted.variant_id,
        "outcome": wanted.outcome,
        "text": wanted.text.casefold(),
        "before": before,
        "limit": limit,
    }
    sql = f"{LIST}WHERE {' AND '.join(where)} ORDER BY r.rowid DESC LIMIT :limit"
    return [_listed(r) for r in rows(db, sql, bound)]


def get_answer(db: Database, domain_id: int, reply_id: str) -> ListedAnswer | None:
    """One answer of a domain, or None."""
    sql = f"{LIST}WHERE r.domain_id = ? AND r.id = ?"
    return next((_listed(r) for r in rows(db, sql, [domain_id, reply_id])), None)


def _listed(found: dict[str, object]) -> ListedAnswer:
    return ListedAnswer(**{**found, "uncertain": bool(found["uncertain"])})  # type: ignore[arg-type]
