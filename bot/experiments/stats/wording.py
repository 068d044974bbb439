"""The results as sentences."""

from collections.abc import Sequence

from bot.experiments.stats.remaining import about
from bot.experiments.stats.results import Comparison, Difference, Split, Strength, VariantResult
from bot.experiments.stats.verdicts import FAILURES, SELECTION
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import StageSums
from data.experiments.metrics import (
    LATER_RATING,
    METRICS,
    RATED,
    RATING,
    guardable,
    points,
    signed,
)

FOR_INFORMATION = "for information, not for decisions"
LOOKS = "with many looks, 95% comes up even between equal variants"
SHOWN_FAILURES = 0.005  # rounded, at least 1%


def verdict(
    found: Comparison,
    pair: tuple[VariantResult, VariantResult],
    missing: int,
    design: ExperimentDesign,
) -> str:
    """The verdict on a candidate. `pair`: the control and the candidate; `missing`: raters still
    missing before any decision."""
    control, candidate = pair
    b, a = f"{found.label} ({found.adapter})", f"{control.label} ({control.adapter})"
    rating = found.differences.get(RATING)
    if found.reason in guardable():
        return _broken(found, design)
    if missing:
        more = "1 more person" if missing == 1 else f"{missing:,} more people"
        return f"Collecting: {more} must rate before {found.label} can be evaluated."
    if rating is None:
        return f"Collecting: {found.label} and {control.label} have no raters in the same stage."
    if found.reason == FAILURES:
        return (
            f"Collecting: on the questions that both answered, {found.label} is "
            f"{_apart(rating.estimate)} {control.label}, {_interval(rating)}. But "
            f"{_failing(control, candidate)}. If people had disliked those answers, the difference "
            "could be zero."
        )
    if found.reason == SELECTION:
        return (
            f"Collecting: among the people who rated, {found.label} is {_apart(rating.estimate)} "
            f"{control.label}, {_interval(rating)}. But people rated "
            f"{_share(candidate.rated)} of {found.label}'s answers and {_share(control.rated)} of "
            f"{control.label}'s, and a difference in who rates could explain it: among all "
            f"answers, {_not_yet_clear(rating)}."
        )
    if found.state == "collecting":
        return (
            f"Collecting: {found.label} is {_apart(rating.estimate)} {control.label} so far, "
            f"{_interval(rating)}.{_needed(found.needed)}"
        )
    if found.state == "no difference":
        return (
            f"No meaningful difference: {b} is within {points(design.minimum_effect)} points "
            f"of {a}, {_interval(rating)}."
        )
    return (
        f"{b} is {found.state} than {a} by {points(abs(rating.estimate))} points, "
        f"{_interval(rating)}."
    )


def broken_split(variants: Sequence[VariantResult], stages: Sequence[StageSums]) -> str:
    """The sentence for a broken split, with the expected and the actual numbers."""
    expected = [
        sum(s.shares[i] * sum(c.assigned for c in s.cells) for s in stages)
        for i in range(len(variants))
    ]
    counts = "; ".join(
        f"{v.label} has {_people(v.people)}, about {share:,.0f} expected"
        for v, share in zip(variants, expected, strict=True)
    )
    return (
        f"Unhealthy: the split of the people is not as planned ({counts}), so nothing can be "
        "decided. Find out which people are missing, then start a new comparison."
    )


def rated(results: Sequence[VariantResult]) -> str:
    """How many people rated each variant."""
    parts = [
        f"{_people(r.raters)} rated {r.label} ({r.adapter}"
        + (f", {r.mean:.0%} liked" if r.mean is not None else "")
        + ")"
        for r in results
    ]
    return ", ".join(parts[:-1]) + f" and {parts[-1]}."


def cautions(
    variants: Sequence[VariantResult], comparisons: Sequence[Comparison]
) -> tuple[str, ...]:
    """What to bear in mind when reading the ratings: failures, and unequal rating."""
    found, control = [], variants[0]
    for candidate, comparison in zip(variants[1:], comparisons, strict=True):
        failing = max(control.failing or 0.0, candidate.failing or 0.0)
        if failing >= SHOWN_FAILURES and comparison.reason != FAILURES:
            found.append(f"{_failing(control, candidate)}; the ratings compare the others.")
        rated = comparison.differences.get(RATED)
        if rated is not None and not rated.low <= 0 <= rated.high:
            how = "more" if rated.estimate > 0 else "less"
            found.append(
                f"People rate {candidate.label}'s answers {how} often than {control.label}'s "
                f"({_share(candidate.rated)} of them, {_share(control.rated)} of "
                f"{control.label}'s), so those who rate may differ."
            )
    return tuple(found)


