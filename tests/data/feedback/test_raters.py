"""Raters whose ratings do not depend on the answers are found and quarantined, and can be
released."""

import random
from collections.abc import Sequence
from statistics import fmean

import pytest
from sqlite_utils import Database

from data import domains
from data.conversations import side_by_side
from data.domains import Domain
from data.experiments import assignments, experiments
from data.experiments.experiments import Experiment, Variant
from data.feedback import feedback, rater_anomalies, raters, rating_totals
from data.feedback.rater_anomalies import Peers, Tally
from data.store import audit
from data.store.db import Store, rows
from data.store.errors import Conflict, NotFound
from tests.data import given

ANOMALOUS = "slack:T1/UANOM"


@pytest.fixture
def running(store: Store, domain: Domain) -> Experiment:
    with store.write() as db:
        return experiments.start(db, domain, None, given.adapter(db, domain), "cli:ann")


def add_thumbs(
    db: Database, domain: Domain, person: str, thumbs: Sequence[bool], variant: Variant | None
) -> None:
    for n, up in enumerate(thumbs):
        feedback.thumb(db, given.reply(db, domain, person, variant=variant), person, up)
        if n % rating_totals.DAILY_CAP == rating_totals.DAILY_CAP - 1:  # the next day
            db.execute("UPDATE feedback SET created_at = created_at - ?", [rating_totals.DAY_US])


def others(
    db: Database, domain: Domain, variant: Variant | None, ups: int = 3, count: int = 12
) -> None:
    """`count` people who each rate four answers and like `ups` of them."""
    for n in range(count):
        thumbs = [k < ups for k in range(4)]
        add_thumbs(db, domain, f"slack:T1/U{n}{variant and variant.label}", thumbs, variant)


def states(db: Database, domain: Domain) -> dict[str, tuple[str, str | None]]:
    return {v.person: (v.state, v.rule) for v in raters.page(db, domain)}


# Quarantine


def test_a_person_who_always_presses_the_same_button_is_quarantined(
    store: Store, domain: Domain, running: Experiment
) -> None:
    variant = running.variants[1]
    with store.write() as db:
        others(db, domain, variant, ups=1, count=24)
        add_thumbs(db, domain, ANOMALOUS, [True] * 19, variant)
        assert states(db, domain) == {}
        add_thumbs(db, domain, ANOMALOUS, [True], variant)
        after = feedback.thumb(
            db, given.reply(db, domain, ANOMALOUS, variant=variant), ANOMALOUS, False
        )
    assert states(store.db, domain) == {ANOMALOUS: ("quarantined", "same_button")}
    assert not after.counts
    assert feedback.counts(store.db, domain.id)["up"] == 24 + 20
    assert given.counts(store.db, running)[1].up == 24
    (line,) = raters.page(store.db, domain)
    assert line.why.startswith("pressed 👍 20 times out of 20, while 24 others like 26% of")
    assert audit.recent(store.db)[0].action == "voter quarantine"


def test_a_person_is_tested_on_the_answers_of_one_variant_at_a_time(
    store: Store, domain: Domain, running: Experiment
) -> None:
    """Up on one and down on the other is half and half in all, and still odd on both."""
    a, b = running.variants
    with store.write() as db:
        others(db, domain, a, ups=3, count=40)
        others(db, domain, b, ups=3, count=40)
        for _ in range(25):
            add_thumbs(db, domain, ANOMALOUS, [True], a)
            add_thumbs(db, domain, ANOMALOUS, [False], b)
    assert states(store.db, domain) == {ANOMALOUS: ("quarantined", "same_button")}
    (line,) = raters.page(store.db, domain)
    assert line.why.startswith("pressed 👎 20 times out of 20")


