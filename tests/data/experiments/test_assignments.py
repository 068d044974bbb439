"""Assignments: a person keeps their variant across threads, restarts, ramps and holdouts."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given as draw
from hypothesis import settings
from hypothesis import strategies as st
from sqlite_utils import Database

from data import domains
from data.adapters.registry import Adapter
from data.conversations import conversations
from data.domains import Domain
from data.experiments import (
    assignments,
    experiments,
    policies,
    ramps,
    testers,
    variants,
)
from data.experiments.experiments import Experiment, Variant
from data.experiments.variants import VariantSpec
from data.store.clock import now_us
from data.store.db import Store, rows, value
from data.store.errors import Conflict, Invalid
from tests.data import given

PEOPLE = [f"slack:T1/U{n}" for n in range(2_000)]


@pytest.fixture
def two(store: Store, domain: Domain) -> tuple[Adapter, Adapter]:
    with store.write() as db:
        return given.adapter(db, domain, "live"), given.adapter(db, domain)


@pytest.fixture
def running(store: Store, domain: Domain, two: tuple[Adapter, Adapter]) -> Experiment:
    with store.write() as db:
        return experiments.start(db, domain, *two, "cli:ann")


def with_shares(*shares: float, salt: str = "salt") -> Experiment:
    """An experiment in which the candidates have these shares and the control has the rest."""
    shares_by_label = zip(experiments.LABELS, (1 - sum(shares), *shares), strict=False)
    variants = tuple(
        Variant(n, label, n, f"helpdesk@{n}", share, None, {})
        for n, (label, share) in enumerate(shares_by_label, 1)
    )
    return Experiment(1, 1, "helpdesk", salt, "running", "cli:ann", 0, None, variants)


def on(experiment: Experiment, label: str) -> set[str]:
    return {p for p in PEOPLE if assignments.variant_for(experiment, p).label == label}


def assigned(db: Database, experiment: Experiment, person: str) -> Variant | None:
    found = assignments.current_assignment(db, experiment, person)
    return found.variant if found else None


def label(db: Database, experiment: Experiment, person: str) -> str | None:
    variant = assigned(db, experiment, person)
    return variant.label if variant else None


# The hash


@pytest.mark.integration
@draw(share=st.floats(0.01, 0.9), more=st.floats(0.001, 0.5), count=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_a_larger_share_only_moves_people_from_the_control_to_a_candidate(
    share: float, more: float, count: int
) -> None:
    """Nobody moves from a candidate to the control, or from one candidate to another."""
    grown = min(share + more, 0.99)
    before = with_shares(*[share / count] * count)
    after = with_shares(*[grown / count] * count)
    for candidate in before.candidates:
        assert on(before, candidate.label) <= on(after, candidate.label)


@pytest.mark.parametrize("shares", [(0.05,), (0.5,), (0.9,), (1 / 3, 1 / 3), (0.1, 0.3, 0.2)])
def test_assignments_match_the_requested_shares(shares: tuple[float, ...]) -> None:
    """The numbers lie within five standard deviations of a binomial distribution."""
    experiment = with_shares(*shares)
    for variant in experiment.variants:
        expected = variant.share * len(PEOPLE)
        spread = (expected * (1 - variant.share)) ** 0.5
        assert abs(len(on(experiment, variant.label)) - expected) < 5 * spread


def test_assignments_in_different_comparisons_are_independent() -> None:
    both = on(with_shares(0.5, salt="one"), "B") & on(with_shares(0.5, salt="two"), "B")
    assert abs(len(both) - len(PEOPLE) / 4) < 100


def draws(salt: str, person: str) -> tuple[int, int]:
    """Two numbers from 0 to 9999 that SHA-256 gives. Running experiments depend on them."""
    digest = hashlib.sha256(f"{salt}:{person}".encode()).hexdigest()
    return int(digest[:16], 16) % 10_000, int(digest[16:32], 16) % 10_000


def test_a_person_keeps_their_variant_in_every_version() -> None:
    """One draw decides between the control and the candidates, the other between these."""
    experiment = with_shares(0.1, 0.3)
    for person in PEOPLE:
        first, second = draws("salt", person)
        label = "A" if first >= 4_000 else "B" if second < 2_500 else "C"
        assert assignments.variant_for(experiment, person).label == label
        assert assignments.bucket("salt", person) == first


def test_any_name_has_a_variant() -> None:
    digest = hashlib.sha256(b"salt:\xed\xa0\x80").hexdigest()
    assert assignments.bucket("salt", "\ud800") == int(digest[:16], 16) % 10_000


# Exposure


def test_a_person_keeps_the_variant_of_their_first_exposure(
    store: Store, running: Experiment
) -> None:
    person = next(p for p in PEOPLE if assignments.variant_for(running, p).label == "A")
    a, b = running.variants
    assert assigned(store.db, running, person) == a
    with store.write() as db:
        assignments.expose(db, running.id, person, a.id)
        assignments.expose(db, running.id, person, b.id)  # too late: the first one counts
    moved = replace(running, variants=(replace(a, share=0.001), replace(b, share=0.999)))
    assert assignments.variant_for(moved, person).label == "B"
    assert label(store.db, moved, person) == "A"


def test_an_assignment_is_settled_by_an_exposure_or_a_choice(
    store: Store, running: Experiment
) -> None:
    a, b = running.variants
    seen, chose, new, other = PEOPLE[:4]
    with store.write() as db:
        assignments.expose(db, running.id, seen, b.id)
        testers.set_variant(db, running, chose, "B", "cli:ann")
        assignments.expose(db, running.id, other, a.id)
    for person, settled in ((seen, True), (chose, True), (new, False)):
        found = assignments.current_assignment(store.db, running, person)
        assert found is not None
        assert found.settled is settled
        by_hash = assignments.variant_for(running, person)
        assert found.variant == (b if settled else by_hash)


def test_a_testers_choice_wins_over_an_earlier_exposure(store: Store, running: Experiment) -> None:
    a, b = running.variants
    with store.write() as db:
        assignments.expose(db, running.id, "web:p", a.id)
        testers.set_variant(db, running, "web:p", "B", "cli:ann")
    assert assigned(store.db, running, "web:p") == b


def test_exposures_in_another_experiment_have_no_effect(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter], running: Experiment
) -> None:
    with store.write() as db:
        person = next(p for p in PEOPLE if assignments.variant_for(running, p).label == "A")
        assignments.expose(db, running.id, person, running.variants[1].id)
        testers.set_variant(db, running, "web:q", "B", "cli:ann")
        experiments.stop(db, running, "cli:ann")
        second = experiments.start(db, domain, *two, "cli:ann")
        for who in (person, "web:q"):
            found = assignments.current_assignment(db, second, who)
            assert found is not None
            assert (found.settled, found.variant.id in (v.id for v in second.variants)) == (
                False,
                True,
            )
            assert assignments.may_see(db, second.id, who, second.variants[0].id)
        assignments.expose(db, second.id, person, second.variants[0].id)
        testers.set_variant(db, second, "web:q", "A", "cli:ann")
        for who in (person, "web:q"):
            found = assignments.current_assignment(db, second, who)
            assert found is not None
            assert (found.settled, found.variant) == (True, second.variants[0])


def test_an_experiment_without_stages_is_in_its_first(store: Store, running: Experiment) -> None:
    with store.write() as db:
        db.execute("DELETE FROM stages")
        assignments.expose(db, running.id, "p", running.variants[0].id)
    assert value(store.db, "SELECT stage FROM assignments") == 1


def test_an_exposure_is_stored_with_its_stage_and_tester_flag(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter]
) -> None:
    before = now_us()
    with store.write() as db:
        begun = experiments.begin(db, domain, [VariantSpec(a) for a in two], "cli:ann", 0.05)
        grown = ramps.ramp(db, begun, 0.5, "cli:ann")
        testers.set_variant(db, grown, "web:tester", "B", "cli:ann")
        a, b = grown.variants
        assignments.expose(db, grown.id, "earlier", a.id, 1)
        assignments.expose(db, grown.id, "now", a.id)
        assignments.expose(db, grown.id, "web:tester", b.id)
        other = domains.create(db, "other")
        elsewhere = experiments.begin(
            db, other, [VariantSpec(None), VariantSpec(None, "Be kind.")], "cli:ann"
        )
        assignments.expose(db, elsewhere.id, "web:tester", elsewhere.variants[0].id)
    found = rows(store.db, "SELECT * FROM assignments ORDER BY experiment_id, person")
    assert [(r["person"], r["variant_id"], r["stage"], r["tester"]) for r in found] == [
        ("earlier", a.id, 1, 0),
        ("now", a.id, 2, 0),
        ("web:tester", b.id, 2, 1),
        ("web:tester", elsewhere.variants[0].id, 1, 0),
    ]
    assert all(before <= r["at"] <= now_us() for r in found)


def test_a_reply_of_an_unknown_experiment_may_not_be_opened(
    store: Store, running: Experiment
) -> None:
    assert not assignments.may_see(store.db, running.id + 1, "p", running.variants[0].id)


def test_other_peoples_exposures_and_choices_have_no_effect(
    store: Store, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        assignments.expose(db, running.id, "seen", b.id)
        testers.set_variant(db, running, "web:chose", "B", "cli:ann")
        assert assignments.may_see(db, running.id, "new", a.id)
        assert assignments.may_see(db, running.id, "new", b.id)
        assert not assignments.may_see(db, running.id, "web:chose", a.id)
    person = next(p for p in PEOPLE if assignments.variant_for(running, p).label == "A")
    found = assignments.current_assignment(store.db, running, person)
    assert found is not None
    assert (found.settled, found.variant) == (False, a)


def test_the_holdout_of_another_domain_has_no_effect(store: Store, running: Experiment) -> None:
    with store.write() as db:
        policies.set_holdout(db, domains.create(db, "other"), 0.5, "cli:ann")
    assert None not in {label(store.db, running, p) for p in PEOPLE[:200]}


def test_the_holdout_is_the_first_buckets_of_its_salt(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        policies.set_holdout(db, domain, 0.25, "cli:ann")
    salt = value(store.db, "SELECT holdout_salt FROM experiment_policies")
    for person in PEOPLE[:500]:
        held_out = draws(salt, person)[0] < 2_500
        assert (label(store.db, running, person) is None) is held_out


def test_only_people_who_got_a_candidate_in_the_named_experiment_are_excluded(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter], running: Experiment
) -> None:
    sides = [VariantSpec(adapter) for adapter in two]
    with store.write() as db:
        assignments.expose(db, running.id, "of the first", running.variants[1].id)
        experiments.stop(db, running, "cli:ann")
        second = experiments.begin(db, domain, sides, "cli:ann")
        assignments.expose(db, second.id, "of the second", second.variants[1].id)
        experiments.stop(db, second, "cli:ann")
        third = experiments.begin(db, domain, sides, "cli:ann", excludes=second.id)
    assert label(store.db, third, "of the second") is None
    assert label(store.db, third, "of the first") is not None


def test_a_reply_is_opened_only_for_the_persons_variant_in_a_running_comparison(
    store: Store, running: Experiment
) -> None:
    """A plan made before another process changed the assignment or stopped the comparison is
    refused."""
    a, b = running.variants
    with store.write() as db:
        assert assignments.may_see(db, running.id, "p", b.id)
        assignments.expose(db, running.id, "p", a.id)
        assert not assignments.may_see(db, running.id, "p", b.id)
        assert assignments.may_see(db, running.id, "p", a.id)
        experiments.stop(db, running, "cli:ann")
        assert not assignments.may_see(db, running.id, "p", a.id)


def ask(path: Path, domain: Domain, questions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Plan and then open a reply for each (person, thread), with a separate store connection, as a
    bot does. Other bots open replies and ramp in between. Returns (person, label) pairs."""
    found = []
    with Store(path) as store:
        for begin in range(0, len(questions), 500):
            some = questions[begin : begin + 500]
            planned = now(store.db, domain)
            variants = [assigned(store.db, planned, person) for person, _ in some]
            with store.write() as db:
                for (person, thread), variant in zip(some, variants, strict=True):
                    stage = planned.stage
                    assert variant is not None
                    if not assignments.may_see(db, planned.id, person, variant.id):
                        again = now(db, domain)  # another bot was first, so plan again
                        variant, stage = assigned(db, again, person), again.stage
                        assert variant is not None
                    conversations.open_thread(db, thread, domain.id, person)
                    assignments.expose(db, planned.id, person, variant.id, stage)
                    found.append((person, variant.label))
    return found


