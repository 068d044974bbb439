"""Times of a schedule in a time zone, and quiet hours."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from data.store.errors import Invalid
from data.triggers import schedule

BERLIN = "Europe/Berlin"


def us(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1e6)


def at(time: int) -> str:
    return datetime.fromtimestamp(time / 1e6, UTC).isoformat(timespec="minutes")


def test_a_schedule_is_read_in_its_time_zone() -> None:
    now = us("2026-07-08 12:00")  # a Wednesday
    assert at(schedule.next_after("0 3 * * 1", BERLIN, now)) == "2026-07-13T01:00+00:00"
    assert at(schedule.last_until("0 3 * * 1", BERLIN, now)) == "2026-07-06T01:00+00:00"
    assert at(schedule.next_after("0 3 * * 1", "UTC", now)) == "2026-07-13T03:00+00:00"


def test_a_time_is_due_from_its_own_second_on() -> None:
    due = us("2026-07-06 03:00")
    assert schedule.last_until("0 3 * * 1", "UTC", due) == due
    assert schedule.last_until("0 3 * * 1", "UTC", due - 1) == us("2026-06-29 03:00")
    assert schedule.next_after("0 3 * * 1", "UTC", due) == us("2026-07-13 03:00")


def test_an_hour_that_a_summer_time_skips_or_repeats_comes_once() -> None:
    daily, begin, end = "30 2 * * *", us("2026-03-28 12:00"), us("2026-10-24 12:00")
    first = schedule.next_after(daily, BERLIN, begin)
    assert at(first) == "2026-03-29T01:00+00:00"  # 3:00, because there is no 2:30
    assert at(schedule.next_after(daily, BERLIN, first)) == "2026-03-30T00:30+00:00"
    first = schedule.next_after(daily, BERLIN, end)
    assert at(schedule.next_after(daily, BERLIN, first)) == "2026-10-26T01:30+00:00"


@pytest.mark.parametrize("wrong", ["", "soon", "0 3 * *", "61 * * * *", "0 0 31 2 *"])
def test_what_is_no_schedule_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid, match=r"five cron fields|never due"):
        schedule.check_cron(wrong)


@pytest.mark.parametrize("wrong", ["Mars/Olympus", "", "../etc/passwd", "Europe/"])
def test_what_is_no_time_zone_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid, match="no time zone"):
        schedule.zone(wrong)


@pytest.mark.parametrize(
    ("hours", "local", "until"),
    [
        ("08:00-18:00", "2026-07-08 07:59", None),
        ("08:00-18:00", "2026-07-08 08:00", "2026-07-08 18:00"),
        ("08:00-18:00", "2026-07-08 18:00", None),
        ("22:00-06:30", "2026-07-08 21:59", None),
        ("22:00-06:30", "2026-07-08 23:00", "2026-07-09 06:30"),
        ("22:00-06:30", "2026-07-09 05:00", "2026-07-09 06:30"),
        ("", "2026-07-09 05:00", None),
    ],
)
def test_quiet_hours_may_span_midnight(hours: str, local: str, until: str | None) -> None:
    found = schedule.quiet_until(hours, BERLIN, us(local, BERLIN))
    assert found == (us(until, BERLIN) if until else None)


@pytest.mark.parametrize("wrong", ["8-18", "08:00", "24:00-06:00", "08:00-08:00", "night"])
def test_what_are_no_quiet_hours_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid):
        schedule.quiet_minutes(wrong)
