"""Whose turn it is on the card: hours, and what each side believes of the other."""

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
        placements.beat(db, name, "http://engine", "pocket", state)


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
    assert time_sharing.within(hours, at(clock)) is expected


@pytest.mark.parametrize(
    ("hours", "clock", "expected"),
    [
        (NIGHT, "12:00", "2026-05-04 22:00"),
        (NIGHT, "23:00", "2026-05-04 23:00"),
        (DAY, "17:00", "2026-05-05 09:30"),
        (DAY, "08:00", "2026-05-04 09:30"),
    ],
)
def test_when_they_begin_next(hours, clock, expected):
    assert time_sharing.opens(hours, at(clock)) == datetime.fromisoformat(expected)


clocks = st.times().map(lambda t: f"{t.hour:02}:{t.minute:02}")


@always(clocks, clocks, st.datetimes())
def test_they_last_when_they_begin_and_until_then_they_do_not(begin, end, now):
    hours = f"{begin}-{end}"
    opening = time_sharing.opens(hours, now)
    assert time_sharing.within(hours, opening)
    assert timedelta() <= opening - now < timedelta(days=1)
    if opening > now:
        assert not time_sharing.within(hours, opening - timedelta(microseconds=1))


@pytest.mark.parametrize("clock", ["12:00", "06:00", "05:59", "05:58"])
def test_outside_of_the_hours_and_just_before_their_end_a_run_waits(store, settings, run, clock):
    """The engine needs a moment to wake, and has to be awake when the hours end."""
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.ASKING)
    assert time_sharing.waits(store.db, settings, at(clock)) == UNTIL_22
    assert time_sharing.outside(settings, at(clock)) == UNTIL_22
    assert not time_sharing.card_wanted(store.db, settings, at(clock))
    assert time_sharing.card_wanted(store.db, settings, at("05:57:59"))
    assert time_sharing.outside(settings, at("22:00")) is None


@pytest.mark.parametrize("sharing", ["off", "split"])
def test_nobody_waits_where_nobody_sleeps(store, run, sharing):
    engine(store, "ready")
    settings = Settings(serving=ServingSettings(gpu_sharing=sharing, sleep_hours=NIGHT))
    assert time_sharing.waits(store.db, settings, at("12:00")) is None
    assert time_sharing.outside(settings, at("12:00")) is None
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.ASKING)
    assert not time_sharing.card_wanted(store.db, settings, at("23:00"))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("starting", time_sharing.ASKING), ("ready", time_sharing.ASKING),
        ("draining", time_sharing.ASKING),
        ("asleep", None), ("down", None),
    ],
)  # fmt: skip
def test_a_run_waits_while_an_engine_may_hold_the_card(store, settings, run, state, expected):
    engine(store, state)
    assert time_sharing.waits(store.db, settings, at("23:00")) == expected


def test_every_engine_has_to_sleep(store, settings, run):
    engine(store, "asleep", "local-1")
    engine(store, "ready", "local-2")
    assert time_sharing.waits(store.db, settings, at("23:00")) == time_sharing.ASKING


def test_an_engine_that_gives_no_sign_any_more_holds_nothing(store, settings, run):
    engine(store, "ready")
    age(store, "replicas", placements.STALE_S + 1)
    assert time_sharing.waits(store.db, settings, at("23:00")) is None


def test_a_queued_run_alone_puts_nobody_to_sleep(store, settings, run):
    """There may be no worker to do it."""
    assert not time_sharing.card_wanted(store.db, settings, at("23:00"))


def test_a_worker_that_asks_is_heard_while_it_gives_signs(store, settings, run):
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.ASKING)
    assert time_sharing.card_wanted(store.db, settings, at("23:00"))
    assert not time_sharing.card_wanted(store.db, settings, at("12:00"))
    age(store, "runs", time_sharing.ASKING_S + 1)
    assert not time_sharing.card_wanted(store.db, settings, at("23:00"))


def test_a_worker_of_an_earlier_version_is_heard_too(store, settings, run):
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.ASKING)
        db.execute("UPDATE runs SET phase = 'waiting for the engine to sleep'")
    assert time_sharing.card_wanted(store.db, settings, at("23:00"))


def test_a_run_at_work_is_left_alone_while_its_worker_gives_signs(store, settings, run):
    with store.write() as db:
        runs.claim(db, "w1")
    assert time_sharing.card_wanted(store.db, settings, at("05:57"))
    assert not time_sharing.card_wanted(store.db, settings, at("05:58"))
    age(store, "runs", runs.SILENT_S + 1)
    assert not time_sharing.card_wanted(store.db, settings, at("05:57"))


def test_a_run_that_waits_for_its_hours_gives_no_sign(store, settings, run):
    with store.write() as db:
        time_sharing.request_card(db, UNTIL_22)
    assert runs.get(store.db, run.id).phase == "waiting for 22:00"
    assert not time_sharing.card_wanted(store.db, settings, at("23:00"))


def test_signs_are_written_when_they_are_due(store, settings, run):
    def told() -> tuple[str, int | None]:
        now = runs.get(store.db, run.id)
        return now.phase, now.heartbeat_at

    with store.write() as db:
        time_sharing.request_card(db, time_sharing.ASKING)
    first = told()
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.ASKING)
    assert told() == first
    age(store, "runs", time_sharing.ASK_S + 1)
    with store.write() as db:
        time_sharing.request_card(db, time_sharing.ASKING)
    assert told()[1] > first[1]
    with store.write() as db:
        time_sharing.request_card(db, UNTIL_22)
    quiet = told()
    age(store, "runs", 1000)
    aged = told()
    with store.write() as db:
        time_sharing.request_card(db, UNTIL_22)
    assert quiet[0] == "waiting for 22:00"
    assert told() == aged


def test_only_the_next_run_asks(store, run):
    with store.write() as db:
        later = runs.queue(db, domains.create(db, "other"), "cli:test", kind="full")
        time_sharing.request_card(db, time_sharing.ASKING)
    assert runs.get(store.db, run.id).phase == time_sharing.ASKING.text
    assert runs.get(store.db, later.id).phase == later.phase


def test_people_are_told_when_to_ask_again(store, run):
    assert time_sharing.learning(store.db, at("03:00")) == (
        "The bot is learning just now; ask again in a few minutes."
    )
    with store.write() as db:
        runs.claim(db, "w1")
        runs.progress(db, run.id, step=1, total_steps=9, eta_s=39 * 60)
    assert time_sharing.learning(store.db, at("03:00")) == (
        "The bot is learning until about 03:40; ask again then."
    )
