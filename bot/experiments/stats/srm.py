"""A sequential test for sample ratio mismatch: whether the split of the people is as planned.

The sequential multinomial test of Lindon and Malek, "Anytime-valid inference for multinomial count
data" (NeurIPS 2022, arXiv 2011.03567): the Bayes factor of a Dirichlet prior around the planned
shares theta against theta itself. For counts n that sum to N,

    B = Gamma(k) / Gamma(k + N) * prod_i Gamma(k theta_i + n_i) / (Gamma(k theta_i) theta_i^n_i)

Under the planned shares it is a martingale that starts at one, so the probability that it ever
reaches 1/alpha is at most alpha (Ville). The test averages it over several k: a small one finds a
gross fault, such as everybody on one variant, after a few people, and a large one finds a small
fault after thousands. The average is a martingale too, and so is the product over stages, because
each stage has its own shares, fixed before it began. A chi-squared test that is checked repeatedly
has no such guarantee.
"""

from collections.abc import Sequence
from math import exp, lgamma, log

# Of the priors, which expect deviations of about sqrt(theta (1 - theta) / k): 16, 5 and 1.6 points
# at 0.5
CONCENTRATIONS = (10.0, 100.0, 1_000.0)


def log_evidence(
    shares: Sequence[float],
    counts: Sequence[int],
    concentrations: Sequence[float] = CONCENTRATIONS,
) -> float:
    """The natural logarithm of the average Bayes factor of one stage against its planned shares."""
    each = [_log_bayes_factor(shares, counts, k) for k in concentrations]
    most = max(each)
    return most + log(sum(exp(found - most) for found in each) / len(each))


def _log_bayes_factor(shares: Sequence[float], counts: Sequence[int], k: float) -> float:
    total = sum(counts)
    found = lgamma(k) - lgamma(k + total)
    for share, count in zip(shares, counts, strict=True):
        found += lgamma(k * share + count) - lgamma(k * share) - count * log(share)
    return found


def p_value(log_evidence: float) -> float:
    """The p-value for a log Bayes factor. The probability that it is ever at most alpha is at most
    alpha."""
    return exp(-max(log_evidence, 0.0))