def now(db: Database, domain: Domain) -> Experiment:
    running = experiments.running(db, domain.id)
    assert running is not None
    return running


@pytest.mark.slow
def test_threads_restarts_and_ramps_move_nobody_of_100_000_people(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter]
) -> None:
    """The share grows from 5 to 20 to 50%. People ask in random order, each time in a new thread,
    and four bots answer at once. All bots restart in the middle of each stage, and the ramps happen
    while they answer."""
    rng = random.Random(5)
    people = [f"slack:T1/U{n}" for n in range(100_000)]
    with store.write() as db:
        experiment = experiments.begin(db, domain, [VariantSpec(a) for a in two], "cli:ann", 0.05)
    labels: dict[str, set[str]] = {}
    questions = iter(range(10**9))
    for share in (0.2, 0.5, None):
        for half in (1, 2):
            asked = [(p, f"C1/{next(questions)}") for p in rng.choices(people, k=40_000)]
            with ThreadPoolExecutor(4) as bots:
                answers = [bots.submit(ask, store.path, domain, asked[i::4]) for i in range(4)]
                if half == 2 and share is not None:
                    with store.write() as db:
                        experiment = ramps.ramp(db, experiment, share, "cli:ann")
            for person, label_ in chain.from_iterable(a.result() for a in answers):
                labels.setdefault(person, set()).add(label_)
    stored = {
        r["person"]: {r["label"]}
        for r in rows(
            store.db,
            "SELECT a.person, v.label FROM assignments a JOIN variants v ON v.id = a.variant_id",
        )
    }
    assert len(labels) > 90_000
    assert [person for person, seen in labels.items() if len(seen) > 1] == []
    assert stored == labels
    assert value(store.db, "SELECT count(*) FROM conversations") == 240_000
    assert value(store.db, "SELECT count(DISTINCT stage) FROM assignments") == 3