def chance(found: Comparison) -> str:
    """The posterior probability as a sentence; "" when there is none."""
    if found.chance_better is None:
        return ""
    return (
        f"Chance that {found.label} is better: {_chance(found.chance_better)} "
        f"({FOR_INFORMATION}: {LOOKS})."
    )


def details(
    comparisons: Sequence[Comparison],
    split: Split,
    strengths: Sequence[Strength],
    design: ExperimentDesign,
) -> tuple[str, ...]:
    """One line for each metric other than the rating, for the preferences and for the split."""
    found = [
        f"{c.label}: {_measured(metric, difference, design)}"
        for c in comparisons
        for metric, difference in c.differences.items()
        if metric != RATING and metric in METRICS
    ]
    for c in comparisons:
        found += [f"{c.label}: {line}" for line in _checks(c, design)]
        rating = c.differences.get(RATING)
        if rating is not None and rating.adjusted:
            found.append(
                f"{c.label}: earlier ratings remove {rating.adjusted:.0%} of the variance."
            )
    found += [
        f"{s.label}: preferred to the control in {s.win_rate:.0%} of the choices "
        f"({s.low:.0%} to {s.high:.0%}, {FOR_INFORMATION})."
        for s in strengths
    ]
    planned = "as planned" if split.sound else "not as planned"
    return (*found, f"The split of the people is {planned} (p = {split.p_value:.2g}).")


def _checks(found: Comparison, design: ExperimentDesign) -> list[str]:
    lines, checks = [], found.differences
    if RATED in checks:
        lines.append(f"answers rated {_points(checks[RATED])}.")
    if LATER_RATING in checks:
        day = design.novelty_days + 1
        lines.append(
            f"answers liked, by ratings from a person's day {day} on, "
            f"{_points(checks[LATER_RATING])}."
        )
    return lines


def _points(found: Difference) -> str:
    return f"{signed(found.estimate)} points ({signed(found.low)} to {signed(found.high)})"


def _measured(name: str, found: Difference, design: ExperimentDesign) -> str:
    metric, bound = METRICS[name], design.guardrails.get(name)
    much, low, high = (metric.change(x) for x in (found.estimate, found.low, found.high))
    unit = " points" if metric.unit == "share" else ""
    limit = "" if bound is None else f"; the limit is {metric.allowed(bound)} worse"
    return f"{metric.label} {much}{unit} ({low} to {high}){limit}."


def _broken(found: Comparison, design: ExperimentDesign) -> str:
    metric, difference = METRICS[found.reason], found.differences[found.reason]
    head = "Worse" if found.state == "worse" else "Unhealthy"
    worse = metric.worse.format(much=metric.much(difference.estimate))
    low, high = metric.change(difference.low), metric.change(difference.high)
    allowed = metric.allowed(design.guardrails[found.reason])
    return (
        f"{head}: {found.label} ({found.adapter}): {worse}, interval {low} to {high}; "
        f"the limit is {allowed} worse."
    )


def _failing(control: VariantResult, candidate: VariantResult) -> str:
    return (
        f"{candidate.label} failed on {_share(candidate.failing)} of its questions, "
        f"{control.label} on {_share(control.failing)}"
    )


def _not_yet_clear(rating: Difference) -> str:
    if rating.estimate > 0:
        return "it is not clear yet that it has more thumbs up and fewer thumbs down"
    return "it is not clear yet that it has fewer thumbs up and more thumbs down"


def _share(share: float | None) -> str:
    return f"{share or 0.0:.0%}"


def _apart(difference: float) -> str:
    return f"{points(abs(difference))} points {'above' if difference >= 0 else 'below'}"


def _interval(found: Difference) -> str:
    return f"interval {signed(found.low)} to {signed(found.high)}"


def _needed(people: int | None) -> str:
    if people is None:
        return ""
    more = "1 more person" if people == 1 else f"about {about(people)} more people"
    return f" If the difference stays the same, ratings from {more} will decide."


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"


def _chance(chance: float) -> str:
    """A percentage; a posterior is never certain."""
    if 0.005 < chance < 0.995:
        return f"{chance:.0%}"
    return "over 99%" if chance > 0.5 else "under 1%"
