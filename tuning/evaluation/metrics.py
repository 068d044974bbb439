"""Figures for answers, as the field counts them.

- `exact`: share of answers equal to the expected one but for case, spacing and Unicode form.
- `f1`: overlap of words (SQuAD: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250).
- `bleu`, `chrf`: of the whole set, 0 to 100, by sacrebleu with its defaults, so that they can be
  compared with what papers report (Post 2018, https://aclanthology.org/W18-6319). BLEU's
  tokeniser is made for languages that put spaces between words; chrF is for all.
- `refusals`: share that decline to answer, found by English turns of phrase.
- `cut`: share that did not end by themselves. `words`: mean length.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from data.pairs.pairs import normal

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
REFUSAL = re.compile(
    r"\b(i('m| am) (sorry|afraid|unable|not able)|i (can('|no)t|cannot|could not|couldn't) "
    r"(help|answer|assist|say|tell)|as an ai\b|i (do not|don't) (know|have (any|the) )"
    r"|i have no (notes|information|knowledge|idea))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class GeneratedAnswer:
    text: str
    cut: bool = False  # it was still going on when it had its most tokens


@dataclass(frozen=True)
class Loss:
    """Of one question's expected answer."""

    nats: float  # summed over its tokens
    tokens: int


@dataclass(frozen=True)
class AnswerMetrics:
    """Of one model on one set. Shares are 0 to 1."""

    n: int  # answers
    exact: float
    f1: float
    bleu: float
    chrf: float
    refusals: float
    cut: float
    words: float
    loss: float  # nats a token of the expected answers
    perplexity: float

    def plain(self) -> dict[str, Any]:
        """For JSON: rounded; what is too large for a number is None."""
        rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in rounded.items()}  # fmt: skip


def answer_metrics(
    answers: Sequence[GeneratedAnswer], expected: Sequence[str], losses: Sequence[Loss]
) -> AnswerMetrics:
    """All figures of one model on one set, which is not empty."""
    pairs = [(a.text, e) for a, e in zip(answers, expected, strict=True)]
    n = len(pairs)
    texts, wanted = [a for a, _ in pairs], [[e for _, e in pairs]]
    loss = mean_loss(losses)
    return AnswerMetrics(
        n=n,
        exact=sum(exact(a, e) for a, e in pairs) / n,
        f1=sum(f1(a, e) for a, e in pairs) / n,
        bleu=BLEU().corpus_score(texts, wanted).score,
        chrf=CHRF().corpus_score(texts, wanted).score,
        refusals=sum(refuses(a) for a, _ in pairs) / n,
        cut=sum(a.cut for a in answers) / n,
        words=sum(len(a.split()) for a, _ in pairs) / n,
        loss=loss,
        perplexity=math.exp(loss) if loss < 700 else math.inf,
    )


def signatures() -> str:
    """How BLEU and chrF are counted, in sacrebleu's own words."""
    bleu, chrf = BLEU(), CHRF()
    bleu.corpus_score(["a"], [["a"]])
    chrf.corpus_score(["a"], [["a"]])
    return f"BLEU {bleu.get_signature()}, chrF {chrf.get_signature()}"


def mean_loss(losses: Sequence[Loss]) -> float:
    """Nats a token: every token weighs the same."""
    tokens = sum(loss.tokens for loss in losses)
    return sum(loss.nats for loss in losses) / tokens if tokens else math.nan


def exact(answer: str, expected: str) -> bool:
    """Equal, but for case, spacing and Unicode form. Punctuation counts: it is part of commands."""
    return normal(answer) == normal(expected)


def f1(answer: str, expected: str) -> float:
    """Harmonic mean of precision and recall over words, as SQuAD counts them."""
    got, wanted = _words(answer), _words(expected)
    if not got or not wanted:
        return float(got == wanted)
    common = sum((Counter(got) & Counter(wanted)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(got), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def refuses(answer: str) -> bool:
    """Whether an answer declines, going by how English answers do that."""
    return REFUSAL.search(answer.replace("\u2019", "'")) is not None


def _words(text: str) -> list[str]:
    bare = text.casefold().translate(PUNCTUATION)
    return ARTICLES.sub(" ", bare).split()
