"""One card, used in turns: what the worker and the engines tell each other, through the store.

With `[serving] gpu_sharing = "sleep"` the engine sleeps while a run is on. Nobody calls anybody:
the worker says on the queued run that it could begin (`ask`, again every few seconds), the serving
process sees that, lets the answers end, puts its engines to sleep and says so on the replica; then
the worker begins. Each side believes the other only while its heartbeats are fresh, so the crash of
one never leaves the engine asleep, or a run waiting, for ever.

Outside of `sleep_hours` the engine never sleeps: runs wait in the queue, and one that is still at
work two minutes before the end is interrupted, so that the engine is awake then, and goes on from
its checkpoint when the hours begin again.
"""

from datetime import datetime, time, timedelta

from sqlite_utils import Database

from data.adapters import placements
from data.config.settings import Settings
from data.runs import runs
from data.runs.phases import Phase, RunPhase, stored_forms
from data.store.clock import now_us
from data.store.db import row

ASKING = RunPhase(Phase.WAITING_FOR_ENGINE)
ASK_S = 2  # between two signs of a worker that waits
ASKING_S = 15  # a worker that gave no sign for so long has gone
WAKING = timedelta(minutes=2)  # for a run to let go of the card, and for the engine to wake
AWAKE = ("starting", "ready", "draining")  # states of an engine that may hold the card


def within(hours: str, now: datetime) -> bool:
    """Whether local time `now` is in `hours`, as `22:00-06:00`; '' is always, and so are hours
    that end when they begin. The last minute is the one before the end."""
    if not hours:
        return True
    begin, end = _times(hours)
    if begin == end:
        return True
    at = now.time()
    return begin <= at < end if begin < end else at >= begin or at < end


def opens(hours: str, now: datetime) -> datetime:
    """When `hours` begin next; `now` while they last."""
    if within(hours, now):
        return now
    today = datetime.combine(now.date(), _times(hours)[0])
    return today if today >= now else today + timedelta(days=1)


def _times(hours: str) -> tuple[time, time]:
    begin, _, end = hours.partition("-")
    return time.fromisoformat(begin), time.fromisoformat(end)


def outside(settings: Settings, now: datetime) -> RunPhase | None:
    """What a run waits for outside of the hours in which it may use the GPU; None inside them."""
    serving = settings.serving
    if serving.gpu_sharing != "sleep":
        return None
    for at in (now, now + WAKING):
        if not within(serving.sleep_hours, at):
            opening = opens(serving.sleep_hours, at)
            return RunPhase(Phase.WAITING_UNTIL, f"{opening:%H:%M}")
    return None


def waits(db: Database, settings: Settings, now: datetime) -> RunPhase | None:
    """What a queued run has to wait for before a worker may claim it; None when for nothing."""
    if settings.serving.gpu_sharing != "sleep":
        return None
    late = outside(settings, now)
    if late:
        return late
    awake = any(r.state in AWAKE and not r.stale for r in placements.replicas(db))
    return ASKING if awake else None


def request_card(db: Database, phase: RunPhase) -> None:
    """Write on the oldest queued run what it waits for; to be called again and again while it
    does. Writes only what is new, or a sign of life that is due."""
    due = now_us() - ASK_S * 1_000_000 if phase == ASKING else 0
    db.execute(
        "UPDATE runs SET phase = ?, heartbeat_at = ? "
        "WHERE id = (SELECT min(id) FROM runs WHERE state = 'queued') AND state = 'queued' "
        "AND (phase <> ? OR coalesce(heartbeat_at, 0) < ?)",
        [phase.stored, now_us(), phase.stored, due],
    )


def card_wanted(db: Database, settings: Settings, now: datetime) -> bool:
    """Whether the engines should sleep: it is the time for it, and a worker that gave a sign lately
    waits for the card or is at work on it."""
    if settings.serving.gpu_sharing != "sleep" or outside(settings, now):
        return False
    asking = "SELECT 1 FROM runs WHERE state = 'queued' AND phase IN (?, ?) AND heartbeat_at >= ?"
    forms = stored_forms(Phase.WAITING_FOR_ENGINE)
    return (
        runs.any_at_work(db)
        or row(db, asking, [*forms, now_us() - ASKING_S * 1_000_000]) is not None
    )


def learning(db: Database, now: datetime) -> str:
    """What people are told while the engines sleep: when to ask again, as far as the run knows."""
    found = row(db, "SELECT max(eta_s) AS eta FROM runs WHERE state = 'running'")
    eta = found["eta"] if found is not None else None
    if eta is None:
        return "The bot is learning just now; ask again in a few minutes."
    until = now + timedelta(seconds=eta, minutes=1)  # evaluating and waking take some time, too
    return f"The bot is learning until about {until:%H:%M}; ask again then."
