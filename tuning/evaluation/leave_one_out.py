"""The gate's rule for runs on people's judgements: no one person decides.

Training moved the adapter towards the judgements of all. If one person's judgements were followed
at the cost of the others', those of the others moved the wrong way. So each person is left out in
turn, and what training did is scored on the judgements that remain (leave-one-out: Stone 1974,
https://doi.org/10.1111/j.2517-6161.1974.tb00994.x). Judgements that the run held out are preferred
for this, if enough remain. As everywhere in the gate, a loss that chance can explain does not
count.

This scores one training on many people's judgements; it does not train once without each person.
So it finds a person who contradicts the others, and not one whose questions nobody else asks: that
person's part is bounded when the judgements are taken (`data/pairs/preference_sets.py`), and the
other rules measure what the adapter answers.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from tuning.evaluation.gate import Rule, paired
from tuning.training.method_setup import JudgedMargin

NAME = "people"
ENOUGH = 4  # held-out judgements of the others; with fewer, all of theirs are scored


def rule(judged: Sequence[JudgedMargin], *, chance: float) -> Rule:
    """At least one judgement."""
    counts = Counter(person for one in judged for person in one.people)
    alone = [person for person in counts if not _others(judged, person)]
    if not counts:
        return Rule(NAME, None, "No judgement is by a person who is still known.")
    if alone:
        return Rule(
            NAME,
            None,
            "All judgements are one person's, so nobody else's can confirm them.",
        )
    most = max(counts.values()) / len(judged)
    part = f"No one has given more than {most:.0%} of the {len(judged)} judgements"
    least = min(counts, key=lambda person: (_mean(judged, person), person))
    others = _others(judged, least)
    lost = paired([0.0] * len(others), [one.margin for one in others])
    if lost.difference > 0 and lost.chance < chance:
        share = counts[least] / len(judged)
        return Rule(
            NAME,
            False,
            f"One person's judgements ({share:.0%} of all) were followed at the cost of the "
            f"others': leaving them out, the other {len(others)} moved the wrong way, by "
            f"{lost.difference:.3f} on average. `understudy feedback raters` shows people whose "
            "ratings differ; quarantine one, and request the run again.",
            lost,
        )
    said = f"{-lost.difference:+.3f} at least" if lost.difference <= 0 else "within chance"
    return Rule(
        NAME,
        True,
        f"{part}, and leaving out any one of {len(counts)} people, the judgements of the others "
        f"were followed ({said}).",
        lost,
    )


def _mean(judged: Sequence[JudgedMargin], person: str) -> float:
    return fmean(one.margin for one in _others(judged, person))


def _others(judged: Sequence[JudgedMargin], person: str) -> list[JudgedMargin]:
    """The judgements of everybody else."""
    rest = [one for one in judged if person not in one.people]
    apart = [one for one in rest if one.held_out]
    return apart if len(apart) >= ENOUGH else rest
