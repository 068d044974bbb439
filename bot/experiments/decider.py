"""Evaluates the running comparisons and applies each domain's policy.

`evaluate_experiment` reads the metric sums, computes the results, and determines what to do.
`apply_verdict` records the decision with its numbers and acts on it, in one transaction that
succeeds only while the comparison is running and no other decision has been made since. Therefore
any number of bots may evaluate, and exactly one acts. Answers are routed by the state in the store,
so a decision applies to the next answer.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

from sqlite_utils import Database

from bot.experiments import comparisons, policy, stats
from bot.experiments.policy import PolicyVerdict
from bot.experiments.stats import Results, adaptive
from data.experiments import decisions, experiments, policies, ramps
from data.experiments.decisions import Action, Decision
from data.experiments.experiments import Experiment
from data.experiments.metric_sums import ExperimentSums
from data.experiments.metrics import RATING
from data.experiments.policies import Rules
from data.store import audit
from data.store.db import Store, rows, value
from data.store.errors import Conflict, UnderstudyError

log = logging.getLogger(__name__)

POLL_S = 0.5  # between two evaluations
PAUSE_FACTOR = 10  # the pause is at least this many times the duration of the evaluation
RETRY_S = 60.0  # after a failure, until the next try
AUTOMATIC: tuple[Action, ...] = ("promote", "roll back")


@dataclass(frozen=True)
class EvaluatedExperiment:
    """A snapshot of a comparison, with the verdict on it."""

    experiment: Experiment
    rules: Rules
    results: Results
    promotable: bool  # whether the better candidate can be made live
    fallback: str  # the adapter that would answer everybody after a roll-back
    verdict: PolicyVerdict
    after: int  # the newest decision at that time; 0: none
    shares: tuple[float, ...] | None  # the shares of the next stage; None: no new stage


def evaluate_experiment(db: Database, experiment: Experiment) -> EvaluatedExperiment | None:
    """Evaluate a comparison; None: the last decision still applies.

    Where anyone counts, the policy acts, and shares adapt, by what verified people say alone, and
    advises by what everybody says."""
    rules = policies.policy_of(db, experiment.domain_id)
    last = decisions.latest(db, experiment.id)
    adapter = comparisons.fallback_adapter(db, experiment)
    fallback = adapter.name if adapter else comparisons.WITHOUT_ADAPTER

    def judge(results: Results) -> tuple[Results, bool, PolicyVerdict]:
        best = results.best
        by_label = {v.label: v for v in experiment.variants}
        promotable = best is not None and comparisons.promotable(db, by_label[best.label])
        return results, promotable, policy.verdict(results, rules, promotable, fallback)

    results, promotable, verdict = judge(stats.compute_results(db, experiment))
    evidence = results.evidence
    if results.terms.people == "anyone" and verdict.action not in AUTOMATIC:
        verified = judge(stats.compute_results(db, experiment, "verified"))
        evidence = verified[0].evidence
        if verified[2].action in AUTOMATIC:
            results, promotable, verdict = verified
            verdict = replace(verdict, sentence=f"By verified people alone: {verdict.sentence}")
    shares = _next_shares(experiment, evidence) if verdict.action == "hold" else None
    if shares is None and not _is_new(verdict, results, last):
        return None
    after = last.id if last else 0
    return EvaluatedExperiment(
        experiment, rules, results, promotable, fallback, verdict, after, shares
    )


def apply_verdict(db: Database, found: EvaluatedExperiment) -> Decision | None:
    """Record the decision and act on it, inside one transaction. Returns None if another bot was
    first, nothing new is to be recorded, or the policy has changed. Raises Conflict, and changes
    nothing, if the action is impossible."""
    experiment, verdict = found.experiment, found.verdict
    if policies.policy_of(db, experiment.domain_id) != found.rules:
        return None
    actor = f"policy:{found.rules.policy}"
    if found.shares is not None:
        _begin_stage(db, experiment, found.shares)
    if not _is_new(verdict, found.results, decisions.latest(db, experiment.id)):
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


def _is_new(verdict: PolicyVerdict, results: Results, last: Decision | None) -> bool:
    """Whether the verdict differs from the last decision. At the beginning, `hold` is not new."""
    now = (results.state, verdict.variant, verdict.action)
    return now != ((last.state, last.variant, last.action) if last else ("collecting", "", "hold"))


def _next_shares(experiment: Experiment, sums: ExperimentSums) -> tuple[float, ...] | None:
    """The shares of an adaptive comparison's next stage, once this stage has enough raters."""
    if not experiment.adaptive or len(sums.stages) != experiment.stage:
        return None
    raters = [cell.of(RATING).people for cell in sums.stages[-1].cells]
    if sum(raters) < adaptive.STAGE_PEOPLE or min(raters) == 0:
        return None
    return adaptive.next_shares(sums, experiment.adaptive)


