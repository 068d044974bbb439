"""The status of a pair, and who or what gave it.

The column `pairs.reviewed_by` holds the id of the person who reviewed a pair, or the reason for
which it was withdrawn without a review. Only this module writes that column and reads it.

Every pair that is approved after it was added is approved here: a pair that would teach the answer
to a golden question is refused. Pairs that are imported as approved are checked as they are read
(`data/pair_files/importer.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data.pairs import contamination, masked_words, pairs
from data.pairs.pairs import Draft, Pair, Status
from data.store.clock import now_us
from data.store.db import changed

Reason = Literal["replaced", "taken back", "opted out", "import undone"]
STORED: dict[Reason, str] = {
    "replaced": "superseded by its author",
    "taken back": "withdrawn by its author",
    "opted out": "withdrawn, as its author opted out of learning",
    "import undone": "withdrawn with its import",
}
BY_A_PERSON = "reviewed_by NOT IN ({})".format(
    ", ".join(f"'{stored}'" for stored in ("", *STORED.values()))
)
UNDONE = f"(status = 'rejected' AND reviewed_by = '{STORED['import undone']}')"


@dataclass(frozen=True)
class ReviewedBy:
    """A person, a reason, or neither: the pair has not been reviewed."""

    person: str = ""  # slack:T1/U2
    reason: Reason | None = None

    @property
    def stored(self) -> str:
        """As the column has it."""
        return STORED[self.reason] if self.reason else self.person


def decode(stored: str) -> ReviewedBy:
    """What the column says."""
    reasons = {text: reason for reason, text in STORED.items()}
    reason = reasons.get(stored)
    return ReviewedBy(reason=reason) if reason else ReviewedBy(person=stored)


def review_of(pair: Pair) -> ReviewedBy:
    """Who or what gave the pair its status."""
    return decode(pair.reviewed_by)


def set_status(db: Database, pair_id: int, status: Status, reviewer: str, reason: str = "") -> Pair:
    """Approve, reject or quarantine a pair. `reason` is shown to its author. Raises NotFound, and
    contamination.Leak for a pair to train on that asks a golden question, or the other way
    round."""
    pair = pairs.get(db, pair_id)
    if status == "approved":
        contamination.refuse_approval(db, pair)
    _set(db, pair_id, status, ReviewedBy(person=reviewer), reason)
    return pairs.get(db, pair_id)


def set_statuses(
    db: Database, found: Sequence[Pair], status: Status, reviewer: str
) -> dict[int, contamination.Leak]:
    """Approve, reject or reopen many pairs of one domain, for which golden questions are read once.
    Returns the pairs that were left as they are, each with the reason why it cannot be approved."""
    leaks = contamination.approval_leaks(db, found) if status == "approved" else {}
    by = ReviewedBy() if status == "pending" else ReviewedBy(person=reviewer)
    for pair in found:
        if pair.id not in leaks:
            _set(db, pair.id, status, by)
    return leaks


def withdraw(db: Database, pair_id: int, reason: Reason) -> None:
    """Reject a pair without a review."""
    _set(db, pair_id, "rejected", ReviewedBy(reason=reason))


def withdraw_pending(db: Database, person: str, reason: Reason) -> int:
    """Reject the pairs waiting for review that hold words of this person. Returns how many."""
    return changed(
        db,
        "UPDATE pairs SET status = 'rejected', reviewed_by = ?, reviewed_at = ? "
        "WHERE status = 'pending' AND (author = ? "
        "OR source_ref IN (SELECT id FROM replies WHERE person = ?) "
        "OR id IN (SELECT pair_id FROM pair_words WHERE person = ?))",
        [STORED[reason], now_us(), person, person, person],
    )


def reopen_if_withdrawn(db: Database, domain_id: int, draft: Draft) -> Pair | None:
    """The pair of the domain with the same words, or None. A withdrawn pair waits for review
    again: its words have been given once more."""
    pair = pairs.find_same_words(db, domain_id, draft)
    if pair is None or pair.status != "rejected" or review_of(pair).reason is None:
        return pair
    reopen(db, pair.id)
    return pairs.get(db, pair.id)


def reopen(db: Database, pair_id: int) -> None:
    """Let a pair wait for review again."""
    _set(db, pair_id, "pending", ReviewedBy())


def forget_reviewer(db: Database, reviewer: str, pseudonym: str, most: int) -> int:
    """Put a pseudonym in place of a reviewer on at most `most` pairs, and delete the reasons that
    they wrote. Returns the number of pairs."""
    return changed(
        db,
        "UPDATE pairs SET reviewed_by = ?, review_reason = '' WHERE id IN "
        "(SELECT id FROM pairs WHERE reviewed_by = ? LIMIT ?)",
        [pseudonym, reviewer, most],
    )


def _set(db: Database, pair_id: int, status: Status, by: ReviewedBy, reason: str = "") -> None:
    changed(
        db,
        "UPDATE pairs SET status = ?, reviewed_at = ?, reviewed_by = ?, review_reason = ? "
        "WHERE id = ?",
        [status, now_us(), by.stored, reason, pair_id],
    )
    if status != "pending":
        masked_words.drop(db, pair_id)


def change_status_only(db: Database, pair_id: int, before: Status, after: Status) -> bool:
    """Change the status and leave who reviewed the pair, so that it can be changed back. Returns
    whether the pair had the status `before`. Raises contamination.Leak as `set_status` does."""
    if after == "approved":
        contamination.refuse_approval(db, pairs.get(db, pair_id))
    sql = "UPDATE pairs SET status = ? WHERE id = ? AND status = ? AND forgotten_at IS NULL"
    return changed(db, sql, [after, pair_id, before]) == 1


def copy_review(db: Database, of_pair: int, to_pair: int) -> None:
    """Give a pair the reviewer of another one, whose words it has in another form."""
    sql = (
        "UPDATE pairs SET reviewed_by = o.reviewed_by, reviewed_at = o.reviewed_at "
        "FROM pairs o WHERE o.id = ? AND pairs.id = ?"
    )
    changed(db, sql, [of_pair, to_pair])
