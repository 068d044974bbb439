"""The queue of pending pairs, shared by several reviewers.

A reviewer holds a pair under a lease of a few minutes, so that no two reviewers get the same one.
Decisions are idempotent: repeating a decision changes nothing, and contradicting somebody's
decision is refused with that person's name.
"""

from dataclasses import dataclass, replace

from sqlite_utils import Database

from data import domains
from data.domains import Domain
from data.pairs import fact_links, pairs, review_status
from data.pairs.pairs import Draft, Pair
from data.store import audit
from data.store.db import row, rows, value
from data.store.errors import Conflict
from data.store.lease_clock import lease_us

LEASE_S = 600
MAX_REASON = 1_000  # characters
WITHDRAWN: dict[review_status.Reason, str] = {
    "replaced": "its author replaced it",
    "taken back": "its author took it back",
    "opted out": "its author opted out of learning",
    "import undone": "its import was undone",
}
REWORDED = "A reviewer approved it in other words."


@dataclass(frozen=True)
class Waiting:
    """The pending pairs of one domain."""

    domain: str
    title: str
    pending: int
    oldest_at: int | None


NEXT = """
SELECT p.id FROM pairs p LEFT JOIN review_leases l ON l.pair_id = p.id
WHERE p.status = 'pending' AND (:domain IS NULL OR p.domain_id = :domain)
AND (l.pair_id IS NULL OR l.reviewer = :reviewer OR l.until < :now)
ORDER BY p.id <= :after, p.id LIMIT 1
"""


def take_next(
    db: Database, reviewer: str, domain: Domain | None = None, after: int = 0
) -> Pair | None:
    """Take the oldest pending pair that no other reviewer holds, starting after `after` and then
    from the beginning. The reviewer then holds this pair and no other. None: nothing is left.
    """
    given = {"domain": domain.id if domain else None, "reviewer": reviewer, "after": after}
    found = row(db, NEXT, {**given, "now": lease_us(db)})
    db.execute("DELETE FROM review_leases WHERE reviewer = ?", [reviewer])
    if found is None:
        return None
    _hold(db, found["id"], reviewer)
    return pairs.get(db, found["id"])


def hold(db: Database, pair_id: int, reviewer: str) -> Pair:
    """Extend the lease while a pair is being edited. Raises NotFound, or Conflict if another
    reviewer holds it or it has been decided."""
    pair = pairs.get(db, pair_id)
    _refuse_decided(pair)
    refuse_held(db, pair_id, reviewer)
    _hold(db, pair_id, reviewer)
    return pair


def decide(
    db: Database,
    pair_id: int,
    status: pairs.Status,
    reviewer: str,
    reason: str = "",
    fact: str = "",
) -> Pair:
    """Approve or reject a pair. `fact`: the reviewer confirms that it states this fact. Raises
    NotFound, or Conflict if another reviewer decided otherwise or holds it."""
    pair = pairs.get(db, pair_id)
    if pair.status == status and review_status.review_of(pair).person == reviewer:
        return pair
    _refuse_decided(pair)
    refuse_held(db, pair_id, reviewer)
    if fact:
        fact_links.link(db, pair_id, fact)
    decided = review_status.set_status(db, pair_id, status, reviewer, reason.strip()[:MAX_REASON])
    let_go(db, pair_id)
    detail = {"reason": reason.strip()[:MAX_REASON]} if reason.strip() else {}
    if fact:
        detail["fact"] = fact
    audit.record(db, reviewer, "review", f"pair {pair_id}", status=status, **detail)
    return decided


def edit(
    db: Database, pair_id: int, prompt: str, response: str, reviewer: str, fact: str = ""
) -> Pair:
    """Approve a pair with edited words: they become a new pair with the author and the fact of the
    old one, which is rejected. Unchanged words simply approve it. `fact`: the reviewer confirms
    that the pair states this fact.

    Raises Invalid for words that cannot be a pair, else as `decide`."""
    old = pairs.get(db, pair_id)
    if old.status == "rejected" and review_status.review_of(old).person == reviewer:
        replaced = pairs.find_same_words(db, old.domain_id, edited(old, prompt, response))
        if replaced is not None and replaced.status == "approved":
            return replaced
    draft = edited(old, prompt, response)
    same = old.fingerprint in (pairs.fingerprint(draft), pairs.fingerprint_stored(draft))
    if same and old.status == "approved" and review_status.review_of(old).person == reviewer:
        return old
    _refuse_decided(old)
    refuse_held(db, pair_id, reviewer)
    if same:
        return decide(db, pair_id, "approved", reviewer, fact=fact)
    if fact:
        draft = replace(draft, fact=fact_links.link(db, pair_id, fact).fact)
    new_id = replace_by(db, old, draft, "approved", reviewer)
    detail = {"pair": new_id} | ({"fact": fact} if fact else {})
    audit.record(db, reviewer, "review", f"pair {pair_id}", status="edited", **detail)
    return pairs.get(db, new_id)