def _begin_stage(db: Database, experiment: Experiment, shares: tuple[float, ...]) -> None:
    labels = [v.label for v in experiment.variants]
    with contextlib.suppress(Conflict):  # another bot has begun the stage
        ramps.change(db, experiment, dict(zip(labels, shares, strict=True)), "policy:adaptive")


class Decider:
    """Evaluates the comparisons repeatedly while the bot runs. It uses its own thread and
    connection, because an evaluation takes longer than answers may be delayed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decide")
        self._seen = -1  # the version of the store at the last evaluation
        self._not_before: dict[int, float] = {}  # experiment -> when to try again

    async def run(self) -> None:
        """Evaluate until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self.evaluate()
            except UnderstudyError as error:
                log.warning("The comparisons could not be evaluated: %s", error)
            except Exception:
                log.exception("The comparisons could not be evaluated")
            await asyncio.sleep(max(POLL_S, PAUSE_FACTOR * (loop.time() - began)))

    async def evaluate(self) -> list[Decision]:
        """Evaluate every running comparison once; returns the decisions made."""
        loop = asyncio.get_running_loop()
        made = []
        for found in await loop.run_in_executor(self._thread, self._consider_all):
            decision = await self._act(found)
            if decision is not None:
                made.append(decision)
        return made

    async def close(self) -> None:
        """Wait for the evaluation in progress."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _consider_all(self) -> list[EvaluatedExperiment]:
        db = self._store.db
        version = int(value(db, "PRAGMA data_version"))
        if version == self._seen:
            return []  # the store has not changed
        running = [r["id"] for r in rows(db, "SELECT id FROM experiments WHERE state = 'running'")]
        self._not_before = {n: at for n, at in self._not_before.items() if n in running}
        found = [self._consider(db, number) for number in running]
        self._seen = version
        if self._not_before:
            self._seen = -1  # evaluate again, even if the store does not change
        return [f for f in found if f is not None]

    def _consider(self, db: Database, number: int) -> EvaluatedExperiment | None:
        """Evaluate one comparison. A failure does not stop the others."""
        if time.monotonic() < self._not_before.get(number, 0.0):
            return None
        self._not_before.pop(number, None)
        try:
            return evaluate_experiment(db, experiments.get(db, number))
        except Exception:
            log.exception("Experiment %d cannot be evaluated; next try in a minute", number)
            self._not_before[number] = time.monotonic() + RETRY_S
            return None

    async def _act(self, found: EvaluatedExperiment) -> Decision | None:
        number = found.experiment.id
        try:
            decision = await self._store.submit(lambda db: apply_verdict(db, found))
        except UnderstudyError as error:
            self._not_before[number] = time.monotonic() + RETRY_S
            self._seen = -1
            log.warning("Experiment %d: %s failed: %s", number, found.verdict.action, error)
            return None
        if decision is not None:
            log.info("Experiment %d: %s. %s", number, decision.action, decision.sentence)
        return decision


@contextlib.asynccontextmanager
async def deciding(store: Store) -> AsyncIterator[None]:
    """Run a Decider in the background."""
    decider = Decider(store)
    task = asyncio.create_task(decider.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await decider.close()
