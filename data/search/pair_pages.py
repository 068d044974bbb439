"""Pages of a domain's pairs: filters, and full-text search over pairs of every status.

Pages are found by the id of the last pair of the page before, so the thousandth page takes as long
as the first. Approved pairs are in one full-text index and all others in a second one; the results
of both are merged by id.
"""

import heapq
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.pairs.pairs import SELECT, Pair, Split, Status, _pair
from data.search.word_search import SHORTEST, WORD, _quoted, terms
from data.store.db import rows, value

PAGE = 50  # pairs on a page
MOST_COUNTED = 10_000  # pairs; more are not counted one by one
NEWEST = 2**62  # above every id
SPECIAL = re.compile("[%_!]")  # in LIKE


@dataclass(frozen=True)
class PairFilter:
    """Which pairs of a domain are meant: those that every given part fits."""

    words: str = ""  # the question or the answer holds all of them
    status: Status | None = None
    split: Split | None = None
    source: str = ""
    batch: int | None = None  # the number of an import
    fact: str = ""
    finding: str = ""  # the name of a check that found something in them

    @property
    def given(self) -> bool:
        return any(getattr(self, one.name) not in ("", None) for one in fields(self))


@dataclass(frozen=True)
class PairPage:
    """One page of pairs, the newest first."""

    pairs: list[Pair]
    following: int | None  # the next page is before this id; None: there is none


@dataclass(frozen=True)
class FactPhrasings:
    """A fact, with the approved pairs that state it."""

    fact: str
    pairs: list[Pair]  # the first few, by id
    total: int


def page(
    db: Database, domain: Domain, wanted: PairFilter, before: int = NEWEST, limit: int = PAGE
) -> PairPage:
    """At most `limit` pairs with an id below `before`."""
    found = list(itertools.islice(_ids(db, domain, wanted, before, limit + 1), limit + 1))
    shown = found[:limit]
    sql = f"{SELECT} WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC"
    listed = [_pair(r) for r in rows(db, sql, [orjson.dumps(shown).decode()])]
    return PairPage(listed, shown[-1] if len(found) > limit else None)


def count(db: Database, domain: Domain, wanted: PairFilter, most: int = MOST_COUNTED) -> int:
    """How many pairs are meant; `most` if there are that many or more."""
    found = 0
    for sql, params in _queries(domain, wanted, NEWEST, most):
        found += int(value(db, f"SELECT count(*) FROM ({sql})", params))
    return min(found, most)


def ids(db: Database, domain: Domain, wanted: PairFilter, most: int = MOST_COUNTED) -> list[int]:
    """The ids of the pairs that are meant, the newest first; at most `most`."""
    return list(itertools.islice(_ids(db, domain, wanted, NEWEST, most), most))


def sources(db: Database, domain: Domain) -> list[str]:
    """Where the pairs of a domain come from, by name."""
    return [r["source"] for r in rows(db, SOURCES, {"domain": domain.id})]


# each step looks up the first source after the last one
SOURCES = """
WITH RECURSIVE found (source) AS (
    SELECT min(source) FROM pairs WHERE domain_id = :domain
    UNION ALL
    SELECT (SELECT min(p.source) FROM pairs p WHERE p.domain_id = :domain AND p.source > f.source)
    FROM found f WHERE f.source IS NOT NULL
)
SELECT source FROM found WHERE source IS NOT NULL
"""


def facts(
    db: Database,
    domain: Domain,
    after: str = "",
    limit: int = 25,
    *,
    least: int = 2,
    shown: int = 5,
) -> list[FactPhrasings]:
    """Facts that at least `least` approved pairs state, in the order of their names."""
    sql = (
        "SELECT fact, count(*) AS total FROM pairs INDEXED BY pairs_by_fact WHERE domain_id = ? "
        "AND fact > ? AND status = 'approved' GROUP BY fact HAVING count(*) >= ? LIMIT ?"
    )
    found = rows(db, sql, [domain.id, after, least, limit])
    return [
        FactPhrasings(r["fact"], stating(db, domain, r["fact"], shown), r["total"]) for r in found
    ]


