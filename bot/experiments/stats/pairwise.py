"""Preferences between two blinded answers (Bradley-Terry).

Bradley and Terry, "Rank analysis of incomplete block designs" (Biometrika 1952): variant i is
preferred to j with probability s_i / (s_i + s_j); a tie counts as half a win for each. The
strengths maximise the likelihood, by Newman's iteration ("Efficient computation of rankings from
pairwise comparisons", JMLR 2023), with one added tie between every two variants: without it, a
variant that always wins would have infinite strength.

The interval is a percentile bootstrap over people, not choices: somebody with forty choices is
drawn as one person. It is shown for information and never used for decisions.
"""

from collections.abc import Sequence
from typing import Any

from bot.experiments.stats.results import Strength
from data.experiments.metric_sums import Ballot

RESAMPLES = 500
MAX_ITERATIONS = 1_000
TOLERANCE = 1e-9
SEED = 20_260_101  # the same choices always give the same interval
PERCENTILES = (2.5, 97.5)


def strengths(labels: Sequence[str], ballots: Sequence[Ballot]) -> tuple[Strength, ...]:
    """The probability that each candidate is preferred to the control, `labels[0]`; empty without
    preferences."""
    import numpy as np

    cast = [b for b in ballots if b.votes]
    if not cast:
        return ()
    each = np.stack([_wins(labels, ballot) for ballot in cast])  # (ballots, variants, variants)
    people = np.array([b.people for b in cast])
    draw = np.random.default_rng(SEED)
    drawn = draw.multinomial(people.sum(), people / people.sum(), RESAMPLES)
    rates = _win_rates(np.tensordot(people, each, 1)[None])[0]
    low, high = np.percentile(_win_rates(np.tensordot(drawn, each, 1)), PERCENTILES, axis=0)
    return tuple(
        Strength(label, float(rates[i]), float(low[i]), float(high[i]))
        for i, label in enumerate(labels)
        if i > 0
    )


def _wins(labels: Sequence[str], ballot: Ballot) -> Any:
    """How often one person preferred the row's variant to the column's; a tie counts as half."""
    import numpy as np

    wins = np.zeros((len(labels), len(labels)))
    for vote in ballot.votes:
        a, b = labels.index(vote.a), labels.index(vote.b)
        wins[a, b] += vote.a_wins + vote.ties / 2
        wins[b, a] += vote.b_wins + vote.ties / 2
    return wins


def _win_rates(wins: Any) -> Any:
    """From `wins` (..., variants, variants), the win probability of each variant against the first
    one, (..., variants)."""
    import numpy as np

    count = wins.shape[-1]
    wins = wins + (1 - np.eye(count)) / 2
    strength = np.ones(wins.shape[:-1])
    for _ in range(MAX_ITERATIONS):
        before = strength.copy()
        for i in range(count):  # in sequence: a simultaneous update may not converge
            together = strength[..., i, None] + strength
            won = (wins[..., i, :] * strength / together).sum(-1)
            strength[..., i] = won / (wins[..., :, i] / together).sum(-1)
        strength /= strength[..., :1].copy()
        if float(np.max(np.abs(np.log(strength / before)))) < TOLERANCE:
            break
    return strength / (strength + strength[..., :1])
