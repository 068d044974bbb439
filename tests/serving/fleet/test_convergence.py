"""After any sequence of events, every engine holds exactly the wanted adapters. At no moment are
files deleted that an engine holds, questions sent to an adapter that is not loaded, or an adapter
unloaded while it writes an answer.

Two replicas with fake engines are stepped by hand, so that a failing sequence can be repeated.
"""

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from data import domains
from data.adapters import placements, registry
from data.adapters.registry import BASE_SERVED_NAME, Adapter
from data.config.settings import ServingSettings, Settings
from data.conversations import conversations
from data.experiments import experiments
from data.store.db import Store
from data.store.errors import Conflict, UnderstudyError
from serving.adapters import garbage_collection
from serving.engine.external_engine import ExternalEngine
from serving.fleet.replica import ReplicaThread
from tests import adapter_maker
from tests.serving.fake_vllm import FakeVllm, running

LATER_US = 3_600 * 1_000_000
ENGINES = st.integers(0, 1)
CHOICE = st.integers(0, 99)


@dataclass
class Answer:
    """One that is being written."""

    reply_id: str
    engine: int
    adapter: Adapter
    cut: bool = False  # by the engine's end


class Convergence(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        home = Path(tempfile.mkdtemp())
        self.stack.callback(shutil.rmtree, home)
        self.fakes = [self.stack.enter_context(running(FakeVllm())) for _ in range(2)]
        urls = tuple(fake.url for fake in self.fakes)
        self.settings = Settings(home=home, serving=ServingSettings(url=urls))
        self.store = self.stack.enter_context(Store(self.settings.store_path))
        with self.store.write() as db:
            self.domain = domains.create(db, "helpdesk")
        self.replicas = [
            ReplicaThread(self.store, self.settings, ExternalEngine(self.settings, url))
            for url in urls
        ]
        for replica in self.replicas:
            replica.beat()
        self.unnoticed = [False, False]  # the engine lost adapters since the last look at it
        self.made: list[Adapter] = []
        self.bad: set[int] = set()
        self.open: list[Answer] = []
        for bad in (False, False, True):
            self.register(bad)
        for engine in (0, 1):
            self.look(engine)

    # -- what people do ----------------------------------------------------------------------

    @precondition(lambda self: len(self.made) < 8)
    @rule(bad=st.sampled_from([False, False, False, True]))
    def register(self, bad: bool) -> None:
        made = adapter_maker.register(self.store, self.settings, seed=len(self.made))
        self.made.append(made)
        if bad:
            self.bad.add(made.id)
            for fake in self.fakes:
                fake.refuse_load[made.served_name] = 400

    @precondition(lambda self: self.made)
    @rule(choice=CHOICE, queued=st.sampled_from(["promote", "retire", "remove"]))
    def change(self, choice: int, queued: str) -> None:
        adapter = self.made[choice % len(self.made)]
        with contextlib.suppress(Conflict), self.store.write() as db:
            getattr(registry, queued)(db, adapter, "cli:test")
        self.delete_files()

    @precondition(lambda self: self.made)
    @rule(choice=CHOICE)
    def give_up(self, choice: int) -> None:
        for queued in ("retire", "remove"):
            self.change(choice, queued)

    @rule()
    def roll_back(self) -> None:
        with contextlib.suppress(Conflict), self.store.write() as db:
            registry.roll_back(db, self.domain, "cli:test")

    @precondition(lambda self: self.made)
    @rule(one=CHOICE, other=CHOICE)
    def compare(self, one: int, other: int) -> None:
        a, b = (self.made[n % len(self.made)] for n in (one, other))
        with contextlib.suppress(UnderstudyError), self.store.write() as db:
            running_one = experiments.running(db, self.domain.id)
            if running_one is not None:
                experiments.stop(db, running_one, "cli:test")
            else:
                experiments.start(db, self.domain, a, b, "cli:test")

    @precondition(lambda self: self.made)
    @rule(choice=CHOICE, engine=ENGINES)
    def ask(self, choice: int, engine: int) -> None:
        adapter, name = self.made[choice % len(self.made)], self.replicas[engine].name
        with self.store.write() as db:
            if placements.can_answer(db, name, adapter.id):
                reply_id, lost = conversations.new_reply_id(), self.unnoticed[engine]
                self.open.append(Answer(reply_id, engine, adapter, cut=lost))
                conversations.ask(
                    db,
                    reply_id=reply_id,
                    conversation=conversations.open_thread(db, "t", self.domain.id, "p"),
                    person="p",
                    text="Why?",
                    adapter_id=adapter.id,
                    variant_id=None,
                    replica=name,
                )

    @precondition(lambda self: self.open)
    @rule()
    def end_an_answer(self) -> None:
        with self.store.write() as db:
            conversations.finish_reply(db, self.open.pop(0).reply_id, "So.", status="done")

    @precondition(lambda self: self.open)
    @rule()
    def give_up_what_writes(self) -> None:
        with contextlib.suppress(Conflict), self.store.write() as db:
            registry.retire(db, self.open[-1].adapter, "cli:test")
        self.look(self.open[-1].engine)

    # -- what goes wrong ---------------------------------------------------------------------

    @rule(engine=ENGINES, stale=st.booleans())
    def crash(self, engine: int, stale: bool) -> None:
        """The engine restarts, with nothing, or with names of long ago from another place."""
        self.fakes[engine].held.clear()
        if stale and self.made:
            self.fakes[engine].held[self.made[0].served_name] = str(self.settings.home)
        self.replicas[engine].engine.starts += 1
        self.lost(engine)

    @rule(engine=ENGINES)
    def lose_quietly(self, engine: int) -> None:
        """As `crash`, and nobody saw the engine being away."""
        self.fakes[engine].held.clear()
        self.lost(engine)

    def lost(self, engine: int) -> None:
        self.unnoticed[engine] = True
        for answer in self.open:
            answer.cut = answer.cut or answer.engine == engine

    @rule(engine=ENGINES, kind=st.sampled_from(["resets", "errors"]))
    def partition(self, engine: int, kind: str) -> None:
        self.fakes[engine].network = kind  # type: ignore[assignment]

    @rule(engine=ENGINES)
    def heal(self, engine: int) -> None:
        self.fakes[engine].network = "up"

    # -- what we do --------------------------------------------------------------------------

    @rule(engine=ENGINES)
    def look(self, engine: int) -> None:
        """What the replica's two threads do at intervals."""
        replica, fake = self.replicas[engine], self.fakes[engine]
        up = fake.network == "up"
        if up and replica.engine.state != "ready":
            replica.engine.starts += 1
        replica.engine.state = "ready" if up else "down"
        replica._reconciler._next = 0.0
        try:
            replica._step()
        except UnderstudyError:
            assert not up
        else:
            self.unnoticed[engine] = self.unnoticed[engine] and not up
        self.delete_files()

    def delete_files(self) -> None:
        """What the main thread does all the time."""
        garbage_collection.delete_files(self.store, self.settings)

    @rule()
    def time_goes_by(self) -> None:
        with self.store.write() as db:
            db.execute("UPDATE placements SET updated_at = updated_at - ?", [LATER_US])

    # -- what must be ------------------------------------------------------------------------

    @invariant()
    def files_that_an_engine_holds_are_there(self) -> None:
        for fake in self.fakes:
            for folder in fake.held.values():
                assert Path(folder).is_dir()

    @invariant()
    def people_are_sent_only_to_what_is_held(self) -> None:
        for replica, fake, unnoticed in zip(self.replicas, self.fakes, self.unnoticed, strict=True):
            if unnoticed or replica.state != "ready":
                continue
            for row in placements.placements_on(self.store.db, replica.name):
                if row.state == "loaded":
                    adapter = registry.by_id(self.store.db, row.adapter_id)
                    folder = str(adapter.folder(self.settings.home))
                    assert fake.held.get(adapter.served_name) == folder

    @invariant()
    def what_writes_an_answer_is_not_unloaded(self) -> None:
        for answer in self.open:
            assert answer.cut or answer.adapter.served_name in self.fakes[answer.engine].held

    def teardown(self) -> None:
        with self.stack:
            self.in_the_end_all_is_as_wanted()

    def in_the_end_all_is_as_wanted(self) -> None:
        while self.open:
            self.end_an_answer()
        for engine in (0, 1):
            self.heal(engine)
            for _ in range(6):
                self.look(engine)
                self.time_goes_by()
        self.delete_files()
        wanted = {a.served_name: a for a in registry.wanted_adapters(self.store.db)}
        good = {name for name, a in wanted.items() if a.id not in self.bad}
        for replica, fake in zip(self.replicas, self.fakes, strict=True):
            assert replica.state == "ready"
            assert set(fake.held) == good | {BASE_SERVED_NAME}
            rows = placements.placements_on(self.store.db, replica.name)
            assert {r.adapter_id for r in rows} == {a.id for a in wanted.values()}
            assert {r.adapter_id for r in rows if r.given_up} == {
                a.id for a in wanted.values() if a.id in self.bad
            }
        for adapter in registry.list_adapters(self.store.db):
            gone = adapter.removal_asked_at is not None
            assert adapter.folder(self.settings.home).is_dir() != gone
            assert (adapter.removed_at is not None) == gone


TestConvergence = Convergence.TestCase
TestConvergence.settings = hypothesis_settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
