"""Fits the matrix that joins an encoder with the shipped one:
`python -m tools.fit_joint_encoder ENCODER OUT`.

ENCODER is a folder that `tools.export_encoder` wrote; `joint.npy` is written into OUT
(`data/search/joint_encoder.py`). It learns from the same organisations and with the same loss as
`tools.tune_encoder`, from vectors that do not change: I + 0.7 AB, with A and B of rank 64, averaged
over several starts. What it makes of all example texts is then projected onto the directions in
which they differ most, so that the index of the pairs stays small. Encoding the examples takes some
minutes, the rest one.
"""

import argparse
import logging
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from data.search.encoder import SHIPPED
from data.search.joint_encoder import MATRIX
from data.search.onnx_encoder import OnnxEncoder
from data.store.errors import UnderstudyError
from tools import tune_encoder
from tools.tune_encoder import HELD_OUT, Organisation

RANK = 64
DROPOUT = 0.1
RATE = 1e-3
LIMIT, LIMIT_RATE = 0.75, 2e-3  # of the score: where learning it starts, and its rate
WEIGHT_DECAY = 0.01
EPOCHS = 12
STARTS = 3
STRENGTH = 0.7  # the whole change finds fewer facts of organisations that it did not learn from
DIMENSIONS = 512
log = logging.getLogger(__name__)


class JoinedVectors:
    """Known vectors of texts, changed by the part that learns."""

    def __init__(self, row_of: dict[str, int], vectors: torch.Tensor) -> None:
        self._row_of = row_of
        self._vectors = vectors
        size = vectors.shape[1]
        self.down = torch.nn.Parameter(torch.randn(size, RANK) / size**0.5)
        self.up = torch.nn.Parameter(torch.zeros(RANK, size))

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Float32, shape (texts, dimensions)."""
        given = self._vectors[[self._row_of[text] for text in texts]]
        change = functional.dropout(functional.dropout(given, DROPOUT) @ self.down, DROPOUT)
        return functional.normalize(given + change @ self.up, dim=1)

    def change(self) -> torch.Tensor:
        """What was learned, shape (dimensions, dimensions)."""
        return (self.down @ self.up).detach()


def texts_of(some: Sequence[Organisation]) -> list[str]:
    """Every text of the organisations, each once."""
    found: dict[str, None] = {}
    for organisation in some:
        for prompts, response in organisation.facts.values():
            found[response] = None
            for prompt in prompts:
                found |= {prompt: None, f"{prompt}\n{response}": None}
        found |= {question.text: None for question in organisation.questions}
    return list(found | dict.fromkeys(tune_encoder.off_topic()))


def learn(
    texts: Sequence[str], vectors: np.ndarray, some: Sequence[Organisation], seed: int
) -> np.ndarray:
    """What is added to the identity, from one start."""
    torch.manual_seed(seed)
    rng = random.Random(seed)  # noqa: S311 # the same order each time
    row_of = {text: row for row, text in enumerate(texts)}
    joined = JoinedVectors(row_of, torch.from_numpy(vectors))
    limit = torch.nn.Parameter(torch.tensor(LIMIT))
    groups = [
        {"params": [joined.down, joined.up], "full": RATE},
        {"params": [limit], "full": LIMIT_RATE, "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=WEIGHT_DECAY)
    steps, step, outside = EPOCHS * len(some), 0, tune_encoder.off_topic()
    for _ in range(EPOCHS):
        for organisation in rng.sample(some, len(some)):
            part = min(1.0, (step + 1) / (0.1 * steps)) * (steps - step) / steps
            for group in optimizer.param_groups:
                group["lr"] = group["full"] * part
            others = rng.sample(outside, tune_encoder.OFF_TOPIC_QUESTIONS)
            loss = tune_encoder.loss_of(joined, organisation, limit, others, rng)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    return joined.change().numpy()


def projection(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """The directions with the largest share of the vectors' length, as columns."""
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    return np.asarray(directions[:, ::-1][:, :dimensions])


def fit(texts: Sequence[str], vectors: np.ndarray, some: Sequence[Organisation]) -> np.ndarray:
    """The matrix, float16, shape (both dimensions, dimensions)."""
    changes = [learn(texts, vectors, some, seed) for seed in range(STARTS)]
    whole = np.eye(vectors.shape[1], dtype=np.float32) + STRENGTH * np.mean(changes, axis=0)
    changed = vectors @ whole
    changed /= np.linalg.norm(changed, axis=1, keepdims=True)
    return np.asarray((whole @ projection(changed, DIMENSIONS)).astype(np.float16))


def make(folder: Path, out: Path) -> None:
    """Encode the examples with both encoders, fit, and write the matrix."""
    some = [o for o in tune_encoder.organisations() if o.name not in HELD_OUT]
    texts = texts_of(some)
    log.info("%d organisations, %d texts", len(some), len(texts))
    parts = [OnnxEncoder(each).encode(texts) for each in (folder, SHIPPED)]
    np.save(out / MATRIX, fit(texts, np.concatenate(parts, axis=1), some))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fit_joint_encoder", description=__doc__)
    parser.add_argument("encoder", type=Path, metavar="ENCODER")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    try:
        make(options.encoder, options.out)
    except UnderstudyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
