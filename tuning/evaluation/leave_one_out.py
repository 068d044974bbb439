"""The gate's rule for runs on people's judgements: no one person decides.

Training moved the adapter towards the judgements of all. If one person's judgements were followed
at the cost of the others', those of the others moved the wrong way. So each person is left out in
turn, and what training did is scored on the judgements that remain (leave-one-out: Stone 1974,
https://doi.org/10.1111/j.2517-6161.1974.tb00994.x). Judgements that the run held out are preferred
for this, if enough remain to tell. As everywhere in the gate, a loss that chance can explain does
not count. Where that cannot be told, because the others gave too few, the rule says so.

This scores one training on many people's judgements; it does not train once without each person.
So it finds a person who contradicts the others, and not one whose questions nobody else asks: that
person's part is bounded when the judgements are taken (`data/pairs/preference_sets.py`), and the
other rules measure what the adapter answers.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import count
from statistics import fmean

from tuning.evaluation.gate import Rule, paired
from tuning.training.method_setup import JudgedMargin

NAME = "people"


def rule(judged: Sequence[JudgedMargin], *, chance: float) -> Rule:
    """At least one judgement. `chance`: the significance level."""
    counts = Counter(person for one in judged for person in one.people)
    enough = next(n for n in count(1) if 0.5**n < chance)  # with fewer, chance explains everything
    if not counts:
        return Rule(
            NAME,
            None,
            "No judgement is by a person who is known: they come from files, or from people whose "
            "data was deleted.",
        )
    if any(not _others(judged, person, enough) for person in counts):
        return Rule(
            NAME,
            None,
            "All judgements are one person's, so nobody else's can confirm them.",
        )
    least = min(counts, key=lambda person: (_mean(_others(judged, person, enough)), person))
    others = _others(judged, least, enough)
    lost = paired([0.0] * len(others), [one.margin for one in others])
    left_out = f"leaving out one person's judgements ({counts[least] / len(judged):.0%} of all)"
    those = f"the {'held-out ones' if others[0].held_out else 'judgements'} of the others"
    those += f" ({len(others)})"
    wrong = f"moved the wrong way, by {lost.difference:.3f} on average"
    if lost.difference <= 0:
        most = max(counts.values()) / len(judged)
        return Rule(
            NAME,
            True,
            f"No one has given more than {most:.0%} of the {len(judged)} judgements, and leaving "
            f"out any one of {len(counts)} people, the judgements of the others were followed "
            f"({-lost.difference:+.3f} at least).",
            lost,
        )
    if lost.chance >= chance:
        few = len(others) < enough
        why = "too few to tell from chance" if few else "as much as chance explains"
        said = f"{left_out}, {those} {wrong}: {why}."
        return Rule(NAME, None if few else True, said[0].upper() + said[1:], lost)
    own = [one for one in judged if least in one.people]
    if _mean(own) <= 0:
        said = f"{left_out}, {those} {wrong}, and so did that person's"
        return Rule(NAME, False, f"Training followed nobody's judgements: {said}.", lost)
    return Rule(
        NAME,
        False,
        f"One person's judgements were followed at the cost of the others': {left_out}, {those} "
        f"{wrong}. `understudy feedback raters` shows people whose ratings differ; quarantine one, "
        "and request the run again.",
        lost,
    )


def _mean(some: Sequence[JudgedMargin]) -> float:
    return fmean(one.margin for one in some)


def _others(judged: Sequence[JudgedMargin], person: str, enough: int) -> list[JudgedMargin]:
    """The judgements of everybody else: the held-out ones if there are enough, or all."""
    rest = [one for one in judged if person not in one.people]
    apart = [one for one in rest if one.held_out]
    return apart if len(apart) >= enough else rest
