"""The results of a comparison: states, sentences, and that a stored decision can be given again."""

import subprocess
import sys
from dataclasses import asdict, replace
from math import exp

import orjson
import pytest

from bot.experiments import stats
from bot.experiments.stats import wording
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import Ballot, ExperimentSums, PreferenceCounts
from data.store.errors import Invalid
from tests.bot.experiments.stats.given import cell, evidence, votes

TERMS = ExperimentDesign()


def two(a: tuple[int, int], b: tuple[int, int]) -> ExperimentSums:
    people = max(sum(a), sum(b))
    return evidence([cell(votes(*a), assigned=people), cell(votes(*b), assigned=people)])


def test_results_from_before_the_checks_have_none() -> None:
    variant = stats.VariantResult("A", "helpdesk@1", 2, 1, 2, 0, 1, 0, 1.0)
    assert (variant.rated, variant.failing) == (None, None)
    comparison = stats.Comparison("B", "helpdesk@2", "collecting", "", "", {}, None, None)
    assert comparison.lasting is None


# States


@pytest.mark.parametrize(
    ("a", "b", "state"),
    [
        ((0, 0), (0, 0), "collecting"),
        ((0, 19), (500, 0), "collecting"),
        ((70, 30), (75, 25), "collecting"),
        ((700, 300), (800, 200), "better"),
        ((700, 300), (600, 400), "worse"),
        ((17_500, 7_500), (17_500, 7_500), "no difference"),
    ],
)
def test_the_state_follows_the_interval(a: tuple[int, int], b: tuple[int, int], state: str) -> None:
    found = stats.summary(two(a, b), TERMS)
    assert (found.state, found.comparisons[0].state) == (state, state)


def test_a_certain_but_tiny_difference_is_no_difference() -> None:
    found = stats.summary(two((70_000, 30_000), (71_000, 29_000)), TERMS)
    rating = found.comparisons[0].differences["rating"]
    assert rating.low > 0
    assert found.state == "no difference"


def test_a_broken_split_prevents_any_decision() -> None:
    found = stats.summary(
        evidence([cell(votes(100, 900), assigned=3000), cell(votes(900, 100), assigned=2000)]),
        TERMS,
    )
    assert (found.state, found.comparisons[0].reason) == ("unhealthy", "split")
    assert found.split.p_value < 0.001
    assert (found.best, found.harmful) == (None, ())
    assert found.sentence.startswith(
        "Unhealthy: the split of the people is not as planned (A has 3,000 people, about 2,500 "
        "expected; B has 2,000 people, about 2,500 expected), so nothing can be decided."
    )


def test_each_stage_is_compared_with_its_own_shares() -> None:
    ramp = [cell(assigned=950), cell(assigned=50)], [cell(assigned=500), cell(assigned=500)]
    assert stats.summary(evidence(*ramp, shares=[[0.95, 0.05], [0.5, 0.5]]), TERMS).split.sound
    assert not stats.summary(evidence(*ramp), TERMS).split.sound


@pytest.mark.parametrize(
    ("metric", "state"),
    [("failed", "unhealthy"), ("correction", "worse"), ("latency", "unhealthy")],
)
def test_a_broken_guardrail_is_the_reason(metric: str, state: str) -> None:
    """Whatever people think of the answers that they got."""
    control = cell(votes(50, 50), **{metric: [0.0, 1.0] * 100})
    broken = cell(votes(100, 0), **{metric: [1.0] * 200})
    found = stats.summary(evidence([control, broken]), TERMS)
    assert (found.state, found.comparisons[0].reason) == (state, metric)
    assert found.harmful == found.comparisons
    fine = stats.summary(evidence([broken, control]), TERMS)
    assert fine.comparisons[0].reason != metric


def test_a_guardrail_uses_the_bound_of_the_design() -> None:
    control, slow = cell(latency=[-0.1, 0.1] * 200), cell(latency=[0.4, 0.6] * 200)
    sides = evidence([control, slow])
    assert stats.summary(sides, ExperimentDesign(guardrails={"latency": 0.5})).state == "unhealthy"
    assert stats.summary(sides, ExperimentDesign(guardrails={"latency": 0.7})).state == "collecting"
    assert stats.summary(sides, ExperimentDesign(guardrails={})).state == "collecting"


