"""GPU time sharing: how the worker and the engines use one card alternately.

With `[serving] gpu_sharing = "sleep"`, the engine sleeps while a run trains. The processes
communicate only through the store. The worker requests the card on the queued run
(`request_card`, repeated every few seconds). The serving process sees the request, lets running
answers finish, puts its engines to sleep and records that on the replica. Then the worker begins.
Both processes ignore heartbeats that are too old, so a crash of one never leaves the engine asleep
or a run waiting forever.

Outside `sleep_hours` the engine never sleeps and runs wait in the queue. A run that is still
training two minutes before the end of these hours is interrupted, so that the engine is awake in
time. The run continues from its checkpoint when the hours begin again.
"""

from datetime import datetime, time, timedelta

from sqlite_utils import Database

from data.adapters import placements
from data.config.settings import Settings
from data.runs import runs
from data.runs.phases import Phase, RunPhase, stored_forms
from data.store.db import row
from data.store.lease_clock import lease_us

WAITING = RunPhase(Phase.WAITING_FOR_ENGINE)
REQUEST_EVERY_S = 2  # between two requests of a waiting worker
REQUEST_EXPIRES_S = 15  # after the last request, the worker counts as gone
WAKE_MARGIN = timedelta(minutes=2)  # time for a run to release the card and the engine to wake
AWAKE_STATES = ("starting", "ready", "draining")  # in these states an engine may use the card


def in_hours(hours: str, now: datetime) -> bool:
    """Whether local time `now` lies in `hours`, such as `22:00-06:00`. '' means always, and so do
    hours with the same begin and end. The end itself is outside."""
    if not hours:
        return True
    begin, end = _times(hours)
    if begin == end:
        return True
    at = now.time()
    return begin <= at < end if begin < end else at >= begin or at < end


def next_opening(hours: str, now: datetime) -> datetime:
    """The next time when `hours` begin, or `now` if it lies in `hours`."""
    if in_hours(hours, now):
        return now
    today = datetime.combine(now.date(), _times(hours)[0])
    return today if today >= now else today + timedelta(days=1)


def _times(hours: str) -> tuple[time, time]:
    begin, _, end = hours.partition("-")
    return time.fromisoformat(begin), time.fromisoformat(end)


def closed_until(settings: Settings, now: datetime) -> RunPhase | None:
    """The phase of a run that waits for the hours when it may use the GPU; None during them."""
    serving = settings.serving
    if serving.gpu_sharing != "sleep":
        return None
    for at in (now, now + WAKE_MARGIN):
        if not in_hours(serving.sleep_hours, at):
            opening = next_opening(serving.sleep_hours, at)
            return RunPhase(Phase.WAITING_UNTIL, f"{opening:%H:%M}")
    return None


def wait_reason(db: Database, settings: Settings, now: datetime) -> RunPhase | None:
    """The phase of a queued run that no worker may claim yet; None if it can be claimed."""
    if settings.serving.gpu_sharing != "sleep":
        return None
    closed = closed_until(settings, now)
    if closed:
        return closed
    card_in_use = any(r.state in AWAKE_STATES and not r.stale for r in placements.replicas(db))
    return WAITING if card_in_use else None


def request_card(db: Database, phase: RunPhase) -> None:
    """Store on the oldest queued run which phase it waits in. Call this repeatedly while it waits.
    It writes only a new phase, or a heartbeat that is due."""
    due = lease_us(db) - REQUEST_EVERY_S * 1_000_000 if phase == WAITING else 0
    db.execute(
        "UPDATE runs SET phase = ?, heartbeat_at = ? "
        "WHERE id = (SELECT min(id) FROM runs WHERE state = 'queued') AND state = 'queued' "
        "AND (phase <> ? OR coalesce(heartbeat_at, 0) < ?)",
        [phase.stored, lease_us(db), phase.stored, due],
    )


def card_wanted(db: Database, settings: Settings, now: datetime) -> bool:
    """Whether the engines should sleep: it is within the sleep hours, and a worker with a recent
    heartbeat waits for the card or trains on it."""
    if settings.serving.gpu_sharing != "sleep" or closed_until(settings, now):
        return False
    request = "SELECT 1 FROM runs WHERE state = 'queued' AND phase IN (?, ?) AND heartbeat_at >= ?"
    forms = stored_forms(Phase.WAITING_FOR_ENGINE)
    return (
        runs.any_running(db)
        or row(db, request, [*forms, lease_us(db) - REQUEST_EXPIRES_S * 1_000_000]) is not None
    )


def unavailable_message(db: Database, now: datetime) -> str:
    """The message for people while the engines sleep. It says when to ask again, if the run has an
    estimate."""
    found = row(db, "SELECT max(eta_s) AS eta FROM runs WHERE state = 'running'")
    eta = found["eta"] if found is not None else None
    if eta is None:
        return "The bot is learning right now. Ask again in a few minutes."
    until = now + timedelta(seconds=eta, minutes=1)  # evaluation and waking take some time too
    return f"The bot is learning until about {until:%H:%M}. Ask again then."
