"""What acting on a comparison now would mean, in plain words."""

from dataclasses import dataclass

from sqlite_utils import Database

from bot.experiments import comparisons, policy
from bot.experiments.stats import Results
from data.experiments import policies
from data.experiments.experiments import Experiment
from data.experiments.metrics import RATING, signed


@dataclass(frozen=True)
class Promotion:
    """Making one candidate live now."""

    label: str
    possible: bool
    meaning: str  # a sentence or two


@dataclass(frozen=True)
class ActingNow:
    """What each thing that a person can do now would mean."""

    advice: str  # what the domain's policy says, or does by itself
    promotions: tuple[Promotion, ...]  # one for each candidate
    roll_back: str  # what ending it without a candidate means
    waiting: str  # what letting it continue means


def acting_now(db: Database, experiment: Experiment, results: Results) -> ActingNow:
    """For a running comparison with these results."""
    fallback = comparisons.fallback_adapter(db, experiment)
    stays = fallback.name if fallback else comparisons.WITHOUT_ADAPTER
    best = results.best
    able = {v.label: comparisons.promotable(db, v) for v in experiment.candidates}
    rules = policies.policy_of(db, experiment.domain_id)
    verdict = policy.verdict(results, rules, best is not None and able[best.label], stays)
    promotions = []
    for variant, compared in zip(experiment.candidates, results.comparisons, strict=True):
        if not able[variant.label]:
            promotions.append(Promotion(variant.label, False, "It cannot be made live as a whole."))
            continue
        rating = compared.differences.get(RATING)
        known = (
            f"By the ratings so far, its mean rating differs from that of A by "
            f"{signed(rating.low)} to {signed(rating.high)} points."
            if rating
            else "Nobody knows yet how people like its answers: too few have rated."
        )
        if compared.state == "better":
            known = f"{known} That is enough to call it better."
        elif compared.harmful:
            known = f"{known} It is {compared.state}."
        elif rating:
            known = f"{known} That is not enough to call it better."
        promotions.append(
            Promotion(
                variant.label,
                True,
                f"Everybody gets {variant.described} from the next answer on, and the comparison "
                f"ends. {known}",
            )
        )
    needed = max((c.needed or 0 for c in results.comparisons), default=0)
    more = f"About {needed:,} more people must rate until it decides. " if needed else ""
    return ActingNow(
        advice=verdict.sentence,
        promotions=tuple(promotions),
        roll_back=f"Everybody gets {stays} from the next answer on, and the comparison ends.",
        waiting=f"{more}The interval stays valid however often you look.",
    )
