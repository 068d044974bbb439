"""Measuring an adapter: what it answers to the golden questions, beside the bare base.

Answers are generated greedily and compared in two ways, both from SQuAD (Rajpurkar et al. 2016,
https://arxiv.org/abs/1606.05250, evaluation script v1.1): `exact`, the share of answers equal to
the expected one after normalising case and spacing, and `f1`, the mean overlap of words.
"""

import hashlib
import logging
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from data.pairs import normal
from tuning.lesson import Question
from tuning.model import Base

log = logging.getLogger(__name__)

LIMIT = 96  # golden questions that are asked; of a larger set a fixed sample
SAMPLES = 8  # answers kept side by side with the scores
ROWS = 48  # answers generated at once
ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Score:
    """Means over `n` answers, both between 0 and 1."""

    n: int
    exact: float
    f1: float


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


def score(answers: Sequence[str], questions: Sequence[Question]) -> Score:
    pairs = list(zip(answers, (q.expected for q in questions), strict=True))
    n = max(len(pairs), 1)
    return Score(
        len(pairs), sum(exact(a, e) for a, e in pairs) / n, sum(f1(a, e) for a, e in pairs) / n
    )


def sample(golden: Sequence[Question], limit: int = LIMIT) -> list[Question]:
    """The golden questions to ask: all, or a sample that depends on their words alone, so that
    every adapter is asked the same ones."""
    return sorted(golden, key=_order)[:limit]


def fingerprint(asked: Sequence[Question]) -> str:
    """Equal for two runs that asked the same questions and expected the same answers."""
    lines = (f"{q.prompt}\t{q.expected}" for q in asked)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def answer(
    base: Base,
    model: Any,
    asked: Sequence[Question],
    beat: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Greedy answers, in order. `beat` is told how many are done, batch by batch."""
    was_training = model.training
    model.eval()
    order = sorted(range(len(asked)), key=lambda i: asked[i].expected_tokens)
    answers = [""] * len(asked)
    done = 0
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        longest = max(asked[i].expected_tokens for i in rows)
        said = generate(base, model, [asked[i].prompt for i in rows], longest + longest // 4 + 8)
        for i, ids in zip(rows, said, strict=True):
            words = [token for token in ids if token not in base.stops]
            answers[i] = base.tokenizer.decode(words, skip_special_tokens=True).strip()
        done += len(rows)
        beat(done)
    model.train(was_training)
    return answers


def side_by_side(
    asked: Sequence[Question], base_answers: Sequence[str], answers: Sequence[str]
) -> list[dict[str, str]]:
    """The first few questions with both answers. The order is that of the sample: random."""
    return [
        {"question": q.text, "expected": q.expected, "base": b, "adapter": a}
        for q, b, a in list(zip(asked, base_answers, answers, strict=True))[:SAMPLES]
    ]


@torch.no_grad()
def generate(
    base: Base, model: Any, prompts: Sequence[tuple[int, ...]], max_new_tokens: int
) -> list[tuple[int, ...]]:
    """The greedy answers to one batch of prompts as token ids, each up to and with its stop token.
    The model has to be in evaluation mode. Padded on the left, so that every row goes on from its
    last token."""
    longest = max(len(p) for p in prompts)
    ids = torch.full((len(prompts), longest), base.pad_id)
    mask = torch.zeros((len(prompts), longest), dtype=torch.long)
    for i, prompt in enumerate(prompts):
        ids[i, longest - len(prompt) :] = torch.tensor(prompt)
        mask[i, longest - len(prompt) :] = 1
    with base.precision():
        out = model.generate(
            input_ids=ids.to(base.device),
            attention_mask=mask.to(base.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            repetition_penalty=1.0,  # the base's own settings may name one; engines do not use it
            use_cache=True,
            eos_token_id=sorted(base.stops),
            pad_token_id=base.pad_id,
        )
    answers = []
    for row in out[:, longest:].tolist():
        end = next((i + 1 for i, token in enumerate(row) if token in base.stops), len(row))
        answers.append(tuple(row[:end]))
    return answers


def _order(question: Question) -> bytes:
    text = f"{question.text}\n{question.expected}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _words(text: str) -> list[str]:
    bare = text.casefold().translate(PUNCTUATION)
    return ARTICLES.sub(" ", bare).split()
