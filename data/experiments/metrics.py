"""The metrics of a comparison, one entry each.

Queries, statistics, messages, guardrail settings and HTTP results all read `METRICS`, so a new
metric needs only an entry here.

`rating` decides a comparison. The other metrics are measured on each person's answers and shown.
They can also be guardrails: limits on how much worse than the control a candidate may be. All of
them read what the person who asked did with the answer, and nobody else.

`CHECKS` are measured to see whether the ratings can be trusted: how often answers are rated, up and
down, and what the ratings are once a variant is no longer new. They are no guardrails.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import expm1, log1p
from typing import Literal

from data.store.errors import Invalid

RATING = "rating"  # the metric that decides: people's thumbs, collected by a query of its own
FAILED = "failed"
RATED = "rated"  # the share of a person's answers that they rate
THUMBS_UP = "thumbs_up"  # the share of a person's answers that they rate up
THUMBS_DOWN = "thumbs_down"
LATER_RATING = "later_rating"  # as the rating, once a variant is no longer new to the person
ANSWERED = "r.status IN ('done', 'cancelled')"
ENDED = "count(*) + coalesce(fallbacks, 0)"  # answers of the variant or of another adapter instead
TIMED = "count(CASE WHEN r.status = 'done' THEN r.latency_us END)"
SLOW_TIMES = 3  # a slow answer takes more than so many times the control's median

# `share`: a person's value lies in 0..1; differences are shown in points (hundredths).
# `ratio`: it is the natural logarithm of a positive number; differences are shown in per cent.
Unit = Literal["share", "ratio"]


@dataclass(frozen=True)
class Metric:
    unit: Unit
    higher_is_better: bool
    label: str  # in a list of results: "answers corrected"
    # Measured on one person's answers in one variant: an SQL aggregate over the ended replies `r`.
    # `fallbacks` is the number of answers by another adapter instead of the variant, or NULL. A
    # NULL result means that nothing was measured. None: collected elsewhere.
    sql: str | None
    sql_only_fallbacks: str = "NULL"  # the value of a person who only got fallbacks
    sql_count: str = "count(*)"  # how many answers the value is the mean of; it gives the weight
    guardrail: bool = True  # whether the metric can be a guardrail
    worse: str = ""  # the text for a broken guardrail; {much} is the difference: "{much} more fail"
    usual_bound: float | None = None  # the default bound; None: a guardrail only on request
    defect: bool = (
        False  # breaking the guardrail means a defect (unhealthy), not an opinion (worse)
    )

    def threshold(self, bound: float) -> float:
        """A guardrail's bound on the scale of differences. A bound of 0.25 is 25 points, or a
        quarter of the control's value."""
        return log1p(bound) if self.unit == "ratio" else bound

    def change(self, difference: float) -> str:
        """A difference as a list of results shows it: `+3.5`, or `+20%`."""
        return f"{100 * expm1(difference):+.0f}%" if self.unit == "ratio" else signed(difference)

    def much(self, difference: float) -> str:
        """A difference without its sign: `3.5 points`, or `20%`."""
        if self.unit == "ratio":
            return f"{abs(expm1(difference)):.0%}"
        return f"{points(abs(difference))} points"

    def allowed(self, bound: float) -> str:
        """A guardrail's bound: `5 points`, or `25%`."""
        return f"{100 * bound:g}%" if self.unit == "ratio" else f"{points(bound)} points"


FOLLOW_UP = """(SELECT f.value FROM feedback f WHERE f.reply_id = r.id AND f.person = r.person
    AND f.kind = 'follow_up' AND f.live = 1 AND f.counts = 1)"""

