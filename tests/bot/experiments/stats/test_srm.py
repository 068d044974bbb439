"""The test of the split: the formula, and that it finds what is broken."""

from itertools import product
from math import exp, lgamma, log

import pytest

from bot.experiments.stats.srm import CONCENTRATIONS, log_evidence, p_value


def step_by_step(shares: list[float], who: list[int]) -> float:
    """The same evidence, as one bet after the other by three gamblers who share their stakes: each
    person's variant was given the share that a gambler's prior and the people before had for it."""
    fortunes, counts = dict.fromkeys((10, 100, 1000), 1.0), [0] * len(shares)
    for seen, variant in enumerate(who):
        for prior in fortunes:
            expected = (prior * shares[variant] + counts[variant]) / (prior + seen)
            fortunes[prior] *= expected / shares[variant]
        counts[variant] += 1
    return log(sum(fortunes.values()) / 3)


def test_it_is_what_betting_on_every_person_wins() -> None:
    who = [0, 1, 1, 2, 1, 0, 1, 1, 2, 1] * 30
    shares = [0.5, 0.3, 0.2]
    counts = [who.count(i) for i in range(3)]
    assert log_evidence(shares, counts) == pytest.approx(step_by_step(shares, who))


def test_everybody_on_one_variant_is_seen_within_25_people() -> None:
    def first(shares: list[float]) -> int:
        return next(n for n in range(1, 100) if p_value(log_evidence(shares, [n, 0])) <= 0.001)

    assert first([0.5, 0.5]) == 22
    assert p_value(log_evidence([0.5, 0.5], [0, 22])) <= 0.001
    assert p_value(log_evidence([0.5, 0.5], [0, 22], (1000.0,))) > 0.5  # as it was


def test_with_one_prior_it_is_the_formula_of_the_paper() -> None:
    k, n = 50.0, (7, 3)
    shares = (0.6, 0.4)
    product_ = sum(
        lgamma(k * share + count) - lgamma(k * share) - count * log(share)
        for share, count in zip(shares, n, strict=True)
    )
    expected = lgamma(k) - lgamma(k + 10) + product_
    assert log_evidence(shares, n, (k,)) == pytest.approx(expected)


def test_the_priors_stay_as_earlier_decisions_were_made_with_them() -> None:
    """Decisions are recomputed; those of the first version had the last prior alone."""
    assert CONCENTRATIONS == (10.0, 100.0, 1_000.0)


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.95, 0.05]])
def test_a_bet_on_a_sound_split_wins_nothing_on_average(shares: list[float]) -> None:
    """Over all ways in which four people can be divided: a martingale that starts at one."""
    total = 0.0
    for who in product([0, 1], repeat=4):
        chance = 1.0
        for variant in who:
            chance *= shares[variant]
        total += chance * exp(log_evidence(shares, [who.count(0), who.count(1)]))
    assert total == pytest.approx(1)


@pytest.mark.parametrize(
    ("counts", "broken"),
    [([500, 500], False), ([520, 480], False), ([600, 400], True), ([5_300, 4_700], True)],
)
def test_what_is_broken_is_found(counts: list[int], broken: bool) -> None:
    assert (p_value(log_evidence([0.5, 0.5], counts)) <= 0.001) == broken


def test_a_p_value_is_at_most_one() -> None:
    assert p_value(-3.0) == 1.0
    assert p_value(log(1000)) == pytest.approx(0.001)
    assert p_value(10_000.0) == 0.0
