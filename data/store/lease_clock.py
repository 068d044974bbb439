"""The clock of leases and heartbeats, which a step of the wall clock does not move.

Leases compare times that different processes wrote. By the wall clock, a step backwards makes a
dead owner's heartbeat look recent for as long as the step, and a step forwards takes leases from
healthy owners. All processes that use a store run on one machine (docs/architecture.md), so leases
count from its last start, by `CLOCK_BOOTTIME`.

Times of this clock are microseconds, like those of `clock.now_us`, and close to them as long as the
wall clock is not set: the store keeps what to add to the time since the machine started, one number
for each start. It is chosen so that leases from before that start have expired, whatever the wall
clock said then and says now. Where a system has no such clock, the wall clock has to do.
"""

import functools
import sys
import time
from pathlib import Path

from sqlite_utils import Database

from data.store.clock import now_us

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
EXPIRED_US = 300 * 1_000_000  # longer than any owner may be silent
LEASES = (  # every column with a time of this clock
    ("runs", "heartbeat_at"),
    ("replicas", "heartbeat_at"),
    ("placements", "updated_at"),
    ("questions", "lease_until"),
    ("questions", "not_before"),
    ("review_leases", "until"),
    ("replies", "opened_at"),
)


@functools.cache
def boot_id() -> str:
    """Names the present start of the machine; '' where nothing does."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def lease_us(db: Database) -> int:
    """The time now."""
    sql = "SELECT offset_us FROM lease_clock WHERE boot = ?"
    found = db.execute(sql, [boot_id()]).fetchone()
    return now_us() if found is None else int(found[0]) + _since_boot_us()


def is_set(db: Database) -> bool:
    """Whether the store knows the present start of the machine."""
    if not boot_id():
        return True
    sql = "SELECT 1 FROM lease_clock WHERE boot = ?"
    return db.execute(sql, [boot_id()]).fetchone() is not None


def set_clock(db: Database) -> None:
    """Begin to count from the present start of the machine, unless that has been done."""
    if is_set(db):
        return
    latest = max(
        db.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()[0]
        for table, column in LEASES
    )
    start = max(now_us(), latest + EXPIRED_US if latest else 0)
    db.execute("DELETE FROM lease_clock")
    db.execute(
        "INSERT INTO lease_clock (boot, offset_us) VALUES (?, ?)",
        [boot_id(), start - _since_boot_us()],
    )


def _since_boot_us() -> int:
    if sys.platform == "linux":
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    return time.monotonic_ns() // 1000
