"""Answers and losses from the trainer's own model.

The evaluation prefers answers of the engine that will serve the adapter (`engine_client.py`); the
trainer's are used if no engine is running. Losses always come from the trainer: an engine reports
the probability of a given answer only with `prompt_logprobs`, which crashes vLLM's CPU build when
adapters are served (see `serving/adapters/reference_check.py`). Parity shows that both agree.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from tuning.data.examples import IGNORED, Example, batches
from tuning.evaluation.eval_sets import EvalQuestion
from tuning.evaluation.metrics import GeneratedAnswer, Loss
from tuning.model.base_model import Base, predictions
from tuning.model.greedy_answers import generate
from tuning.training.cross_entropy import token_losses

log = logging.getLogger(__name__)

ROWS = 48  # answers generated at once


def answer(
    base: Base,
    model: Any,
    asked: Sequence[EvalQuestion],
    beat: Callable[[int], None] = lambda _: None,
) -> list[GeneratedAnswer]:
    """Greedy answers, in order. `beat` is called with the number of finished answers."""
    was_training = model.training
    model.eval()
    order = sorted(range(len(asked)), key=lambda i: asked[i].expected_tokens)
    answers = [GeneratedAnswer("")] * len(asked)
    done = 0
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        longest = max(asked[i].most_tokens for i in rows)
        outputs = generate(base, model, [asked[i].prompt for i in rows], longest)
        for i, ids in zip(rows, outputs, strict=True):
            answers[i] = _read(base, ids[: asked[i].most_tokens])
        done += len(rows)
        beat(done)
    model.train(was_training)
    return answers


def losses(
    base: Base,
    model: Any,
    questions: Sequence[EvalQuestion],
    micro_tokens: int,
    beat: Callable[[], None] = lambda: None,
) -> list[Loss]:
    """The losses of the expected answers, in order. A forward pass has at most `micro_tokens`
    padded tokens, or one question. `beat` is called before each pass."""
    was_training = model.training
    model.eval()
    order = sorted(range(len(questions)), key=lambda i: len(questions[i].example.ids))
    found = [Loss(0.0, 0)] * len(questions)
    for group in _groups(order, questions, micro_tokens):
        beat()
        nats = _row_losses(base, model, [questions[i].example for i in group])
        for i, each in zip(group, nats, strict=True):
            found[i] = Loss(each, questions[i].example.trained)
    model.train(was_training)
    return found


def _read(base: Base, ids: Sequence[int]) -> GeneratedAnswer:
    words = [token for token in ids if token not in base.stops]
    text = base.tokenizer.decode(words, skip_special_tokens=True).strip()
    return GeneratedAnswer(text, cut=len(words) == len(ids))


def _groups(
    order: Sequence[int], questions: Sequence[EvalQuestion], micro_tokens: int
) -> list[list[int]]:
    """Split `order`, from short to long, into groups of at most `micro_tokens` padded tokens."""
    groups: list[list[int]] = []
    for i in order:
        length = len(questions[i].example.ids)
        if not groups or length * (len(groups[-1]) + 1) > micro_tokens:
            groups.append([])
        groups[-1].append(i)
    return groups


@torch.no_grad()
def _row_losses(base: Base, model: Any, rows: list[Example]) -> list[float]:
    """Nats of each row's expected answer. `rows` are sorted from short to long."""
    (batch,) = batches(rows, len(rows) * len(rows[-1].ids), base.pad_id, base.device)
    targets = batch.labels[:, 1:]
    wanted = functional.pad(targets != IGNORED, (0, 1))  # position i predicts token i + 1
    logits = predictions(base, model, batch.ids, wanted)
    nats = token_losses(logits, targets[targets != IGNORED])
    summed = torch.zeros(len(rows), device=base.device)
    return summed.index_add(0, wanted.nonzero()[:, 0], nats).tolist()
