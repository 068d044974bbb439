"""That the decisions hold what they promise, over thousands of simulated comparisons.

Seeded, so each run sees the same ones. `benchmarks/comparison.py` prints more of them, beside what
is widely done instead.
"""

import numpy as np
import pytest

from bot.experiments import stats
from bot.experiments.stats import srm
from bot.experiments.stats.differences import differences_to_control
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import Cell as EvidenceCell
from data.experiments.metric_sums import ExperimentSums, StageSums, Sums, VariantSums
from tests.bot.experiments.stats import simulated_stages, simulation
from tests.bot.experiments.stats.given import cell, evidence
from tests.bot.experiments.stats.simulation import BETTER, NO_DIFFERENCE, WORSE, World, outcomes

RAMP = ((0, 0.05), (800, 0.2), (1_600, 0.5))
NAMES = {0: "collecting", BETTER: "better", WORSE: "worse", NO_DIFFERENCE: "no difference"}


def wrong(found: simulation.Outcomes) -> float:
    return found.share(BETTER) + found.share(WORSE)


def test_the_simulation_decides_like_the_product() -> None:
    """At looks all along some comparisons with a ramp, through the whole of `summary`."""
    world = World(b=0.55, people=900, votes=2, stages=((0, 0.2), (300, 0.5)))
    (looks,) = simulation.simulated(world, 3, seed=1)
    seen = simulation.states(looks, ExperimentDesign())
    for comparison in range(3):
        for look in range(59, world.looks, 60):
            sides = [
                [
                    Sums(*(float(s[comparison, look, stage]) for s in vars(side).values()))
                    for side in (looks.a, looks.b)
                ]
                for stage in (0, 1)
            ]
            cells = [tuple(EvidenceCell(sums={"rating": s}) for s in pair) for pair in sides]
            variants = tuple(VariantSums(label, "helpdesk@1") for label in "AB")
            given = ExperimentSums(variants, tuple(StageSums((0.5, 0.5), c) for c in cells))
            assert (
                stats.summary(given, ExperimentDesign()).state == NAMES[int(seen[comparison, look])]
            )


# Nothing is there, and people look after every vote


@pytest.mark.slow
def test_equal_variants_get_a_false_verdict_at_most_one_time_in_twenty() -> None:
    """A/A, five votes a person that are correlated by .4, ten thousand looks at each."""
    assert wrong(outcomes(World(people=2_000, votes=5), 1_000, seed=2)) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.1])
def test_also_when_the_ratings_of_a_person_correlate_little(correlation: float) -> None:
    world = World(people=1_500, votes=5, correlation=correlation)
    assert wrong(outcomes(world, 600, seed=3)) <= 0.05


@pytest.mark.slow
def test_also_when_few_people_rate_often_without_correlation() -> None:
    """Fifty votes each: their means keep moving, and the interval must not close around them."""
    world = World(people=300, votes=50, correlation=0.0, gap=5.0)
    assert wrong(outcomes(world, 300, seed=19)) <= 0.02


@pytest.mark.slow
def test_also_when_nearly_everybody_likes_both_and_few_get_the_candidate() -> None:
    """Fifty people who all like their answers are no proof that they vary less than the others."""
    world = World(a=0.96, b=0.96, people=3_000, stages=((0, 0.08),))
    assert wrong(outcomes(world, 800, seed=37)) <= 0.02


@pytest.mark.slow
def test_also_under_a_ramp_while_opinions_fall() -> None:
    world = World(people=3_000, votes=2, stages=RAMP, drift=-0.2)
    assert wrong(outcomes(world, 800, seed=4)) <= 0.05


@pytest.mark.slow
def test_also_when_one_variant_is_rated_half_as_often() -> None:
    world = World(people=3_000, stages=RAMP, drift=-0.2, b_votes=0.5)
    assert wrong(outcomes(world, 800, seed=5)) <= 0.05


@pytest.mark.slow
def test_also_when_shares_follow_the_results() -> None:
    """Thompson sampling while opinions rise; were its stages added up, it would err often: the
    side that is given more people early is given more of the later, better opinions."""
    world = simulated_stages.Adaptive(a=0.5, b=0.5, drift=0.4, stages=15)
    found = simulated_stages.thompson(world, 150, seed=6)
    assert wrong(found.outcomes) <= 0.05
    assert wrong(found.pooled) > 0.05


@pytest.mark.slow
def test_also_with_three_candidates() -> None:
    assert simulated_stages.several(3, 500, people=4_000, seed=7) <= 0.05


def test_counting_ratings_as_units_errs_often() -> None:
    """What the interval is for: the rules that look at votes, again and again."""
    world, count = World(people=600, votes=5), {"z": 0, "chance": 0, "rows": 0}
    for looks in simulation.simulated(world, 60, seed=8):
        people = simulation.rated(looks)
        for name, state in (
            ("z", simulation.z_test_on_rows(looks)),
            ("chance", simulation.chance_to_win_on_rows(looks)),
            ("rows", simulation.sequence_on_rows(looks, ExperimentDesign())),
        ):
            found = simulation.first(state, people)
            count[name] += int(np.isin(found.state, (BETTER, WORSE)).sum())
    assert count["z"] > 30
    assert count["chance"] > 40
    assert count["rows"] > 6


# Something is there


@pytest.mark.slow
def test_eight_points_are_found_within_a_thousand_people() -> None:
    """.70 against .78, one vote a person, the hardest case."""
    found = outcomes(World(b=0.78), 3_000, seed=9)
    assert found.median <= 1_000
    assert found.share(WORSE) <= 0.001
    assert found.share(BETTER) > 0.99