def undo(db: Database, pair_id: int, reviewer: str, *, linked: bool = False) -> Pair:
    """Let a pair wait for review again that this reviewer approved or rejected. `linked`: the
    decision gave it a fact, which it loses again. Raises NotFound, and Conflict for the decision of
    somebody else."""
    pair = pairs.get(db, pair_id)
    if pair.status == "pending":
        return pair
    if pair.status == "quarantined" or review_status.review_of(pair).person != reviewer:
        raise Conflict(f"Pair {pair_id} was not decided by you, or has been changed since.")
    if linked:
        fact_links.unlink(db, pair)
    review_status.reopen(db, pair_id)
    audit.record(db, reviewer, "review", f"pair {pair_id}", status="pending")
    return pairs.get(db, pair_id)


def waiting(db: Database) -> list[Waiting]:
    """All domains with pending pairs, the longest queue first."""
    found = rows(
        db,
        "SELECT d.name AS domain, d.title, count(*) AS pending, min(p.created_at) AS oldest_at "
        "FROM pairs p JOIN domains d ON d.id = p.domain_id WHERE p.status = 'pending' "
        "GROUP BY d.id ORDER BY pending DESC, d.id",
    )
    return [Waiting(**r) for r in found]


def decided_since(db: Database, since_us: int) -> dict[str, int]:
    """The numbers of pairs that people approved and rejected since then."""
    found = rows(
        db,
        "SELECT status, count(*) AS n FROM pairs WHERE reviewed_at >= ? "
        f"AND {review_status.BY_A_PERSON} GROUP BY status",
        [since_us],
    )
    return {"approved": 0, "rejected": 0} | {r["status"]: r["n"] for r in found}


def pending(db: Database, domain: Domain | None = None) -> int:
    """The number of pairs that are waiting for review."""
    sql = "SELECT count(*) FROM pairs WHERE status = 'pending' AND (? IS NULL OR domain_id = ?)"
    asked = domain.id if domain else None
    return int(value(db, sql, [asked, asked]))


def replace_by(db: Database, old: Pair, draft: Draft, status: pairs.Status, reviewer: str) -> int:
    """Replace a pair by one with other words and this status; returns its id. The old one is
    rejected. Raises Conflict if there is a pair with these words that was forgotten."""
    domain, ref, author = domains.by_id(db, old.domain_id), old.source_ref, old.author
    pairs.add(db, domain, [draft], source=old.source, source_ref=ref, author=author)
    new = pairs.find_same_words(db, old.domain_id, draft)
    if new is None:
        raise Conflict("Somebody else changed the pair at the same time. Try again.")
    review_status.set_status(db, old.id, "rejected", reviewer, REWORDED)
    if status == "pending":
        review_status.reopen(db, new.id)
    else:
        review_status.set_status(db, new.id, status, reviewer)
    db.execute("UPDATE feedback SET pair_id = ? WHERE pair_id = ?", [new.id, old.id])
    db.execute(
        "INSERT OR IGNORE INTO pair_words SELECT person, ? FROM pair_words WHERE pair_id = ?",
        [new.id, old.id],
    )
    for pair_id in (old.id, new.id):
        let_go(db, pair_id)
    return new.id


def edited(old: Pair, prompt: str, response: str) -> Draft:
    """The pair with edited words. It keeps its fact if the answer is unchanged."""
    draft = Draft(
        prompt=prompt,
        response=response,
        system=old.system,
        turns=old.turns,
        fact=old.fact if old.fact != pairs.fact_of(old.response) else "",
        split=old.split,
    )
    pairs.check(draft)
    return draft


def _refuse_decided(pair: Pair) -> None:
    if pair.status == "pending":
        return
    by = review_status.review_of(pair)
    if by.reason is not None:
        raise Conflict(f"Pair {pair.id} was withdrawn: {WITHDRAWN[by.reason]}.")
    who = by.person or "somebody"
    raise Conflict(f"Pair {pair.id} has been decided already: {pair.status}, by {who}.")


def refuse_held(db: Database, pair_id: int, reviewer: str) -> None:
    """Raises Conflict if another reviewer is looking at the pair."""
    sql = "SELECT reviewer FROM review_leases WHERE pair_id = ? AND reviewer <> ? AND until >= ?"
    if held := row(db, sql, [pair_id, reviewer, lease_us(db)]):
        raise Conflict(f"{held['reviewer']} is looking at pair {pair_id} now.")


def _hold(db: Database, pair_id: int, reviewer: str) -> None:
    db.execute(
        "INSERT INTO review_leases (pair_id, reviewer, until) VALUES (?, ?, ?) "
        "ON CONFLICT (pair_id) DO UPDATE SET reviewer = excluded.reviewer, until = excluded.until",
        [pair_id, reviewer, lease_us(db) + LEASE_S * 1_000_000],
    )


def let_go(db: Database, pair_id: int) -> None:
    """End the lease of whoever is looking at the pair."""
    db.execute("DELETE FROM review_leases WHERE pair_id = ?", [pair_id])
