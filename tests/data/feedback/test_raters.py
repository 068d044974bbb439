"""Odd voters are found, by what others say of the same answers, and can be released."""

import random
from collections.abc import Sequence
from statistics import fmean

import pytest
from sqlite_utils import Database

from data.conversations import side_by_side
from data.domains import Domain
from data.experiments import assignments, experiments
from data.experiments.experiments import Experiment, Variant
from data.feedback import feedback, rater_anomalies, raters, rating_totals
from data.feedback.rater_anomalies import Peers, Tally
from data.store import audit
from data.store.db import Store
from data.store.errors import Conflict, NotFound
from tests.data import given

ODD = "slack:T1/UODD"


@pytest.fixture
def running(store: Store, domain: Domain) -> Experiment:
    with store.write() as db:
        return experiments.start(db, domain, None, given.adapter(db, domain), "cli:ann")


def vote(
    db: Database, domain: Domain, person: str, thumbs: Sequence[bool], variant: Variant | None
) -> None:
    for n, up in enumerate(thumbs):
        feedback.thumb(db, given.reply(db, domain, person, variant=variant), person, up)
        if n % rating_totals.DAILY_CAP == rating_totals.DAILY_CAP - 1:  # the next day
            db.execute("UPDATE feedback SET created_at = created_at - ?", [rating_totals.DAY_US])


def others(
    db: Database, domain: Domain, variant: Variant | None, ups: int = 3, count: int = 12
) -> None:
    """So many people who each like so many of four answers."""
    for n in range(count):
        thumbs = [k < ups for k in range(4)]
        vote(db, domain, f"slack:T1/U{n}{variant and variant.label}", thumbs, variant)


def states(db: Database, domain: Domain) -> dict[str, tuple[str, str | None]]:
    return {v.person: (v.state, v.rule) for v in raters.page(db, domain)}


# Who is met


def test_who_always_presses_the_same_button_is_quarantined_and_not_dropped(
    store: Store, domain: Domain, running: Experiment
) -> None:
    variant = running.variants[1]
    with store.write() as db:
        others(db, domain, variant)
        vote(db, domain, ODD, [True] * 50, variant)
        vote(db, domain, ODD, [True] * 29, variant)
        assert states(db, domain) == {}
        vote(db, domain, ODD, [True], variant)
        after = feedback.thumb(db, given.reply(db, domain, ODD, variant=variant), ODD, False)
    assert states(store.db, domain) == {ODD: ("quarantined", "same_button")}
    assert not after.counts
    assert feedback.counts(store.db, domain.id)["up"] == 12 * 3 + 80
    assert given.counts(store.db, running)[1].up == 12 * 3
    (line,) = raters.page(store.db, domain)
    assert line.why.startswith("pressed 👍 80 times out of 80, 12 others like 73% of the same ")
    assert audit.recent(store.db)[0].action == "voter quarantine"


def test_who_votes_far_from_everyone_is_quarantined(store: Store, domain: Domain) -> None:
    with store.write() as db:
        others(db, domain, None, ups=4, count=30)
        others(db, domain, None, ups=3, count=10)
        vote(db, domain, ODD, [False] * 17 + [True] * 3, None)
    assert states(store.db, domain) == {ODD: ("quarantined", "outlier")}
    (line,) = raters.page(store.db, domain)
    assert line.why.startswith("likes 0% of 10 answers, 30 others like 94% of the same answers")


