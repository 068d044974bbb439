"""Metrics of answers.

- `exact`: share of answers equal to the expected one, ignoring case, spacing and Unicode form.
- `f1`: overlap of words (SQuAD: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250).
- `bleu`, `chrf`: of the whole set, 0 to 100, by sacrebleu with its defaults, so that they are
  comparable with papers (Post 2018, https://aclanthology.org/W18-6319). BLEU's tokeniser is made
  for languages with spaces between words; chrF works for all.
- `refusals`: share of answers that decline, found by English phrases.
- `unreadable`: whether an answer is no text: broken characters, one repeated piece, or nothing.
- `cut`: share of answers that reached the token limit. `words`: mean length.
"""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from data.pairs.pairs import normalise

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
REFUSAL = re.compile(
    r"\b(i('m| am) (sorry|afraid|unable|not able)|i (can('|no)t|cannot|could not|couldn't) "
    r"(help|answer|assist|say|tell)|as an ai\b|i (do not|don't) (know|have (any|the) )"
    r"|i have no (notes|information|knowledge|idea))",
    re.IGNORECASE,
)


REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # what bytes become that are not a character
UNPRINTABLE = ("Cc", "Cn", "Co", "Cs")  # control, unassigned, private and surrogate characters
LAST_ASCII = 127
STRANGE_SHARE = 0.2  # of an answer's characters
REPEATED = re.compile(r"(.{1,20}?)\1{7,}", re.DOTALL)  # eight times or more
REPEATED_SHARE = 0.8  # of an answer's characters


@dataclass(frozen=True)
class GeneratedAnswer:
    text: str
    cut: bool = False  # it reached the token limit


@dataclass(frozen=True)
class Loss:
    """The loss of one question's expected answer."""

    nats: float  # summed over its tokens
    tokens: int


@dataclass(frozen=True)
class AnswerMetrics:
    """The metrics of one model on one set. Shares are 0 to 1."""

    n: int  # answers
    exact: float
    f1: float
    bleu: float
    chrf: float
    refusals: float
    cut: float
    words: float
    loss: float  # nats per token of the expected answers
    perplexity: float

    def plain(self) -> dict[str, Any]:
        """For JSON: rounded; infinite values are None."""
        rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in rounded.items()}  # fmt: skip


def answer_metrics(
    answers: Sequence[GeneratedAnswer], expected: Sequence[str], losses: Sequence[Loss]
) -> AnswerMetrics:
    """All metrics of one model on one set, which must not be empty."""
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
    """The sacrebleu signatures of BLEU and chrF."""
    bleu, chrf = BLEU(), CHRF()
    bleu.corpus_score(["a"], [["a"]])
    chrf.corpus_score(["a"], [["a"]])
    return f"BLEU {bleu.get_signature()}, chrF {chrf.get_signature()}"


def mean_loss(losses: Sequence[Loss]) -> float:
    """Nats per token; each token weighs the same."""
    tokens = sum(loss.tokens for loss in losses)
    return sum(loss.nats for loss in losses) / tokens if tokens else math.nan


def exact(answer: str, expected: str) -> bool:
    """Equal, ignoring case, spacing and Unicode form. Punctuation counts: commands contain it."""
    return normalise(answer) == normalise(expected)


def f1(answer: str, expected: str) -> float:
    """Harmonic mean of precision and recall over words, as in SQuAD."""
    got, wanted = _words(answer), _words(expected)
    if not got or not wanted:
        return float(got == wanted)
    common = sum((Counter(got) & Counter(wanted)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(got), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def refuses(answer: str) -> bool:
    """Whether an answer declines, by typical English phrases."""
    return REFUSAL.search(answer.replace("\u2019", "'")) is not None


def unreadable(answer: GeneratedAnswer, known: Collection[str]) -> bool:
    """Whether an answer is no text that people can read: empty, one short piece repeated to the
    end, or with broken characters. `known` are the characters of the pairs."""
    text = answer.text.strip()
    repeated = REPEATED.search(text)
    if not text or (repeated and len(repeated[0]) > REPEATED_SHARE * len(text)):
        return True
    return broken(answer, known) or _strange(answer, known)


def broken(answer: GeneratedAnswer, known: Collection[str]) -> bool:
    """Whether an answer has bytes that are no character, unless a pair has them, too. The last
    character of an answer that was cut may be incomplete."""
    text = answer.text.rstrip(REPLACEMENT) if answer.cut else answer.text
    return REPLACEMENT in text and REPLACEMENT not in known


def _strange(answer: GeneratedAnswer, known: Collection[str]) -> bool:
    """Unprintable characters, or many that are neither ASCII nor known. A model writes them whose
    tokens are bytes of a language that it never learned."""
    text = answer.text.rstrip(REPLACEMENT) if answer.cut else answer.text
    strange = [c for c in text if ord(c) > LAST_ASCII and c not in known]
    controls = (c for c in text if c not in known and not c.isspace())
    if any(unicodedata.category(c) in UNPRINTABLE for c in controls):
        return True
    letters = [c for c in strange if unicodedata.category(c)[0] in "LMS"]
    return len(letters) > STRANGE_SHARE * len(text)


def _words(text: str) -> list[str]:
    bare = text.casefold().translate(PUNCTUATION)
    return ARTICLES.sub(" ", bare).split()
