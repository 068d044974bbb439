"""The design of a comparison: significance levels, minimum effect and guardrails.

It is fixed before any data is collected, and stored with the experiment (as `terms`) and with every
decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from data.experiments.counted_people import PEOPLE, People
from data.experiments.metrics import check_guardrail, default_bounds
from data.store.errors import Invalid

VERSION = 2
BEFORE_VERSIONS = {"version": 1, "novelty_days": 0, "guardrail_alpha": 0.01}
MAX_PEOPLE = 10**9
MAX_NOVELTY_DAYS = 365
MAX_BOUND = 100.0  # of a guardrail


@dataclass(frozen=True)
class ExperimentDesign:
    alpha: float = 0.05  # probability of ever calling equal variants different, over all looks
    minimum_effect: float = 0.02  # of the mean rating, 0..1; smaller differences do not matter
    expected_people: int = 1000  # with ratings, in all variants; the interval is narrowest there
    least_people: int = 20  # with ratings, in each variant, before any decision
    srm_alpha: float = 0.001  # probability of ever reporting a sample ratio mismatch wrongly
    # How much worse than the control a candidate may be: a share of a person's answers, or for
    # latency a share of the control's time (0.25 is a quarter longer). A metric that is absent has
    # no guardrail.
    guardrails: Mapping[str, float] = field(default_factory=default_bounds)
    people: People = "verified"  # whose ratings count, see `counted_people.py`
    # Probability of ever rejecting a sound candidate; all guardrails share it
    guardrail_alpha: float = 0.02
    # How long a variant is new to a person. A policy promotes a candidate only if ratings that are
    # cast later say that it is better. 0: later ratings need not agree.
    novelty_days: int = 7
    # Of the statistics. 1, which earlier versions of Understudy used, has one tuning, one prior in
    # the test of the split, the whole error for each guardrail, and no checks of the ratings.
    version: int = VERSION

    def __post_init__(self) -> None:
        """Raises Invalid."""
        for name in ("alpha", "srm_alpha", "guardrail_alpha"):
            if not 0 < getattr(self, name) < 0.5:
                raise Invalid(f"{name} must lie between 0 and 0.5.")
        if not 0 < self.minimum_effect < 1:
            raise Invalid("The minimum effect must lie between 0 and 1 (0.02 is two points).")
        if self.expected_people < 10 or self.least_people < 2:
            raise Invalid(
                "A comparison needs at least 10 expected people and at least 2 people per variant."
            )
        if self.expected_people > MAX_PEOPLE:
            raise Invalid(f"The number of expected people can be at most {MAX_PEOPLE:,}.")
        if not 0 <= self.novelty_days <= MAX_NOVELTY_DAYS:
            raise Invalid(f"The novelty days must lie between 0 and {MAX_NOVELTY_DAYS}.")
        if self.version not in (1, VERSION):
            raise Invalid(f"This version of Understudy does not know statistics {self.version}.")
        if self.people not in PEOPLE:
            raise Invalid(f"{self.people!r} is not one of {', '.join(PEOPLE)}.")
        for metric, bound in self.guardrails.items():
            check_guardrail(metric)
            if not 0 <= bound <= MAX_BOUND:
                raise Invalid(
                    f"The bound of {metric} is {bound:g}; it must lie between 0 and {MAX_BOUND:g}."
                )


def guardrails(changes: Mapping[str, float | None]) -> Mapping[str, float]:
    """The default guardrails with these bounds instead; None removes a guardrail."""
    found: Mapping[str, float | None] = {**default_bounds(), **changes}
    return {metric: bound for metric, bound in found.items() if bound is not None}


def from_json(stored: Mapping[str, Any]) -> ExperimentDesign:
    """Read a stored design; one without a version has version 1. Raises Invalid if it is not
    valid."""
    return ExperimentDesign(**{**BEFORE_VERSIONS, **stored})