def test_fewer_people_who_say_that_it_helped_break_a_guardrail() -> None:
    sides = [cell(follow_up=votes(90, 10)), cell(follow_up=votes(10, 90))]
    terms = ExperimentDesign(guardrails={"follow_up": 0.1})
    assert stats.summary(evidence(sides), terms).comparisons[0].reason == "follow_up"
    assert stats.summary(evidence(sides[::-1]), terms).state == "collecting"


def test_few_answers_break_no_guardrail() -> None:
    found = stats.summary(evidence([cell(failed=[0.0] * 19), cell(failed=[1.0] * 19)]), TERMS)
    assert found.state == "collecting"


def test_people_without_a_common_stage_decide_nothing() -> None:
    """Two hundred of the control came before the candidate; only two beside it."""
    found = stats.summary(
        evidence(
            [cell(votes(0, 200)), cell()],
            [cell(votes(0, 2)), cell(votes(40, 0))],
            shares=[[0.95, 0.05], [0.05, 0.95]],
        ),
        ExperimentDesign(srm_alpha=1e-9),
    )
    assert found.state == "collecting"


def test_variants_without_a_common_stage_are_not_compared() -> None:
    found = stats.summary(
        evidence(
            [cell(votes(10, 10)), cell()],
            [cell(), cell(votes(15, 5))],
            shares=[[0.9, 0.1], [0.1, 0.9]],
        ),
        TERMS,
    )
    assert found.comparisons[0].differences == {}
    assert found.sentence.startswith("Collecting: B and A have no raters in the same stage.")


# More than two


def test_the_best_of_several_is_named() -> None:
    found = stats.summary(
        evidence([cell(votes(*v)) for v in ((700, 300), (800, 200), (850, 150), (600, 400))]), TERMS
    )
    assert [c.state for c in found.comparisons] == ["better", "better", "worse"]
    assert found.state == "better"
    assert found.best is not None
    assert found.best.label == "C"
    assert [c.label for c in found.harmful] == ["D"]


def test_several_candidates_share_the_error_level() -> None:
    """The same two sides are told apart a little less surely when there is a third."""
    pair = stats.summary(two((700, 300), (750, 250)), ExperimentDesign(expected_people=1000))
    three = stats.summary(
        evidence([cell(votes(*v)) for v in ((700, 300), (750, 250), (0, 0))]),
        ExperimentDesign(expected_people=1500),
    )
    half = stats.summary(
        two((700, 300), (750, 250)), ExperimentDesign(expected_people=1000, alpha=0.025)
    )
    wide, narrow, same = (r.comparisons[0].differences["rating"] for r in (three, pair, half))
    assert wide.high - wide.low > narrow.high - narrow.low
    assert (wide.low, wide.high) == (same.low, same.high)


@pytest.mark.parametrize(
    ("sides", "state"),
    [
        (((700, 300), (600, 400), (500, 500)), "worse"),
        (((70_000, 30_000), (70_000, 30_000), (50_000, 50_000)), "no difference"),
        (((700, 300), (600, 400), (700, 300)), "collecting"),
    ],
)
def test_several_candidates_are_decided_when_each_is(
    sides: tuple[tuple[int, int], ...], state: str
) -> None:
    assert stats.summary(evidence([cell(votes(*v)) for v in sides]), TERMS).state == state


# What is said


def test_the_sentence_before_any_evaluation() -> None:
    found = stats.summary(two((2, 1), (2, 0)), TERMS)
    assert found.sentence == (
        "Collecting: 35 more people must rate before B can be evaluated. 3 people rated A "
        "(helpdesk@1, 67% liked) and 2 people rated B (helpdesk@2, 100% liked). "
        "Chance that B is better: 71% (for information, not for decisions: with many looks, "
        "95% comes up even between equal variants)."
    )
    assert found.comparisons[0].needed == 995


