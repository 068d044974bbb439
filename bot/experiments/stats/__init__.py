"""Statistics of comparisons: one pure function that every front end shows.

- `adaptive`: shares that follow what is known: fewer people get the worse answers
- `cuped`: regression adjustment with what a person thought before: people differ more than variants
  do
- `differences`: a candidate against the control in every metric, from the sums of the evidence
- `pairwise`: which variant's answers people prefer when two are shown side by side, without names
- `posterior`: the posterior chance that the candidate is better: for showing, never for deciding
- `remaining`: about how many more people have to rate, if the difference stays as it is
- `results`: the results of a comparison: what every front end shows, and what a decision is stored
  with
- `sequence`: the interval that decides: a confidence sequence for a difference of means per person
- `srm`: whether people were divided as agreed (sample ratio mismatch), looked at after every person
- `verdicts`: what the numbers mean: the state of each candidate, and of the comparison
- `wording`: the results in sentences that a person can act on
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlite_utils import Database

from bot.experiments.stats import srm, verdicts, wording
from bot.experiments.stats.differences import against_a, alpha, side, tuned_for
from bot.experiments.stats.pairwise import strengths
from bot.experiments.stats.posterior import probability_better, standardised
from bot.experiments.stats.remaining import needed
from bot.experiments.stats.results import (
    Comparison,
    Difference,
    Results,
    Split,
    State,
    Strength,
    VariantResult,
)
from data.experiments import design as agreed
from data.experiments import metric_sums as store
from data.experiments.design import ExperimentDesign
from data.experiments.experiments import Experiment
from data.experiments.metric_sums import ExperimentSums
from data.experiments.metrics import RATING

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


def compute_results(db: Database, experiment: Experiment) -> Results:
    """The results as the store has them now."""
    return summary(store.collect(db, experiment), agreed.from_json(experiment.terms))


def recompute_results(stored: Mapping[str, Any]) -> Results:
    """Work stored results (`asdict`, then JSON) out anew, from their evidence and terms alone."""
    return summary(store.from_json(stored["evidence"]), agreed.from_json(stored["terms"]))


def summary(evidence: ExperimentSums, terms: ExperimentDesign) -> Results:
    """What the evidence says under the terms. Pure: the same arguments, the same results."""
    variants = tuple(_variant(evidence, i) for i in range(len(evidence.variants)))
    split = _split(evidence, terms)
    comparisons = tuple(
        _comparison(evidence, variants, i, split.sound, terms) for i in range(1, len(variants))
    )
    said = dict.fromkeys(c.sentence for c in comparisons)  # a broken split is told once
    chances = [wording.chance(c) for c in comparisons]
    stronger = strengths([v.label for v in variants], evidence.ballots)
    return Results(
        state=verdicts.overall(comparisons),
        sentence=" ".join([*said, wording.rated(variants), *filter(None, chances)]),
        details=wording.details(comparisons, split, stronger, terms),
        variants=variants,
        comparisons=comparisons,
        split=split,
        strengths=stronger,
        evidence=evidence,
        terms=terms,
    )


def _variant(evidence: ExperimentSums, index: int) -> VariantResult:
    known = evidence.variants[index]
    cells = [stage.cells[index] for stage in evidence.stages]
    rated = [cell.of(RATING) for cell in cells]
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


def _split(evidence: ExperimentSums, terms: ExperimentDesign) -> Split:
    found = sum(
        srm.log_evidence(stage.shares, [cell.assigned for cell in stage.cells])
        for stage in evidence.stages
    )
    p_value = srm.p_value(found)
    return Split(found, p_value, p_value > terms.srm_alpha)


def _comparison(
    evidence: ExperimentSums,
    variants: tuple[VariantResult, ...],
    i: int,
    sound: bool,
    terms: ExperimentDesign,
) -> Comparison:
    found = against_a(evidence, i, terms)
    state, reason = verdicts.verdict(sound, found, terms)
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
        return replace(judged, sentence=wording.broken_split(variants, evidence.stages))
    return replace(judged, sentence=wording.verdict(judged, variants[0], missing, terms))


def _chance(evidence: ExperimentSums, i: int) -> float | None:
    sides = [side([s.cells[j].of(RATING) for s in evidence.stages]) for j in (0, i)]
    likes = standardised(sides)
    return None if likes is None else probability_better(*likes)


def _needed(
    judged: Comparison,
    variants: tuple[VariantResult, ...],
    i: int,
    missing: int,
    terms: ExperimentDesign,
) -> int:
    """Early on, the expected sample; then what the difference so far asks for."""
    count, rating = len(variants), judged.differences.get(RATING)
    tuned = tuned_for(RATING, count, terms)
    if missing or rating is None:
        return max(missing, round(tuned) - variants[0].raters - variants[i].raters)
    level = alpha(RATING, count, terms)
    return max(missing, needed(rating, level, tuned, terms.minimum_effect))
