"""The state of each candidate and of the comparison.

The checks run in this order: a broken split prevents any decision; then a broken guardrail decides;
then the interval of the ratings. Better or worse: the interval excludes zero. No difference: it
lies within the minimum effect on both sides of zero. Otherwise the state is collecting.
"""

from collections.abc import Mapping, Sequence

from bot.experiments.stats.results import Comparison, Difference, State
from data.experiments.design import ExperimentDesign
from data.experiments.metrics import METRICS, RATING

Verdict = tuple[State, str]  # the state and its reason: "split", a metric, or ""


def verdict(sound: bool, found: Mapping[str, Difference], design: ExperimentDesign) -> Verdict:
    """The verdict on one candidate."""
    if not sound:
        return "unhealthy", "split"
    guarded = [name for name in found if name in design.guardrails]
    for name in sorted(guarded, key=lambda name: not METRICS[name].defect):  # defects first
        if broken(name, found[name], design.guardrails[name], design):
            return ("unhealthy" if METRICS[name].defect else "worse"), name
    rating = found.get(RATING)
    if rating is None or few(rating, design):
        return "collecting", ""
    if -design.minimum_effect <= rating.low and rating.high <= design.minimum_effect:
        return "no difference", RATING
    if rating.low > 0:
        return "better", RATING
    if rating.high < 0:
        return "worse", RATING
    return "collecting", ""


def broken(name: str, found: Difference, bound: float, design: ExperimentDesign) -> bool:
    """Whether the whole interval lies beyond the guardrail's bound."""
    if few(found, design):
        return False
    metric = METRICS[name]
    threshold = metric.threshold(bound)
    return found.high < -threshold if metric.higher_is_better else found.low > threshold


def few(found: Difference, design: ExperimentDesign) -> bool:
    """Whether a variant has too few people, or too few in common stages with the other variant, for
    means to be approximately normal."""
    return min(found.people) < design.least_people or found.time < 2 * design.least_people


def overall(comparisons: Sequence[Comparison]) -> State:
    """The state of the comparison. It is better if one candidate is better; any other decided state
    needs a decision on every candidate."""
    states = {c.state for c in comparisons}
    if "better" in states:
        return "better"
    if "collecting" in states:
        return "collecting"
    if len(states) == 1:
        return comparisons[0].state
    return "no difference" if "no difference" in states else "worse"
