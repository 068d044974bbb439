"""What the numbers mean: the state of each candidate, and of the comparison.

In this order: a broken split lets nothing be decided; then a broken guardrail; then the interval of
the ratings. Better or worse: it lies wholly above or below zero. No difference worth having: it
lies within the minimum effect on both sides. Everything else is collecting, and collecting means
hold.
"""

from collections.abc import Mapping, Sequence

from bot.experiments.stats.results import Comparison, Difference, State
from data.experiments.design import ExperimentDesign
from data.experiments.metrics import METRICS, RATING

Verdict = tuple[State, str]  # and what it rests on: "split", a metric, or ""


def verdict(sound: bool, found: Mapping[str, Difference], terms: ExperimentDesign) -> Verdict:
    """Of one candidate."""
    if not sound:
        return "unhealthy", "split"
    guarded = [name for name in found if name in terms.guardrails]
    for name in sorted(guarded, key=lambda name: not METRICS[name].defect):  # defects first
        if broken(name, found[name], terms.guardrails[name], terms):
            return ("unhealthy" if METRICS[name].defect else "worse"), name
    rating = found.get(RATING)
    if rating is None or few(rating, terms):
        return "collecting", ""
    if -terms.minimum_effect <= rating.low and rating.high <= terms.minimum_effect:
        return "no difference", RATING
    if rating.low > 0:
        return "better", RATING
    if rating.high < 0:
        return "worse", RATING
    return "collecting", ""


def broken(name: str, found: Difference, bound: float, terms: ExperimentDesign) -> bool:
    """Whether the whole interval lies beyond what is allowed."""
    if few(found, terms):
        return False
    metric = METRICS[name]
    threshold = metric.threshold(bound)
    return found.high < -threshold if metric.higher_is_better else found.low > threshold


def few(found: Difference, terms: ExperimentDesign) -> bool:
    """Too few people on a side, or too few in the same stages as people of the other side, for
    means to be nearly normal."""
    return min(found.people) < terms.least_people or found.time < 2 * terms.least_people


def overall(comparisons: Sequence[Comparison]) -> State:
    """Of the comparison. One better candidate is enough; else all have to be decided."""
    states = {c.state for c in comparisons}
    if "better" in states:
        return "better"
    if "collecting" in states:
        return "collecting"
    if len(states) == 1:
        return comparisons[0].state
    return "no difference" if "no difference" in states else "worse"
