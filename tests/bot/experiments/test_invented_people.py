"""Invented people do not decide a comparison: simulated attacks through the real code.

Honest people are assigned, answered, exposed and rated in a store, and the comparison is looked at
again and again, under the policy that promotes and rolls back. Between them, an attacker votes up
every answer of the worse variant, and down every answer of the other, under as many invented
identities as they like, from as many addresses.
"""

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count

import pytest
from sqlite_utils import Database

from bot.experiments import decider
from bot.experiments.explain import explain
from data import domains
from data.domains import Domain
from data.experiments import assignments, experiments, policies
from data.experiments.counted_people import People
from data.experiments.decisions import Decision
from data.experiments.design import ExperimentDesign
from data.experiments.experiments import Experiment, VariantSpec
from data.experiments.metrics import default_bounds
from data.feedback import feedback
from data.people import keys
from data.store.db import Store
from tests.data import given

pytestmark = pytest.mark.integration
EACH_LOOK = 20  # honest people
HONEST = 160


@dataclass(frozen=True)
class Attack:
    per_honest: float  # invented raters for each honest one
    identity: str  # with {n}, the number of the rater
    addresses: int = 1
    most: int = 10**6


NOBODY = Attack(0.0, "")
ATTACKS = {
    "a third, each with one vote, are names of a key": Attack(0.5, "http:1/{n}"),
    "one visitor has 200 sessions": Attack(2.0, "web:bad{n}", most=200),
    "half are sessions on one address": Attack(1.0, "web:bad{n}"),
    "half are sessions on twenty addresses": Attack(1.0, "web:bad{n}", addresses=20),
    "half are sessions on two hundred addresses": Attack(1.0, "web:bad{n}", addresses=200),
}
AUTOMATIC = ("promote", "roll back")


@dataclass
class Comparison:
    db: Database
    domain: Domain
    running: Experiment
    rng: random.Random
    likes: dict[str, float]

    def rate(self, person: str, address: str, hostile: bool = False) -> None:
        variant = assignments.variant_for(self.running, person)
        assignments.expose(self.db, self.running.id, person, variant.id, 1, address)
        reply = given.reply(self.db, self.domain, person, variant=variant)
        worst = min(self.likes, key=lambda label: self.likes[label])
        likes = self.likes[variant.label]
        liked = variant.label == worst if hostile else self.rng.random() < likes
        feedback.thumb(self.db, reply, person, liked)

    def decision(self) -> Decision | None:
        found = decider.evaluate_experiment(self.db, self.running)
        return decider.apply_verdict(self.db, found) if found else None


def outcome(
    people: People,
    attack: Attack,
    likes: dict[str, float],
    seed: int,
    verified: bool = True,
    actions: tuple[str, ...] = AUTOMATIC,
) -> tuple[str | None, int]:
    """The first of the actions that was taken, and the number of honest people by then."""
    with Store(":memory:") as store, store.write() as db:
        domain = domains.create(db, "helpdesk")
        keys.create(db, "app", "member", "cli:root")
        specs = [VariantSpec(given.adapter(db, domain, state)) for state in ("live", "candidate")]
        policies.set_policy(db, domain, "auto", "cli:root")
        # without the wait for later ratings, which would hide what is tested
        terms = {"people": people, "novelty_days": 0, "version": 2}
        terms |= {"guardrails": default_bounds(), "expected_people": 300}
        begun = experiments.begin(db, domain, specs, "cli:root", terms=terms)
        db.execute("UPDATE experiments SET salt = ?", [f"salt {seed}"])
        running = experiments.get(db, begun.id)
        comparison = Comparison(db, domain, running, random.Random(seed), likes)
        bad = invented(attack)
        for n in range(1, HONEST + 1):
            person = f"slack:T1/U{n}" if verified else f"web:{n}"
            comparison.rate(person, f"198.51.{n // 250}.{n % 250}")
            for identity, address in next(bad):
                comparison.rate(identity, address, hostile=True)
            made = comparison.decision() if n % EACH_LOOK == 0 else None
            if made and made.action in actions:
                assert not explain(made).differing
                return made.action, n
    return None, HONEST


def invented(attack: Attack) -> Iterator[list[tuple[str, str]]]:
    """For each honest person, the invented identities that vote next, with their addresses."""
    made = 0
    for honest in count(1):
        wanted = min(round(attack.per_honest * honest), attack.most)
        numbers, made = range(made, wanted), wanted
        yield [
            (attack.identity.format(n=n), f"192.0.2.{n % max(attack.addresses, 1)}")
            for n in numbers
        ]


