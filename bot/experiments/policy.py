"""Decides what to do about a comparison: a pure function of its results and the domain's policy.

- Inconclusive results mean hold: nothing is promoted or rolled back before the interval decides.
- A better candidate is promoted if the policy allows it.
- A worse candidate ends the comparison if the policy allows it. A broken guardrail ends it under
  every policy except `advise`. With several candidates, the whole comparison ends.
- With a broken split, the results mean nothing: the decision is to advise.
- If a person has to act, the decision is to advise.
"""

from dataclasses import dataclass

from bot.experiments.stats import Comparison, Results
from data.experiments.decisions import Action
from data.experiments.metrics import RATING
from data.experiments.policies import Rules


@dataclass(frozen=True)
class PolicyVerdict:
    action: Action
    variant: str  # the label of the variant concerned, or ""
    sentence: str


def verdict(
    results: Results, rules: Rules, promotable: bool = True, fallback: str = "the control"
) -> PolicyVerdict:
    """What to do now. `promotable`: whether the better candidate can be made live; `fallback`: the
    adapter that answers after a roll-back."""
    best, harmful = results.best, results.harmful
    if best is not None and rules.may_promote and promotable:
        return PolicyVerdict("promote", best.label, f"{best.sentence} It is now live.")
    if harmful and any(_ends(c, rules) for c in harmful):
        worst = next(c for c in harmful if _ends(c, rules))
        ended = f"The comparison has ended, and everybody gets {fallback}."
        return PolicyVerdict("roll back", worst.label, f"{worst.sentence} {ended}")
    if not results.split.sound:
        return PolicyVerdict("advise", "", results.comparisons[0].sentence)
    if harmful:
        advice = "End the comparison, so that nobody gets it any longer."
        return PolicyVerdict("advise", harmful[0].label, f"{harmful[0].sentence} {advice}")
    if best is not None:
        how = "Promote it" if promotable else "Apply its settings to the deployment"
        return PolicyVerdict("advise", best.label, f"{best.sentence} {how} if you agree.")
    if results.state == "no difference":
        advice = "End the comparison, or let it continue."
        return PolicyVerdict("advise", "", f"{_sentences(results)} {advice}")
    return PolicyVerdict("hold", "", _sentences(results))


def _ends(candidate: Comparison, rules: Rules) -> bool:
    """Whether the policy ends a comparison because of this candidate."""
    if candidate.reason != RATING:  # a guardrail
        return rules.policy != "advise"
    return rules.may_roll_back


def _sentences(results: Results) -> str:
    return " ".join(dict.fromkeys(c.sentence for c in results.comparisons))
