"""What is to be done about a comparison: a pure function of its results and the domain's rules.

- Inconclusive means hold: nothing is promoted or rolled back that the interval has not decided.
- A candidate that is better is promoted where the policy says so.
- One that is worse, or breaks a guardrail, ends the comparison where the policy says so; a broken
  guardrail under every policy but `advise`. With several candidates the whole comparison ends.
- A broken split says nothing about anybody: hold, and tell.
- Where a person has to act, the decision is to advise.
"""

from dataclasses import dataclass

from bot.experiments.stats import Comparison, Results
from data.experiments.decisions import Action
from data.experiments.metrics import RATING
from data.experiments.policies import Rules


@dataclass(frozen=True)
class PolicyVerdict:
    action: Action
    variant: str  # the label it is about, or ""
    sentence: str


def verdict(
    results: Results, rules: Rules, promotable: bool = True, fallback: str = "the control"
) -> PolicyVerdict:
    """What to do now. `promotable`: whether the better candidate can be made the live one;
    `heir`: who answers after a roll-back."""
    best, harmful = results.best, results.harmful
    if best is not None and rules.may_promote and promotable:
        return PolicyVerdict("promote", best.label, f"{best.sentence} It is live now.")
    if harmful and any(_ends(c, rules) for c in harmful):
        worst = next(c for c in harmful if _ends(c, rules))
        ended = f"The comparison has ended, and everybody is answered by {fallback}."
        return PolicyVerdict("roll back", worst.label, f"{worst.sentence} {ended}")
    if not results.split.sound:
        return PolicyVerdict("advise", "", results.comparisons[0].sentence)
    if harmful:
        advice = "End the comparison: its people should not get it any longer."
        return PolicyVerdict("advise", harmful[0].label, f"{harmful[0].sentence} {advice}")
    if best is not None:
        how = "Promote it" if promotable else "Make its settings the deployment's"
        return PolicyVerdict("advise", best.label, f"{best.sentence} {how} when you agree.")
    if results.state == "no difference":
        return PolicyVerdict("advise", "", f"{_said(results)} End the comparison, or let it go on.")
    return PolicyVerdict("hold", "", _said(results))


def _ends(candidate: Comparison, rules: Rules) -> bool:
    """Whether the policy ends a comparison because of this candidate."""
    if candidate.reason != RATING:  # a guardrail
        return rules.policy != "advise"
    return rules.may_roll_back


def _said(results: Results) -> str:
    return " ".join(dict.fromkeys(c.sentence for c in results.comparisons))
