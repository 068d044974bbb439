"""The change test rarely raises a false alarm, and notices a fall; and it reads the right ratings.

The simulated people differ, rate several times in a row, and new ones keep coming."""

import random

from data.domains import Domain
from data.experiments import experiments
from data.experiments.variants import VariantSpec
from data.feedback import feedback, raters
from data.store.db import Store
from data.triggers import rating_change
from data.triggers.rating_change import CastRating
from tests.data import given

PEOPLE = 40


def simulated(
    seed: int, ratings: int, fall_at: int | None = None, fall: float = 0.0
) -> list[CastRating]:
    """People with different tastes, about 80% likes; each visit has one to six ratings."""
    draw = random.Random(seed)
    likes = [draw.betavariate(4, 1) for _ in range(PEOPLE)]
    found: list[CastRating] = []
    while len(found) < ratings:
        person = draw.randrange(min(PEOPLE, 5 + len(found) // 4))
        for _ in range(draw.randint(1, 6)):
            chance = likes[person]
            if fall_at is not None and len(found) >= fall_at:
                chance = max(0.0, chance - fall)
            liked = float(draw.random() < chance)
            found.append(CastRating(f"reply {seed} {len(found)}", f"slack:T1/U{person}", liked))
    return found[:ratings]


def test_a_false_alarm_is_as_rare_as_promised() -> None:
    """At most n / threshold. With a threshold of 2,000, 100 ratings may raise one in 5% of the
    simulations; in 400 of them, 35 would be a chance of less than 1 in 600."""
    alarms = sum(
        rating_change.measure(simulated(seed, 100), threshold=2_000).fell for seed in range(400)
    )
    assert alarms <= 35


def test_people_who_join_and_like_less_from_the_start_are_a_change() -> None:
    draw = random.Random(5)
    before = [CastRating(f"a{n}", f"slack:T1/A{n}", float(draw.random() < 0.9)) for n in range(80)]
    after = [CastRating(f"b{n}", f"slack:T1/B{n}", float(draw.random() < 0.2)) for n in range(80)]
    assert not rating_change.measure(before).fell
    assert rating_change.measure(before + after).fell


def test_one_unhappy_person_with_many_ratings_is_no_change() -> None:
    """Their own ratings are all alike, so that only the first one says anything."""
    happy = [CastRating(f"a{n}", f"slack:T1/A{n % 40}", float(n % 10 > 0)) for n in range(200)]
    angry = [CastRating(f"b{n}", "slack:T1/B", 0.0) for n in range(500)]
    assert not rating_change.measure(happy + angry).fell


def test_a_fall_is_noticed_and_a_rise_is_not_one() -> None:
    noticed = [rating_change.measure(simulated(s, 600, 200, fall=0.5)) for s in range(20)]
    assert sum(found.fell for found in noticed) >= 18
    assert all(found.after < found.before for found in noticed if found.fell)
    rises = [rating_change.measure(simulated(s, 600, 200, fall=-0.5)) for s in range(20)]
    assert sum(found.fell for found in rises) <= 4, "by chance, 1.2 at most on average"


def test_the_same_ratings_give_the_same_result() -> None:
    ratings = simulated(3, 300, 100, 0.5)
    assert rating_change.measure(ratings) == rating_change.measure(ratings)
    assert rating_change.measure([]).evidence == 0


def test_only_verified_askers_whose_ratings_count_are_read(store: Store, domain: Domain) -> None:
    with store.write() as db:
        for person in ("slack:T1/U1", "web:abc", "http:1/x", "slack:T1/U2"):
            feedback.thumb(db, given.reply(db, domain, person), person, True)
        feedback.thumb(db, given.reply(db, domain, "slack:T1/U1"), "slack:T1/U3", False)
        raters.quarantine(db, domain, "slack:T1/U2", "cli:ann", "for a test")
        found = rating_change.ratings_since(db, domain, 0)
    assert [(r.person, r.value) for r in found] == [("slack:T1/U1", 1.0)]


def test_ratings_of_a_candidate_are_not_read(store: Store, domain: Domain) -> None:
    with store.write() as db:
        live, candidate = given.adapter(db, domain, "live"), given.adapter(db, domain)
        running = experiments.begin(
            db, domain, [VariantSpec(live), VariantSpec(candidate)], "cli:ann"
        )
        for number, variant in enumerate(running.variants):
            person = f"slack:T1/U{number}"
            reply = given.reply(db, domain, person, variant=variant)
            feedback.thumb(db, reply, person, True)
        found = rating_change.ratings_since(db, domain, 0)
    assert [r.person for r in found] == ["slack:T1/U0"]
