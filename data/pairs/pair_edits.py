"""Edits of a pair: its words, its fact and its status, by somebody who saw it before.

What the editor saw is given as a digest. If the pair has changed since, nothing is written: two
people who edit the same pair at once cannot undo each other's work without knowing.
"""

import hashlib
from dataclasses import replace

from sqlite_utils import Database

from data.pairs import pairs, review_queue, review_status
from data.pairs.pairs import Draft, Pair, Status, fact_of
from data.store import audit
from data.store.errors import Conflict, Invalid

MAX_FACT = 1_000  # characters


def seen(pair: Pair) -> str:
    """The digest of everything about a pair that an edit can change."""
    parts = (pair.fingerprint, pair.status, pair.fact, pair.split)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def named_fact(pair: Pair) -> str:
    """The fact that a pair names; '' if it names none."""
    return "" if pair.fact == fact_of(pair.response) else pair.fact


def edit(
    db: Database,
    pair_id: int,
    as_seen: str,
    editor: str,
    *,
    prompt: str,
    response: str,
    fact: str,
    status: Status,
) -> Pair:
    """Change a pair. Other words become a new pair, and the old one is rejected. Returns the pair
    that has the words now. `fact`: '' for none.

    Raises NotFound; Invalid for words that no pair can have; Conflict if the pair is not as
    `as_seen` says, or another reviewer is looking at it; and contamination.Leak."""
    old = pairs.get(db, pair_id)
    if seen(old) != as_seen:
        who = review_status.review_of(old).person
        by = f", by {who}" if who else ""
        raise Conflict(
            f"Pair {pair_id} has been changed since you opened it: it is {old.status} now{by}. "
            "Open it again to see what it says; nothing of yours was saved."
        )
    review_queue.refuse_held(db, pair_id, editor)
    fact = fact.strip()
    if len(fact) > MAX_FACT:
        raise Invalid(f"The name of a fact can have at most {MAX_FACT:,} characters.")
    same_fact = fact == named_fact(old)
    draft = review_queue.edited(old, prompt, response)
    draft = replace(draft, fact=draft.fact if same_fact else fact)
    if old.fingerprint == pairs.fingerprint_stored(draft):
        return _change(db, old, fact, status, editor)
    known = pairs.find_same_words(db, old.domain_id, draft)
    if known is not None:
        raise Conflict(f"Pair {known.id} has these words already; it is {known.status}.")
    new_id = review_queue.replace_by(db, old, draft, status, editor)
    audit.record(db, editor, "edit", f"pair {pair_id}", pair=new_id)
    audit.record(db, editor, "edit", f"pair {new_id}", replaces=pair_id, status=status)
    return pairs.get(db, new_id)


def _change(db: Database, old: Pair, fact: str, status: Status, editor: str) -> Pair:
    """Change the fact and the status of a pair whose words stay."""
    detail = {}
    if fact != named_fact(old):
        stored = pairs.marked_draft(Draft(fact, old.response)).prompt or fact_of(old.response)
        db.execute("UPDATE pairs SET fact = ? WHERE id = ?", [stored, old.id])
        detail["fact"] = fact
    if status != old.status:
        if status == "pending":
            review_status.reopen(db, old.id)
        else:
            review_status.set_status(db, old.id, status, editor)
        review_queue.let_go(db, old.id)
        detail["status"] = status
    if detail:
        audit.record(db, editor, "edit", f"pair {old.id}", **detail)
    return pairs.get(db, old.id)
