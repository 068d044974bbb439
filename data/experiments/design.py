"""The terms of a comparison: how sure is sure, what difference is worth having, what may not break.

They are agreed on before anything is collected, kept with the experiment, and stored with every
decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from data.experiments.metrics import check_guardrail, usual_bounds
from data.store.errors import Invalid

MOST_PEOPLE = 10**9
MOST_ALLOWED = 100.0  # of a guardrail; who wants more wants none


@dataclass(frozen=True)
class ExperimentDesign:
    alpha: float = 0.05  # chance of ever calling equal sides different, over all looks
    minimum_effect: float = 0.02  # mean rating, 0..1; less is no difference worth having
    expected_people: int = 1000  # rated, all variants; the interval is tightest about there
    least_people: int = 20  # rated, of each side, before anything is decided
    srm_alpha: float = 0.001  # chance of ever calling a sound split broken
    # How much worse a candidate may be than the control: of people's answers as a share, and for
    # latency of the control's time (0.25 is a quarter longer). A metric that is absent has none.
    guardrails: Mapping[str, float] = field(default_factory=usual_bounds)
    guardrail_alpha: float = 0.01  # chance of ever calling a sound candidate broken, per guardrail

    def __post_init__(self) -> None:
        """Raises Invalid."""
        for name in ("alpha", "srm_alpha", "guardrail_alpha"):
            if not 0 < getattr(self, name) < 0.5:
                raise Invalid(f"{name} must lie between 0 and 0.5.")
        if not 0 < self.minimum_effect < 1:
            raise Invalid("The minimum effect must lie between 0 and 1 (0.02 is two points).")
        if self.expected_people < 10 or self.least_people < 2:
            raise Invalid("A comparison needs at least 10 expected people, 2 of each side.")
        if self.expected_people > MOST_PEOPLE:
            raise Invalid(f"At most {MOST_PEOPLE:,} people can be expected.")
        for metric, bound in self.guardrails.items():
            check_guardrail(metric)
            if not 0 <= bound <= MOST_ALLOWED:
                raise Invalid(f"{metric}={bound:g}: a bound lies between 0 and {MOST_ALLOWED:g}.")


def guardrails(changes: Mapping[str, float | None]) -> Mapping[str, float]:
    """The usual guardrails with those bounds in their place; None takes one away."""
    found: Mapping[str, float | None] = {**usual_bounds(), **changes}
    return {metric: bound for metric, bound in found.items() if bound is not None}


def from_json(stored: Mapping[str, Any]) -> ExperimentDesign:
    """Raises Invalid for terms that can't be."""
    return ExperimentDesign(**stored)
