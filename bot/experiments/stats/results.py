"""The results of a comparison: what every front end shows, and what a decision is stored with.

Plain data, so JSON holds it (`dataclasses.asdict`), with the evidence and the terms that it was
worked out from.
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
    people: int  # were answered at least once
    raters: int  # of them, rated at least one answer
    replies: int
    failed: int
    up: int
    down: int
    mean: float | None  # of the raters' mean ratings, 0..1, weighed; None: nobody rated


@dataclass(frozen=True)
class Difference:
    """Candidate minus control of the mean per person, on the scale of the metric's unit."""

    estimate: float
    low: float  # of the confidence sequence: may be looked at any time
    high: float
    error: float  # standard error of the estimate
    time: float  # what is known so far, as that many people at equal shares would tell it
    people: tuple[int, int]  # that it rests on: the control's, the candidate's
    adjusted: float = 0.0  # the share of the variance that earlier ratings took away


@dataclass(frozen=True)
class Comparison:
    """One candidate against the control."""

    label: str
    adapter: str
    state: State
    sentence: str
    reason: str  # "rating", "split", or the broken guardrail's metric; "": nothing is decided
    differences: Mapping[str, Difference]  # "rating" is the one that decides
    needed: int | None  # rated people still, of both sides; None: no telling, or decided
    chance_better: float | None  # posterior, for showing only

    @property
    def harmful(self) -> bool:
        """Worse, or a guardrail is broken. With a broken split nothing is known: hold."""
        return self.state == "worse" or (self.state == "unhealthy" and self.reason != "split")


@dataclass(frozen=True)
class Split:
    """Whether people were divided as agreed: a sequential test of the counts."""

    log_evidence: float  # natural logarithm of the e-value against the agreed shares
    p_value: float  # 1 / e-value: may be looked at any time
    sound: bool


@dataclass(frozen=True)
class Strength:
    """Bradley-Terry: how often a candidate's answer is preferred to the control's."""

    label: str
    win_rate: float  # against the control, 0..1, a tie as half
    low: float  # 95%, bootstrap over people; for showing only
    high: float


@dataclass(frozen=True)
class Results:
    state: State
    sentence: str
    details: tuple[str, ...]  # a line for each guardrail and other metric, the split, the choices
    variants: tuple[VariantResult, ...]  # the control first
    comparisons: tuple[Comparison, ...]  # one for every candidate
    split: Split
    strengths: tuple[Strength, ...]  # empty without pairwise votes
    evidence: ExperimentSums
    terms: ExperimentDesign

    @property
    def best(self) -> Comparison | None:
        """The candidate that is better, by most when several are; None: there is none."""
        better = [c for c in self.comparisons if c.state == "better"]
        return max(better, key=lambda c: c.differences[RATING].estimate, default=None)

    @property
    def harmful(self) -> tuple[Comparison, ...]:
        """The candidates that people should not get any longer: what auto-roll-back acts on."""
        return tuple(c for c in self.comparisons if c.harmful)
