"""A sequential test for sample ratio mismatch: whether the split of the people is as planned.

The sequential multinomial test of Lindon and Malek, "Anytime-valid inference for multinomial count
data" (NeurIPS 2022, arXiv 2011.03567): the Bayes factor of a Dirichlet prior around the planned
shares theta against theta itself. For counts n that sum to N,

    B = Gamma(k) / Gamma(k + N) * prod_i Gamma(k theta_i + n_i) / (Gamma(k theta_i) theta_i^n_i)

Under the planned shares it is a martingale that starts at one, so the probability that it ever
reaches 1/alpha is at most alpha (Ville). Each stage has its own shares, fixed before it began; the
product over stages is a martingale too. A chi-squared test that is checked repeatedly has no such
guarantee.
"""

from collections.abc import Sequence
from math import exp, lgamma, log

# Of the prior, which expects deviations of about sqrt(theta (1 - theta) / k): 1.6 points at 0.5.
CONCENTRATION = 1_000.0


def log_evidence(shares: Sequence[float], counts: Sequence[int]) -> float:
    """The natural logarithm of the Bayes factor of one stage against its planned shares."""
    k, total = CONCENTRATION, sum(counts)
    found = lgamma(k) - lgamma(k + total)
    for share, count in zip(shares, counts, strict=True):
        found += lgamma(k * share + count) - lgamma(k * share) - count * log(share)
    return found


def p_value(log_evidence: float) -> float:
    """The p-value for a log Bayes factor. The probability that it is ever at most alpha is at most
    alpha."""
    return min(1.0, exp(-max(log_evidence, 0.0)))
