"""Experiments: start, stop and look-up, and totals that match the ratings exactly."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import domains
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import assignments, experiments
from data.experiments.experiments import Experiment, Variant
from data.feedback import feedback
from data.store import audit
from data.store.db import Store, row, rows
from data.store.errors import Conflict, Invalid, NotFound
from tests.data import given as made

PEOPLE = [f"slack:T1/U{n}" for n in range(2_000)]


@pytest.fixture
def two(store: Store, domain: Domain) -> tuple[Adapter, Adapter]:
    with store.write() as db:
        return made.adapter(db, domain, "live"), made.adapter(db, domain)


@pytest.fixture
def running(store: Store, domain: Domain, two: tuple[Adapter, Adapter]) -> Experiment:
    with store.write() as db:
        return experiments.start(db, domain, *two, "cli:ann")


def with_share(share: float, salt: str = "salt") -> Experiment:
    a = Variant(1, "A", 1, "helpdesk@1", 1 - share, None, {})
    b = Variant(2, "B", 2, "helpdesk@2", share, None, {})
    return Experiment(1, 1, "helpdesk", salt, "running", "cli:ann", 0, None, (a, b))


def on_b(experiment: Experiment) -> set[str]:
    return {p for p in PEOPLE if assignments.variant_for(experiment, p).label == "B"}


# Starting and stopping


def test_a_comparison_has_a_control_and_a_candidate(running: Experiment) -> None:
    assert [(v.label, v.adapter, v.share) for v in running.variants] == [
        ("A", "helpdesk@1", 0.5),
        ("B", "helpdesk@2", 0.5),
    ]


def test_the_bare_base_can_be_a_variant(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter]
) -> None:
    with store.write() as db:
        begun = experiments.start(db, domain, None, two[1], "cli:ann", share=0.2)
    assert [(v.adapter, v.adapter_id) for v in begun.variants] == [
        ("base", None),
        ("helpdesk@2", two[1].id),
    ]
    assert begun.variants[1].share == 0.2


def test_invalid_comparisons_are_refused(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter]
) -> None:
    a, b = two
    with store.write() as db:
        stranger = made.adapter(db, domains.create(db, "hr"))
        bad = made.adapter(db, domain, "rejected")
        for same in ((a, a), (None, None)):
            with pytest.raises(Invalid, match="two different adapters"):
                experiments.start(db, domain, *same, "cli:ann")
        with pytest.raises(Invalid, match="hr@1 is not an adapter of helpdesk"):
            experiments.start(db, domain, a, stranger, "cli:ann")
        with pytest.raises(Conflict, match="helpdesk@3 was rejected"):
            experiments.start(db, domain, a, bad, "cli:ann")
        db.execute("UPDATE adapters SET state = 'evaluating' WHERE id = ?", [bad.id])
        with pytest.raises(Conflict, match="helpdesk@3 is still being evaluated"):
            experiments.start(db, domain, a, bad, "cli:ann")
        for share in (0.0, 1.0, -1.0, 2.0):
            with pytest.raises(Invalid, match="between 0 and 100%"):
                experiments.start(db, domain, a, b, "cli:ann", share=share)
    assert experiments.list_experiments(store.db) == []


def test_a_domain_has_one_running_comparison_at_a_time(
    store: Store, domain: Domain, two: tuple[Adapter, Adapter], running: Experiment
) -> None:
    with store.write() as db:
        with pytest.raises(Conflict, match="already comparing helpdesk@1 and helpdesk@2"):
            experiments.start(db, domain, *two, "cli:ann")
        ended = experiments.stop(db, running, "cli:bob")
        assert (ended.state, ended.stopped_at is not None) == ("stopped", True)
        with pytest.raises(Conflict, match="already been stopped"):
            experiments.stop(db, ended, "cli:bob")
        again = experiments.start(db, domain, *two, "cli:ann")
    assert again.salt != running.salt
    assert experiments.running(store.db, domain.id) == again
    assert [e.action for e in audit.recent(store.db)][:3] == ["ab start", "ab stop", "ab start"]


def test_the_latest_is_the_running_one_or_the_last(
    store: Store, domain: Domain, running: Experiment
) -> None:
    assert experiments.latest(store.db, domain) == running
    with store.write() as db:
        experiments.stop(db, running, "cli:ann")
        other = domains.create(db, "hr")
    assert experiments.latest(store.db, domain).id == running.id
    assert experiments.running(store.db, domain.id) is None
    with pytest.raises(NotFound, match="no comparison yet"):
        experiments.latest(store.db, other)


# Results


def test_results_are_sums_over_people(store: Store, domain: Domain, running: Experiment) -> None:
    a, b = running.variants
    with store.write() as db:
        for person, ups, downs in (("p1", 3, 1), ("p2", 0, 2), ("p3", 0, 0)):
            assignments.expose(db, running.id, person, a.id)
            for up in [True] * ups + [False] * downs:
                feedback.thumb(db, made.reply(db, domain, person, variant=a), person, up)
        made.reply(db, domain, "p3", variant=a)
        made.reply(db, domain, "p4", variant=b, status="failed")
        made.reply(db, domain, "p5")  # in no comparison
    control, candidate = made.counts(store.db, running)
    assert (control.people, control.replies, control.failed) == (3, 7, 0)
    assert (control.up, control.down) == (3, 3)
    assert control.ratings == (0.75, 0.0)
    assert (candidate.people, candidate.replies, candidate.failed) == (0, 1, 1)
    assert candidate.ratings == ()


@pytest.mark.integration
@given(
    presses=st.lists(
        st.tuples(
            st.integers(0, 4), st.sampled_from(["asker", "other"]), st.sampled_from([1, 0, None])
        ),
        max_size=30,
    )
)
@settings(max_examples=40, deadline=None)
def test_ratings_always_equal_the_sum_of_the_askers_current_thumbs(
    presses: list[tuple[int, str, int | None]],
) -> None:
    """For any sequence of ratings, replacements and withdrawals."""
    with Store(":memory:") as store, store.write() as db:
        domain = domains.create(db, "helpdesk")
        begun = experiments.start(db, domain, None, made.adapter(db, domain), "cli:ann")
        variant = begun.variants[1]
        replies = [made.reply(db, domain, f"p{n % 2}", variant=variant) for n in range(5)]
        for number, presser, thumb in presses:
            who = f"p{number % 2}" if presser == "asker" else "someone"
            if thumb is None:
                feedback.withdraw(db, replies[number], who, "thumb")
            else:
                feedback.thumb(db, replies[number], who, bool(thumb))
        summed = row(db, "SELECT coalesce(sum(up), 0) AS up, sum(down) AS down FROM ratings")
        counted = made.counts(db, begun)[1]
        assert summed is not None
        own = rows(
            db,
            "SELECT f.value FROM feedback f JOIN replies r ON r.id = f.reply_id "
            "WHERE f.live = 1 AND f.kind = 'thumb' AND f.person = r.person",
        )
        up = sum(r["value"] == 1 for r in own)
        assert (counted.up, counted.down) == (up, len(own) - up)
        assert (summed["up"], summed["down"] or 0) == (up, len(own) - up)
