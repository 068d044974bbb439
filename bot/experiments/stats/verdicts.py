"""The state of each candidate and of the comparison.

The checks run in this order: a broken split prevents any decision; then a broken guardrail decides;
then the interval of the ratings. Better or worse: the interval excludes zero. No difference: it
lies within the minimum effect on both sides of zero. Otherwise the state is collecting.

Ratings can differ although the answers do not, so better and worse must also stand two checks:

- **failures**: questions that a variant fails on are not rated. If the one that looks better fails
  more often, its surplus of failures counts as if people had disliked the answers.
- **selection**: unhappy people may rate more often on one variant, or happy people on the other.
  Such a choice adds thumbs down or takes thumbs up away, but not both. So among all answers, rated
  or not, the better variant must have more thumbs up and fewer thumbs down.

A better candidate is *lasting* if ratings say so that are cast once it is no longer new to people.
"""

from collections.abc import Mapping, Sequence

from bot.experiments.stats.results import Comparison, Difference, State
from data.experiments.design import ExperimentDesign
from data.experiments.metrics import (
    FAILED,
    LATER_RATING,
    METRICS,
    RATING,
    THUMBS_DOWN,
    THUMBS_UP,
)

FAILURES, SELECTION = "failures", "selection"  # why a decision waits

Verdict = tuple[State, str]  # the state and its reason: "split", a metric, or ""


def verdict(
    sound: bool,
    found: Mapping[str, Difference],
    design: ExperimentDesign,
    likes: tuple[float, float] = (1.0, 1.0),
) -> Verdict:
    """The verdict on one candidate. `likes`: the mean ratings of the control and the candidate."""
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
    if rating.low <= 0 <= rating.high:
        return "collecting", ""
    if failures_explain(found, likes):
        return "collecting", FAILURES
    if selection_explains(found):
        return "collecting", SELECTION
    return ("better" if rating.low > 0 else "worse"), RATING


def failures_explain(found: Mapping[str, Difference], likes: tuple[float, float]) -> bool:
    """Whether the interval of the ratings includes zero if the surplus of failures counts as
    disliked."""
    rating, surplus = found[RATING], surplus_of_failures(found)
    if rating.low > 0:
        return rating.low - max(surplus, 0.0) * likes[1] <= 0
    return rating.high + max(-surplus, 0.0) * likes[0] >= 0


def surplus_of_failures(found: Mapping[str, Difference]) -> float:
    """How much more often the candidate fails than the control, as a share of the questions. Always
    0 in the first version of the statistics, which has no checks."""
    checked = THUMBS_UP in found and FAILED in found
    return found[FAILED].estimate if checked else 0.0


def selection_explains(found: Mapping[str, Difference]) -> bool:
    """Whether the thumbs among all answers do not clearly point the same way as the ratings."""
    up, down = found.get(THUMBS_UP), found.get(THUMBS_DOWN)
    if up is None or down is None:
        return False
    if found[RATING].low > 0:
        return up.low <= 0 or down.high >= 0
    return up.high >= 0 or down.low <= 0


def lasting(found: Mapping[str, Difference], design: ExperimentDesign) -> bool | None:
    """Whether later ratings say that the candidate is better; None if the design does not ask."""
    if design.novelty_days == 0:
        return None
    later = found.get(LATER_RATING)
    return later is not None and not few(later, design) and later.low > 0


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
