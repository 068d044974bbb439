"""A decision, worked out anew from the numbers that were stored with it: evidence, terms, policy.

It comes to the same when every number and every state that was stored comes out again. Sentences
are shown and not compared: a later version may say the same in other words.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from bot.experiments import policy, stats
from bot.experiments.policy import PolicyVerdict
from bot.experiments.stats import Results
from data.experiments.decisions import Decision
from data.experiments.policies import POLICIES, Rules

WORDS = ("sentence", "details")
EXACT = 1e-9  # relative: another machine may add in another order


@dataclass(frozen=True)
class Explained:
    decision: Decision
    again: PolicyVerdict  # from the stored numbers
    results: Results
    differing: tuple[str, ...]  # parts of the results that came out otherwise, none if all is well


def explain(decision: Decision) -> Explained:
    """Work a decision out anew."""
    stored = decision.results | {"evidence": decision.evidence, "terms": decision.terms}
    promotable, fallback = bool(stored.pop("promotable")), stored.pop("heir", "the control")
    results = stats.recompute_results(stored)
    rules = Rules(policy=next(p for p in POLICIES if p == decision.policy))
    again = policy.verdict(results, rules, promotable, fallback)
    worked_out = orjson.loads(orjson.dumps(asdict(results)))
    differing = [
        name
        for name, part in stored.items()
        if name not in WORDS and not same(part, worked_out.get(name))
    ]
    now = (results.state, again.variant, again.action)
    if now != (decision.state, decision.variant, decision.action):
        differing.append("decision")
    return Explained(decision, again, results, tuple(differing))


def same(stored: Any, again: Any) -> bool:
    """Whether all that was stored, but for words, is there again. What a later version works out
    in addition is no difference."""
    if isinstance(stored, dict) and isinstance(again, dict):
        return all(same(part, again.get(k)) for k, part in stored.items() if k not in WORDS)
    if isinstance(stored, list) and isinstance(again, list):
        return len(stored) == len(again) and all(map(same, stored, again))
    if isinstance(stored, float) and isinstance(again, int | float):
        return math.isclose(stored, again, rel_tol=EXACT, abs_tol=EXACT)
    return bool(stored == again)