def test_without_ratings_of_a_variant_nothing_is_claimed() -> None:
    found = stats.summary(two((1, 0), (0, 0)), TERMS)
    assert found.comparisons[0].chance_better is None
    assert "chance" not in found.sentence.lower()


def test_the_sentence_while_collecting() -> None:
    found = stats.summary(two((70, 30), (75, 25)), TERMS)
    assert found.sentence.startswith(
        "Collecting: B is 5 points above A so far, interval -14.9 to +24.9. If the difference "
        "stays the same, ratings from about 3,000 more people will decide. 100 people rated A"
    )


def test_the_sentence_after_a_decision() -> None:
    better = stats.summary(two((700, 300), (800, 200)), TERMS)
    worse = stats.summary(two((800, 200), (700, 300)), TERMS)
    none = stats.summary(two((17_500, 7_500), (17_500, 7_500)), TERMS)
    assert better.sentence.startswith(
        "B (helpdesk@2) is better than A (helpdesk@1) by 10 points, interval +4.0 to +16.0."
    )
    assert worse.sentence.startswith("B (helpdesk@2) is worse than A (helpdesk@1) by 10 points")
    assert none.sentence.startswith(
        "No meaningful difference: B (helpdesk@2) is within 2 points of A (helpdesk@1)"
    )


def test_the_sentence_for_a_broken_guardrail() -> None:
    failing = evidence([cell(failed=[0.0] * 200), cell(failed=[0.25] * 200)])
    slow = evidence([cell(latency=[0.9, 1.1] * 200), cell(latency=[1.9, 2.1] * 200)])
    assert stats.summary(failing, TERMS).sentence.startswith(
        "Unhealthy: B (helpdesk@2): 25 points more of its answers fail, interval +"
    )
    said = stats.summary(slow, TERMS).sentence
    assert said.startswith("Unhealthy: B (helpdesk@2): its answers take 172% longer, interval +16")
    assert "; the limit is 25% worse. 0 people rated A" in said


def test_the_lines_for_the_other_metrics() -> None:
    control = cell(votes(120, 80), earlier=[0.1, 0.9] * 100, failed=[0.0, 0.1] * 100)
    candidate = cell(
        [0.1, 0.9] * 100,
        earlier=[0.1, 0.9] * 100,
        failed=[0.0, 0.12] * 100,
        latency=[1.0, 1.2] * 100,
        regenerate=[0.0, 0.2] * 100,
    )
    control.sums.update(  # type: ignore[attr-defined]
        cell(latency=[1.0, 1.1] * 100, regenerate=[0.1] * 200).sums
    )
    ballots = [
        Ballot((PreferenceCounts("A", "B", 0, 1),), people=30),
        Ballot((PreferenceCounts("A", "B", 1),), 20),
    ]
    found = stats.summary(evidence([control, candidate], ballots=ballots), TERMS)
    failed, latency, regenerate = (
        found.comparisons[0].differences[m] for m in ("failed", "latency", "regenerate")
    )
    assert found.details[:3] == (
        f"B: answers regenerated +0.0 points ({100 * regenerate.low:+.1f} to "
        f"{100 * regenerate.high:+.1f}).",
        f"B: answers that fail +1.0 points ({100 * failed.low:+.1f} to {100 * failed.high:+.1f}); "
        "the limit is 2 points worse.",
        f"B: time to answer +5% ({100 * (exp(latency.low) - 1):+.0f}% to "
        f"{100 * (exp(latency.high) - 1):+.0f}%); the limit is 25% worse.",
    )
    assert found.details[3].startswith("B: earlier ratings remove ")
    assert found.details[4].startswith("B: preferred to the control in 60% of the choices (4")
    assert found.details[5] == "The split of the people is as planned (p = 1)."


# Remaining people


def test_the_missing_raters_shrink_to_nothing_as_people_rate() -> None:
    """At the number that is said to be needed, the same difference is decided."""
    before = stats.summary(two((70, 30), (78, 22)), TERMS)
    needed = before.comparisons[0].needed
    assert needed is not None
    scale = 1.01 * (200 + needed) / 200  # people are whole numbers
    enough = two((round(70 * scale), round(30 * scale)), (round(78 * scale), round(22 * scale)))
    less = 0.9 * scale
    short = two((round(70 * less), round(30 * less)), (round(78 * less), round(22 * less)))
    assert stats.summary(short, TERMS).state == "collecting"
    assert stats.summary(enough, TERMS).state == "better"


