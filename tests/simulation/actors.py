"""The processes that train and serve. Each has a `step`, which the scheduler calls when it is the
actor's turn; a crash ends an actor, and what it had in memory is gone.

What they do is what the real processes do, call for call, on the real functions.
"""

import contextlib
import itertools
import random
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.domains import Domain
from data.runs import runs
from data.runs.phases import Phase
from data.runs.runs import Run, RunLost
from data.store.db import Store
from data.store.errors import Unavailable, UnderstudyError
from serving.engine.external_engine import ExternalEngine
from serving.fleet.replica import ReplicaThread
from tests.simulation.world import SimulatedEngine, World
from tuning.progress import StepProgress, StoredProgress
from tuning.worker import worker

STEPS = 4  # of a training
STAGE_S = 8.0  # at most, for a step and for each of the other stages
DOMAINS = ("helpdesk", "travel", "garden")
POLICIES = ("auto", "auto-promote", "auto")  # of the domains, at first


@dataclass
class System:
    """What all actors share."""

    world: World
    store: Store
    settings: Settings
    random: random.Random
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    rated: dict[tuple[str, str], bool] = field(default_factory=dict)  # acknowledged thumbs
    said: dict[str, str] = field(default_factory=dict)  # reply -> text, acknowledged


def register(
    db: Any, domain: Domain, version: int, run_id: int | None = None, state: Any = "candidate"
) -> Adapter:
    """An adapter whose files nobody reads."""
    return registry.register(
        db, domain, version=version, sha256=f"{domain.id:032x}{version:032x}",
        path=f"adapters/{domain.name}/{version}", base_model="pocket", rank=8,
        size_bytes=1, recipe={}, scores={}, run_id=run_id, state=state,
    )  # fmt: skip


class Actor:
    def __init__(self, system: System, name: str) -> None:
        self.system = system
        self.name = name
        self.dead = False
        self.paused_until = 0.0  # true seconds

    def step(self) -> None:
        raise NotImplementedError

    @property
    def able(self) -> bool:
        return not self.dead and self.paused_until <= self.system.world.clocks.true


class Child(Actor):
    """The child process of a worker (`tuning/worker/child.py`, `tuning/worker/run.py`)."""

    def __init__(self, system: System, claimed: Run) -> None:
        super().__init__(system, f"child of {claimed.worker}")
        self.run = claimed
        self.code: int | None = None
        self._reporter = StoredProgress(system.store, claimed)
        self._stage = 0
        self._fails_at = system.random.choice([*[None] * 9, 1, 3, STEPS + 1])
        self._adapter: Adapter | None = None
        self._busy_until = 0.0

    def step(self) -> None:
        now = self.system.world.clocks.true
        if self.code is not None or now < self._busy_until:
            return
        self._busy_until = now + self.system.random.uniform(1, STAGE_S)
        try:
            self._do_stage()
            self._stage += 1
        except RunLost:
            self.code = 3
        except UnderstudyError as error:
            self._fail(str(error))

    def _do_stage(self) -> None:
        store, run = self.system.store, self.run
        if self._stage == self._fails_at:
            raise UnderstudyError("It did not work.")
        if self._stage == 0:
            runs.claimed(store.db, run.id, run.worker, run.attempts)
            self._reporter.phase(Phase.TRAINING)
        elif self._stage <= STEPS:
            losses = {"validation": 1.0}
            self._reporter.step(StepProgress(self._stage, STEPS, 1.0, 1e-3, 5.0, losses))
        elif self._stage == STEPS + 1:
            self._publish()
        elif self._stage == STEPS + 2:
            self._reporter.phase(Phase.EVALUATING)
        else:
            self._settle()
            self.code = 0

    def _publish(self) -> None:
        """As in `tuning/adapters/publish.py` and `adapter_store.install`."""
        with self.system.store.write() as db:
            runs.refuse_lost(db, self.run)
            domain = domains.by_id(db, self.run.domain_id)
            earlier = registry.evaluated_by(db, self.run.id)
            for other in earlier[1:]:
                registry.settle_evaluation(db, other, "rejected", {}, "Another adapter was made.")
            version = registry.next_version(db, domain)
            self._adapter = (
                earlier[0] if earlier else register(db, domain, version, self.run.id, "evaluating")
            )

    def _settle(self) -> None:
        assert self._adapter is not None
        rejected = self.system.random.random() < 0.2
        with self.system.store.write() as db:
            runs.refuse_lost(db, self.run)
            state: Any = "rejected" if rejected else "candidate"
            registry.settle_evaluation(db, self._adapter, state, {}, "Worse." if rejected else "")
            runs.finish(db, self.run, self._adapter.id)

    def _fail(self, why: str) -> None:
        try:
            with self.system.store.write() as db:
                runs.fail(db, self.run, why)
            self.code = 1
        except RunLost:
            self.code = 3
        except Unavailable:
            self.code = 1  # the worker says what it finds in the log


