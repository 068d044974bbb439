"""The times of a cron expression in a time zone, and quiet hours.

All times are in microseconds since 1970, UTC. Where a clock is set forward or back for the summer,
`cronsim` does what Debian's cron does: a time that does not exist is moved, and one that exists
twice comes once.
"""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from data.store.errors import Invalid

QUIET = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)")


def zone(name: str) -> ZoneInfo:
    """Raises Invalid for a time zone that does not exist."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Invalid(f"There is no time zone {name[:60]!r}. Use a name like Europe/Berlin.") from (
            error
        )


def check_cron(expression: str) -> None:
    """Raises Invalid unless this is a cron expression of five fields that is due some day."""
    _times(expression, datetime.now(UTC), reverse=False)


def next_after(expression: str, time_zone: str, at: int) -> int:
    """The first time of the schedule after `at`. Raises Invalid."""
    return _us(_times(expression, _local(time_zone, at), reverse=False))


def last_until(expression: str, time_zone: str, at: int) -> int:
    """The last time of the schedule that is not after `at`. Raises Invalid."""
    next_second = _local(time_zone, at).replace(microsecond=0) + timedelta(seconds=1)
    return _us(_times(expression, next_second, reverse=True))


def quiet_until(quiet_hours: str, time_zone: str, at: int) -> int | None:
    """When the quiet hours end; None if `at` is outside them. They may span midnight. Raises
    Invalid."""
    if not quiet_hours:
        return None
    begin, end = quiet_minutes(quiet_hours)
    now = _local(time_zone, at)
    minute = now.hour * 60 + now.minute
    within = begin <= minute < end if begin < end else minute >= begin or minute < end
    if not within:
        return None
    day = now + timedelta(days=int(begin > end and minute >= begin))
    return _us(day.replace(hour=end // 60, minute=end % 60, second=0, microsecond=0))


def quiet_minutes(quiet_hours: str) -> tuple[int, int]:
    """The beginning and the end, in minutes since midnight. Raises Invalid."""
    match = QUIET.fullmatch(quiet_hours.strip())
    if match is None:
        raise Invalid("Quiet hours are written as 08:00-18:00.")
    hours = [int(part) for part in match.groups()]
    begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if begin == end:
        raise Invalid("Quiet hours must begin and end at different times.")
    return begin, end


def _times(expression: str, start: datetime, *, reverse: bool) -> datetime:
    from cronsim import CronSim, CronSimError

    try:
        return next(CronSim(expression, start, reverse=reverse))
    except CronSimError as error:
        raise Invalid(
            f"{expression[:60]!r} is not a schedule. Use five cron fields, such as `0 3 * * 1`: "
            "Mondays at 3:00."
        ) from error
    except StopIteration as error:
        raise Invalid(f"{expression[:60]!r} is never due.") from error


def _local(time_zone: str, at: int) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, zone(time_zone))


def _us(time: datetime) -> int:
    return round(time.timestamp()) * 1_000_000
