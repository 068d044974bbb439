"""The statistics of comparisons: one pure function that serves every front end.

- `adaptive`: adaptive shares: fewer people get the worse variants (Thompson sampling)
- `cuped`: variance reduction with a person's earlier ratings (CUPED)
- `differences`: the difference between a candidate and the control in every metric
- `pairwise`: preferences between two blinded answers (Bradley-Terry)
- `posterior`: the posterior probability that a candidate is better; for information only
- `remaining`: an estimate of how many more people must rate
- `results`: the results of a comparison, as shown by every front end and stored with decisions
- `confidence_sequence`: the always-valid confidence interval for a difference of means per person
- `srm`: a sequential test for sample ratio mismatch: whether the split of the people is as planned
- `verdicts`: the state of each candidate and of the comparison
- `wording`: the results as sentences
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from sqlite_utils import Database

from bot.experiments.stats import srm, verdicts, wording
from bot.experiments.stats.differences import (
    differences_to_control,
    plan,
    sequence_side,
)
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
from data.experiments import design as designs
from data.experiments import metric_sums
from data.experiments.counted_people import NOTES, People
from data.experiments.design import ExperimentDesign
from data.experiments.experiments import Experiment
from data.experiments.metric_sums import Cell, ExperimentSums
from data.experiments.metrics import FAILED, RATED, RATING, THUMBS_DOWN, THUMBS_UP

__all__ = [
    "Comparison",
    "Difference",
    "Results",
    "Split",
    "State",
    "Strength",
    "VariantResult",
    "compute_results",
    "recompute_results",
    "summary",
]


def compute_results(db: Database, experiment: Experiment, people: People | None = None) -> Results:
    """The results with the present data of the store. `people`: whose ratings and answers count;
    None: those that the comparison reads."""
    design = designs.from_json(experiment.terms)
    design = replace(design, people=people or design.people)
    return summary(metric_sums.collect(db, experiment, design.people), design)


def recompute_results(stored: Mapping[str, Any]) -> Results:
    """Recompute stored results (`asdict`, then JSON) from their metric sums and design alone."""
    return summary(metric_sums.from_json(stored["evidence"]), designs.from_json(stored["terms"]))


def summary(sums: ExperimentSums, design: ExperimentDesign) -> Results:
    """The results for these sums under this design. A pure function of its arguments."""
    variants = tuple(_variant(sums, i) for i in range(len(sums.variants)))
    split = _split(sums, design)
    comparisons = tuple(
        _comparison(sums, variants, i, split.sound, design) for i in range(1, len(variants))
    )
    sentences = dict.fromkeys(c.sentence for c in comparisons)  # a broken split appears only once
    chances = [wording.chance(c) for c in comparisons]
    preferences = strengths([v.label for v in variants], sums.ballots)
    return Results(
        state=verdicts.overall(comparisons),
        sentence=" ".join(
            part
            for part in [
                *sentences,
                wording.rated(variants),
                *wording.cautions(variants, comparisons),
                NOTES.get(design.people, ""),
                *chances,
            ]
            if part
        ),
        details=wording.details(comparisons, split, preferences, design),
        variants=variants,
        comparisons=comparisons,
        split=split,
        strengths=preferences,
        evidence=sums,
        terms=design,
    )


def _variant(sums: ExperimentSums, index: int) -> VariantResult:
    known = sums.variants[index]
    cells = [stage.cells[index] for stage in sums.stages]
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
        mean=_mean(cells, RATING),
        rated=_mean(cells, RATED),
        failing=_mean(cells, FAILED),
    )


def _mean(cells: Sequence[Cell], metric: str) -> float | None:
    """The weighted mean over people."""
    found = [cell.of(metric) for cell in cells]
    weight = sum(f.w for f in found)
    return sum(f.wy for f in found) / weight if weight else None


def _split(sums: ExperimentSums, design: ExperimentDesign) -> Split:
    concentrations = srm.CONCENTRATIONS if design.version > 1 else srm.CONCENTRATIONS[-1:]
    found = sum(
        srm.log_evidence(stage.shares, [cell.assigned for cell in stage.cells], concentrations)
        for stage in sums.stages
    )
    p_value = srm.p_value(found)
    return Split(found, p_value, p_value > design.srm_alpha)


def _comparison(
    sums: ExperimentSums,
    variants: tuple[VariantResult, ...],
    i: int,
    sound: bool,
    design: ExperimentDesign,
) -> Comparison:
    found = differences_to_control(sums, i, design)
    likes = variants[0].mean or 0.0, variants[i].mean or 0.0
    state, reason = verdicts.verdict(sound, found, design, likes)
    comparison = Comparison(
        label=variants[i].label,
        adapter=variants[i].adapter,
        state=state,
        sentence="",
        reason=reason,
        differences=found,
        needed=None,
        chance_better=_chance(sums, i),
        lasting=verdicts.lasting(found, design) if state == "better" else None,
    )
    missing = sum(max(0, design.least_people - variants[side].raters) for side in (0, i))
    if state == "collecting":
        comparison = replace(comparison, needed=_needed(comparison, variants, i, missing, design))
    if reason == "split":
        return replace(comparison, sentence=wording.broken_split(variants, sums.stages))
    pair = variants[0], variants[i]
    return replace(comparison, sentence=wording.verdict(comparison, pair, missing, design))


def _chance(sums: ExperimentSums, i: int) -> float | None:
    pair = [sequence_side([s.cells[j].of(RATING) for s in sums.stages]) for j in (0, i)]
    likes = standardised(pair)
    return None if likes is None else probability_better(*likes)


def _needed(
    comparison: Comparison,
    variants: tuple[VariantResult, ...],
    i: int,
    missing: int,
    design: ExperimentDesign,
) -> int:
    """An estimate of how many more people must rate: at first from the expected number of people,
    later from the difference so far, in the thumbs among all answers if these decide."""
    count, rating = len(variants), comparison.differences.get(RATING)
    raters = variants[0].raters + variants[i].raters
    if missing or rating is None:
        return max(missing, round(design.expected_people * 2 / count) - raters)
    ratings = plan(RATING, count, design)
    if comparison.reason == verdicts.SELECTION:
        thumbs = [comparison.differences[name] for name in (THUMBS_UP, THUMBS_DOWN)]
        least = design.minimum_effect * raters / sum(thumbs[0].people)
        check = plan(THUMBS_UP, count, design)
        more = max(needed(found, check.alpha, check.tuned_for, least) for found in thumbs)
        return ceil(more * raters / sum(thumbs[0].people))
    if comparison.reason == verdicts.FAILURES:
        estimate = abs(rating.estimate) - abs(verdicts.surplus_of_failures(comparison.differences))
        rating = replace(rating, estimate=estimate)
    return needed(rating, ratings.alpha, ratings.tuned_for, design.minimum_effect)