def test_many_odd_raters_on_one_variant_do_not_make_each_other_look_ordinary(
    store: Store, domain: Domain, running: Experiment
) -> None:
    """Every sixth person on B is a bot that presses 👎 sixty times."""
    a, b = running.variants
    rng = random.Random(5)
    with store.write() as db:
        for variant in (a, b):
            for n in range(50):
                rated = honest_rater(rng, 8, 0.8, 0.1)
                thumbs = [True] * rated.up + [False] * rated.down
                add_thumbs(db, domain, f"slack:T1/U{n}{variant.label}", thumbs, variant)
        for n in range(10):
            add_thumbs(db, domain, f"slack:T1/UBOT{n}", [False] * 60, b)
    caught = {p for p, (state, _) in states(store.db, domain).items() if state == "quarantined"}
    assert caught == {f"slack:T1/UBOT{n}" for n in range(10)}
    assert len(given.counts(store.db, running)[1].ratings) == 50


def test_an_outlier_is_quarantined(store: Store, domain: Domain) -> None:
    with store.write() as db:
        others(db, domain, None, ups=4, count=30)
        others(db, domain, None, ups=3, count=10)
        add_thumbs(db, domain, ANOMALOUS, [True] + [False] * 17 + [True] * 3, None)
    assert states(store.db, domain) == {ANOMALOUS: ("quarantined", "outlier")}
    (line,) = raters.page(store.db, domain)
    assert line.why.startswith("likes 10% of 10 answers, while 30 others like 94% of the same")


