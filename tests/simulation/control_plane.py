"""The scheduler of the simulation, and what must hold after each of its steps.

An episode begins with a copy of one store. Random steps follow; then whatever was broken is mended,
nobody asks for anything, and the system has some minutes to come to rest by itself.
"""

import contextlib
import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data import domains
from data.adapters import placements, registry
from data.config.settings import Settings
from data.domains import Domain
from data.experiments import policies
from data.runs import runs
from data.store.db import Store, value
from data.store.errors import Conflict, UnderstudyError
from tests.simulation.actors import (
    DOMAINS,
    POLICIES,
    Actor,
    Child,
    Serve,
    System,
    Worker,
    register,
)
from tests.simulation.comparison_invariants import ComparisonInvariants
from tests.simulation.front_end import Bot, Person
from tests.simulation.world import Crash, SimulatedStore, World

EPISODE = 1000  # steps
BOTS = 2
REST_S = 1500.0  # until everything is healthy again
SLACK_S = 1.5  # the time of a step
RUNNING = "SELECT * FROM runs WHERE state = 'running'"
SAID = "SELECT reply_id, text FROM messages WHERE role = 'assistant'"
RATED = "SELECT reply_id, person, value FROM feedback WHERE kind = 'thumb' AND live = 1"
REACHED = {  # what an episode reached, by queries of its store
    "comparisons": "SELECT count(*) FROM experiments",
    "decided": "SELECT count(*) FROM decisions WHERE action IN ('promote', 'roll back')",
    "decided by promotion": "SELECT count(*) FROM decisions WHERE action = 'promote'",
    "decided by roll-back": "SELECT count(*) FROM decisions WHERE action = 'roll back'",
    "promotions": "SELECT count(*) FROM promotions WHERE actor <> 'template'",
    "replies": "SELECT count(*) FROM replies",
    "replies of a variant": "SELECT count(*) FROM replies WHERE variant_id IS NOT NULL",
    "votes": "SELECT count(*) FROM feedback",
    "votes that a comparison counts": "SELECT total(up + down) FROM ratings",
    "runs": "SELECT count(*) FROM runs",
    "runs done": "SELECT count(*) FROM runs WHERE state = 'done'",
}


class Violation(AssertionError):
    """Something that must hold does not."""


