"""Statistics of comparisons: one pure function that every front end shows.

`summary(evidence, terms)` gives the results: per variant, per candidate, the state in plain words.
`look` reads the evidence from the store first; `reproduce` works stored results out anew.

    sequence.py     the interval that decides, at any time
    srm.py          whether people were divided as agreed
    cuped.py        less noise, with what people thought before
    posterior.py    the chance to be better, for showing only
    pairwise.py     votes between two answers
    adaptive.py     shares that follow what is known, off unless asked for
    decide.py       what the numbers mean
    words.py        and in sentences

The unit is the person, everywhere.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlite_utils import Database

from bot.stats import decide, srm, words
from bot.stats.differences import against_a, alpha, side, tuned_for
from bot.stats.pairwise import strengths
from bot.stats.posterior import probability_better, standardised
from bot.stats.remaining import needed
from bot.stats.results import (
    Comparison,
    Difference,
    Results,
    Split,
    State,
    Strength,
    VariantResult,
)
from data import evidence as store
from data import terms as agreed
from data.evidence import Evidence
from data.experiments import Experiment
from data.terms import Terms

__all__ = [
    "Comparison",
    "Difference",
    "Results",
    "Split",
    "State",
    "Strength",
    "VariantResult",
    "look",
    "reproduce",
    "summary",
]


def look(db: Database, experiment: Experiment) -> Results:
    """The results as the store has them now."""
    return summary(store.collect(db, experiment), agreed.from_json(experiment.terms))


def reproduce(stored: Mapping[str, Any]) -> Results:
    """Work stored results (`asdict`, then JSON) out anew, from their evidence and terms alone."""
    return summary(store.from_json(stored["evidence"]), agreed.from_json(stored["terms"]))


def summary(evidence: Evidence, terms: Terms) -> Results:
    """What the evidence says under the terms. Pure: the same arguments, the same results."""
    variants = tuple(_variant(evidence, i) for i in range(len(evidence.variants)))
    split = _split(evidence, terms)
    comparisons = tuple(
        _comparison(evidence, variants, i, split.sound, terms) for i in range(1, len(variants))
    )
    said = dict.fromkeys(c.sentence for c in comparisons)  # a broken split is told once
    chances = [words.chance(c) for c in comparisons]
    stronger = strengths([v.label for v in variants], evidence.ballots)
    return Results(
        state=decide.overall(comparisons),
        sentence=" ".join([*said, words.rated(variants), *filter(None, chances)]),
        details=words.details(comparisons, split, stronger, terms),
        variants=variants,
        comparisons=comparisons,
        split=split,
        strengths=stronger,
        evidence=evidence,
        terms=terms,
    )


def _variant(evidence: Evidence, index: int) -> VariantResult:
    known = evidence.variants[index]
    cells = [stage.cells[index] for stage in evidence.stages]
    rated = [cell.of("rating") for cell in cells]
    raters = sum(r.people for r in rated)
    return VariantResult(
        label=known.label,
        adapter=known.adapter,
        people=sum(cell.assigned for cell in cells),
        raters=raters,
        replies=known.replies,
        failed=known.failed,
        up=known.up,
        down=known.down,
        mean=sum(r.wy for r in rated) / sum(r.w for r in rated) if raters else None,
    )


def _split(evidence: Evidence, terms: Terms) -> Split:
    found = sum(
        srm.log_evidence(stage.shares, [cell.assigned for cell in stage.cells])
        for stage in evidence.stages
    )
    p_value = srm.p_value(found)
    return Split(found, p_value, p_value > terms.srm_alpha)


def _comparison(
    evidence: Evidence, variants: tuple[VariantResult, ...], i: int, sound: bool, terms: Terms
) -> Comparison:
    found = against_a(evidence, i, terms)
    state, reason = decide.verdict(sound, found, terms)
    judged = Comparison(
        label=variants[i].label,
        adapter=variants[i].adapter,
        state=state,
        sentence="",
        reason=reason,
        differences=found,
        needed=None,
        chance_better=_chance(evidence, i),
    )
    missing = sum(max(0, terms.least_people - variants[side].raters) for side in (0, i))
    if state == "collecting":
        judged = replace(judged, needed=_needed(judged, variants, i, missing, terms))
    if reason == "split":
        return replace(judged, sentence=words.broken_split(variants, evidence.stages))
    return replace(judged, sentence=words.verdict(judged, variants[0], missing, terms))


def _chance(evidence: Evidence, i: int) -> float | None:
    sides = [side([s.cells[j].of("rating") for s in evidence.stages]) for j in (0, i)]
    likes = standardised(sides)
    return None if likes is None else probability_better(*likes)


def _needed(
    judged: Comparison, variants: tuple[VariantResult, ...], i: int, missing: int, terms: Terms
) -> int:
    """Early on, the expected sample; then what the difference so far asks for."""
    count, rating = len(variants), judged.differences.get("rating")
    tuned = tuned_for("rating", count, terms)
    if missing or rating is None:
        return max(missing, round(tuned) - variants[0].raters - variants[i].raters)
    level = alpha("rating", count, terms)
    return max(missing, needed(rating, level, tuned, terms.minimum_effect))
