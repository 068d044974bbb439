"""Decides what to do about a comparison: a pure function of its results and the domain's policy.

- Inconclusive results mean hold: nothing is promoted or rolled back before the interval decides.
- A better candidate is promoted if the policy allows it, and if ratings that are cast once it is no
  longer new to people say that it is better, too. Until then the decision is to advise.
- A worse candidate ends the comparison if the policy allows it. A broken guardrail ends it under
  every policy except `advise`. With several candidates, the whole comparison ends.
- With a broken split, the results mean nothing: the decision is to advise.
- Where anyone counts (`data/experiments/counted_people.py`), people may be invented, so their
  ratings promote and end nothing: the decision is to advise. So do their answer times, because who
  invents people also chooses what these ask: short answers of one variant, and long ones of the
  other. Nobody can choose that an answer fails, so that guardrail still ends the comparison.
- If a person has to act, the decision is to advise.
"""

from dataclasses import dataclass

from bot.experiments.stats import Comparison, Results
from data.experiments.decisions import Action
from data.experiments.metrics import FAILED, RATING
from data.experiments.policies import Rules

UNVERIFIED = " Verified people alone do not say so yet, so the policy leaves it to you."


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
    invented = results.terms.people == "anyone"  # perhaps
    may_promote = best is not None and rules.may_promote and promotable and not invented
    waits = may_promote and best is not None and best.lasting is False
    if best is not None and may_promote and not waits:
        return PolicyVerdict("promote", best.label, f"{best.sentence} It is now live.")
    # A better candidate that waits is not thrown away because another one is worse.
    ending = [
        c for c in harmful if _ends(c, rules, invented) and not (waits and c.reason == RATING)
    ]
    if ending:
        worst = ending[0]
        ended = f"The comparison has ended, and everybody gets {fallback}."
        return PolicyVerdict("roll back", worst.label, f"{worst.sentence} {ended}")
    if not results.split.sound:
        return PolicyVerdict("advise", "", results.comparisons[0].sentence)
    if best is not None and waits:
        return _advise(best, results, "When they do, it goes live. Promote it at once")
    if harmful:
        advice = "End the comparison, so that nobody gets it any longer."
        doubt = UNVERIFIED if invented and _ends(harmful[0], rules, invented=False) else ""
        return PolicyVerdict("advise", harmful[0].label, f"{harmful[0].sentence}{doubt} {advice}")
    if best is not None:
        how = "Promote it" if promotable else "Apply its settings to the deployment"
        return _advise(best, results, how, UNVERIFIED if invented and rules.may_promote else "")
    if results.state == "no difference":
        advice = "End the comparison, or let it continue."
        return PolicyVerdict("advise", "", f"{_sentences(results)} {advice}")
    return PolicyVerdict("hold", "", _sentences(results))


def _advise(best: Comparison, results: Results, how: str, doubt: str = "") -> PolicyVerdict:
    """The advice on a better candidate."""
    if best.lasting is False:
        doubt += (
            f" It may only be new to people: ratings cast more than {results.terms.novelty_days} "
            "days after a person's first answer do not confirm it yet."
        )
    return PolicyVerdict("advise", best.label, f"{best.sentence}{doubt} {how} if you agree.")


def _ends(candidate: Comparison, rules: Rules, invented: bool) -> bool:
    """Whether the policy ends a comparison because of this candidate. `invented`: whether people
    can invent the others who judge it."""
    if invented and candidate.reason != FAILED:
        return False
    if candidate.reason != RATING:  # a guardrail
        return rules.policy != "advise"
    return rules.may_roll_back


def _sentences(results: Results) -> str:
    return " ".join(dict.fromkeys(c.sentence for c in results.comparisons))