@dataclass
class ControlPlane:
    """One episode. The same seed does the same."""

    seed: int
    folder: Path
    template: Path  # the store at the beginning
    steps: int = 0
    history: list[str] = field(default_factory=list)
    reached: Counter[str] = field(default_factory=Counter)  # what happened, by how often

    def run(self, steps: int = EPISODE) -> None:
        """Raises Violation, with the seed and the last events."""
        rnd = random.Random(self.seed)
        path = self.folder / f"{self.seed}.db"
        shutil.copy(self.template, path)
        try:
            with World(rnd) as world, SimulatedStore(path, world.disk) as store:
                settings = Settings(home=self.folder)
                self.system = System(world, store, settings, rnd)
                self.supervised = rnd.random() < 0.7  # else no worker runs, only `tune`
                self._begin()
                for _ in range(steps):
                    self._random_step()
                self._come_to_rest()
                self.reached += Counter({w: int(value(store.db, q)) for w, q in REACHED.items()})
                self.reached["steps"] = self.steps
        except Violation:
            raise
        except Exception as error:
            raise Violation(self._told(f"{type(error).__name__}: {error}")) from error
        finally:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)

    def _begin(self) -> None:
        self.person = Person(self.system)
        self.bots: list[Actor] = []
        self.serve = Serve(self.system)
        self.workers: list[Worker] = []
        self.children: list[Child] = []
        self._restart_at: dict[str, float] = {}
        self._disk_full_until = 0.0
        self._comparisons = ComparisonInvariants(self.system.store)
        self._running: dict[int, dict[str, Any]] = {}
        self._names: dict[int, str] = {}  # of adapters, at the engines
        self._changes = -1  # to the store, when the runs were read
        self._beats: dict[tuple[int | str, ...], tuple[int, float]] = {}
        self._supervise()

    # -- what happens ------------------------------------------------------------------------

    def _random_step(self) -> None:
        rnd, world = self.system.random, self.system.world
        world.clocks.go_on(rnd.expovariate(1 / 0.6))
        world.disk.full = self._disk_full_until > world.clocks.true
        self._supervise()
        draw = rnd.random()
        if draw < 0.88:
            self._act(rnd.choice(self._actors()))
        elif draw < 0.95:
            self._act(self.person)
        else:
            self._trouble()
            self._check_domains(self.system.store.db)
        self.steps += 1
        self._check()

    def _actors(self) -> list[Actor]:
        return [self.serve, self.serve, *self.bots, *self.workers, *self.children]

    def _act(self, actor: Actor) -> None:
        if not actor.able:
            return
        before = self._owners()
        try:
            actor.step()
        except Crash:
            self.reached["crashes"] += 1
            self._note(f"{actor.name} crashes in a transaction")
            self._forget_lists()  # it died before it could record them
            self._kill(actor)
        if self._owners() is not before:
            self._check_owner(actor, before)
            self._note_beats()
            self._check_domains(self.system.store.db)
        if wrong := self._comparisons.check():
            raise Violation(self._told(wrong))
        self._collect()

    def _trouble(self) -> None:
        rnd, world = self.system.random, self.system.world
        kind = rnd.choice(
            [
                *["crash", "crash", "pause", "pause", "clock", "engine", "engine", "disk"],
                *["commit", "long", "tune", "tune", "stop", "reboot"],
            ]
        )
        match kind:
            case "crash":
                actor = rnd.choice(self._actors())
                self.reached["crashes"] += 1
                self._note(f"{actor.name} is killed")
                self._kill(actor)
            case "pause":
                actor = rnd.choice([*self._actors(), *self.workers])
                actor.paused_until = world.clocks.true + rnd.choice([2, 20, 80, 200])
                self._note(f"{actor.name} pauses")
            case "clock":
                step = rnd.choice([-86400, -3600, -90, 90, 3600, 86400])
                world.clocks.wall_offset += step
                self.reached["clock steps"] += 1
                self._note(f"the wall clock is set by {step} s")
            case "engine":
                engine = rnd.choice(world.engines)
                self._note(f"{engine.name} {world.lapse(engine)}")
            case "disk":
                seconds = rnd.uniform(1, 40)
                self._disk_full_until = world.clocks.true + seconds
                self.reached["full disks"] += 1
                self._note(f"the disk is full for {seconds:.0f} s")
            case "commit":
                world.disk.crash_before_commit = rnd.random() < 0.5
                world.disk.crash_after_commit = not world.disk.crash_before_commit
            case "long":
                world.clocks.go_on(rnd.choice([5, 20, 70]))
            case "tune" if not self.supervised:
                self._tune(self._domain())
            case "stop" if self.workers:
                self._act_safely(rnd.choice(self.workers).stop)
            case "reboot" if rnd.random() < 0.3:
                self._reboot()
            case _:
                pass

    def _domain(self) -> Domain:
        return domains.get(self.system.store.db, self.system.random.choice(DOMAINS))

    def _tune(self, domain: Domain) -> None:
        """`understudy tune`: as `bot/cli/tune.py` and `bot/cli/waiting.py`."""
        store = self.system.store
        old = self._silent_run(domain)

        def queue() -> None:
            with store.write() as db:
                if runs.take_over(db, domain) is None:
                    runs.queue(db, domain, "tune", kind="full")

        def cancel() -> None:
            with store.write() as db:
                for run in runs.recent(db, domain, 1):
                    runs.cancel(db, run.id, "tune")

        written = self._act_safely(cancel if self.system.random.random() < 0.3 else queue)
        now = None if old is None else runs.get(store.db, old.id)
        if written and old and now and now.state == "running" and now.attempts == old.attempts:
            raise Violation(
                self._told(f"run {old.id} blocks {domain.name}, and its worker is gone")
            )
        if not runs.any_running(store.db) and runs.any_queued(store.db):
            self.workers.append(Worker(self.system, once=True))
            self._note(f"tune starts {self.workers[-1].name}")

    def _silent_run(self, domain: Domain) -> runs.Run | None:
        """The running run of a domain if its worker has been silent for too long."""
        for run in runs.recent(self.system.store.db, domain, 1):
            if (
                run.state == "running"
                and self._silence(run.id, run.worker, run.attempts) > runs.SILENT_S + SLACK_S
            ):
                return run
        return None

    def _silence(self, *owner: int | str) -> float:
        """Seconds since the last heartbeat of a run's worker and attempt."""
        _, at = self._beats.get(owner, (0, -1e9))
        return self.system.world.clocks.true - at

    def _note_beats(self) -> None:
        """Keep when each owner has sent its last heartbeat, by a clock that no process can read."""
        for run_id, run in self._owners().items():
            owner = (run_id, run["worker"], run["attempts"])
            if self._beats.get(owner, (0, 0.0))[0] != run["heartbeat_at"]:
                self._beats[owner] = run["heartbeat_at"], self.system.world.clocks.true

    def _act_safely(self, act: Callable[[], None]) -> bool:
        """Whether it was done, or refused for a good reason: the disk was not full."""
        try:
            act()
        except Crash:
            return False
        except Conflict:
            return True
        except UnderstudyError:
            return False
        return True

    def _kill(self, actor: Actor) -> None:
        actor.dead = True
        child = actor.child if isinstance(actor, Worker) else None
        if child is not None and self.system.random.random() < 0.8:
            child.dead = True  # by the death signal; it may come late

    def _reboot(self) -> None:
        rnd, world = self.system.random, self.system.world
        self._note("the machine is started again")
        for actor in self._actors():
            actor.dead = True
        self._note_beats()
        for owner, (beat, _) in self._beats.items():  # no worker survives it
            self._beats[owner] = beat, -1e9
        for engine in world.engines:
            if rnd.random() < 0.5:
                engine.restart()
        world.clocks.reboot(rnd.choice([0, 0, -3600, 3600, 30]))
        store = self.system.store
        self._disk_full_until = 0.0
        world.disk.full = world.disk.crash_before_commit = world.disk.crash_after_commit = False
        store._migrate()  # what every process does when it opens the store
        self._collect()

    def _collect(self) -> None:
        """Drop actors that have ended, and find the children that workers have started."""
        known = {id(child) for child in self.children}
        for worker in self.workers:
            if worker.child is not None and id(worker.child) not in known:
                self.children.append(worker.child)
        self.children = [c for c in self.children if not c.dead and c.code is None]
        self.workers = [w for w in self.workers if not w.dead and not w.ended]

    def _supervise(self) -> None:
        """`understudy up` starts a process that has ended again."""
        now = self.system.world.clocks.true
        self._collect()
        self.bots = [bot for bot in self.bots if not bot.dead]
        while len(self.bots) < BOTS:
            self.bots.append(Bot(self.system))
        if self.serve.dead and self._due("serve", now):
            self.serve = Serve(self.system)
        while self.supervised and len(self.workers) < 2:
            self.workers.append(Worker(self.system))

    def _due(self, name: str, now: float) -> bool:
        """Two seconds after it was first asked about."""
        at = self._restart_at.setdefault(name, now + 2)
        if now >= at:
            del self._restart_at[name]
        return now >= at

    # -- what must hold ----------------------------------------------------------------------

    def _owners(self) -> dict[int, dict[str, Any]]:
        """The running runs; the same object as before if nothing in the store has changed."""
        db = self.system.store.db
        if db.conn.total_changes != self._changes:
            self._changes = db.conn.total_changes
            self._running = {r["id"]: r for r in db.query(RUNNING)}
        return self._running

    def _check_owner(self, actor: Actor, before: dict[int, dict[str, Any]]) -> None:
        """A run that is under way is changed by its owner alone; by others only when the owner has
        been silent for too long, or to cancel it."""
        for run_id, was in before.items():
            (now,) = self.system.store.db.query("SELECT * FROM runs WHERE id = ?", [run_id])
            if now == was or self._owns(actor, was):
                continue
            silent = self._silence(run_id, was["worker"], was["attempts"])
            if isinstance(actor, Child):
                raise Violation(self._told(f"{actor.name} changed run {run_id} of {was['worker']}"))
            only_asked = {k for k in was if was[k] != now[k]} <= {"cancel_requested"}
            if not only_asked and silent < runs.SILENT_S - SLACK_S:
                raise Violation(
                    self._told(
                        f"{actor.name} took run {run_id} from {was['worker']}, which is well"
                    )
                )

    def _owns(self, actor: Actor, was: dict[str, Any]) -> bool:
        child = actor.child if isinstance(actor, Worker) else actor
        if isinstance(child, Child):
            return (child.run.worker, child.run.attempts) == (was["worker"], was["attempts"])
        return isinstance(actor, Worker) and actor.name == was["worker"]

    def _check(self) -> None:
        db = self.system.store.db
        self._check_recorded_adapters(db)
        self._check_hung_engines(db)
        if self.steps % 50 == 0:
            self._check_acknowledged(db)

    def _check_domains(self, db: Any) -> None:
        """A domain has at most one of what it may have only one of."""
        for table, what in (
            ("adapters WHERE state = 'live'", "live adapters"),
            ("runs WHERE state IN ('queued', 'running')", "open runs"),
            ("experiments WHERE state = 'running'", "running comparisons"),
        ):
            sql = f"SELECT domain_id FROM {table} GROUP BY domain_id HAVING count(*) > 1"
            if value(db, sql) is not None:
                raise Violation(self._told(f"a domain has two {what}"))
        sql = "SELECT 1 FROM adapters WHERE state = 'live' AND removal_asked_at IS NOT NULL"
        if value(db, sql) is not None:
            raise Violation(self._told("a live adapter was removed"))

    def _check_hung_engines(self, db: Any) -> None:
        """An engine that hangs does not count as ready."""
        for number, engine in enumerate(self.system.world.engines):
            if not self.serve.notices_hang(number):
                continue
            if engine.name in {replica.name for replica in placements.ready(db)}:
                raise Violation(self._told(f"{engine.name} hangs and counts as ready"))

    def _check_recorded_adapters(self, db: Any) -> None:
        """What is recorded as held was held when the engine was asked last, or was loaded since."""
        if self.system.world.disk.full:
            self._forget_lists()  # nothing can be recorded now
        for engine in self.system.world.engines:
            if engine.listed is None:
                continue
            for placement in placements.placements_on(db, engine.name):
                if placement.state != "loaded":
                    continue
                name = self._served_name(db, placement.adapter_id)
                if name not in engine.listed and name not in engine.held:
                    raise Violation(self._told(f"{name} is recorded as held by {engine.name}"))
        self._forget_lists()

    def _served_name(self, db: Any, adapter_id: int) -> str:
        """It never changes, and it is looked up after each step."""
        if adapter_id not in self._names:
            self._names[adapter_id] = registry.by_id(db, adapter_id).served_name
        return self._names[adapter_id]

    def _forget_lists(self) -> None:
        for engine in self.system.world.engines:
            engine.listed = None

    def _check_acknowledged(self, db: Any) -> None:
        words = dict(db.execute(SAID).fetchall())
        for reply_id, text in self.system.said.items():
            if words.get(reply_id) != text:
                raise Violation(self._told(f"the words of {reply_id} are lost"))
        thumbs = {(reply, person): up for reply, person, up in db.execute(RATED).fetchall()}
        for (reply_id, person), up in self.system.rated.items():
            if thumbs.get((reply_id, person)) != float(up):
                raise Violation(self._told(f"the thumb of {person} under {reply_id} is lost"))
        if wrong := self._comparisons.check_ratings():
            raise Violation(self._told(wrong))

    def _come_to_rest(self) -> None:
        world, store = self.system.world, self.system.store
        self._note("nothing happens any more")
        world.disk.full = world.disk.crash_before_commit = world.disk.crash_after_commit = False
        self.person.quiet = True
        for engine in world.engines:
            world.heal(engine)
        for actor in self._actors():
            actor.paused_until = 0.0
        ends = world.clocks.true + REST_S
        problem = "nothing was looked at"
        while world.clocks.true < ends and problem:
            world.clocks.go_on(2.0)
            self._supervise()
            for actor in self._actors():
                self._act(actor)
            self.steps += 1
            self._check()
            problem = self._unhealthy()
            if problem and not self.supervised and self.steps % 20 == 0:
                self._tune_again(store)
        if problem:
            raise Violation(self._told(f"it does not come to rest: {problem}"))
        self._check_acknowledged(store.db)

    def _tune_again(self, store: Store) -> None:
        """Where no worker runs, people run `understudy tune` for what is left."""
        for run in runs.recent(store.db):
            if run.open and not self.workers:
                with contextlib.suppress(UnderstudyError), store.write() as db:
                    runs.take_over(db, domains.by_id(db, run.domain_id))
                if not runs.any_running(store.db):
                    self.workers.append(Worker(self.system, once=True))

    def _unhealthy(self) -> str:
        """What is not as it should be; '' when everything is."""
        db = self.system.store.db
        if open_runs := [r for r in runs.recent(db, limit=100) if r.open]:
            return f"run {open_runs[0].id} is {open_runs[0].state}"
        sql = "SELECT id FROM adapters WHERE state = 'evaluating'"
        if (left := value(db, sql)) is not None:
            return f"adapter {left} is left in evaluation"
        if len(placements.ready(db)) < len(self.system.world.engines):
            return "an engine is not ready"
        wanted = {a.id: a for a in registry.wanted_adapters(db)}
        for engine in self.system.world.engines:
            states = {p.adapter_id: p for p in placements.placements_on(db, engine.name)}
            for adapter in wanted.values():
                found = states.pop(adapter.id, None)
                if found is not None and found.given_up and adapter.served_name in engine.refused:
                    continue  # it waits for `understudy adapters retry`, and says why
                if found is None or found.state != "loaded":
                    return f"{engine.name} does not hold {adapter.name}: {found}"
                if adapter.served_name not in engine.held:
                    return f"{engine.name} has lost {adapter.name}"
            if states:
                return f"{engine.name} still has leases on {sorted(states)}"
        return ""

    def _note(self, what: str) -> None:
        self.history.append(f"{self.system.world.clocks.true:8.1f} s  {what}")

    def _told(self, what: str) -> str:
        last = "\n".join(self.history[-25:])
        return (
            f"{what}\nRepeat it: python -m tests.simulation --seed {self.seed}\nat step "
            f"{self.steps}, after\n{last}"
        )


def template(folder: Path) -> Path:
    """A store with the domains, to copy for each episode. Each has a live adapter and two
    candidates."""
    path = folder / "template.db"
    path.unlink(missing_ok=True)
    with Store(path) as store:
        with store.write() as db:
            for name, policy, live in zip(DOMAINS, POLICIES, (1, 1, 2), strict=True):
                domain = domains.create(db, name)
                policies.set_policy(db, domain, policy, "template")
                for version in range(1, 4):
                    register(db, domain, version, state="candidate")
                registry.promote(db, registry.get(db, f"{name}@{live}"), "template")
            db.execute("DELETE FROM lease_clock")
        store.db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def simulate(first_seed: int, steps: int, folder: Path) -> Counter[str]:
    """Run episodes, one seed after the other, until there were `steps` steps; returns what they
    reached, the number of steps among it. Raises Violation."""
    logging.disable(logging.ERROR)
    try:
        begun, done, seed = template(folder), Counter[str](), first_seed
        while done["steps"] < steps:
            episode = ControlPlane(seed, folder, begun)
            episode.run()
            done, seed = done + episode.reached, seed + 1
        return done
    finally:
        logging.disable(logging.NOTSET)
