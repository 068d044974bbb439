"""How much an address may still ask and write in the web chat, and how much a key may write.

A token bucket for each of them and each use: it holds those of one hour and fills up in an hour. It
is in the store, so the limit is that of all bot processes together, and a restart does not fill it.
Of the address, a keyed digest is kept, and deleted an hour after the last use, when the bucket is
full again.
"""

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import row, value
from data.store.secret import keyed_digest

HOUR_US = 3_600_000_000
MAX_ADDRESSES = 10_000  # that are remembered


def take(db: Database, use: str, who: str, per_hour: int, cost: int = 1) -> int:
    """Count a use, such as a question, of an address or key, as `cost` of the `per_hour`. Returns
    0, or the microseconds until it may be; then nothing was counted."""
    digest, now = keyed_digest(db, f"web allowance, {use}", who), now_us()
    db.execute("DELETE FROM web_allowances WHERE as_of <= ?", [now - HOUR_US])
    found = row(db, "SELECT remaining, as_of FROM web_allowances WHERE address = ?", [digest])
    left = float(per_hour)
    if found is not None:
        grown = max(0, now - found["as_of"]) * per_hour / HOUR_US
        left = min(left, found["remaining"] + grown)
    if left < cost:
        return int((cost - left) * HOUR_US / per_hour) + 1
    db.execute(
        "INSERT OR REPLACE INTO web_allowances (address, remaining, as_of) VALUES (?, ?, ?)",
        [digest, left - cost, now],
    )
    if found is None:
        _forget_oldest(db)
    return 0


def _forget_oldest(db: Database) -> None:
    surplus = int(value(db, "SELECT count(*) FROM web_allowances")) - MAX_ADDRESSES
    if surplus > 0:
        db.execute(
            "DELETE FROM web_allowances WHERE address IN "
            "(SELECT address FROM web_allowances ORDER BY as_of LIMIT ?)",
            [surplus],
        )
