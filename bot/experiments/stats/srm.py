"""Whether people were divided as agreed (sample ratio mismatch), looked at after every person.

The sequential multinomial test of Lindon and Malek, "Anytime-valid inference for multinomial count
data" (NeurIPS 2022, arXiv 2011.03567): the Bayes factor of a Dirichlet prior around the agreed
shares theta against theta itself. For counts n that sum to N,

    B = Gamma(k) / Gamma(k + N) * prod_i Gamma(k theta_i + n_i) / (Gamma(k theta_i) theta_i^n_i)

Under the agreed shares it is a martingale that starts at one, so it ever reaches 1/alpha with
probability at most alpha (Ville). A stage has shares of its own that were fixed before it began;
the product over stages is a martingale, too. A chi-squared test looked at again and again has no
such promise.
"""

from collections.abc import Sequence
from math import exp, lgamma, log

# Of the prior: it expects deviations of about sqrt(theta (1 - theta) / k), 1.6 points at one half.
CONCENTRATION = 1_000.0


def log_evidence(shares: Sequence[float], counts: Sequence[int]) -> float:
    """Natural logarithm of the evidence of one stage against its shares."""
    k, total = CONCENTRATION, sum(counts)
    found = lgamma(k) - lgamma(k + total)
    for share, count in zip(shares, counts, strict=True):
        found += lgamma(k * share + count) - lgamma(k * share) - count * log(share)
    return found


def p_value(evidence: float) -> float:
    """Of a logarithm of evidence: at most alpha, ever, with probability at most alpha."""
    return min(1.0, exp(-max(evidence, 0.0)))