@pytest.mark.slow
def test_fifteen_points_worse_are_found_within_four_hundred_people() -> None:
    found = outcomes(World(b=0.55, people=1_500), 2_000, seed=10)
    assert found.median <= 400
    assert found.share(BETTER) <= 0.001
    assert found.share(WORSE) > 0.99


@pytest.mark.slow
def test_a_ramp_costs_only_the_people_that_it_holds_back() -> None:
    """400 people at 5% and 20% before: hardly more are needed afterwards."""
    ramped = outcomes(World(b=0.78, stages=((0, 0.05), (200, 0.2), (400, 0.5))), 600, seed=11)
    at_once = outcomes(World(b=0.78), 600, seed=11)
    assert ramped.median <= at_once.median + 400


@pytest.mark.slow
def test_equal_variants_end_as_no_meaningful_difference() -> None:
    terms = ExperimentDesign(minimum_effect=0.08, expected_people=2_000)
    found = outcomes(World(people=4_000), 300, seed=12, terms=terms)
    assert found.share(NO_DIFFERENCE) > 0.9


@pytest.mark.slow
def test_adaptive_shares_give_fewer_people_the_worse_variant() -> None:
    found = simulated_stages.thompson(simulated_stages.Adaptive(b=0.55, stages=12), 60, seed=13)
    assert found.on_b < 0.25
    assert found.outcomes.share(WORSE) > 0.8
    assert found.outcomes.share(BETTER) == 0


@pytest.mark.slow
def test_a_candidate_that_fails_often_is_found_early_and_a_healthy_one_never() -> None:
    """One answer in ten against one in a hundred; and three in a hundred on both sides."""
    broken = simulation.guarded(World(a=0.01, b=0.1, people=1_500), 500, seed=17)
    sound = simulation.guarded(World(a=0.03, b=0.03, people=1_500), 500, seed=18)
    assert broken.share(WORSE) > 0.95
    assert broken.median < 600
    assert sound.share(WORSE) <= 0.01


# Earlier ratings


Person = tuple[int, float, float]  # side, one vote, the mean of four earlier ones


def with_earlier(b: float, people: int, draw: np.random.Generator) -> list[Person]:
    """Four votes before and one in the comparison, with the same propensity."""
    side = draw.integers(0, 2, people)
    own = draw.beta(0.7, 0.3, people)  # people differ a lot
    y = draw.random(people) < np.clip(own + (b - 0.7) * side, 0, 1)
    x = draw.binomial(4, own) / 4
    return list(zip(side.tolist(), y.astype(float).tolist(), x.tolist(), strict=True))


def decided_after(people: list[Person], adjusted: bool, every: int = 25) -> tuple[int, bool]:
    """How many people it takes, and whether anything was found; a look after `every` people."""
    for count in range(every, len(people) + 1, every):
        cells = []
        for side in (0, 1):
            known = [(y, x) for s, y, x in people[:count] if s == side]
            earlier = [x for _, x in known] if adjusted else []
            cells.append(cell([y for y, _ in known], earlier=earlier))
        found = differences_to_control(evidence(cells), 1, ExperimentDesign())
        rating = found.get("rating")
        if rating and min(rating.people) >= 20 and not rating.low <= 0 <= rating.high:
            return count, True
    return len(people), False


@pytest.mark.slow
def test_earlier_ratings_save_people_without_more_errors() -> None:
    draw = np.random.default_rng(14)
    real = [with_earlier(0.60, 1_500, draw) for _ in range(40)]
    none = [with_earlier(0.70, 800, draw) for _ in range(200)]
    plain = np.median([decided_after(people, adjusted=False)[0] for people in real])
    saved = np.median([decided_after(people, adjusted=True)[0] for people in real])
    assert saved < 0.8 * plain
    assert np.mean([decided_after(people, adjusted=True)[1] for people in none]) <= 0.05


# The split


def evidence_against(
    shares: list[float], truth: list[float], people: int, draw: np.random.Generator, times: int
) -> np.ndarray:
    """The logarithm of the evidence after each person, (times, people)."""
    who = draw.choice(len(shares), (times, people), p=truth)
    before = np.arange(people)
    found = np.zeros((len(srm.CONCENTRATIONS), times, people))
    for i, share in enumerate(shares):
        mine = who == i
        counts = np.cumsum(mine, 1) - mine
        for k, prior in enumerate(srm.CONCENTRATIONS):
            bet = (prior * share + counts) / (prior + before)
            found[k] += np.where(mine, np.log(bet / share), 0)
    totals = [[int((row == i).sum()) for i in range(len(shares))] for row in who[:3]]
    ends = np.logaddexp.reduce(np.cumsum(found, 2), 0) - np.log(len(srm.CONCENTRATIONS))
    assert ends[:3, -1] == pytest.approx([srm.log_evidence(shares, t) for t in totals])
    return ends


@pytest.mark.slow
@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.95, 0.05], [0.4, 0.3, 0.3]])
def test_a_sound_split_is_called_broken_at_most_once_in_a_thousand(shares: list[float]) -> None:
    """A look after every person, four thousand of them."""
    draw, alarms = np.random.default_rng(15), 0
    for _ in range(10):
        found = evidence_against(shares, shares, 4_000, draw, times=500)
        alarms += int((found >= np.log(1 / ExperimentDesign().srm_alpha)).any(1).sum())
    assert alarms <= 5


@pytest.mark.slow
def test_a_broken_split_is_found() -> None:
    """Three of a hundred people too many on one side."""
    draw = np.random.default_rng(16)
    found = evidence_against([0.5, 0.5], [0.53, 0.47], 15_000, draw, times=100)
    assert (found >= np.log(1 / ExperimentDesign().srm_alpha)).any(1).mean() > 0.95
