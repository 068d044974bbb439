"""The sources of a reply: the approved pairs that an answer rests on, or, where the bot declined,
the questions nearest to the one that was asked.

Only ids and figures are stored, so a pair that is erased takes its place under every answer with
it. Whether the pairs were given to the model, quoted, or only found, is in `replies` (`outcome` and
`layout`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from sqlite_utils import Database

from data.pairs import review_status
from data.store.db import rows, value

FORGOTTEN = "forgotten:"  # in front of the pseudonym of somebody who was erased
# The similarity from which a question asks for the fact of the pair it found, if the confidence is
# not known; otherwise an answer that is not uncertain does.
SAME_QUESTION = 0.5


@dataclass(frozen=True)
class FoundPair:
    """A pair that the search found, without its words."""

    pair_id: int
    score: float  # what the order is by
    similarity: float  # of the question and the pair's own, at most 1


@dataclass(frozen=True)
class Source:
    """A pair under an answer, as people see it."""

    pair_id: int
    prompt: str
    response: str
    approved_by: str  # slack:T1/U2, cli:ann; '' for a pair that was imported as approved
    approved_at: int  # microseconds since the epoch
    similarity: float
    score: float


SOURCE = """
p.id AS pair_id, p.prompt, p.response, p.reviewed_by AS approved_by,
coalesce(p.reviewed_at, p.created_at) AS approved_at
"""
USABLE = "p.status = 'approved' AND p.forgotten_at IS NULL"


def describe(db: Database, found: Sequence[FoundPair]) -> tuple[Source, ...]:
    """What people see of these pairs, in the same order. A pair that is no longer approved is left
    out."""
    wanted = "p.id IN (SELECT value FROM json_each(?))"
    sql = f"SELECT {SOURCE} FROM pairs p WHERE {wanted} AND {USABLE}"
    ids = orjson.dumps([f.pair_id for f in found]).decode()
    known = {r["pair_id"]: r for r in rows(db, sql, [ids])}
    return tuple(
        _source({**known[f.pair_id], "similarity": f.similarity, "score": f.score})
        for f in found
        if f.pair_id in known
    )


def record(db: Database, reply_id: str, sources: Iterable[Source]) -> None:
    """Store the sources of a reply, the best first. One that was erased meanwhile is left out."""
    for position, source in enumerate(sources):
        db.execute(
            "INSERT OR REPLACE INTO reply_sources (reply_id, position, pair_id, score, similarity) "
            f"SELECT ?, ?, p.id, ?, ? FROM pairs p WHERE p.id = ? AND {USABLE}",
            [reply_id, position, source.score, source.similarity, source.pair_id],
        )


def of_replies(db: Database, reply_ids: Iterable[str]) -> Mapping[str, tuple[Source, ...]]:
    """The sources of each reply that has any, the best first. A pair that is no longer approved is
    left out: people should not read it any more."""
    found: dict[str, list[Source]] = defaultdict(list)
    for r in rows(
        db,
        f"SELECT s.reply_id, s.similarity, s.score, {SOURCE} FROM reply_sources s "
        "JOIN pairs p ON p.id = s.pair_id WHERE s.reply_id IN (SELECT value FROM json_each(?)) "
        f"AND {USABLE} ORDER BY s.reply_id, s.position",
        [orjson.dumps(list(reply_ids)).decode()],
    ):
        found[r.pop("reply_id")].append(_source(r))
    return {reply_id: tuple(sources) for reply_id, sources in found.items()}


def of_reply(db: Database, reply_id: str) -> tuple[Source, ...]:
    """The sources of one reply."""
    return of_replies(db, [reply_id]).get(reply_id, ())


def quoted_fact(db: Database, reply_id: str) -> str:
    """The fact of the pair that a reply quotes, if its question asks what the pair's own asks; ''
    for any other reply."""
    sql = (
        "SELECT p.fact FROM replies r JOIN reply_sources s ON s.reply_id = r.id AND s.position = 0 "
        f"JOIN pairs p ON p.id = s.pair_id WHERE r.id = ? AND r.outcome = 'quoted' AND {USABLE} "
        "AND CASE WHEN r.confidence IS NULL THEN s.similarity >= ? ELSE r.uncertain = 0 END"
    )
    return str(value(db, sql, [reply_id, SAME_QUESTION]) or "")


def _source(found: Mapping[str, object]) -> Source:
    by = review_status.decode(str(found["approved_by"]))
    known = "" if by.person.startswith(FORGOTTEN) else by.person
    return Source(**{**found, "approved_by": known})  # type: ignore[arg-type]