def test_who_was_given_the_worse_variant_is_no_outlier_for_saying_so(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        others(db, domain, a, ups=4, count=40)
        others(db, domain, b, ups=0, count=20)
        vote(db, domain, ODD, [False] * 17 + [True] * 3, b)
    assert states(store.db, domain) == {}


def test_with_few_others_there_is_nobody_to_be_far_from(store: Store, domain: Domain) -> None:
    with store.write() as db:
        others(db, domain, None, count=rater_anomalies.OTHERS - 1)
        vote(db, domain, ODD, [False] * 40, None)
    assert states(store.db, domain) == {}


def test_who_always_takes_the_same_side_of_two_answers_is_quarantined(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        for _ in range(20):
            first, second = (given.reply(db, domain, ODD, variant=v) for v in (a, b))
            side_by_side.open_pairing(db, running.id, ODD, first, second)
            last = feedback.prefer(db, first, ODD, "first")
    assert states(store.db, domain) == {ODD: ("quarantined", "same_side")}
    assert not last.counts
    assert (
        raters.page(store.db, domain)[0].why == "chose the first of two answers 20 times out of 20"
    )


def test_a_choice_beside_an_answer_that_broke_off_does_not_count_after_a_release_either(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        first = given.reply(db, domain, ODD, variant=a)
        second = given.reply(db, domain, ODD, variant=b, status="partial")
        side_by_side.open_pairing(db, running.id, ODD, first, second)
        assert not feedback.prefer(db, first, ODD, "first").counts
        raters.quarantine(db, domain, ODD, "a bot", "cli:ann")
        raters.release(db, domain, ODD, "cli:ann")
        choice = feedback.live(db, first, ODD, "pairwise")
    assert choice is not None
    assert not choice.counts


# The tests themselves


def test_looks_come_at_ten_twenty_forty_and_share_the_level() -> None:
    looks = [n for n in range(1, 700) if rater_anomalies.level_at(n) is not None]
    assert looks == [10, 20, 40, 80, 160, 320, 640]
    levels = [rater_anomalies.level_at(10 * 2**k) for k in range(50)]
    assert sum(level for level in levels if level) == pytest.approx(rater_anomalies.LEVEL)


def test_the_tail_is_the_binomials_without_correlation_and_grows_with_it() -> None:
    from scipy import stats

    assert rater_anomalies.tail(3, 20, 0.7, 1e-6) == pytest.approx(
        stats.binom.cdf(3, 20, 0.7), rel=1e-2
    )
    size = 1 / 0.3 - 1
    exact = stats.betabinom(20, 0.7 * size, 0.3 * size)
    assert rater_anomalies.tail(3, 20, 0.7, 0.3) == pytest.approx(exact.cdf(3))
    assert rater_anomalies.tail(19, 20, 0.7, 0.3) == pytest.approx(exact.sf(18))


def test_the_correlation_within_people_is_estimated() -> None:
    rng = random.Random(4)
    tallies = [honest(rng, 8, 0.7, 0.4) for _ in range(3_000)]
    assert rater_anomalies.correlation(tallies) == pytest.approx(0.4, abs=0.04)
    assert rater_anomalies.correlation(tallies[:5]) == rater_anomalies.CORRELATION


def honest(rng: random.Random, votes: int, rate: float, correlation: float) -> Tally:
    """A person who likes their own share of what they see."""
    size = 1 / correlation - 1
    own = rng.betavariate(rate * size, (1 - rate) * size)
    up = sum(rng.random() < own for _ in range(votes))
    return Tally(up, votes - up)


@pytest.mark.parametrize("correlation", [0.1, 0.2, 0.4])
def test_hardly_any_honest_voter_is_taken_for_an_outlier(correlation: float) -> None:
    """Of 20,000 people with 20 votes each, as different as they may be: at most one in a thousand
    is met, by the rule for voters far from everyone."""
    rng = random.Random(7)
    people = [honest(rng, 20, 0.7, correlation) for _ in range(20_000)]
    peers = Peers(len(people), 0.7, rater_anomalies.correlation(people))
    level = rater_anomalies.level_at(20)
    assert level is not None
    met = [rater_anomalies.anomaly_verdict(p, peers, level) for p in people]
    assert sum(m is not None and m[0] == "outlier" for m in met) <= 20


def test_who_honestly_likes_everything_hardly_weighs() -> None:
    """Of people as different as they may be, who mostly vote a few times, more are met on the
    better variant; the difference that is left is within a quarter of a point of the true one."""
    rng = random.Random(3)
    means = []
    for rate in (0.70, 0.78):
        people = [
            honest(rng, min(int(rng.paretovariate(1.2)), 300), rate, 0.4) for _ in range(20_000)
        ]
        peers = Peers(len(people), rate, 0.4)
        kept = [
            t
            for t in people
            if not any(rater_anomalies.anomaly_verdict(t, peers, at) for at in met_by(t))
        ]
        means.append((fmean(t.rate for t in people), fmean(t.rate for t in kept)))
        assert len(kept) > 0.995 * len(people)
    (all_a, kept_a), (all_b, kept_b) = means
    assert abs((kept_b - kept_a) - (all_b - all_a)) < 0.0025


def met_by(tally: Tally) -> list[float]:
    """The level of the last look at somebody with so many votes: whoever pressed one button all
    the time did so then."""
    looks = [level for n in range(tally.votes, 9, -1) if (level := rater_anomalies.level_at(n))]
    return looks[:1]


def test_who_votes_against_everyone_is_met_soon() -> None:
    """Most of those who dislike what others like, where people are much alike."""
    rng = random.Random(7)
    peers = Peers(500, 0.8, 0.1)
    trolls = [honest(rng, 40, 0.1, 0.1) for _ in range(500)]
    level = rater_anomalies.level_at(40)
    assert level is not None
    met = sum(rater_anomalies.anomaly_verdict(t, peers, level) is not None for t in trolls)
    assert met >= 350


# Releasing


def test_an_admin_can_release_somebody_for_good(
    store: Store, domain: Domain, running: Experiment
) -> None:
    variant = running.variants[1]
    with store.write() as db:
        others(db, domain, variant)
        vote(db, domain, ODD, [True] * 80, variant)
        assert raters.quarantined_in(db, running) == {"A": 0, "B": 0}
        assignments.expose(db, running.id, ODD, variant.id)
        assert raters.quarantined_in(db, running) == {"A": 0, "B": 1}
        raters.release(db, domain, ODD, "cli:ann")
        vote(db, domain, ODD, [False], variant)
        vote(db, domain, ODD, [True] * 9, variant)
        with pytest.raises(Conflict, match="is not quarantined"):
            raters.release(db, domain, ODD, "cli:ann")
    assert states(store.db, domain) == {ODD: ("released", "same_button")}
    assert given.counts(store.db, running)[1].up == 12 * 3 + 89
    assert given.counts(store.db, running)[1].down == 12 + 1


def test_an_admin_can_quarantine_somebody_who_has_judged(store: Store, domain: Domain) -> None:
    with store.write() as db:
        with pytest.raises(NotFound, match="has not judged"):
            raters.quarantine(db, domain, ODD, "a bot", "cli:ann")
        vote(db, domain, ODD, [True], None)
        raters.quarantine(db, domain, ODD, "a bot", "cli:ann")
        with pytest.raises(Conflict, match="already"):
            raters.quarantine(db, domain, ODD, "a bot", "cli:ann")
    (line,) = raters.page(store.db, domain)
    assert (line.state, line.rule, line.why, line.changed_by) == (
        "quarantined",
        "by_hand",
        "a bot",
        "cli:ann",
    )


def test_the_page_can_show_everyone(store: Store, domain: Domain) -> None:
    with store.write() as db:
        vote(db, domain, ODD, [True, False, True], None)
    assert raters.page(store.db, domain) == []
    (line,) = raters.page(store.db, domain, everyone=True)
    assert (line.person, line.up, line.down, line.state) == (ODD, 2, 1, "counted")
