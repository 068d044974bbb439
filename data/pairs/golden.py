"""The golden set of a domain: frozen questions that are used for evaluation only.

A question is golden because its pair is marked as golden, and its words never change.
`contamination.py` keeps golden questions out of training.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data.domains import Domain
from data.pairs import contamination, pairs
from data.pairs.contamination import Guard, seen_by
from data.pairs.pairs import Draft, Pair
from data.store import audit
from data.store.db import Store, rows, value
from data.store.errors import Conflict, NotFound


@dataclass(frozen=True)
class GoldenAdded:
    pair: Pair
    seen_by: tuple[str, ...]  # adapters that were trained on the same question


def add(
    db: Database, domain: Domain, prompt: str, response: str, actor: str, fact: str = ""
) -> GoldenAdded:
    """Add a golden question. Raises Leak if a trainable pair asks the same, Conflict if it already
    exists, Invalid if it cannot be a pair. In a large domain this takes long, see `add_to`."""
    draft = Draft(prompt, response, fact=fact, split="golden")
    pairs.check(draft)
    Guard(db, domain).refuse(draft)
    pair = _insert(db, domain, draft, actor)
    return GoldenAdded(pair, seen_by(db, domain, [pair])[pair.id])


def add_to(
    store: Store, domain: Domain, prompt: str, response: str, actor: str, fact: str = ""
) -> GoldenAdded:
    """The same, with the write lock held only to insert the question: comparing it with 50,000
    pairs takes seconds. What changed during the comparison is compared under the lock."""
    draft = Draft(prompt, response, fact=fact, split="golden")
    pairs.check(draft)
    before = contamination.state(store.db, domain)
    Guard(store.db, domain).refuse(draft)
    with store.write() as db:
        contamination.refuse_changed(db, domain, draft, before)
        pair = _insert(db, domain, draft, actor)
    return GoldenAdded(pair, seen_by(store.db, domain, [pair])[pair.id])


def _insert(db: Database, domain: Domain, draft: Draft, actor: str) -> Pair:
    added = pairs.add(db, domain, [draft], source="golden", author=actor, status="approved")
    if not added.ids:
        raise Conflict(f"{domain.name} already has a pair with these words.")
    audit.record(db, actor, "golden add", f"pair {added.ids[0]}", domain=domain.name)
    return pairs.get(db, added.ids[0])


def count(db: Database, domain: Domain) -> int:
    """The number of golden questions."""
    sql = (
        "SELECT count(*) FROM pairs WHERE domain_id = ? AND status = 'approved' "
        "AND split = 'golden' AND forgotten_at IS NULL"
    )
    return int(value(db, sql, [domain.id]))


def count_and_newest(db: Database, domain: Domain) -> tuple[int, int]:
    """The number of golden questions, and when the newest one came (Unix time in microseconds; 0:
    there is none)."""
    sql = (
        "SELECT count(*), coalesce(max(created_at), 0) FROM pairs WHERE domain_id = ? AND status = "
        "'approved' AND split = 'golden' AND forgotten_at IS NULL"
    )
    many, newest = db.execute(sql, [domain.id]).fetchone()
    return int(many), int(newest)


def list_golden(db: Database, domain: Domain) -> list[Pair]:
    """The golden set, oldest first."""
    sql = (
        f"{pairs.SELECT} INDEXED BY pairs_golden WHERE domain_id = ? AND status = 'approved' "
        "AND split = 'golden' AND forgotten_at IS NULL ORDER BY id"
    )
    return [pairs._pair(r) for r in rows(db, sql, [domain.id])]


def release(db: Database, domain: Domain, pair_id: int, actor: str) -> Pair:
    """Make a golden question an ordinary pair, which may be trained on. Raises NotFound if it is
    not a golden question of the domain."""
    pair = pairs.get(db, pair_id)
    if pair.domain_id != domain.id or pair.split != "golden":
        raise NotFound(f"Pair {pair_id} is not a golden question of {domain.name}.")
    db.execute("UPDATE pairs SET split = 'auto' WHERE id = ?", [pair_id])
    audit.record(db, actor, "golden release", f"pair {pair_id}", domain=domain.name)
    return pairs.get(db, pair_id)
