"""What becomes of an adapter whose run a trigger queued, once it passed the gate.

The domain's setting `then` decides: `ask` leaves the adapter to a person, `promote` makes it live,
and `compare` starts a comparison with the live adapter, first for 5% of the people. Its share grows
in `SHARES`, each time a day has passed in which enough people got it, as long as nothing speaks
against it. The domain's policy (`policy.py`) ends the comparison.

Each adapter is followed up once, in one transaction, so several bots do it together.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlite_utils import Database

from bot.experiments import comparisons, stats
from bot.experiments.comparisons import ExperimentPlan
from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import experiments, ramps
from data.experiments.experiments import Experiment
from data.store import audit
from data.store.clock import DAY_US, now_us
from data.store.db import Store, changed, row, rows
from data.store.errors import Conflict, Invalid, NotFound, UnderstudyError
from data.triggers import rules
from data.triggers.rules import FollowUp

log = logging.getLogger(__name__)

ACTOR = "trigger:rollout"
SHARES = (0.05, 0.2, 0.5)  # of the people, one after the other
STAGE_US = DAY_US  # the shortest time between two of them
STAGE_PEOPLE = 5  # who got the candidate in a stage before its share grows
POLL_S = 15.0

WAITING = """
SELECT t.run_id, r.adapter_id FROM triggered_runs t JOIN runs r ON r.id = t.run_id
WHERE t.followed_up = '' AND r.state = 'done' AND r.adapter_id IS NOT NULL ORDER BY t.run_id
"""
RAMPING = "SELECT id FROM experiments WHERE state = 'running' AND started_by = ?"


def waiting(db: Database) -> list[tuple[int, int]]:
    """(run, adapter) of the triggered runs that have ended and were not followed up."""
    return [(int(r["run_id"]), int(r["adapter_id"])) for r in rows(db, WAITING)]


def follow_up(db: Database, run_id: int, adapter_id: int) -> str:
    """Do with an adapter what its domain's rules say; returns what was done, '' if that has to
    wait until a comparison ends, or was done before."""
    adapter = registry.by_id(db, adapter_id)
    if adapter.state == "evaluating":
        return ""
    domain = domains.by_id(db, adapter.domain_id)
    wanted = rules.of_domain(db, domain.id).follow_up
    if adapter.state == "candidate" and wanted != "ask" and experiments.running(db, domain.id):
        return ""
    claim = "UPDATE triggered_runs SET followed_up = 'begun' WHERE run_id = ? AND followed_up = ''"
    if not changed(db, claim, [run_id]):
        return ""
    try:
        with db.atomic():
            done = _done(db, domain, adapter, wanted)
    except (Conflict, Invalid, NotFound) as error:  # a later attempt would end alike
        done = f"left to a person: {error}"
    db.execute("UPDATE triggered_runs SET followed_up = ? WHERE run_id = ?", [done, run_id])
    audit.record(db, ACTOR, "follow up", adapter.name, run=run_id, done=done)
    return done


def _done(db: Database, domain: Domain, adapter: Adapter, wanted: FollowUp) -> str:
    """Raises Conflict if what is wanted is impossible."""
    if adapter.state != "candidate":
        return f"nothing: it is {adapter.state}"
    if wanted == "ask":
        return "left to a person"
    if not dict(adapter.scores.get("gate") or {}).get("measured", True):
        return "left to a person: its quality is unknown"
    live = registry.live(db, domain.id)
    comparisons.refuse_unservable(db, adapter)
    if wanted == "promote":
        registry.promote(db, adapter, ACTOR)
        return "promoted"
    if live is None:
        return "left to a person: no version is live that it could be compared with"
    plan = ExperimentPlan(share=SHARES[0])
    begun = comparisons.begin(db, domain, [str(live.version), str(adapter.version)], ACTOR, plan)
    return f"compared with {live.name} in experiment {begun.id}"


def ramping(db: Database) -> list[int]:
    """The running comparisons that were started here and whose share may still grow."""
    return [int(r["id"]) for r in rows(db, RAMPING, [ACTOR])]


def next_share(db: Database, experiment: Experiment, now: int) -> float | None:
    """The candidate's next share; None while it may not grow: the stage is young, too few people
    got the candidate in it, the split is broken, or the results speak against it."""
    larger = [share for share in SHARES if share > experiment.candidate_share + 1e-9]
    stage = row(
        db,
        "SELECT s.started_at, (SELECT count(*) FROM assignments a JOIN variants v ON v.id = "
        "a.variant_id WHERE a.experiment_id = s.experiment_id AND a.stage = s.number "
        "AND a.tester = 0 AND v.label <> 'A') AS people "
        "FROM stages s WHERE s.experiment_id = ? AND s.number = ?",
        [experiment.id, experiment.stage],
    )
    if not larger or stage is None or now - stage["started_at"] < STAGE_US:
        return None
    if stage["people"] < STAGE_PEOPLE:
        return None
    results = stats.compute_results(db, experiment)
    if results.harmful or not results.split.sound or results.state == "worse":
        return None
    return larger[0]


class Rollout:
    """Follows up triggered runs repeatedly while the bot runs, in a thread of its own, because
    computing results takes longer than answers may be delayed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollout")

    async def run(self) -> None:
        """Until the task is cancelled."""
        while True:
            try:
                await self.step(now_us())
            except UnderstudyError as error:
                log.warning("Triggered runs could not be followed up: %s", error)
            except Exception:
                log.exception("Triggered runs could not be followed up")
            await asyncio.sleep(POLL_S)

    async def step(self, now: int) -> None:
        """Follow up what waits, and let shares grow."""
        for run_id, adapter_id in await self._look(waiting):
            if done := await self._store.submit(lambda db: follow_up(db, run_id, adapter_id)):  # noqa: B023
                log.info("The adapter of run %d: %s", run_id, done)
        for experiment_id in await self._look(ramping):
            experiment = await self._look(lambda db: experiments.get(db, experiment_id))  # noqa: B023
            share = await self._look(lambda db: next_share(db, experiment, now))  # noqa: B023
            if share is not None:
                with contextlib.suppress(Conflict):  # it ended, or another bot was first
                    await self._store.submit(
                        lambda db: ramps.ramp(db, experiment, share, ACTOR)  # noqa: B023
                    )

    async def close(self) -> None:
        """Wait for what is being computed."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    async def _look(self, read: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: read(self._store.db))


@contextlib.asynccontextmanager
async def rolling_out(store: Store) -> AsyncIterator[None]:
    """Run a Rollout in the background."""
    rollout = Rollout(store)
    task = asyncio.create_task(rollout.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await rollout.close()