WORSE = {"A": 0.7, "B": 0.6}
BETTER = {"A": 0.5, "B": 0.9}
EQUAL = {"A": 0.7, "B": 0.7}
WHO_AND_WHERE: list[tuple[People, bool]] = [  # whose ratings count; whether the honest are verified
    ("verified", True),
    ("anyone", True),
    ("anyone", False),
]


@pytest.mark.parametrize(("people", "verified"), WHO_AND_WHERE)
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_attack_promotes_a_worse_candidate(
    people: People, verified: bool, attack: Attack
) -> None:
    action, _ = outcome(people, attack, WORSE, 0, verified)
    assert action != "promote"


STRONGEST = "half are sessions on two hundred addresses"


@pytest.mark.parametrize(("people", "verified"), WHO_AND_WHERE)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_draw_of_the_strongest_attack_promotes_a_worse_candidate(
    people: People, verified: bool, seed: int
) -> None:
    action, _ = outcome(people, ATTACKS[STRONGEST], WORSE, seed, verified)
    assert action != "promote"


@pytest.mark.long
@pytest.mark.parametrize(("people", "verified"), WHO_AND_WHERE)
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_draw_of_any_attack_promotes_a_worse_candidate(
    people: People, verified: bool, attack: Attack
) -> None:
    drawn = [outcome(people, attack, WORSE, seed, verified)[0] for seed in range(4, 24)]
    assert "promote" not in drawn


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_the_same_attacks_succeed_where_everybody_counts(attack: Attack) -> None:
    """So the simulation can fail."""
    action, _ = outcome("everyone", attack, WORSE, 0)
    assert action == "promote"


@pytest.mark.parametrize(("people", "verified"), WHO_AND_WHERE)
def test_no_attack_rolls_back_a_better_candidate(people: People, verified: bool) -> None:
    attack = Attack(1.0, "web:bad{n}", addresses=200)
    action, _ = outcome(people, attack, BETTER, 0, verified)
    assert action == ("promote" if verified else None)


def test_verified_people_decide_as_soon_as_without_an_attack() -> None:
    alone = outcome("verified", NOBODY, BETTER, 0)
    assert alone[0] == "promote"
    assert outcome("anyone", NOBODY, BETTER, 0) == alone
    for addresses in (1, 200):
        against = Attack(1.0, "web:bad{n}", addresses)
        assert outcome("verified", against, BETTER, 0) == alone
        assert outcome("anyone", against, BETTER, 0) == alone


def test_what_anonymous_people_say_is_suggested_as_soon_as_if_it_were_done() -> None:
    done = outcome("everyone", NOBODY, BETTER, 0, verified=False)
    assert done[0] == "promote"
    assert outcome("anyone", NOBODY, BETTER, 0, verified=False) == (None, HONEST)
    actions = (*AUTOMATIC, "advise")
    suggested = outcome("anyone", NOBODY, BETTER, 0, verified=False, actions=actions)
    assert suggested == ("advise", done[1])


@pytest.mark.parametrize("people", ["verified", "anyone"])
def test_no_attack_rolls_back_by_slow_questions_that_invented_people_ask(people: People) -> None:
    """On B alone, and verified people still decide when they see the same."""
    with Store(":memory:") as store, store.write() as db:
        domain = domains.create(db, "helpdesk")
        specs = [VariantSpec(given.adapter(db, domain, state)) for state in ("live", "candidate")]
        policies.set_policy(db, domain, "auto", "cli:root")
        terms = asdict(ExperimentDesign(people=people, expected_people=300))
        begun = experiments.begin(db, domain, specs, "cli:root", terms=terms)
        db.execute("UPDATE experiments SET salt = 'salt'")
        comparison = Comparison(db, domain, experiments.get(db, begun.id), random.Random(0), EQUAL)

        def ask(person: str, address: str, slow: bool) -> None:
            comparison.rate(person, address)
            db.execute(
                "UPDATE replies SET latency_us = iif(variant_id = :b AND :slow, 20, 1) * 1000000 "
                "WHERE person = :person",
                {"b": begun.variants[1].id, "slow": slow, "person": person},
            )

        for n in range(HONEST):
            ask(f"slack:T1/U{n}", "", slow=False)
            ask(f"web:bad{n}", f"192.0.2.{n}", slow=True)
        made = comparison.decision()
        assert made is None or made.action == "advise"
        for n in range(HONEST):
            ask(f"slack:T1/V{n}", "", slow=True)
        made = comparison.decision()
        assert made is not None
        assert made.action == "roll back"
