"""Adaptive shares: fewer people get the worse variants. Off by default.

Thompson sampling (Thompson, Biometrika 1933; Chapelle and Li, NeurIPS 2011): a variant's share is
the posterior probability that it is the best, but never below a floor. The floor keeps every
variant measurable, and prevents a bad start from deciding the comparison.

New shares begin a new stage, and depend on earlier stages only. This keeps the interval valid: it
compares people within a stage, where shares are constant, and adds the stages up
(`confidence_sequence.py`). A stage should be long enough to have raters on both variants; otherwise
it adds no information.
"""

from bot.experiments.stats.differences import sequence_side
from bot.experiments.stats.posterior import probabilities_best, standardised
from data.experiments.metric_sums import ExperimentSums
from data.experiments.metrics import RATING
from data.store.errors import Invalid

FLOOR = 0.1
STAGE_PEOPLE = 100  # raters in a stage before the next shares are computed


def next_shares(sums: ExperimentSums, floor: float = FLOOR) -> tuple[float, ...]:
    """The shares of the next stage, in the order of the variants; they sum to 1. They are equal
    while no stage has ratings of every variant.

    Raises Invalid for an impossible floor."""
    count = len(sums.variants)
    if not 0 < floor * count < 1:
        raise Invalid(f"The floor must lie between 0 and {1 / count:.2g} with {count} variants.")
    sides = [
        sequence_side([stage.cells[i].of(RATING) for stage in sums.stages]) for i in range(count)
    ]
    likes = standardised(sides)
    if likes is None:
        return (1 / count,) * count
    chances = probabilities_best(likes)
    free = 1 - floor * count
    return tuple(floor + free * chance / sum(chances) for chance in chances)
