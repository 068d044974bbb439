"""Looks at the running comparisons, and does what each domain's policy says.

`consider` reads: the evidence, what it says, and what is to be done. `carry_out` writes: the
decision with its numbers, and the deed, in one transaction that only goes through while the
comparison runs and nobody has decided since. So any number of bots may look; one of them acts.
Answers are routed by what the store says, so the next one is the first to go the new way.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from sqlite_utils import Database

from bot.experiments import comparisons, policy, stats
from bot.experiments.policy import PolicyVerdict
from bot.experiments.stats import Results, adaptive
from data.experiments import decisions, experiments, policies, ramps
from data.experiments.decisions import Decision
from data.experiments.experiments import Experiment
from data.experiments.metric_sums import ExperimentSums
from data.experiments.metrics import RATING
from data.experiments.policies import Rules
from data.store import audit
from data.store.db import Store, rows, value
from data.store.errors import Conflict, UnderstudyError

log = logging.getLogger(__name__)

LOOK_S = 0.5  # between two looks
EASE = 10  # a look that took so long is followed by a pause of so many times as long
GIVE_UP_S = 60.0  # after a deed that could not be done, until the next try


@dataclass(frozen=True)
class Considered:
    """What was read at one moment."""

    experiment: Experiment
    rules: Rules
    results: Results
    promotable: bool  # whether the better candidate can be made the live one
    fallback: str  # who would answer everybody after a roll-back
    verdict: PolicyVerdict
    after: int  # the newest decision then, 0: none
    shares: tuple[float, ...] | None  # of the next stage; None: this one goes on


def consider(db: Database, experiment: Experiment) -> Considered | None:
    """What is to be decided now; None: the last decision stands."""
    rules = policies.policy_of(db, experiment.domain_id)
    last = decisions.latest(db, experiment.id)
    results = stats.compute_results(db, experiment)
    best = results.best
    by_label = {v.label: v for v in experiment.variants}
    can = best is not None and comparisons.promotable(db, by_label[best.label])
    left = comparisons.fallback_adapter(db, experiment)
    fallback = left.name if left else "the bare base"
    verdict = policy.verdict(results, rules, can, fallback)
    shares = _next_shares(experiment, results.evidence) if verdict.action == "hold" else None
    if shares is None and not _news(verdict, results, last):
        return None
    after = last.id if last else 0
    return Considered(experiment, rules, results, can, fallback, verdict, after, shares)


def apply_verdict(db: Database, found: Considered) -> Decision | None:
    """Write the decision down and do it, inside one transaction. None: somebody else was first, or
    there is nothing to tell, or the rules have changed. Raises Conflict, and does nothing, for a
    deed that can't be done."""
    experiment, verdict = found.experiment, found.verdict
    if policies.policy_of(db, experiment.domain_id) != found.rules:
        return None
    actor = f"policy:{found.rules.policy}"
    if found.shares is not None:
        _reshare(db, experiment, found.shares)
    if not _news(verdict, found.results, decisions.latest(db, experiment.id)):
        return None
    added = decisions.add(
        db,
        experiment.id,
        found.after,
        policy=found.rules.policy,
        state=found.results.state,
        variant=verdict.variant,
        action=verdict.action,
        sentence=verdict.sentence,
        results=asdict(found.results) | {"promotable": found.promotable, "heir": found.fallback},
    )
    if added is None:
        return None
    if verdict.action == "promote":
        winner = next(v for v in experiment.variants if v.label == verdict.variant)
        comparisons.promote(db, experiment, winner, actor)
    elif verdict.action == "roll back":
        comparisons.roll_back(db, experiment, actor)
    audit.record(db, actor, f"ab {verdict.action}", f"experiment {experiment.id}", decision=added)
    return decisions.get(db, added)


def _news(verdict: PolicyVerdict, results: Results, last: Decision | None) -> bool:
    """Whether the verdict is another than the last decision; to hold at the beginning is none."""
    now = (results.state, verdict.variant, verdict.action)
    return now != ((last.state, last.variant, last.action) if last else ("collecting", "", "hold"))


def _next_shares(experiment: Experiment, evidence: ExperimentSums) -> tuple[float, ...] | None:
    """The shares of an adaptive comparison's next stage, once this one has rated people enough."""
    if not experiment.adaptive or len(evidence.stages) != experiment.stage:
        return None
    rated = [cell.of(RATING).people for cell in evidence.stages[-1].cells]
    if sum(rated) < adaptive.STAGE_PEOPLE or min(rated) == 0:
        return None
    return adaptive.next_shares(evidence, experiment.adaptive)


def _reshare(db: Database, experiment: Experiment, shares: tuple[float, ...]) -> None:
    labels = [v.label for v in experiment.variants]
    with contextlib.suppress(Conflict):  # another bot began the stage
        ramps.change(db, experiment, dict(zip(labels, shares, strict=True)), "policy:adaptive")


class Decider:
    """Looks again and again, as long as the bot runs, on a thread and a connection of its own: a
    look takes longer than what answers wait for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decide")
        self._seen = -1  # the version of the store that was looked at
        self._not_before: dict[int, float] = {}  # experiment -> when to try again

    async def run(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self.look()
            except UnderstudyError as error:
                log.warning("The comparisons could not be looked at: %s", error)
            except Exception:
                log.exception("The comparisons could not be looked at")
            await asyncio.sleep(max(LOOK_S, EASE * (loop.time() - began)))

    async def look(self) -> list[Decision]:
        """One look at every running comparison; returns what was decided."""
        loop = asyncio.get_running_loop()
        made = []
        for found in await loop.run_in_executor(self._thread, self._consider_all):
            decision = await self._act(found)
            if decision is not None:
                made.append(decision)
        return made

    async def close(self) -> None:
        """Wait for the look that is under way."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _consider_all(self) -> list[Considered]:
        db = self._store.db
        version = int(value(db, "PRAGMA data_version"))
        if version == self._seen:
            return []  # nobody has written anything
        running = [r["id"] for r in rows(db, "SELECT id FROM experiments WHERE state = 'running'")]
        self._not_before = {n: at for n, at in self._not_before.items() if n in running}
        found = [self._consider(db, number) for number in running]
        self._seen = version
        if self._not_before:
            self._seen = -1  # look again, even if nothing is written
        return [f for f in found if f is not None]

    def _consider(self, db: Database, number: int) -> Considered | None:
        """One comparison that cannot be considered keeps nobody from the others."""
        if time.monotonic() < self._not_before.get(number, 0.0):
            return None
        self._not_before.pop(number, None)
        try:
            return consider(db, experiments.get(db, number))
        except Exception:
            log.exception("Experiment %d cannot be considered; next try in a minute", number)
            self._not_before[number] = time.monotonic() + GIVE_UP_S
            return None

    async def _act(self, found: Considered) -> Decision | None:
        number = found.experiment.id
        try:
            decision = await self._store.submit(lambda db: apply_verdict(db, found))
        except UnderstudyError as error:
            self._not_before[number] = time.monotonic() + GIVE_UP_S
            self._seen = -1
            log.warning("Experiment %d: %s was not done: %s", number, found.verdict.action, error)
            return None
        if decision is not None:
            log.info("Experiment %d: %s. %s", number, decision.action, decision.sentence)
        return decision


@contextlib.asynccontextmanager
async def deciding(store: Store) -> AsyncIterator[None]:
    """A Decider at work."""
    decider = Decider(store)
    task = asyncio.create_task(decider.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await decider.close()