METRICS: dict[str, Metric] = {
    RATING: Metric(
        unit="share",
        higher_is_better=True,
        label="answers liked",
        sql=None,
        guardrail=False,
    ),
    "correction": Metric(
        unit="share",
        higher_is_better=False,
        label="answers corrected",
        sql=f"""avg(CASE WHEN {ANSWERED} THEN EXISTS (
            SELECT 1 FROM feedback f WHERE f.reply_id = r.id AND f.person = r.person
            AND f.kind = 'correction' AND f.live = 1 AND f.counts = 1) END)""",
        sql_count=f"total({ANSWERED})",
        worse="{much} more of its answers are corrected",
        usual_bound=0.05,
    ),
    "regenerate": Metric(
        unit="share",
        higher_is_better=False,
        label="answers regenerated",
        sql=f"""avg(CASE WHEN {ANSWERED} THEN EXISTS (
            SELECT 1 FROM replies anew WHERE anew.again_of = r.id
            AND anew.person = r.person) END)""",
        sql_count=f"total({ANSWERED})",
        worse="{much} more of its answers are regenerated",
    ),
    "follow_up": Metric(
        unit="share",
        higher_is_better=True,
        label="people who say that the answer helped",
        sql=f"avg({FOLLOW_UP})",
        sql_count=f"count({FOLLOW_UP})",
        worse="{much} fewer of the people asked say that the answer helped",
    ),
    FAILED: Metric(
        unit="share",
        higher_is_better=False,
        label="answers that fail",
        sql=f"(total(r.status IN ('failed', 'partial')) + coalesce(fallbacks, 0)) / ({ENDED})",
        sql_only_fallbacks="1.0",
        sql_count=ENDED,
        worse="{much} more of its answers fail",
        usual_bound=0.02,
        defect=True,
    ),
    "latency": Metric(
        unit="ratio",
        higher_is_better=False,
        label="time to answer",
        sql="ln(max(avg(CASE WHEN r.status = 'done' THEN r.latency_us END), 1))",
        sql_count=TIMED,
        worse="its answers take {much} longer",
        usual_bound=0.25,
        defect=True,
    ),
    # A mean hides a few answers that take twenty times as long; this share does not.
    "slow": Metric(
        unit="share",
        higher_is_better=False,
        label=f"answers slower than {SLOW_TIMES} times the control's median",
        sql=f"""avg(CASE WHEN r.status = 'done'
            THEN r.latency_us > {SLOW_TIMES} * :control_median END)""",
        sql_count=TIMED,
        worse="{much} more of its answers take over "
        + f"{SLOW_TIMES} times as long as the control's usually do",
        usual_bound=0.02,
        defect=True,
    ),
}


def _of_answers(thumbs: str) -> str:
    """The SQL for a person's thumbs as a share of their answers. Quarantined people, whose thumbs
    do not count, are left out."""
    return f"""CASE WHEN NOT EXISTS (
            SELECT 1 FROM voters q WHERE q.domain_id = :domain AND q.person = r.person
            AND q.state = 'quarantined')
        THEN min(1.0, coalesce((
            SELECT {thumbs} FROM ratings t WHERE t.variant_id = :variant AND t.person = r.person
        ), 0) / nullif(total({ANSWERED}), 0)) END"""


def _check(label: str, sql: str | None) -> Metric:
    count = f"total({ANSWERED})"
    return Metric("share", True, label, sql, sql_count=count, guardrail=False)


CHECKS: dict[str, Metric] = {
    RATED: _check("answers rated", _of_answers("t.up + t.down")),
    THUMBS_UP: _check("answers rated up", _of_answers("t.up")),
    THUMBS_DOWN: _check("answers rated down", _of_answers("t.down")),
    LATER_RATING: _check("answers liked later", None),
}


def measured() -> Mapping[str, Metric]:
    """The metrics and checks that are measured on answers, by name."""
    both = METRICS | CHECKS
    return {name: metric for name, metric in both.items() if metric.sql is not None}


def guardable() -> list[str]:
    """The names of the metrics that can be guardrails."""
    return [name for name, metric in METRICS.items() if metric.guardrail]


def default_bounds() -> dict[str, float]:
    """The default guardrails of a comparison and their bounds."""
    return {
        name: metric.usual_bound
        for name, metric in METRICS.items()
        if metric.guardrail and metric.usual_bound is not None
    }


def check_guardrail(name: str) -> str:
    """Return `name` if that metric can be a guardrail. Raises Invalid otherwise."""
    if name not in guardable():
        known = ", ".join(guardable())
        raise Invalid(f"{name[:60]!r} is not a guardrail (choose from: {known}).")
    return name


def points(share: float) -> str:
    """A share in points: `0.05` as `5`."""
    return f"{100 * share:.1f}".removesuffix(".0")


def signed(share: float) -> str:
    """A difference of shares in points, with its sign, limited to 100 points: the end of an
    interval can lie beyond the largest possible difference."""
    shown = 100 * max(-1.0, min(1.0, share))
    return f"{round(shown, 1) + 0:+.1f}"  # + 0 turns -0.0 into 0.0
