"""The feedback of the last days, for the digest, the admins' Home tab and the console."""

from dataclasses import dataclass

from sqlite_utils import Database

from data.domains import Domain
from data.store.db import rows, value


@dataclass(frozen=True)
class RatingCounts:
    """Numbers of ratings and corrections that count, of one domain or of all."""

    up: int
    down: int
    corrections: int
    people: int  # the number of people who gave them

    @property
    def any(self) -> bool:
        return self.people > 0


@dataclass(frozen=True)
class BadAnswer:
    """An answer that people disliked."""

    domain: str
    adapter: str  # helpdesk@3, or base
    question: str
    answer: str
    down: int  # the number of people who disliked it
    reason: str  # the latest reason that somebody gave; '' if nobody gave one
    pending: bool  # a correction of it is waiting for review


def rating_counts(
    db: Database, since_us: int, until_us: int | None = None, domain: Domain | None = None
) -> RatingCounts:
    """Feedback given from `since_us` on and before `until_us`. A replaced rating counts once."""
    of_domain = "" if domain is None else "AND r.domain_id = ?"
    sql = (
        "SELECT coalesce(sum(f.kind = 'thumb' AND f.value = 1), 0) AS up, "
        "coalesce(sum(f.kind = 'thumb' AND f.value = 0), 0) AS down, "
        "coalesce(sum(f.kind = 'correction'), 0) AS corrections, "
        "count(DISTINCT f.person) AS people FROM feedback f "
        + ("JOIN replies r ON r.id = f.reply_id " if domain is not None else "")
        + "WHERE f.live = 1 AND f.counts = 1 AND f.created_at >= ? AND f.created_at < ? "
        f"AND f.kind IN ('thumb', 'correction') {of_domain}"
    )
    within = [since_us, until_us or 2**62, *([domain.id] if domain is not None else [])]
    return RatingCounts(**rows(db, sql, within)[0])


def worst_answers(db: Database, since_us: int, most: int) -> list[BadAnswer]:
    """The answers that most people disliked since then; among equals, the newest first. Erased
    answers are left out."""
    found = rows(
        db,
        "SELECT f.reply_id, d.name AS domain, count(*) AS down, "
        "coalesce(d.name || '@' || a.version, "
        "CASE r.outcome WHEN 'generated' THEN 'base' ELSE r.outcome END) AS adapter, "
        "q.text AS question, m.text AS answer "
        "FROM feedback f JOIN replies r ON r.id = f.reply_id JOIN domains d ON d.id = r.domain_id "
        "LEFT JOIN adapters a ON a.id = r.adapter_id "
        "JOIN messages q ON q.reply_id = r.id AND q.role = 'user' AND q.text <> '' "
        "JOIN messages m ON m.reply_id = r.id AND m.role = 'assistant' AND m.text <> '' "
        "WHERE f.live = 1 AND f.counts = 1 AND f.kind = 'thumb' AND f.value = 0 "
        "AND f.created_at >= ? GROUP BY f.reply_id ORDER BY down DESC, max(f.id) DESC LIMIT ?",
        [since_us, most],
    )
    return [
        BadAnswer(
            domain=r["domain"],
            adapter=r["adapter"],
            question=r["question"],
            answer=r["answer"],
            down=r["down"],
            reason=_reason(db, r["reply_id"]),
            pending=_has_pending_correction(db, r["reply_id"]),
        )
        for r in found
    ]


def _reason(db: Database, reply_id: str) -> str:
    """The latest reason that somebody gave, or ''."""
    sql = (
        "SELECT text FROM feedback WHERE reply_id = ? AND kind = 'reason' AND live = 1 "
        "ORDER BY id DESC LIMIT 1"
    )
    return str(value(db, sql, [reply_id]) or "")


def _has_pending_correction(db: Database, reply_id: str) -> bool:
    """Whether a correction of the reply is waiting for review."""
    sql = (
        "SELECT 1 FROM feedback f JOIN pairs p ON p.id = f.pair_id "
        "WHERE f.reply_id = ? AND f.live = 1 AND p.status = 'pending'"
    )
    return value(db, sql, [reply_id]) is not None
