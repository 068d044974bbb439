"""Evidence for tests: a cell from a list of ratings, a comparison from cells."""

from collections.abc import Mapping, Sequence

from data.experiments.metric_sums import (
    Ballot,
    Cell,
    ExperimentSums,
    PriorRatings,
    StageSums,
    Sums,
    VariantSums,
    equal_weight_sums,
)


def sums(values: Sequence[float]) -> Sums:
    return equal_weight_sums(len(values), sum(values), sum(v * v for v in values))


def cell(
    ratings: Sequence[float] = (),
    assigned: int | None = None,
    earlier: Sequence[float | None] = (),
    **others: Sequence[float],
) -> Cell:
    """`earlier` belongs to the ratings in their order; None: that person had none."""
    known = [(x, y) for x, y in zip(earlier, ratings, strict=False) if x is not None]
    metrics: Mapping[str, Sequence[float]] = {"rating": ratings, **others}
    return Cell(
        assigned=len(ratings) if assigned is None else assigned,
        sums={metric: sums(values) for metric, values in metrics.items() if values},
        earlier=PriorRatings(
            people=len(known),
            w=len(known),
            wx=sum(x for x, _ in known),
            ww=len(known),
            wwx=sum(x for x, _ in known),
            wwxx=sum(x * x for x, _ in known),
            wwy=sum(y for _, y in known),
            wwxy=sum(x * y for x, y in known),
        ),
    )


def evidence(
    *stages: Sequence[Cell],
    shares: Sequence[Sequence[float]] = (),
    ballots: Sequence[Ballot] = (),
) -> ExperimentSums:
    """Stages of cells, the control's first; equal shares where none are given."""
    count = len(stages[0])
    even = [1 / count] * count
    return ExperimentSums(
        variants=tuple(
            VariantSums("ABCDEF"[i], f"helpdesk@{i + 1}", replies=12, failed=1, up=5, down=3)
            for i in range(count)
        ),
        stages=tuple(
            StageSums(tuple(shares[i] if shares else even), tuple(cells))
            for i, cells in enumerate(stages)
        ),
        ballots=tuple(ballots),
    )


def votes(up: int, down: int) -> list[float]:
    """People who rated once."""
    return [1.0] * up + [0.0] * down