# Ramps


def test_a_ramp_begins_a_stage_and_keeps_earlier_assignments(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter]
) -> None:
    with store.write() as db:
        begun = experiments.begin(db, domain, [VariantSpec(a) for a in two], "cli:ann", 0.05)
        person = next(p for p in PEOPLE if label(db, begun, p) == "A" and p in on_at(begun, 0.5))
        variant = assignments.variant_for(begun, person)
        assignments.expose(db, begun.id, person, variant.id, begun.stage)
        grown = ramps.ramp(db, begun, 0.5, "cli:bob")
        late = next(p for p in PEOPLE if label(db, grown, p) == "B" and p not in on(begun, "B"))
        assignments.expose(db, grown.id, late, grown.variants[1].id, grown.stage)
    assert (grown.stage, [v.share for v in grown.variants]) == (2, [0.5, 0.5])
    assert label(store.db, grown, person) == "A"
    sql = "SELECT person, stage FROM assignments ORDER BY stage"
    assert rows(store.db, sql) == [
        {"person": person, "stage": 1},
        {"person": late, "stage": 2},
    ]
    sql = "SELECT number, shares, started_by FROM stages ORDER BY number"
    assert rows(store.db, sql) == [
        {"number": 1, "shares": '{"A":0.95,"B":0.05}', "started_by": "cli:ann"},
        {"number": 2, "shares": '{"A":0.5,"B":0.5}', "started_by": "cli:bob"},
    ]


