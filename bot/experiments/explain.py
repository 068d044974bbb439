"""Recomputes a decision from the numbers stored with it: metric sums, design and policy.

The decision is confirmed if every stored number and state is reproduced. Sentences are not
compared, because a later version may word them differently.
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

TEXTS = ("sentence", "details")
TOLERANCE = 1e-9  # relative: another machine may add in a different order


@dataclass(frozen=True)
class Explained:
    decision: Decision
    again: PolicyVerdict  # recomputed from the stored numbers
    results: Results
    differing: tuple[str, ...]  # the parts of the results that differ; empty if confirmed


def explain(decision: Decision) -> Explained:
    """Recompute a decision."""
    stored = decision.results | {"evidence": decision.evidence, "terms": decision.terms}
    promotable, fallback = bool(stored.pop("promotable")), stored.pop("heir", "the control")
    results = stats.recompute_results(stored)
    rules = Rules(policy=next(p for p in POLICIES if p == decision.policy))
    again = policy.verdict(results, rules, promotable, fallback)
    recomputed = orjson.loads(orjson.dumps(asdict(results)))
    differing = [
        name
        for name, part in stored.items()
        if name not in TEXTS and not same(part, recomputed.get(name))
    ]
    now = (results.state, again.variant, again.action)
    if now != (decision.state, decision.variant, decision.action):
        differing.append("decision")
    return Explained(decision, again, results, tuple(differing))


def same(stored: Any, again: Any) -> bool:
    """Whether everything stored, apart from texts, is reproduced. Values that a later version
    computes in addition do not count as differences."""
    if isinstance(stored, dict) and isinstance(again, dict):
        return all(same(part, again.get(k)) for k, part in stored.items() if k not in TEXTS)
    if isinstance(stored, list) and isinstance(again, list):
        return len(stored) == len(again) and all(map(same, stored, again))
    if isinstance(stored, float) and isinstance(again, int | float):
        return math.isclose(stored, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(stored == again)
