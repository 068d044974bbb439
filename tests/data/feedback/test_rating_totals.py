"""Ratings count within the daily cap, without quarantine, and if they are informative."""

import pytest
from hypothesis import given as draw
from hypothesis import settings
from hypothesis import strategies as st
from sqlite_utils import Database

from data import domains
from data.conversations import side_by_side
from data.conversations.conversations import Status
from data.domains import Domain
from data.experiments import experiments
from data.experiments.experiments import Experiment
from data.feedback import feedback, raters, rating_totals
from data.store.db import Store, rows, value
from data.store.errors import Conflict, Forbidden, NotFound
from tests.data import given

ANN, BOB = "slack:T1/UANN", "web:bob"


@pytest.fixture
def running(store: Store, domain: Domain) -> Experiment:
    with store.write() as db:
        return experiments.start(db, domain, None, given.adapter(db, domain), "cli:ann")


def ratings(db: Database) -> dict[tuple[int, str], tuple[int, int]]:
    found = rows(db, "SELECT * FROM ratings WHERE up <> 0 OR down <> 0")
    return {(r["variant_id"], r["person"]): (r["up"], r["down"]) for r in found}


# Caps


def test_a_persons_ratings_count_up_to_the_daily_cap(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        replies = [given.reply(db, domain, ANN, variant=running.variants[1]) for _ in range(52)]
        ratings_given = [feedback.thumb(db, r, ANN, n % 2 == 0) for n, r in enumerate(replies)]

    assert [j.counts for j in ratings_given] == [True] * rating_totals.DAILY_CAP + [False] * 2
    assert [j.over_cap for j in ratings_given[-3:]] == [False, True, True]
    assert feedback.counts(store.db, domain.id) == {"up": 26, "down": 26, "corrections": 0}
    assert ratings(store.db) == {(running.variants[1].id, ANN): (25, 25)}


def test_each_person_has_a_cap_of_their_own(store: Store, domain: Domain) -> None:
    with store.write() as db:
        replies = [given.reply(db, domain, ANN) for _ in range(50)]
        for reply in replies:
            feedback.thumb(db, reply, ANN, up=True)
        assert feedback.thumb(db, replies[0], BOB, up=True).counts


def test_a_withdrawn_rating_gives_its_share_of_the_day_back(store: Store, domain: Domain) -> None:
    with store.write() as db:
        replies = [given.reply(db, domain, ANN) for _ in range(51)]
        for reply in replies[:50]:
            feedback.thumb(db, reply, ANN, up=True)
        feedback.withdraw(db, replies[0], ANN, "thumb")
        assert feedback.thumb(db, replies[50], ANN, up=True).counts


def test_a_day_begins_at_midnight_in_utc() -> None:
    day = 86_400_000_000
    moments = (0, day - 1, day, day + 5, 20_000 * day + 7)
    expected = [0, 0, day, day, 20_000 * day]
    assert [rating_totals.day_began(at) for at in moments] == expected


def test_a_replaced_rating_does_not_use_up_the_daily_cap(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        replies = [given.reply(db, domain, ANN, variant=running.variants[1]) for _ in range(51)]
        for reply in replies:
            feedback.thumb(db, reply, ANN, True)
        assert feedback.thumb(db, replies[0], ANN, False).counts
        assert not feedback.thumb(db, replies[-1], ANN, False).counts
    assert ratings(store.db) == {(running.variants[1].id, ANN): (49, 1)}


def test_the_cap_is_per_day_domain_and_kind(store: Store, domain: Domain) -> None:
    with store.write() as db:
        for _ in range(rating_totals.DAILY_CAP):
            feedback.thumb(db, given.reply(db, domain, ANN), ANN, True)
        fresh = given.reply(db, domain, ANN)
        assert not feedback.thumb(db, fresh, ANN, True).counts
        assert feedback.follow_up(db, fresh, ANN, True).counts
        other = domains.create(db, "hr")
        assert feedback.thumb(db, given.reply(db, other, ANN), ANN, True).counts
        db.execute("UPDATE feedback SET created_at = created_at - ?", [rating_totals.DAY_US])
        assert feedback.thumb(db, given.reply(db, domain, ANN), ANN, True).counts


# Feedback that is not informative


@pytest.mark.parametrize("status", ["partial", "done", "cancelled"])
def test_feedback_on_an_incomplete_answer_does_not_count(
    store: Store, domain: Domain, running: Experiment, status: Status
) -> None:
    with store.write() as db:
        reply = given.reply(db, domain, ANN, variant=running.variants[1], status=status)
        ratings_given = [
            feedback.thumb(db, reply, ANN, False),
            feedback.follow_up(db, reply, ANN, False),
            feedback.correction(db, reply, ANN, "With a badge."),
        ]
    assert {j.counts for j in ratings_given} == {status != "partial"}
    assert bool(ratings(store.db)) == (status != "partial")


def test_feedback_on_a_fallbacks_answer_does_not_count(store: Store, domain: Domain) -> None:
    with store.write() as db:
        wanted = given.adapter(db, domain)
        reply = given.reply(db, domain, ANN)
        db.execute("UPDATE replies SET instead_of = ?", [wanted.id])
        feedback.thumb(db, reply, ANN, False)
    assert ratings(store.db) == {}
    assert feedback.counts(store.db, domain.id)["down"] == 1


# Follow-ups and preferences between two answers


def test_a_follow_up_is_separate_from_the_thumb(store: Store, domain: Domain) -> None:
    with store.write() as db:
        reply = given.reply(db, domain, ANN)
        feedback.thumb(db, reply, ANN, True)
        feedback.follow_up(db, reply, ANN, False)
        changed = feedback.follow_up(db, reply, ANN, True)
        assert feedback.follow_up(db, reply, ANN, True) == changed
        feedback.withdraw(db, reply, ANN, "follow_up")
    assert feedback.live(store.db, reply, ANN, "follow_up") is None
    assert feedback.live(store.db, reply, ANN, "thumb") is not None
    sql = "SELECT value FROM feedback WHERE kind = 'follow_up' ORDER BY id"
    assert [r["value"] for r in rows(store.db, sql)] == [0.0, 1.0]


def paired(
    db: Database, domain: Domain, running: Experiment, person: str = ANN, status: Status = "done"
) -> tuple[str, str]:
    a, b = running.variants
    first = given.reply(db, domain, person, variant=b)
    second = given.reply(db, domain, person, variant=a, status=status)
    side_by_side.open_pairing(db, running.id, person, first, second)
    return first, second


@pytest.mark.parametrize(("which", "stored"), [("first", 1.0), ("tie", 0.5), ("second", 0.0)])
def test_a_preference_is_stored_once_for_both_answers(
    store: Store,
    domain: Domain,
    running: Experiment,
    which: feedback.Preferred,
    stored: float,
) -> None:
    with store.write() as db:
        first, second = paired(db, domain, running)
        rating = feedback.prefer(db, second, ANN, which)
        assert feedback.prefer(db, first, ANN, which) == rating
    assert (rating.reply_id, rating.value, rating.counts) == (first, stored, True)
    with store.write() as db:
        feedback.withdraw(db, second, ANN, "pairwise")
    assert feedback.live(store.db, first, ANN, "pairwise") is None


def test_only_the_person_who_asked_can_choose(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        first, _ = paired(db, domain, running)
        with pytest.raises(Forbidden, match="Only the person who asked"):
            feedback.prefer(db, first, BOB, "first")


def test_only_the_preference_counts_for_answers_shown_side_by_side(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        first, second = paired(db, domain, running)
        assert not feedback.thumb(db, first, ANN, True).counts
        assert not feedback.thumb(db, second, ANN, False).counts
        assert not feedback.follow_up(db, second, ANN, False).counts
    assert ratings(store.db) == {}


def test_a_preference_needs_two_complete_answers(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        first, _ = paired(db, domain, running, status="streaming")
        with pytest.raises(Conflict, match="still being written"):
            feedback.prefer(db, first, ANN, "first")
        broken, _ = paired(db, domain, running, status="partial")
        assert not feedback.prefer(db, broken, ANN, "first").counts
        alone = given.reply(db, domain, ANN)
        with pytest.raises(NotFound, match="shown alone"):
            feedback.prefer(db, alone, ANN, "first")


# Totals


RATERS = st.sampled_from([ANN, BOB])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("thumb"), st.integers(0, 5), RATERS, st.sampled_from([1, 0, None])),
        st.tuples(st.sampled_from(["quarantine", "release"]), st.just(0), RATERS, st.none()),
    ),
    max_size=30,
)


@pytest.mark.integration
@draw(actions=ACTIONS)
@settings(max_examples=60, deadline=None)
def test_totals_always_equal_the_sum_of_the_ratings_that_count(
    actions: list[tuple[str, int, str, int | None]],
) -> None:
    """For any sequence of ratings, replacements, withdrawals, quarantines and releases."""
    with Store(":memory:") as store, store.write() as db:
        domain = domains.create(db, "helpdesk")
        begun = experiments.start(db, domain, None, given.adapter(db, domain), "cli:ann")
        statuses: list[Status] = ["done", "done", "done", "partial", "done", "done"]
        replies = [
            given.reply(db, domain, (ANN, BOB)[n % 2], variant=begun.variants[n % 2], status=status)
            for n, status in enumerate(statuses)
        ]
        side_by_side.open_pairing(db, begun.id, ANN, replies[4], replies[5])
        for action, number, who, thumb in actions:
            _do(db, domain, action, replies[number], who, thumb)

        expected = rows(
            db,
            "SELECT r.variant_id, r.person, sum(f.value = 1) AS up, sum(f.value = 0) AS down "
            "FROM feedback f JOIN replies r ON r.id = f.reply_id "
            "WHERE f.live = 1 AND r.status = 'done' AND r.id NOT IN (?, ?) "
            "AND f.person = r.person AND f.person NOT IN "
            "(SELECT person FROM voters WHERE state = 'quarantined') GROUP BY 1, 2",
            replies[4:],
        )
        assert ratings(db) == {
            (r["variant_id"], r["person"]): (r["up"], r["down"]) for r in expected
        }
        tallied = rows(db, "SELECT sum(up) AS up, sum(down) AS down FROM tallies")[0]
        shown = feedback.counts(db, domain.id)
        assert (tallied["up"] or 0, tallied["down"] or 0) == (shown["up"], shown["down"])


def _do(db: Database, domain: Domain, action: str, reply: str, who: str, thumb: int | None) -> None:
    quarantined = raters.quarantined(db, domain.id, who)
    if action == "quarantine" and not quarantined:
        if value(db, "SELECT 1 FROM feedback WHERE person = ?", [who]):
            raters.quarantine(db, domain, who, "a test", "cli:ann")
    elif action == "release" and quarantined:
        raters.release(db, domain, who, "cli:ann")
    elif action == "thumb" and thumb is None:
        feedback.withdraw(db, reply, who, "thumb")
    elif action == "thumb":
        feedback.thumb(db, reply, who, bool(thumb))