def on_at(experiment: Experiment, share: float) -> set[str]:
    a, b = experiment.variants
    return on(replace(experiment, variants=(a, replace(b, share=share))), "B")


def test_a_share_never_shrinks(store: Store, running: Experiment) -> None:
    with store.write() as db:
        for share in (0.2, 0.5, 1.0, 0.0):
            with pytest.raises(Invalid):
                ramps.ramp(db, running, share, "cli:ann")
        grown = ramps.ramp(db, running, 0.8, "cli:ann")
        with pytest.raises(Conflict, match="changed in the meantime"):
            ramps.ramp(db, running, 0.9, "cli:ann")
        experiments.stop(db, grown, "cli:ann")
        with pytest.raises(Conflict, match="changed in the meantime"):
            ramps.ramp(db, grown, 0.9, "cli:ann")


def test_a_ramp_keeps_the_proportions_of_the_candidates(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter]
) -> None:
    with store.write() as db:
        specs = [VariantSpec(None), *(VariantSpec(a) for a in two)]
        begun = experiments.begin(db, domain, specs, "cli:ann", 0.1)
        grown = ramps.ramp(db, begun, 0.6, "cli:ann")
    assert [v.share for v in begun.variants] == pytest.approx([0.9, 0.05, 0.05])
    assert [v.share for v in grown.variants] == pytest.approx([0.4, 0.3, 0.3])


# Holdout and exclusions


