"""How likely the best pair answers a question: a probability, from what the search found.

A similarity alone says little about that. Questions in other words than their pair are less similar
than many that no pair answers. What tells them apart better is how far the best fact stands out
from the next ones, and the similarity with prompt and response together: near misses are similar
to a prompt, but not to its answer. A logistic regression over these figures was fitted on the
shipped reading examples (`tools/fit_confidence.py`), for the shipped encoder and for those that can
be added by name: figures of other encoders mean something else. Their questions, and those that are
searched by words, have no confidence, and the similarity decides.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data.search.encoder_catalogue import CATALOGUE

FILE = "confidence.json"  # in the folder of the encoder
FACTS = 5  # that are compared: the best one and the next four
SIGNALS = ("similarity", "lead", "lead over four")


@dataclass(frozen=True)
class Calibration:
    """What turns the signals of a search into a probability, and from which one to answer."""

    encoder: str  # the digest of the encoder that it was fitted for
    weights: tuple[float, ...]  # of `SIGNALS`
    bias: float
    usual_score: float  # of a fact that has nothing to do with the question
    answer_from: float  # the least confidence of an answer
    sure_from: float  # the confidence below which an answer is marked as uncertain

    def confidence(self, similarity: float, scores: Sequence[float]) -> float:
        """The probability that the best fact answers, 0..1. `similarity`: of the question and a
        pair of that fact, its prompt and response together. `scores`: of the best facts, the best
        first, each fact once."""
        found = signals(similarity, scores, self.usual_score)
        log_odds = self.bias + sum(w * s for w, s in zip(self.weights, found, strict=True))
        return 1 / (1 + math.exp(-min(max(log_odds, -30.0), 30.0)))


def signals(similarity: float, scores: Sequence[float], usual_score: float) -> tuple[float, ...]:
    """The figures of `SIGNALS`. A domain with fewer facts than are compared is treated as if it had
    more, which have nothing to do with the question."""
    padding = [min(usual_score, scores[0])] * max(FACTS - len(scores), 0)
    best, *rest = [*scores[:FACTS], *padding]
    return similarity, best - rest[0], best - sum(rest) / len(rest)


@cache
def read(folder: Path) -> Calibration | None:
    """The calibration that was shipped with the encoder in the folder; None if there is none."""
    path = folder / FILE
    if not path.is_file():
        return None
    known = json.loads(path.read_text(encoding="utf-8"))
    return Calibration(
        encoder=known["encoder"],
        weights=tuple(known["weights"][name] for name in SIGNALS),
        bias=known["bias"],
        usual_score=known["usual_score"],
        answer_from=known["answer_from"],
        sure_from=known["sure_from"],
    )


def shipped(encoder: str) -> Calibration | None:
    """The shipped calibration of the encoder with this digest; None if it has none."""
    from data.search.encoder import SHIPPED

    folders = (SHIPPED, *(known.template for known in CATALOGUE.values()))
    found = (calibration for folder in folders if (calibration := read(folder)) is not None)
    return next((each for each in found if each.encoder == encoder), None)
