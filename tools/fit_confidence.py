"""Fits how likely the best pair answers a question: `python -m tools.fit_confidence ENCODER`.

ENCODER is a folder that `tools.export_encoder` wrote, or one of an added encoder;
`confidence.json` is written into it. The questions are those of the organisations that
`tools.tune_encoder` leaves out, each with its answer and, a second time, with the fact that answers
it taken out, and off-topic ones. What is predicted is whether the best fact answers. It is a
logistic regression (Newton's method, with a small penalty); the thresholds are chosen on
predictions for organisations that were left out of the fit.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.search import confidence
from data.search.confidence import FACTS, SIGNALS
from data.search.encoder import SentenceEncoder, open_folder
from data.search.index import BOTH_WEIGHT
from data.store.errors import UnderstudyError
from tools import tune_encoder
from tools.tune_encoder import HELD_OUT, Organisation

PENALTY = 0.01
STEPS = 50
OFF_TOPIC = 25  # questions for each organisation
WRONG_FAR = 0.12  # of the questions in other words, at most
DECLINED_NEAR_MISSES = 0.7  # at least
SURE_RIGHT = 0.9  # of the answers that are not marked as uncertain, at least
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundExample:
    """A question, and what the search makes of it."""

    organisation: str
    kind: str  # far, near, near_miss, off_topic, missing (its fact taken out), follow_up
    similarity: float
    scores: tuple[float, ...]
    right: bool


def searched(encoder: SentenceEncoder, organisation: Organisation) -> list[FoundExample]:
    """All questions of an organisation, and some that are off topic."""
    names = list(organisation.facts)
    pairs = [
        (n, prompt, f"{prompt}\n{response}")
        for n, (prompts, response) in enumerate(organisation.facts.values())
        for prompt in prompts
    ]
    outside = tune_encoder.off_topic()
    step = len(outside) // OFF_TOPIC
    asked = [
        *((q.kind, q.text, q.fact) for q in organisation.questions),
        *(("off_topic", text, None) for text in outside[::step]),
    ]
    vectors = encoder.encode([text for _, text, _ in asked], questions=True)
    cosines = vectors @ encoder.encode([prompt for _, prompt, _ in pairs]).T
    with_both = vectors @ encoder.encode([both for _, _, both in pairs]).T
    responses = encoder.encode([response for _, response in organisation.facts.values()])
    owner = np.array([n for n, _, _ in pairs])
    every = np.maximum(cosines, (vectors @ responses.T)[:, owner]) + BOTH_WEIGHT * with_both
    best = np.stack([every[:, owner == n].max(1) for n in range(len(names))], 1)
    both = np.stack([with_both[:, owner == n].max(1) for n in range(len(names))], 1)
    found = []
    for row, (kind, _, fact) in enumerate(asked):
        kind = "far" if kind == "missing" else kind
        right = names.index(fact) if fact else -1
        order = [int(n) for n in np.argsort(-best[row], kind="stable")]
        found.append(_searched(organisation.name, kind, best[row], both[row], order, right))
        if fact:
            order.remove(right)
            name = organisation.name
            found.append(_searched(name, "missing", best[row], both[row], order, -1))
    return found


def _searched(
    name: str, kind: str, best: np.ndarray, both: np.ndarray, order: Sequence[int], right: int
) -> FoundExample:
    top = tuple(float(best[n]) for n in order[:FACTS])
    return FoundExample(name, kind, float(both[order[0]]), top, order[0] == right)


def fit(some: Sequence[FoundExample], usual_score: float) -> np.ndarray:
    """The bias and the weight of each signal."""
    given = np.array([confidence.signals(s.similarity, s.scores, usual_score) for s in some])
    wanted = np.array([float(s.right) for s in some])
    mean, spread = given.mean(0), given.std(0)
    scaled = np.c_[np.ones(len(given)), (given - mean) / spread]
    weights = np.zeros(scaled.shape[1])
    penalty = PENALTY * len(given) * np.r_[0.0, np.ones(len(weights) - 1)]
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-scaled @ weights))
        slope = scaled.T @ (likely - wanted) + penalty * weights
        curve = (scaled * (likely * (1 - likely))[:, None]).T @ scaled + np.diag(penalty)
        weights -= np.linalg.solve(curve, slope)
    own = weights[1:] / spread
    return np.r_[weights[0] - own @ mean, own]


def predicted(weights: np.ndarray, some: Sequence[FoundExample], usual_score: float) -> np.ndarray:
    """The probability that the best fact answers, for each question."""
    given = np.array([confidence.signals(s.similarity, s.scores, usual_score) for s in some])
    return np.asarray(1 / (1 + np.exp(-(weights[0] + given @ weights[1:]))))


def thresholds(some: Sequence[FoundExample], likely: np.ndarray) -> tuple[float, float]:
    """From which probability on to answer, and from which on to be sure."""
    right = np.array([s.right for s in some])
    far = np.array([s.kind == "far" for s in some])
    near_miss = np.array([s.kind == "near_miss" for s in some])
    asked = far | near_miss | np.array([s.kind == "near" for s in some])

    def answers(least: float) -> bool:
        wrong = float((likely[far & ~right] >= least).sum() / far.sum())
        declined = float((likely[near_miss] < least).mean())
        return wrong <= WRONG_FAR and declined >= DECLINED_NEAR_MISSES

    def sure(least: float) -> bool:
        given = right[(likely >= least) & asked]
        return len(given) > 0 and float(given.mean()) >= SURE_RIGHT

    steps = [n / 100 for n in range(1, 100)]
    answer_from = next(least for least in steps if answers(least))
    return answer_from, next(
        (least for least in steps if least >= answer_from and sure(least)), 1.0
    )


def make(folder: Path) -> None:
    """Fit, and write `confidence.json`."""
    encoder = open_folder(folder)
    organisations = [o for o in tune_encoder.organisations() if o.name in HELD_OUT]
    some = [found for o in organisations for found in searched(encoder, o)]
    usual_score = float(np.median([s.scores[-1] for s in some]))
    likely = np.zeros(len(some))
    for name in sorted(HELD_OUT):
        others = [s for s in some if s.organisation != name]
        own = [n for n, s in enumerate(some) if s.organisation == name]
        weights = fit(others, usual_score)
        likely[own] = predicted(weights, [some[n] for n in own], usual_score)
    answer_from, sure_from = thresholds(some, likely)
    for kind in ("far", "near", "near_miss", "missing", "off_topic", "follow_up"):
        chosen = [n for n, s in enumerate(some) if s.kind == kind]
        given = [some[n].right for n in chosen if likely[n] >= answer_from]
        counts = sum(given), len(chosen) - len(given), len(given) - sum(given)
        log.info("%-10s right %d, declined %d, wrong %d", kind, *counts)
    bias, *own_weights = (round(float(w), 4) for w in fit(some, usual_score))
    about = {
        "encoder": encoder.digest,
        "bias": bias,
        "weights": dict(zip(SIGNALS, own_weights, strict=True)),
        "usual_score": round(usual_score, 3),
        "answer_from": answer_from,
        "sure_from": sure_from,
        "questions": len(some),
    }
    text = json.dumps(about, indent=2)
    (folder / confidence.FILE).write_text(f"{text}\n", encoding="utf-8")
    log.info("%s", text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fit_confidence", description=__doc__)
    parser.add_argument("encoder", type=Path, metavar="ENCODER")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        make(options.encoder)
    except UnderstudyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