def test_a_person_on_the_worse_variant_is_not_an_outlier_for_disliking_it(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        others(db, domain, a, ups=4, count=40)
        others(db, domain, b, ups=0, count=20)
        add_thumbs(db, domain, ANOMALOUS, [False] * 17 + [True] * 3, b)
    assert states(store.db, domain) == {}


def test_without_enough_other_raters_nobody_is_an_outlier(store: Store, domain: Domain) -> None:
    with store.write() as db:
        others(db, domain, None, count=rater_anomalies.OTHERS - 1)
        add_thumbs(db, domain, ANOMALOUS, [False] * 40, None)
    assert states(store.db, domain) == {}


def test_a_person_who_always_chooses_the_same_position_is_quarantined(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        for _ in range(20):
            first, second = (given.reply(db, domain, ANOMALOUS, variant=v) for v in (a, b))
            side_by_side.open_pairing(db, running.id, ANOMALOUS, first, second)
            last = feedback.prefer(db, first, ANOMALOUS, "first")
    assert states(store.db, domain) == {ANOMALOUS: ("quarantined", "same_side")}
    assert not last.counts
    assert (
        raters.page(store.db, domain)[0].why == "chose the first of two answers 20 times out of 20"
    )


def test_a_release_does_not_count_a_preference_between_incomplete_answers(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        first = given.reply(db, domain, ANOMALOUS, variant=a)
        second = given.reply(db, domain, ANOMALOUS, variant=b, status="partial")
        side_by_side.open_pairing(db, running.id, ANOMALOUS, first, second)
        assert not feedback.prefer(db, first, ANOMALOUS, "first").counts
        raters.quarantine(db, domain, ANOMALOUS, "a bot", "cli:ann")
        raters.release(db, domain, ANOMALOUS, "cli:ann")
        choice = feedback.live(db, first, ANOMALOUS, "pairwise")
    assert choice is not None
    assert not choice.counts


# The statistical tests


def test_the_tail_is_binomial_without_correlation_and_beta_binomial_with_it() -> None:
    from scipy import stats

    assert rater_anomalies.tail(3, 20, 0.7, 1e-6) == pytest.approx(
        stats.binom.cdf(3, 20, 0.7), rel=1e-2
    )
    size = 1 / 0.3 - 1
    exact = stats.betabinom(20, 0.7 * size, 0.3 * size)
    assert rater_anomalies.tail(3, 20, 0.7, 0.3) == pytest.approx(exact.cdf(3))
    assert rater_anomalies.tail(19, 20, 0.7, 0.3) == pytest.approx(exact.sf(18))


def test_the_intra_person_correlation_is_estimated() -> None:
    rng = random.Random(4)
    tallies = [honest_rater(rng, 8, 0.7, 0.4) for _ in range(3_000)]
    assert rater_anomalies.correlation(tallies) == pytest.approx(0.4, abs=0.04)
    assert rater_anomalies.correlation(tallies[:5]) == rater_anomalies.CORRELATION


def honest_rater(rng: random.Random, ratings: int, rate: float, correlation: float) -> Tally:
    """A rater with a personal probability of liking an answer."""
    size = 1 / correlation - 1
    own = rng.betavariate(rate * size, (1 - rate) * size)
    up = sum(rng.random() < own for _ in range(ratings))
    return Tally(up, ratings - up)


@pytest.mark.integration
@pytest.mark.parametrize("correlation", [0.1, 0.2, 0.4])
def test_hardly_any_honest_rater_is_taken_for_an_outlier(correlation: float) -> None:
    """Of 20,000 people with 20 ratings each, the test rejects at most one in a thousand, even if
    people differ as much as they may."""
    rng = random.Random(7)
    people = [honest_rater(rng, 20, 0.7, correlation) for _ in range(20_000)]
    peers = Peers(len(people), 0.7, rater_anomalies.correlation(people))
    level = rater_anomalies.level_at(20)
    assert level is not None
    rejected = [rater_anomalies.detect_anomaly(p, peers, level) for p in people]
    assert sum(m is not None for m in rejected) <= 20


@pytest.mark.parametrize("rate", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("correlation", [0.1, 0.2])
def test_hardly_any_honest_rater_is_quarantined_however_often_they_rate(
    rate: float, correlation: float
) -> None:
    """As many people rate so often as in most places: few of them many times."""
    rng = random.Random(11)
    people = [
        honest_rater(rng, min(int(rng.paretovariate(1.2)), 300), rate, correlation)
        for _ in range(20_000)
    ]
    peers = Peers(len(people), rate, rater_anomalies.correlation(people[:300]))
    rejected = [
        any(rater_anomalies.detect_anomaly(t, peers, at) for at in last_level(t)) for t in people
    ]
    assert sum(rejected) <= 20


def test_quarantining_honest_raters_hardly_biases_the_difference() -> None:
    """Among people who differ as much as they may and mostly rate a few times, more are rejected on
    the better variant. The remaining difference is within a quarter of a point of the true one."""
    rng = random.Random(3)
    means = []
    for rate in (0.70, 0.78):
        people = [
            honest_rater(rng, min(int(rng.paretovariate(1.2)), 300), rate, 0.4)
            for _ in range(20_000)
        ]
        peers = Peers(len(people), rate, 0.4)
        kept = [
            t
            for t in people
            if not any(rater_anomalies.detect_anomaly(t, peers, at) for at in last_level(t))
        ]
        means.append((fmean(t.rate for t in people), fmean(t.rate for t in kept)))
        assert len(kept) > 0.995 * len(people)
    (all_a, kept_a), (all_b, kept_b) = means
    assert abs((kept_b - kept_a) - (all_b - all_a)) < 0.0025


def last_level(tally: Tally) -> list[float]:
    """The level of the last test of a person with so many ratings. A person who always pressed one
    button had done so by then."""
    looks = [level for n in range(tally.total, 9, -1) if (level := rater_anomalies.level_at(n))]
    return looks[:1]


def test_most_people_who_rate_against_everyone_are_found() -> None:
    """Most people who dislike what others like are found, if people are otherwise much alike."""
    rng = random.Random(7)
    peers = Peers(500, 0.8, 0.1)
    trolls = [honest_rater(rng, 40, 0.1, 0.1) for _ in range(500)]
    level = rater_anomalies.level_at(40)
    assert level is not None
    rejected = sum(rater_anomalies.detect_anomaly(t, peers, level) is not None for t in trolls)
    assert rejected >= 350


# Releasing


def test_a_released_person_counts_again_and_is_not_tested_again(
    store: Store, domain: Domain, running: Experiment
) -> None:
    variant = running.variants[1]
    with store.write() as db:
        others(db, domain, variant)
        add_thumbs(db, domain, ANOMALOUS, [True] * 80, variant)
        assert raters.quarantined_in(db, running) == {"A": 0, "B": 0}
        assignments.expose(db, running.id, ANOMALOUS, variant.id)
        assert raters.quarantined_in(db, running) == {"A": 0, "B": 1}
        raters.release(db, domain, ANOMALOUS, "cli:ann")
        add_thumbs(db, domain, ANOMALOUS, [False], variant)
        add_thumbs(db, domain, ANOMALOUS, [True] * 9, variant)
        with pytest.raises(Conflict, match="is not quarantined"):
            raters.release(db, domain, ANOMALOUS, "cli:ann")
    assert states(store.db, domain) == {ANOMALOUS: ("released", "same_button")}
    assert given.counts(store.db, running)[1].up == 12 * 3 + 89
    assert given.counts(store.db, running)[1].down == 12 + 1


def test_an_admin_can_quarantine_a_rater(store: Store, domain: Domain) -> None:
    with store.write() as db:
        with pytest.raises(NotFound, match="has not rated"):
            raters.quarantine(db, domain, ANOMALOUS, "a bot", "cli:ann")
        add_thumbs(db, domain, ANOMALOUS, [True], None)
        raters.quarantine(db, domain, ANOMALOUS, "a bot", "cli:ann")
        with pytest.raises(Conflict, match="already"):
            raters.quarantine(db, domain, ANOMALOUS, "a bot", "cli:ann")
    (line,) = raters.page(store.db, domain)
    assert (line.state, line.rule, line.why, line.changed_by) == (
        "quarantined",
        "by_hand",
        "a bot",
        "cli:ann",
    )


def test_the_page_can_list_all_raters(store: Store, domain: Domain) -> None:
    with store.write() as db:
        add_thumbs(db, domain, ANOMALOUS, [True, False, True], None)
    assert raters.page(store.db, domain) == []
    (line,) = raters.page(store.db, domain, everyone=True)
    assert (line.person, line.up, line.down, line.state) == (ANOMALOUS, 2, 1, "counted")


# Who a person is compared with, and who is counted


def quarantine(db: Database, domain: Domain, person: str) -> None:
    raters.quarantine(db, domain, person, "at random", "cli:ann")


def test_a_person_is_compared_with_others_on_the_same_answers_who_are_not_quarantined(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        other = domains.create(db, "other")
        add_thumbs(db, domain, "slack:T1/UME", [True] * 3, b)
        add_thumbs(db, domain, "slack:T1/UONE", [False], b)
        add_thumbs(db, domain, "slack:T1/UTWO", [True, False, True], b)
        add_thumbs(db, domain, "slack:T1/UOUT", [False] * 5, b)
        add_thumbs(db, domain, "slack:T1/UBACK", [True] * 4, b)
        add_thumbs(db, domain, "slack:T1/UA", [False] * 7, a)
        add_thumbs(db, other, "slack:T1/UELSE", [False] * 8, None)
        gone = given.reply(db, domain, "slack:T1/UGONE", variant=b)
        feedback.thumb(db, gone, "slack:T1/UGONE", up=True)
        feedback.withdraw(db, gone, "slack:T1/UGONE", "thumb")
        add_thumbs(db, other, "slack:T1/UONE", [True], None)
        quarantine(db, other, "slack:T1/UONE")  # in the other domain alone
        quarantine(db, domain, "slack:T1/UOUT")
        quarantine(db, domain, "slack:T1/UBACK")
        raters.release(db, domain, "slack:T1/UBACK", "cli:ann")
        assert b.adapter_id is not None
        found = raters._others(db, domain.id, "slack:T1/UME")[b.adapter_id, b.id]
    assert sorted(found, key=lambda t: t.total) == [Tally(0, 1), Tally(2, 1), Tally(4, 0)]


def test_quarantined_people_are_counted_by_domain(store: Store, domain: Domain) -> None:
    with store.write() as db:
        other = domains.create(db, "other")
        for one, people in ((domain, 3), (other, 1)):
            for n in range(people):
                person = f"slack:T1/U{n}"
                feedback.thumb(db, given.reply(db, one, person), person, up=True)
                quarantine(db, one, person)
        raters.release(db, domain, "slack:T1/U2", "cli:ann")
        assert [raters.count_quarantined(db, d.id) for d in (domain, other)] == [2, 1]
        assert raters.quarantined(db, domain.id, "slack:T1/U1")
        assert not raters.quarantined(db, other.id, "slack:T1/U1")
        assert not raters.quarantined(db, domain.id, "slack:T1/U2")


def test_quarantined_people_are_counted_by_variant_of_the_experiment(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        other = domains.create(db, "other")
        elsewhere = given.reply(db, other, "slack:T1/U4")
        feedback.thumb(db, elsewhere, "slack:T1/U4", up=True)
        quarantine(db, other, "slack:T1/U4")
        for n, variant in enumerate((a, b, b, a, b)):
            person = f"slack:T1/U{n}"
            reply = given.reply(db, domain, person, variant=variant)
            assignments.expose(db, running.id, person, variant.id)
            feedback.thumb(db, reply, person, up=True)
        assert raters.quarantined_in(db, running) == {"A": 0, "B": 0}
        for n in (1, 2, 3):
            quarantine(db, domain, f"slack:T1/U{n}")
        raters.release(db, domain, "slack:T1/U3", "cli:ann")
        assert raters.quarantined_in(db, running) == {"A": 0, "B": 2}


def test_only_who_rated_an_answer_of_the_domain_can_be_quarantined_there(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        other = domains.create(db, "other")
        reply = given.reply(db, domain, "slack:T1/U1")
        feedback.thumb(db, reply, "slack:T1/U1", up=True)
        for place, person in ((other, "slack:T1/U1"), (domain, "slack:T1/U2")):
            with pytest.raises(NotFound):
                quarantine(db, place, person)


def test_a_quarantine_and_a_release_concern_one_person_in_one_domain(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        other = domains.create(db, "other")
        for one in (domain, other):
            for person in ("slack:T1/U1", "slack:T1/U2"):
                feedback.thumb(db, given.reply(db, one, person), person, up=True)
        counting = "SELECT count(*) AS n FROM feedback WHERE counts = 1"
        quarantine(db, domain, "slack:T1/U1")
        assert rows(db, counting) == [{"n": 3}]
        quarantine(db, domain, "slack:T1/U2")
        quarantine(db, other, "slack:T1/U1")
        assert rows(db, counting) == [{"n": 1}]
        raters.release(db, domain, "slack:T1/U1", "cli:bob")
        assert rows(db, counting) == [{"n": 2}]
        assert raters.quarantined(db, other.id, "slack:T1/U1")
        assert raters.quarantined(db, domain.id, "slack:T1/U2")
        entries = [(e.actor, e.subject, e.detail) for e in audit.recent(db, 2)]
    assert entries[0] == ("cli:bob", "slack:T1/U1", {"domain": "helpdesk"})
    assert entries[1][:2] == ("cli:ann", "slack:T1/U1")
    assert entries[1][2] == {"rule": "by_hand", "why": "at random"}


def test_the_audit_log_names_who_quarantined_and_who_released(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        others(db, domain, running.variants[1])
        add_thumbs(db, domain, ANOMALOUS, [True] * 80, running.variants[1])
        (found,) = raters.page(db, domain)
        raters.release(db, domain, ANOMALOUS, "cli:ann")
        released = raters.page(db, domain)[0]
        entries = [(e.actor, e.action) for e in audit.recent(db, 2)]
    assert (found.changed_by, released.changed_by) == ("", "cli:ann")
    assert entries == [("cli:ann", "voter release"), ("understudy", "voter quarantine")]


def test_a_second_quarantine_replaces_the_state_the_rule_and_the_reason(
    store: Store, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as db:
        feedback.thumb(db, given.reply(db, domain, ANOMALOUS), ANOMALOUS, up=True)
        raters._quarantine(db, domain.id, ANOMALOUS, "outlier", "likes nothing", by="")
        monkeypatch.setattr(raters, "now_us", lambda: 2_000_000_000_000_000)
        raters.release(db, domain, ANOMALOUS, "cli:ann")
        assert raters.page(db, domain)[0].changed_at == 2_000_000_000_000_000
        monkeypatch.setattr(raters, "now_us", lambda: 2_000_000_000_000_001)
        raters.quarantine(db, domain, ANOMALOUS, "a bot", "cli:bob")
        (line,) = raters.page(db, domain)
    assert (line.state, line.rule, line.why) == ("quarantined", "by_hand", "a bot")
    assert (line.changed_by, line.changed_at) == ("cli:bob", 2_000_000_000_000_001)


def prefer(
    db: Database, domain: Domain, running: Experiment, person: str, choice: feedback.Preferred
) -> str:
    first, second = (given.reply(db, domain, person, variant=v) for v in running.variants)
    side_by_side.open_pairing(db, running.id, person, first, second)
    feedback.prefer(db, first, person, choice)
    return first


def test_only_live_choices_of_one_person_in_one_domain_show_a_position_bias(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        other = domains.create(db, "other")
        elsewhere = experiments.start(db, other, None, given.adapter(db, other), "cli:ann")
        for _ in range(4):
            prefer(db, domain, running, "slack:T1/UELSE", "first")  # another person
            prefer(db, other, elsewhere, ANOMALOUS, "first")  # another domain
            prefer(db, domain, running, ANOMALOUS, "tie")
            taken_back = prefer(db, domain, running, ANOMALOUS, "first")
            feedback.withdraw(db, taken_back, ANOMALOUS, "pairwise")
            capped = prefer(db, domain, running, ANOMALOUS, "first")
            db.execute("UPDATE feedback SET over_cap = 1 WHERE reply_id = ?", [capped])
        add_thumbs(db, domain, ANOMALOUS, [True] * 9, None)
        for _ in range(3):
            prefer(db, domain, running, ANOMALOUS, "second")
        tallies: list[Tally] = []
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(rater_anomalies, "position_bias", tallies.append)
            raters.check_position_bias(db, domain.id, ANOMALOUS)
            raters.check_position_bias(db, domain.id, "slack:T1/UNOBODY")
    assert tallies == [Tally(0, 3), Tally(0, 0)]


def test_a_released_person_is_not_tested_for_position_bias_again(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        for _ in range(20):
            prefer(db, domain, running, ANOMALOUS, "second")
        assert states(db, domain) == {ANOMALOUS: ("quarantined", "same_side")}
        assert audit.recent(db)[0].actor == "understudy"
        raters.release(db, domain, ANOMALOUS, "cli:ann")
        prefer(db, domain, running, ANOMALOUS, "second")
    assert states(store.db, domain) == {ANOMALOUS: ("released", "same_side")}


def test_own_ratings_are_counted_by_adapter_and_variant(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        other = domains.create(db, "other")
        add_thumbs(db, domain, ANOMALOUS, [True, False, True], b)
        add_thumbs(db, domain, "slack:T1/UELSE", [False] * 2, b)
        add_thumbs(db, other, ANOMALOUS, [True] * 4, None)
        taken_back = given.reply(db, domain, ANOMALOUS, variant=a)
        feedback.thumb(db, taken_back, ANOMALOUS, up=True)
        feedback.withdraw(db, taken_back, ANOMALOUS, "thumb")
        source = b.adapter_id or 0, b.id
        found = raters._own(db, domain.id, ANOMALOUS, source)
        assert raters._own(db, domain.id, "slack:T1/UNOBODY", source) == Tally(0, 0)
    assert found == Tally(2, 1)


def test_enough_others_must_have_rated_answers_of_the_same_variant(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    least = rater_anomalies.OTHERS
    with store.write() as db:
        others(db, domain, b, ups=3, count=least)
        others(db, domain, a, ups=1, count=least - 1)
        assert raters._peers(db, domain.id, ANOMALOUS, (a.adapter_id or 0, a.id)) is None
        found = raters._peers(db, domain.id, ANOMALOUS, (b.adapter_id or 0, b.id))
    assert found is not None
    rate = (0.75 * least + 0.5) / (least + 1)
    assert (found.raters, found.rate) == (least, pytest.approx(rate))
