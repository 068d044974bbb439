"""Whether the search found enough to answer a question.

Enough: the confidence of the search reaches the threshold. Where the confidence is not known, or
where somebody set a similarity (`[answers] decline_below` or the domain's own), the similarity of
the best pair decides.
"""

from data.config.settings import AnswersSettings
from data.domains import AnswerMode, Domain
from data.search.search import Method, SearchResult

# The least similarity of an answerable question, where the confidence is not known. By the shipped
# encoder, .62 would answer all golden questions of the demo domain, 98% of the near-worded ones of
# the benchmarks' workshop, and 0 to 3% of their off-topic ones; the confidence does the same and
# answers more questions in other words (benchmarks/RESULTS.md). By words, .4 declines 93% of the
# off-topic questions and 2% of the demo's golden ones.
DECLINE_BELOW: dict[Method, float] = {"encoder": 0.62, "words": 0.4}


def mode(domain: Domain, settings: AnswersSettings) -> AnswerMode:
    """Where the domain's answers come from: its own mode, or else the deployment's."""
    return domain.answer_mode or settings.mode


def least_similarity(method: Method, domain: Domain, settings: AnswersSettings) -> float:
    """The similarity below which questions to the domain are declined: the domain's own, or else
    the deployment's, or else the default of the search."""
    if domain.decline_below is not None:
        return domain.decline_below
    return settings.decline_below or DECLINE_BELOW[method]


def overridden(domain: Domain, settings: AnswersSettings) -> bool:
    """Whether somebody set the similarity below which questions are declined."""
    return domain.decline_below is not None or bool(settings.decline_below)


def is_answerable(
    found: SearchResult, decline_below: float, answer_from: float | None = None
) -> bool:
    """Whether the best pair is likely enough to answer. `answer_from`: the least confidence of an
    answer; without it, the similarity decides."""
    if not found.references:
        return False
    if answer_from is None or found.confidence is None:
        return found.similarity >= decline_below
    return found.confidence >= answer_from
