"""The bots and the people of the simulation: questions, answers, votes, comparisons, promotions."""

import contextlib
from typing import Any

from bot.answering import recording, routing
from bot.answering.prompt import Ask
from bot.answering.routing import Route
from bot.commands import admin
from bot.experiments import comparisons, decider
from bot.experiments.comparisons import ExperimentPlan
from bot.experiments.decider import EvaluatedExperiment
from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.conversations import conversations
from data.domains import Domain
from data.experiments import experiments, policies
from data.experiments.design import ExperimentDesign
from data.feedback import feedback
from data.runs import runs
from data.store.db import value
from data.store.errors import Conflict, UnderstudyError
from tests.simulation.actors import DOMAINS, Actor, System

PEOPLE = 40  # who ask, all verified
CROWD = 16  # questions that arrive together
# So that an episode is long enough for a decision.
DESIGN = ExperimentDesign(expected_people=30, least_people=5, novelty_days=0)
LIKES = (0.95, 0.05)  # how often a person likes the answers of an even and of an odd version

COUNTED = "SELECT total(up + down) FROM ratings"


class Bot(Actor):
    """Answers, takes votes, and evaluates comparisons."""

    def __init__(self, system: System) -> None:
        super().__init__(system, f"bot{next(system.numbers)}")
        self._planned: list[tuple[Ask, Route]] = []
        self._open: list[str] = []
        self._to_record: dict[str, str] = {}  # what was shown in full, and is not on record yet
        self._to_rate: list[str] = []  # what its readers have not rated yet
        self._evaluated: list[EvaluatedExperiment] = []
        self._counted = -1  # votes, at the last evaluation

    def step(self) -> None:
        with contextlib.suppress(UnderstudyError):
            self.system.random.choice(
                [
                    *[self._plan, self._open_replies, self._end_replies, self._vote],
                    *[self._evaluate, self._apply, self._clean_up],
                ]
            )()
        for reply_id in list(self._to_record):
            self._record(reply_id)

    def _plan(self) -> None:
        """Choose who answers, as `Chat` does. Until the reply is opened, everything may change."""
        system, rnd = self.system, self.system.random
        domain = domains.get(system.store.db, rnd.choice(DOMAINS))
        for _ in range(rnd.randrange(CROWD)):
            number, person = next(system.numbers), f"user:{rnd.randrange(PEOPLE)}"
            ask = Ask(person, f"t{number}", "Where?", domain, reply_id=f"reply{number}")
            targets = routing.targets_for(system.store.db, domain, person, with_base=False)
            for target in targets:
                if target.replicas:
                    instead_of = None if target is targets[0] else targets[0]
                    route = Route(target, rnd.choice(target.replicas), instead_of)
                    self._planned.append((ask, route))
                    break

    def _open_replies(self) -> None:
        while self._planned:
            ask, route = self._planned.pop()
            with self.system.store.write() as db:
                opened = recording.open_reply(db, ask, ask.domain, route)
            if opened:
                self._open.append(ask.reply_id)

    def _end_replies(self) -> None:
        while self._open:
            reply_id = self._open.pop(0)
            self._to_record[reply_id] = f"words of {reply_id}"

    def _record(self, reply_id: str) -> None:
        """As `Chat`: the end of an answer is written again until it is."""
        text = self._to_record[reply_id]
        with contextlib.suppress(UnderstudyError):
            with self.system.store.write() as db:
                closed = conversations.finish_reply(db, reply_id, text, status="done")
            del self._to_record[reply_id]
            if closed:
                self.system.said[reply_id] = text
                self._to_rate.append(reply_id)

    def _clean_up(self) -> None:
        """What every bot does each minute."""
        after_s = self.system.settings.bot.answer_timeout_s + 60
        with self.system.store.write() as db:
            conversations.close_abandoned(db, after_s)

    def _vote(self) -> None:
        """Those who asked rate; and somebody rates any answer, or changes their mind."""
        system, rnd = self.system, self.system.random
        while self._to_rate:
            reply = conversations.reply(system.store.db, self._to_rate.pop())
            adapter = reply.adapter_id and registry.by_id(system.store.db, reply.adapter_id)
            up = rnd.random() < (LIKES[adapter.version % 2] if adapter else 0.5)
            self._rate(reply.id, reply.person, up)
        if system.said:
            person = f"user:{rnd.randrange(PEOPLE)}"
            self._rate(rnd.choice(list(system.said)), person, rnd.random() < 0.7)

    def _rate(self, reply_id: str, person: str, up: bool) -> None:
        rated, key = self.system.rated, (reply_id, person)
        before = rated.pop(key, None)  # after a crash, nobody knows which of the two counts
        try:
            with self.system.store.write() as db:
                feedback.thumb(db, reply_id, person, up)
            rated[key] = up  # only now is it acknowledged
        except UnderstudyError:
            if before is not None:
                rated[key] = before
            raise

    def _evaluate(self) -> None:
        """A bot acts on what it found some time later; meanwhile others may act."""
        db, rnd = self.system.store.db, self.system.random
        counted, self._counted = self._counted, int(value(db, COUNTED))
        if counted == self._counted and rnd.random() < 0.8:
            return  # hardly anything can have changed
        running = [e for e in experiments.list_experiments(db) if e.state == "running"]
        if running:
            found = decider.evaluate_experiment(db, rnd.choice(running))
            self._evaluated += [found] if found is not None else []

    def _apply(self) -> None:
        while self._evaluated:
            found = self._evaluated.pop(0)
            with self.system.store.write() as db:
                decider.apply_verdict(db, found)


