"""Time stamps: integers, in microseconds since the epoch, UTC. Every table uses this one form."""

import time
from datetime import UTC, datetime

DAY_US = 24 * 3600 * 1_000_000


def now_us() -> int:
    """The current time in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def iso(us: int) -> str:
    """`us` (epoch microseconds) as ISO 8601 text in UTC, to the second."""
    return datetime.fromtimestamp(us / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