def test_equal_variants_need_as_many_as_the_minimum_effect_requires() -> None:
    small = stats.summary(
        two((70, 30), (70, 30)), ExperimentDesign(minimum_effect=0.01)
    ).comparisons[0]
    large = stats.summary(
        two((70, 30), (70, 30)), ExperimentDesign(minimum_effect=0.05)
    ).comparisons[0]
    assert small.needed is not None
    assert large.needed is not None
    assert small.needed > 15 * large.needed


# Storing


def test_stored_results_can_be_recomputed() -> None:
    ballots = [Ballot((PreferenceCounts("A", "B", 1, 2, 1),), people=7)]
    earlier = [0.1, 0.9, None, 1.0] * 50
    cells = [
        cell(votes(120, 80), earlier=earlier, failed=[0.0] * 200, latency=[1.5, 2.0] * 100),
        cell(votes(150, 50), earlier=earlier, failed=[0.1] * 200, latency=[1.5, 1.0] * 100),
    ]
    found = stats.summary(
        evidence(cells, cells, shares=[[0.9, 0.1], [0.5, 0.5]], ballots=ballots),
        ExperimentDesign(alpha=0.04, guardrails={"failed": 0.5}),
    )
    assert stats.recompute_results(orjson.loads(orjson.dumps(asdict(found)))) == found


def test_somebody_who_rates_often_counts_once() -> None:
    """Two people rated A, one of them down forty times: the mean is over people."""
    found = stats.summary(evidence([cell([0.0, 1.0]), cell([1.0])]), TERMS)
    assert (found.variants[0].raters, found.variants[0].mean) == (2, 0.5)


def test_pairwise_votes_are_shown_and_decide_nothing() -> None:
    quiet = two((70, 30), (70, 30))
    loud = replace(quiet, ballots=(Ballot((PreferenceCounts("A", "B", 0, 5),), people=500),))
    with_votes, without = stats.summary(loud, TERMS), stats.summary(quiet, TERMS)
    assert with_votes.strengths[0].low > 0.9
    assert with_votes.comparisons == without.comparisons


def test_earlier_ratings_narrow_the_interval() -> None:
    likes, dislikes = [0.9, 0.8] * 60, [0.1, 0.2] * 40
    y = likes + dislikes
    plain = stats.summary(evidence([cell(y), cell(y)]), TERMS)
    adjusted = stats.summary(evidence([cell(y, earlier=y)] * 2), TERMS)
    wide, narrow = (r.comparisons[0].differences["rating"] for r in (plain, adjusted))
    assert wide.adjusted == 0
    assert narrow.adjusted > 0.9
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2


@pytest.mark.integration
def test_scipy_is_loaded_only_when_results_are_computed() -> None:
    """It takes longer than all of `understudy --help`."""
    program = "import sys, bot.experiments.stats; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


# Terms


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0},
        {"alpha": 0.5},
        {"srm_alpha": -1},
        {"minimum_effect": 0},
        {"minimum_effect": 1.0},
        {"expected_people": 9},
        {"least_people": 1},
        {"guardrails": {"rating": 0.1}},
        {"guardrails": {"failed": -0.1}},
        {"guardrails": {"nonsense": 0.1}},
        {"guardrails": {"failed": float("nan")}},
    ],
)
def test_an_invalid_design_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        ExperimentDesign(**wrong)  # type: ignore[arg-type]


def test_no_interval_exceeds_the_possible_range() -> None:
    found = stats.summary(two((8, 8), (8, 8)), replace(TERMS, least_people=5, version=1))
    rating = found.comparisons[0].differences["rating"]
    assert rating.low < -1
    assert [wording.signed(x) for x in (rating.low, -rating.low, 0.5)] == [
        "-100.0",
        "+100.0",
        "+50.0",
    ]