def stating(db: Database, domain: Domain, fact: str, limit: int) -> list[Pair]:
    """The approved pairs that state a fact, by id."""
    sql = (
        f"{SELECT} INDEXED BY pairs_by_fact WHERE domain_id = ? AND fact = ? "
        "AND status = 'approved' AND forgotten_at IS NULL ORDER BY id LIMIT ?"
    )
    return [_pair(r) for r in rows(db, sql, [domain.id, fact, limit])]


def _ids(
    db: Database, domain: Domain, wanted: PairFilter, before: int, limit: int
) -> Iterator[int]:
    """Ids in falling order; each index gives at most `limit`."""
    found = [
        [int(r["id"]) for r in rows(db, sql, params)]
        for sql, params in _queries(domain, wanted, before, limit)
    ]
    return heapq.merge(*found, reverse=True)


def _queries(
    domain: Domain, wanted: PairFilter, before: int, limit: int
) -> list[tuple[str, dict[str, Any]]]:
    """For each index that is read: ids in falling order, and the parameters."""
    conditions, params = _conditions(wanted)
    params |= {"domain": domain.id, "before": before, "limit": limit}
    found = terms(wanted.words)
    if found:
        params["match"] = " AND ".join(map(_quoted, found))
        tables = ["pair_search", "other_pair_search"]
        if wanted.status not in (None, "approved") or wanted.split == "golden":
            tables.remove("pair_search")
        starts = [
            f"{name} s CROSS JOIN pairs p ON p.id = s.rowid WHERE s.{name} MATCH :match "
            "AND s.rowid < :before"
            for name in tables
        ]
        order = "s.rowid"
    elif wanted.finding:
        starts = [
            "quality_marks m CROSS JOIN pairs p ON p.id = m.pair_id WHERE m.domain_id = :domain "
            "AND m.check_name = :finding AND m.pair_id < :before"
        ]
        order = "m.pair_id"
    else:
        index = "pairs_listed"
        if wanted.fact:
            index = "pairs_by_fact"
        elif wanted.batch is not None:
            index = "pairs_by_import"
        starts, order = [f"pairs p INDEXED BY {index} WHERE p.id < :before"], "p.id"
    filters = "".join(f" AND {one}" for one in conditions)
    return [
        (f"SELECT p.id FROM {start}{filters} ORDER BY {order} DESC LIMIT :limit", params)
        for start in starts
    ]


def _conditions(wanted: PairFilter) -> tuple[list[str], dict[str, Any]]:
    found = ["p.domain_id = :domain", "p.forgotten_at IS NULL"]
    params: dict[str, Any] = {}
    for column, given in (
        ("status", wanted.status),
        ("split", wanted.split),
        ("source", wanted.source or None),
        ("import_id", wanted.batch),
        ("fact", wanted.fact or None),
    ):
        if given is not None:
            found.append(f"p.{column} = :{column}")
            params[column] = given
    if wanted.finding:
        params["finding"] = wanted.finding
        found.append(
            "EXISTS (SELECT 1 FROM quality_marks q WHERE q.domain_id = :domain "
            "AND q.check_name = :finding AND q.pair_id = p.id)"
        )
    for number, word in enumerate(_too_short(wanted.words)):
        like = f"LIKE :word{number} ESCAPE '!'"
        found.append(f"(p.prompt {like} OR p.response {like})")
        params[f"word{number}"] = "%" + SPECIAL.sub(r"!\g<0>", word) + "%"
    return found, params


def _too_short(words: str) -> list[str]:
    """The words that the full-text indexes do not know; what is in no word is one of them if there
    is nothing else, such as `:-)`."""
    found = [word for word in WORD.findall(words) if len(word) < SHORTEST]
    if not found and words.strip() and not terms(words):
        return [words.strip()]
    return found[:8]