class Worker(Actor):
    """`understudy worker`, or the worker inside `understudy tune` (`once`)."""

    def __init__(self, system: System, *, once: bool = False) -> None:
        super().__init__(system, f"worker{next(system.numbers)}")
        self.once = once
        self.child: Child | None = None
        self.ended = False
        self._beat = -1e9
        self._gpu = worker._GpuAccess(system.settings, datetime.now)

    def step(self) -> None:
        with contextlib.suppress(Unavailable):
            if self.child is None:
                self._look_for_work()
            else:
                self._watch(self.child)

    def _look_for_work(self) -> None:
        store = self.system.store
        claimed = worker._next(store, self.system.settings, self.name, self._gpu)
        if claimed is not None:
            self._beat = self.system.world.clocks.since_boot
            self.child = Child(self.system, claimed)
        elif self.once:
            self.ended = True

    def _watch(self, child: Child) -> None:
        """As `worker._watch` and `worker._execute`."""
        store, claimed, now = self.system.store, child.run, self.system.world.clocks.since_boot
        reason = ""
        if child.code is None and not child.dead:
            if now - self._beat < worker.HEARTBEAT_S:
                return
            self._beat = now
            try:
                with store.write() as db:
                    cancel = runs.heartbeat(db, claimed)
                if not cancel:
                    return
                reason = "cancel"
            except RunLost:
                reason = "" if not runs.get(store.db, claimed.id).open else "lost"
        code = child.code if child.code is not None else -9
        child.dead = True
        worker._record(store, self._gpu, claimed, code, reason, Path("/nowhere"))
        self.child = None

    def stop(self) -> None:
        """SIGTERM, or Ctrl-C in `understudy tune`."""
        if self.child is not None:
            self.child.dead = True
            log = Path("/nowhere")
            worker._record(self.system.store, self._gpu, self.child.run, -15, "stop", log)
            self.child = None
        self.ended = True


class Serve(Actor):
    """`understudy serve` with external engines: the real replica threads, called by hand."""

    def __init__(self, system: System) -> None:
        super().__init__(system, f"serve{next(system.numbers)}")
        engines = cast(list[ExternalEngine], system.world.engines)
        self.replicas = [ReplicaThread(system.store, system.settings, e) for e in engines]
        for replica in self.replicas:
            replica.local = False
        self._next = [0.0] * len(self.replicas)
        self.hung_looks: list[list[float]] = [[] for _ in self.replicas]  # at one that hangs
        self._beat = -1e9

    def notices_hang(self, number: int) -> bool:
        """Whether the engine has been seen to hang for so long that it may not count as ready."""
        looks = self.hung_looks[number]
        late = [
            at for at in looks if at - looks[0] > 2 * self.system.settings.serving.probe_after_s
        ]
        return len(late) > 3 and late[-1] - late[0] > 10  # a heartbeat tells what failed to be told

    def step(self) -> None:
        now = self.system.world.clocks.since_boot
        if now - self._beat >= 4:
            self._beat = now
            for replica in self.replicas:
                replica.beat()
        for number, replica in enumerate(self.replicas):
            engine = cast(SimulatedEngine, replica.engine)
            engine.notice()
            engine.listed = None
            if self._next[number] <= now:
                self._next[number] = now + replica.look()
                hangs = engine.hangs and engine.health and not self.system.world.disk.full
                self.hung_looks[number] = [*self.hung_looks[number], now] if hangs else []