class Person(Actor):
    """An admin, who requests, cancels, promotes, rolls back, compares and removes."""

    def __init__(self, system: System) -> None:
        super().__init__(system, "admin")
        self.quiet = False  # asks for nothing any more

    def step(self) -> None:
        if self.quiet:
            return
        rnd = self.system.random
        what = rnd.choice(
            [
                *[self._request] * 4,
                *[self._compare] * 6,
                *[self._promote] * 3,
                *[self._cancel, self._roll_back, self._stop, self._ramp, self._set_policy],
                *[self._retire, self._remove, self._retry],
            ]
        )
        with contextlib.suppress(UnderstudyError), self.system.store.write() as db:
            domain = domains.get(db, rnd.choice(DOMAINS))
            what(db, domain)

    @property
    def _sure(self) -> bool:
        """Whether they confirm that something ends a comparison."""
        return self.system.random.random() < 0.1

    def _request(self, db: Any, domain: Domain) -> None:
        runs.queue(db, domain, "admin", kind="full")

    def _cancel(self, db: Any, domain: Domain) -> None:
        for run in runs.recent(db, domain, 1):
            runs.cancel(db, run.id, "admin")

    def _one(self, db: Any, domain: Domain) -> Adapter:
        known = registry.list_adapters(db, domain)[:4]
        if not known:
            raise Conflict("There is none.")
        return self.system.random.choice(known)

    def _promote(self, db: Any, domain: Domain) -> None:
        admin.promote(db, domain, self._one(db, domain).name, "admin", confirmed=self._sure)

    def _roll_back(self, db: Any, domain: Domain) -> None:
        admin.roll_back(db, domain, "admin", confirmed=self._sure)

    def _compare(self, db: Any, domain: Domain) -> None:
        """The live adapter with another one; or the last comparison again, without those who had
        its candidate."""
        rnd = self.system.random
        names, fresh = ["live", self._one(db, domain).name], rnd.random() < 0.2
        if fresh:
            names = [v.adapter for v in experiments.latest(db, domain).variants]
        share = rnd.choice([None, None, 0.3])
        plan = ExperimentPlan(share=share, fresh=fresh, design=DESIGN)
        comparisons.begin(db, domain, names, "admin", plan)

    def _stop(self, db: Any, domain: Domain) -> None:
        if self._sure:
            comparisons.stop(db, domain, "admin")

    def _ramp(self, db: Any, domain: Domain) -> None:
        comparisons.ramp(db, domain, self.system.random.choice([0.5, 0.8]), "admin")

    def _set_policy(self, db: Any, domain: Domain) -> None:
        policies.set_policy(db, domain, self.system.random.choice(policies.POLICIES), "admin")

    def _retire(self, db: Any, domain: Domain) -> None:
        registry.retire(db, self._one(db, domain), "admin")

    def _remove(self, db: Any, domain: Domain) -> None:
        registry.remove(db, self._one(db, domain), "admin")

    def _retry(self, db: Any, domain: Domain) -> None:
        adapter = self._one(db, domain)
        placements.retry(db, adapter.id, "admin", adapter.name)
