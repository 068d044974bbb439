"""How many questions an address may still ask in the web chat.

A token bucket for each address: it holds the questions of one hour and fills up in an hour. It is
in the store, so the limit is that of all bot processes together, and a restart does not fill it.
Of the address, a keyed digest is kept, and deleted an hour after the last question, when the bucket
is full again.
"""

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import row, value
from data.store.secret import keyed_digest

HOUR_US = 3_600_000_000
MAX_ADDRESSES = 10_000  # that are remembered


def take(db: Database, address: str, per_hour: int) -> int:
    """Count a question of an address, or for IPv6 of its network. Returns 0, or the microseconds
    until it may ask again; then nothing was counted."""
    digest, now = keyed_digest(db, "web allowance", address), now_us()
    db.execute("DELETE FROM web_allowances WHERE as_of <= ?", [now - HOUR_US])
    found = row(db, "SELECT remaining, as_of FROM web_allowances WHERE address = ?", [digest])
    left = float(per_hour)
    if found is not None:
        grown = max(0, now - found["as_of"]) * per_hour / HOUR_US
        left = min(left, found["remaining"] + grown)
    if left < 1:
        return int((1 - left) * HOUR_US / per_hour) + 1
    db.execute(
        "INSERT OR REPLACE INTO web_allowances (address, remaining, as_of) VALUES (?, ?, ?)",
        [digest, left - 1, now],
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