def test_the_holdout_is_in_no_comparison_and_the_same_for_all(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter], running: Experiment
) -> None:
    def out(experiment: Experiment) -> set[str]:
        return {p for p in PEOPLE if label(store.db, experiment, p) is None}

    assert out(running) == set()
    with store.write() as db:
        policies.set_holdout(db, domain, 0.1, "cli:ann")
    held = out(running)
    assert 130 < len(held) < 270
    with store.write() as db:
        experiments.stop(db, running, "cli:ann")
        second = experiments.start(db, domain, *two, "cli:ann")
        policies.set_holdout(db, domain, 0.2, "cli:ann")
        with pytest.raises(Invalid, match="between 0 and 50%"):
            policies.set_holdout(db, domain, 0.6, "cli:ann")
    assert held < out(second)


def test_exposed_people_keep_their_variant_when_the_holdout_grows(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        for person in PEOPLE[:100]:
            variant = assignments.variant_for(running, person)
            assignments.expose(db, running.id, person, variant.id)
        policies.set_holdout(db, domain, 0.5, "cli:ann")
    assert None not in {label(store.db, running, p) for p in PEOPLE[:100]}


def test_people_who_got_a_candidate_earlier_can_be_excluded(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter], running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        assignments.expose(db, running.id, "on a", a.id)
        assignments.expose(db, running.id, "on b", b.id)
        experiments.stop(db, running, "cli:ann")
        specs = [VariantSpec(adapter) for adapter in two]
        after = experiments.begin(db, domain, specs, "cli:ann", excludes=running.id)
    assert label(store.db, after, "on a") is not None
    assert label(store.db, after, "on b") is None
    assert label(store.db, after, "new") is not None


# Testers


def test_a_tester_gets_the_chosen_variant_and_is_in_no_statistic(
    store: Store, running: Experiment
) -> None:
    person = next(p for p in PEOPLE if label(store.db, running, p) == "A")
    with store.write() as db:
        assignments.expose(db, running.id, person, running.variants[0].id)
        testers.set_variant(db, running, person, "b", "cli:ann")
        assert assignments.may_see(db, running.id, person, running.variants[1].id)
        testers.set_variant(db, running, "web:new", "A", "cli:ann")
        assignments.expose(db, running.id, "web:new", running.variants[0].id)
        with pytest.raises(Invalid, match=r"no variant 'C' \(there are: A, B\)"):
            testers.set_variant(db, running, person, "C", "cli:ann")
    assert label(store.db, running, person) == "B"
    assert testers.list_testers(store.db, running) == {person: "B", "web:new": "A"}
    assert value(store.db, "SELECT count(*) FROM assignments WHERE tester = 1") == 2
    counted = given.counts(store.db, running)
    assert [c.people for c in counted] == [0, 0]


# Specifications of variants


def test_variants_may_differ_only_in_prompt_or_sampling(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter]
) -> None:
    live = two[0]
    with store.write() as db:
        begun = experiments.begin(
            db,
            domain,
            [
                VariantSpec(live),
                VariantSpec(live, "Be kind."),
                VariantSpec(live, sampling={"temperature": 0.2}),
            ],
            "cli:ann",
        )
    assert [v.described for v in begun.variants] == [
        "helpdesk@1",
        "helpdesk@1 (own prompt)",
        "helpdesk@1 (temperature=0.2)",
    ]
    assert [v.share for v in begun.variants] == pytest.approx([1 / 3] * 3)
    assert begun.variants[1].system_prompt == "Be kind."
    assert begun.variants[2].sampling == {"temperature": 0.2}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (VariantSpec(None, sampling={"heat": 1}), "not a sampling setting"),
        (VariantSpec(None, sampling={"temperature": 3.0}), "between 0 and 2"),
        (VariantSpec(None, sampling={"temperature": "hot"}), "must be a number"),
        (VariantSpec(None, sampling={"max_tokens": 1.5}), "must be a whole number"),
        (VariantSpec(None, sampling={"max_tokens": True}), "must be a whole number"),
        (VariantSpec(None, "x" * 40_000), "at most 32,000 characters"),
    ],
)
def test_invalid_prompts_and_settings_are_refused(spec: VariantSpec, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        variants.check_spec(spec)


def test_a_setting_is_read_from_text() -> None:
    assert variants.setting("temperature=0.2") == ("temperature", 0.2)
    assert variants.setting("max_tokens=80") == ("max_tokens", 80)
    for text in ("heat=1", "temperature=hot", "temperature", "max_tokens=1.5"):
        with pytest.raises(Invalid):
            variants.setting(text)
