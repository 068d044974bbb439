"""The results of a comparison, as shown by every front end and stored with decisions.

They are plain data, which JSON can hold (`dataclasses.asdict`), and include the metric sums and the
design that they were computed from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import ExperimentSums
from data.experiments.metrics import RATING

State = Literal["collecting", "better", "worse", "no difference", "unhealthy"]


@dataclass(frozen=True)
class VariantResult:
    label: str  # A is the control
    adapter: str  # helpdesk@3, or base
    people: int  # people with at least one answer
    raters: int  # people who rated at least one answer
    replies: int
    failed: int
    up: int
    down: int
    mean: float | None  # weighted mean of the raters' mean ratings, 0..1; None: no raters
    # Weighted means over people, 0..1; None: nobody has an answer
    rated: float | None = None  # the share of the answers that are rated
    failing: float | None = None  # the share of the questions that the variant did not answer


@dataclass(frozen=True)
class Difference:
    """The mean per person of the candidate minus that of the control, in the metric's unit."""

    estimate: float
    low: float  # bounds of the confidence sequence, valid at any time
    high: float
    error: float  # standard error of the estimate
    time: float  # the information so far, as the equivalent number of people at equal shares
    people: tuple[int, int]  # people on the control and on the candidate
    adjusted: float = 0.0  # the share of the variance removed by earlier ratings


@dataclass(frozen=True)
class Comparison:
    """One candidate against the control."""

    label: str
    adapter: str
    state: State
    sentence: str
    # "rating", "split", or the metric of the broken guardrail. While collecting: "selection" or
    # "failures" if only they prevent a decision, otherwise "".
    reason: str
    differences: Mapping[str, Difference]  # by metric; "rating" decides
    needed: int | None  # raters still missing, on both variants; None: unknown, or decided
    chance_better: float | None  # posterior probability, for information only
    # Of a better candidate, whether later ratings say so, too; None: they need not
    lasting: bool | None = None

    @property
    def harmful(self) -> bool:
        """Whether the candidate is worse or breaks a guardrail. A broken split does not count,
        because it makes the results meaningless."""
        return self.state == "worse" or (self.state == "unhealthy" and self.reason != "split")


@dataclass(frozen=True)
class Split:
    """Whether the split of the people is as planned: a sequential test of the counts."""

    log_evidence: float  # natural logarithm of the e-value against the planned shares
    p_value: float  # 1 / e-value, valid at any time
    sound: bool


@dataclass(frozen=True)
class Strength:
    """How often a candidate's answer is preferred to the control's (Bradley-Terry)."""

    label: str
    win_rate: float  # against the control, 0..1; a tie counts as half
    low: float  # 95% bootstrap interval over people; for information only
    high: float


@dataclass(frozen=True)
class Results:
    state: State
    sentence: str
    details: tuple[str, ...]  # one line for each other metric, the preferences and the split
    variants: tuple[VariantResult, ...]  # the control first
    comparisons: tuple[Comparison, ...]  # one for each candidate
    split: Split
    strengths: tuple[Strength, ...]  # empty without preferences
    evidence: ExperimentSums
    terms: ExperimentDesign

    @property
    def best(self) -> Comparison | None:
        """The better candidate, or the best of several; None: no candidate is better."""
        better = [c for c in self.comparisons if c.state == "better"]
        return max(better, key=lambda c: c.differences[RATING].estimate, default=None)

    @property
    def harmful(self) -> tuple[Comparison, ...]:
        """The harmful candidates, which auto-roll-back acts on."""
        return tuple(c for c in self.comparisons if c.harmful)
