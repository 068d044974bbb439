"""Shares that follow what is known: fewer people get the worse answers. Off unless asked for.

Thompson sampling (Thompson, Biometrika 1933; Chapelle and Li, NeurIPS 2011): a variant's share is
the posterior chance that it is the best, but never below a floor. The floor keeps every variant
measurable, and keeps a bad beginning from deciding.

New shares begin a new stage, and are worked out of earlier stages only. That is all the interval
needs to stay valid: it compares people within stages, where shares are constant, and adds the
stages up (`sequence.py`). Each stage should be long enough to have rated people on both sides;
one that has them on one side only tells nothing.
"""

from bot.experiments.stats.differences import side
from bot.experiments.stats.posterior import chances_best, standardised
from data.experiments.metric_sums import ExperimentSums
from data.experiments.metrics import RATING
from data.store.errors import Invalid

FLOOR = 0.1
STAGE_PEOPLE = 100  # rated, before the shares are worked out anew


def next_shares(evidence: ExperimentSums, floor: float = FLOOR) -> tuple[float, ...]:
    """The shares of the next stage, in the order of the variants; they sum to 1. Equal ones
    while some variant has no ratings.

    Raises Invalid for a floor that cannot be kept."""
    count = len(evidence.variants)
    if not 0 < floor * count < 1:
        raise Invalid(f"The floor must lie between 0 and {1 / count:.2g} with {count} variants.")
    sides = [side([stage.cells[i].of(RATING) for stage in evidence.stages]) for i in range(count)]
    likes = standardised(sides)
    if likes is None:
        return (1 / count,) * count
    chances = chances_best(likes)
    free = 1 - floor * count
    return tuple(floor + free * chance / sum(chances) for chance in chances)
