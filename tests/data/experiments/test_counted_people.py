"""How much a source of unverified people may weigh in a comparison."""

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st

from data.domains import Domain
from data.experiments import assignments, experiments, metric_sums
from data.experiments.counted_people import CHOICES, MOST_PER_SOURCE, NOTES, PEOPLE, capped
from data.experiments.experiments import Experiment, VariantSpec
from data.experiments.metric_sums import Sums
from data.feedback import feedback
from data.people import keys
from data.people.keys import KeyPeople
from data.store.db import Store
from tests.data import given


def after(weights: dict[str, float], verified: float = 0.0) -> dict[str, float]:
    factors = capped(weights, verified)
    return {source: weight * factors.get(source, 1.0) for source, weight in weights.items()}


def test_a_source_weighs_two_per_cent_at_most() -> None:
    found = after({f"s{n}": 1.0 for n in range(98)} | {"heavy": 50.0})
    assert found["heavy"] == pytest.approx(2.0)
    assert found["heavy"] / sum(found.values()) == pytest.approx(0.02)
    assert found["s1"] == 1.0


def test_two_heavy_sources_weigh_two_per_cent_each() -> None:
    found = after({f"s{n}": 1.0 for n in range(96)} | {"x": 500.0, "y": 30.0})
    assert found["x"] == found["y"] == pytest.approx(2.0)


def test_the_weight_of_verified_people_is_in_the_total() -> None:
    assert after({"heavy": 50.0}, verified=98.0) == {"heavy": pytest.approx(2.0)}


def test_a_source_always_weighs_as_much_as_one_person() -> None:
    assert after({"a": 1.0, "b": 0.5, "c": 7.0}) == {"a": 1.0, "b": 0.5, "c": pytest.approx(1.0)}
    assert capped({}) == capped({"a": 1.0}) == {}


@draw(
    st.dictionaries(st.text("abc", max_size=6), st.floats(0.1, 1e6), max_size=60),
    st.floats(0, 1e6),
)
def test_no_source_is_above_the_limit_and_none_is_cut_without_need(
    weights: dict[str, float], verified: float
) -> None:
    found = after(weights, verified)
    limit = max(1.0, MOST_PER_SOURCE * (verified + sum(found.values())))
    for source, weight in found.items():
        assert weight <= limit * (1 + 1e-6)
        assert weight == weights[source] or weight == pytest.approx(limit, rel=1e-6)


# In a comparison


def test_a_new_comparison_cannot_count_everyone_and_says_if_anyone_counts() -> None:
    assert set(PEOPLE) - set(CHOICES) == {"everyone"}
    assert set(CHOICES) < set(PEOPLE)
    assert NOTES == {
        "anyone": "Everybody's ratings count here, but anybody can invent people, so a policy "
        "promotes and rolls back only by the ratings of verified people. What everybody's ratings "
        "say is a suggestion that an admin confirms."
    }


@pytest.fixture
def running(store: Store, domain: Domain) -> Experiment:
    with store.write() as db:
        specs = [VariantSpec(given.adapter(db, domain, state)) for state in ("live", "candidate")]
        return experiments.begin(db, domain, specs, "cli:root", terms={"people": "anyone"})


def rate(
    store: Store, domain: Domain, running: Experiment, person: str, up: bool, address: str = ""
) -> None:
    b = running.variants[1]
    with store.write() as db:
        assignments.expose(db, running.id, person, b.id, address=address)
        feedback.thumb(db, given.reply(db, domain, person, variant=b), person, up)


def sums(store: Store, running: Experiment, metric: str = "rating") -> Sums:
    return metric_sums.collect(store.db, running).stages[0].cells[1].of(metric)


def test_two_hundred_sessions_of_one_address_weigh_as_one_visitor(
    store: Store, domain: Domain, running: Experiment
) -> None:
    for n in range(30):
        rate(store, domain, running, f"web:{n}", up=True, address=f"192.0.2.{n}")
    for n in range(200):
        address = f"2001:db8:1:2::{n:x}"
        rate(store, domain, running, f"web:bad{n}", up=False, address=address)
    found = sums(store, running)
    assert (found.people, found.w) == (230, pytest.approx(31.0))
    assert found.wy == pytest.approx(30.0)
    assert found.ww == pytest.approx(30 + 200 * (1 / 200) ** 2)
    failed = sums(store, running, "failed")
    assert failed.w == pytest.approx(31.0), "in the other metrics, too"


def test_the_names_of_a_key_weigh_two_per_cent_and_verified_people_all(
    store: Store, domain: Domain, running: Experiment
) -> None:
    for n in range(98):
        rate(store, domain, running, f"slack:T1/U{n}", up=True)
    for n in range(100):
        rate(store, domain, running, f"http:7/{n}", up=False)
    found = sums(store, running)
    assert (found.w, found.wy) == (pytest.approx(100.0), pytest.approx(98.0))


@pytest.mark.parametrize(("mark", "weight"), [("unverified", 1.0), ("one", 1.0), ("vouched", 30.0)])
def test_the_names_of_a_key_that_vouches_for_them_have_no_limit(
    store: Store, domain: Domain, running: Experiment, mark: KeyPeople, weight: float
) -> None:
    with store.write() as db:
        keys.create(db, "backend", "member", "cli:root", mark)
    for n in range(30):
        rate(store, domain, running, f"http:1/{n}", up=True)
    assert sums(store, running).w == pytest.approx(weight)
    verified = metric_sums.collect(store.db, running, "verified").stages[0].cells[1].of("rating")
    assert verified.people == (30 if mark == "vouched" else 0)


def test_a_deployment_of_verified_people_reads_the_same_either_way(
    store: Store, domain: Domain, running: Experiment
) -> None:
    for n in range(5):
        rate(store, domain, running, "slack:T1/U1", up=n > 2)
    open_to_all = sums(store, running)
    with store.write() as db:
        db.execute("UPDATE experiments SET terms = '{}'")
        found = experiments.get(db, running.id)
    assert sums(store, found) == open_to_all
    assert open_to_all.w == pytest.approx(5 / 1.8)


@pytest.mark.parametrize(("kind", "counted"), [("", 1), ("slack", 1), ("web_session", 0)])
def test_people_who_were_erased_before_there_were_kinds_count(
    store: Store, domain: Domain, running: Experiment, kind: str, counted: int
) -> None:
    rate(store, domain, running, "slack:T1/U1", up=True)
    with store.write() as db:
        db.execute("UPDATE assignments SET kind = ?", [kind])
    verified = metric_sums.collect(store.db, running, "verified").stages[0].cells[1]
    assert (verified.assigned, verified.of("rating").people) == (counted, counted)
