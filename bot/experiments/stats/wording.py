"""The results in sentences that a person can act on."""

from collections.abc import Mapping, Sequence
from math import exp

from bot.experiments.stats.remaining import about
from bot.experiments.stats.results import Comparison, Difference, Split, Strength, VariantResult
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import Metric, StageSums

FOR_SHOWING = "for showing, not for deciding"
MORE: Mapping[Metric, str] = {
    "failed": "more of its answers fail",
    "correction": "more of its answers are corrected",
    "regenerate": "more of its answers are asked for again",
    "follow_up": "fewer of the people asked say that it helped",
}

MEASURED: Mapping[Metric, str] = {
    "failed": "answers that fail",
    "latency": "time to answer",
    "correction": "answers corrected",
    "regenerate": "answers asked for again",
    "follow_up": "people asked who say that it helped",
}


def verdict(
    found: Comparison, control: VariantResult, missing: int, terms: ExperimentDesign
) -> str:
    """What is known of a candidate. `missing`: rated people until anything can be decided."""
    b, a = f"{found.label} ({found.adapter})", f"{control.label} ({control.adapter})"
    rating = found.differences.get("rating")
    if found.reason in ("failed", "latency", "correction", "regenerate", "follow_up"):
        return _broken(found, terms)
    if missing:
        more = "1 more person" if missing == 1 else f"{missing:,} more people"
        return f"Collecting: {more} must rate before {found.label} can be judged."
    if rating is None:
        return f"Collecting: {found.label} and {control.label} have no people of the same stage."
    if found.state == "collecting":
        return (
            f"Collecting: {found.label} is {_apart(rating.estimate)} {control.label} so far, "
            f"{_interval(rating)}. {_needed(found.needed)}"
        )
    if found.state == "no difference":
        return (
            f"No difference worth having: {b} is within {_points(terms.minimum_effect)} points "
            f"of {a}, {_interval(rating)}."
        )
    return (
        f"{b} is {found.state} than {a}: by {_points(abs(rating.estimate))} points, "
        f"{_interval(rating)}."
    )


def broken_split(variants: Sequence[VariantResult], stages: Sequence[StageSums]) -> str:
    """What was agreed, and what came."""
    expected = [
        sum(s.shares[i] * sum(c.assigned for c in s.cells) for s in stages)
        for i in range(len(variants))
    ]
    came = ", ".join(
        f"{v.label} got {_people(v.people)} and should have about {share:,.0f}"
        for v, share in zip(variants, expected, strict=True)
    )
    return (
        f"Unhealthy: people are not divided as agreed ({came}), so nothing can be decided. "
        "Find out who is missing, then start the comparison anew."
    )


def rated(results: Sequence[VariantResult]) -> str:
    """Who rated what."""
    parts = [
        f"{_people(r.raters)} rated {r.label} ({r.adapter}"
        + (f", {r.mean:.0%} liked" if r.mean is not None else "")
        + ")"
        for r in results
    ]
    return ", ".join(parts[:-1]) + f" and {parts[-1]}."


def chance(found: Comparison) -> str:
    """The posterior, in words; "" when there is none."""
    if found.chance_better is None:
        return ""
    return f"Chance that {found.label} is better: {_chance(found.chance_better)} ({FOR_SHOWING})."


def details(
    comparisons: Sequence[Comparison],
    split: Split,
    strengths: Sequence[Strength],
    terms: ExperimentDesign,
) -> tuple[str, ...]:
    """What does not decide, or only when it breaks: a line each."""
    found = [
        f"{c.label}: {_measured(metric, difference, terms)}"
        for c in comparisons
        for metric, difference in c.differences.items()
        if metric != "rating"
    ]
    for c in comparisons:
        rating = c.differences.get("rating")
        if rating is not None and rating.adjusted:
            found.append(
                f"{c.label}: earlier ratings take {rating.adjusted:.0%} of the noise away."
            )
    found += [
        f"{s.label}: preferred to the control in {s.win_rate:.0%} of choices "
        f"({s.low:.0%} to {s.high:.0%}, {FOR_SHOWING})."
        for s in strengths
    ]
    divided = "as agreed" if split.sound else "not as agreed"
    return (*found, f"People are divided {divided} (p = {split.p_value:.2g}).")


def _measured(metric: Metric, found: Difference, terms: ExperimentDesign) -> str:
    bound = terms.guardrails.get(metric)
    values = (found.estimate, found.low, found.high)
    if metric == "latency":
        much, low, high = (f"{100 * (exp(x) - 1):+.0f}%" for x in values)
        limit = "" if bound is None else f"; at most {100 * bound:+.0f}% is allowed"
        return f"{MEASURED[metric]} {much} ({low} to {high}){limit}."
    much, low, high = (signed(x) for x in values)
    limit = "" if bound is None else f"; at most {_points(bound)} worse is allowed"
    return f"{MEASURED[metric]} {much} points ({low} to {high}){limit}."


def _broken(found: Comparison, terms: ExperimentDesign) -> str:
    metric = next(m for m in found.differences if m == found.reason)
    difference, bound = found.differences[metric], terms.guardrails[metric]
    head = "Worse" if found.state == "worse" else "Unhealthy"
    name = f"{found.label} ({found.adapter})"
    if metric == "latency":
        slower, low, high = (
            f"{exp(x) - 1:.0%}" for x in (difference.estimate, difference.low, difference.high)
        )
        return (
            f"{head}: {name} takes {slower} longer to answer (interval {low} to {high}); "
            f"{bound:.0%} is allowed."
        )
    return (
        f"{head}: {name}: {_points(abs(difference.estimate))} points {MORE[metric]}, "
        f"{_interval(difference)}; {_points(bound)} points are allowed."
    )


def _apart(difference: float) -> str:
    return f"{_points(abs(difference))} points {'above' if difference >= 0 else 'below'}"


def _interval(found: Difference) -> str:
    return f"interval {signed(found.low)} to {signed(found.high)}"


def signed(share: float) -> str:
    """In points. No share differs from another by more than 100 of them, whatever the interval."""
    shown = 100 * max(-1.0, min(1.0, share))
    return f"{round(shown, 1) + 0:+.1f}"  # + 0: without a sign that means nothing


def _points(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")


def _needed(people: int | None) -> str:
    if people is None:
        return ""
    more = (
        "one more rated person decides"
        if people == 1
        else (f"about {about(people)} more rated people decide")
    )
    return f"If it stays so, {more} it."


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"


def _chance(chance: float) -> str:
    """A percentage; a posterior is never certain."""
    if 0.005 <= chance < 0.995:
        return f"{chance:.0%}"
    return "over 99%" if chance > 0.5 else "under 1%"
