"""GPU time sharing: sleep hours, requests for the card, and stale heartbeats."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given as always
from hypothesis import strategies as st

from data import domains
from data.adapters import placements
from data.config.settings import ServingSettings, Settings
from data.gpu import time_sharing
from data.runs import runs
from data.runs.phases import Phase, RunPhase
from data.runs.runs import Run
from data.store.clock import now_us
from data.store.db import Store

NIGHT = "22:00-06:00"
UNTIL_22 = RunPhase(Phase.WAITING_UNTIL, "22:00")
DAY = "09:30-17:00"


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-05-04 {clock}")


@pytest.fixture
def settings(tmp_path) -> Settings:
    serving = ServingSettings(gpu_sharing="sleep", sleep_hours=NIGHT)
    return Settings(home=tmp_path, serving=serving)


@pytest.fixture
def run(store: Store) -> Run:
    with store.write() as db:
        return runs.queue(db, domains.create(db, "helpdesk"), "cli:test", kind="full")


def engine(store: Store, state: str, name: str = "local-1") -> None:
    with store.write() as db:
        placements.record_heartbeat(db, name, "http://engine", "pocket", state)


def age(store: Store, table: str, seconds: float) -> None:
    with store.write() as db:
        sql = f"UPDATE {table} SET heartbeat_at = ?"
        db.execute(sql, [now_us() - int(seconds * 1_000_000)])


@pytest.mark.parametrize(
    ("hours", "clock", "expected"),
    [
        ("", "12:00", True),
        (DAY, "09:29", False), (DAY, "09:30", True), (DAY, "16:59:59", True), (DAY, "17:00", False),
        (NIGHT, "21:59", False), (NIGHT, "22:00", True), (NIGHT, "00:00", True),
        (NIGHT, "05:59:59", True), (NIGHT, "06:00", False), (NIGHT, "12:00", False),
        ("08:00-08:00", "03:00", True),
    ],
)  # fmt: skip
def test_hours_may_cross_midnight(hours, clock, expected):
    assert time_sharing.in_hours(hours, at(clock)) is expected


@pytest.mark.parametrize(
    ("hours", "clock", "expected"),
    [
        (NIGHT, "12:00", "2026-05-04 22:00"),
        (NIGHT, "23:00", "2026-05-04 23:00"),
        (DAY, "17:00", "2026-05-05 09:30"),
        (DAY, "08:00", "2026-05-04 09:30"),
    ],
)
def test_the_next_opening_of_the_hours(hours, clock, expected):
    assert time_sharing.next_opening(hours, at(clock)) == datetime.fromisoformat(expected)


clocks = st.times().map(lambda t: f"{t.hour:02}:{t.minute:02}")


@always(clocks, clocks, st.datetimes())
def test_hours_begin_at_their_next_opening_and_not_before(begin, end, now):
    hours = f"{begin}-{end}"
    opening = time_sharing.next_opening(hours, now)
    assert time_sharing.in_hours(hours, opening)
    assert timedelta() <= opening - now < timedelta(days=1)
    if opening > now:
        assert not time_sharing.in_hours(hours, opening - timedelta(microseconds=1))


@pytest.mark.parametrize("clock", ["12:00", "06:00", "05:59", "05:58"])
def test_a_run_waits_outside_the_hours_and_just_before_their_end(store, settings, run, clock):
    """The engine needs time to wake and must be awake when the hours end."""
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.WAITING)
    assert time_sharing.wait_reason(store.db, settings, at(clock)) == UNTIL_22
    assert time_sharing.closed_until(settings, at(clock)) == UNTIL_22
    assert not time_sharing.card_wanted(store.db, settings, at(clock))
    assert time_sharing.card_wanted(store.db, settings, at("05:57:59"))
    assert time_sharing.closed_until(settings, at("22:00")) is None


@pytest.mark.parametrize("sharing", ["off", "split"])
def test_without_sleep_mode_no_run_waits(store, run, sharing):
    engine(store, "ready")
    settings = Settings(serving=ServingSettings(gpu_sharing=sharing, sleep_hours=NIGHT))
    assert time_sharing.wait_reason(store.db, settings, at("12:00")) is None
    assert time_sharing.closed_until(settings, at("12:00")) is None
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.WAITING)
    assert not time_sharing.card_wanted(store.db, settings, at("23:00"))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("starting", time_sharing.WAITING), ("ready", time_sharing.WAITING),
        ("draining", time_sharing.WAITING),
        ("asleep", None), ("down", None),
    ],
)  # fmt: skip
def test_a_run_waits_while_an_engine_may_use_the_card(store, settings, run, state, expected):
    engine(store, state)
    assert time_sharing.wait_reason(store.db, settings, at("23:00")) == expected


def test_a_run_waits_until_every_engine_sleeps(store, settings, run):
    engine(store, "asleep", "local-1")
    engine(store, "ready", "local-2")
    assert time_sharing.wait_reason(store.db, settings, at("23:00")) == time_sharing.WAITING


def test_an_engine_without_a_recent_heartbeat_does_not_use_the_card(store, settings, run):
    engine(store, "ready")
    age(store, "replicas", placements.STALE_S + 1)
    assert time_sharing.wait_reason(store.db, settings, at("23:00")) is None


def test_a_queued_run_without_a_worker_puts_no_engine_to_sleep(store, settings, run):
    """There may be no worker that would run it."""
    assert not time_sharing.card_wanted(store.db, settings, at("23:00"))


def test_a_workers_request_counts_until_its_heartbeat_is_too_old(store, settings, run):
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.WAITING)
    assert time_sharing.card_wanted(store.db, settings, at("23:00"))
    assert not time_sharing.card_wanted(store.db, settings, at("12:00"))
    age(store, "runs", time_sharing.REQUEST_EXPIRES_S + 1)
    assert not time_sharing.card_wanted(store.db, settings, at("23:00"))


def test_the_request_of_an_earlier_version_counts(store, settings, run):
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.WAITING)
        db.execute("UPDATE runs SET phase = 'waiting for the engine to sleep'")
    assert time_sharing.card_wanted(store.db, settings, at("23:00"))


def test_a_running_run_keeps_the_card_until_its_heartbeat_is_too_old(store, settings, run):
    with store.write() as db:
        runs.claim(db, "w1")
    assert time_sharing.card_wanted(store.db, settings, at("05:57"))
    assert not time_sharing.card_wanted(store.db, settings, at("05:58"))
    age(store, "runs", runs.SILENT_S + 1)
    assert not time_sharing.card_wanted(store.db, settings, at("05:57"))


def test_a_run_that_waits_for_its_hours_does_not_request_the_card(store, settings, run):
    with store.write() as db:
        time_sharing.request_card(db, UNTIL_22)
    assert runs.get(store.db, run.id).phase == "waiting for 22:00"
    assert not time_sharing.card_wanted(store.db, settings, at("23:00"))


def test_heartbeats_are_written_only_when_due(store, settings, run):
    def state() -> tuple[str, int | None]:
        now = runs.get(store.db, run.id)
        return now.phase, now.heartbeat_at

    with store.write() as db:
        time_sharing.request_card(db, time_sharing.WAITING)
    first = state()
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.WAITING)
    assert state() == first
    age(store, "runs", time_sharing.REQUEST_EVERY_S + 1)
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.WAITING)
    assert state()[1] > first[1]
    with store.write() as db:
        time_sharing.request_card(db, UNTIL_22)
    quiet = state()
    age(store, "runs", 1000)
    aged = state()
    with store.write() as db:
        time_sharing.request_card(db, UNTIL_22)
    assert quiet[0] == "waiting for 22:00"
    assert state() == aged


def test_only_the_oldest_queued_run_requests_the_card(store, run):
    with store.write() as db:
        later = runs.queue(db, domains.create(db, "other"), "cli:test", kind="full")
        time_sharing.request_card(db, time_sharing.WAITING)
    assert runs.get(store.db, run.id).phase == time_sharing.WAITING.text
    assert runs.get(store.db, later.id).phase == later.phase


def test_the_message_says_when_to_ask_again(store, run):
    assert time_sharing.unavailable_message(store.db, at("03:00")) == (
        "The bot is learning right now. Ask again in a few minutes."
    )
    with store.write() as db:
        runs.claim(db, "w1")
        runs.progress(db, runs.get(db, run.id), step=1, total_steps=9, eta_s=39 * 60)
    assert time_sharing.unavailable_message(store.db, at("03:00")) == (
        "The bot is learning until about 03:40. Ask again then."
    )
