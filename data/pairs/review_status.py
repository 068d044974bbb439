"""The status that a pair is given by a reviewer, or by the loop itself.

Every pair that is there already and is approved goes through here: what would teach an answer to a
golden question never is. Those that are imported as approved are checked as they are read
(`data/pairs/files.py`).
"""

from sqlite_utils import Database

from data.pairs import golden, pairs
from data.pairs.pairs import Pair, Status
from data.store.clock import now_us
from data.store.db import changed


def give(db: Database, pair_id: int, status: Status, reviewer: str, reason: str = "") -> Pair:
    """Approve, reject or quarantine a pair; `reason` is for its author. Raises NotFound, or
    golden.Leak when it would be trained though it asks a golden question, or the other way."""
    pair = pairs.get(db, pair_id)
    if status == "approved":
        golden.refuse_approval(db, pair)
    changed(
        db,
        "UPDATE pairs SET status = ?, reviewed_at = ?, reviewed_by = ?, review_reason = ? "
        "WHERE id = ?",
        [status, now_us(), reviewer, reason, pair_id],
    )
    return pairs.get(db, pair_id)
