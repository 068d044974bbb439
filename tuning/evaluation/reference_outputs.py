"""Canaries: what a freshly trained adapter answers, recorded for every engine that will serve it.

A canary must do two things. An engine that serves the adapter rightly has to agree, whatever
precision its base is in: so an answer is kept only up to where the trainer itself is sure of each
token. And an engine that serves something else has to disagree: so the answers taken are those of
which the bare base would have said the least, in a run that goes on from a parent first those to
pairs that the parent has not seen.

Which questions are tried depends on the pairs alone, so the same run records the same canaries.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from data.adapters.registry import ReferenceOutput
from tuning.data.examples import Example
from tuning.data.training_set import TrainingSet
from tuning.evaluation import generation
from tuning.evaluation.eval_sets import EvalSets
from tuning.model.base_model import Base

log = logging.getLogger(__name__)

KEPT = 4  # canaries of an adapter
PROBES = 48  # answers that an engine is compared on, once, while the adapter is evaluated
PROBE_TOKENS = 24  # of each, at most
TRIED = 16  # questions that are answered to choose them from
TOKENS = 12  # of an answer, at most: each costs an engine one step at every load
FEWEST = 3  # tokens, below which an answer says nothing
SIMILAR = 32  # tokens of a prompt that count as nothing when short ones are preferred
MARGIN = 1.5  # nats between a token and the next likely one, for it to be sure
TIE = 0.25  # nats, below which rounding decides: between a base in 4 bit and in bf16, for one


@dataclass(frozen=True)
class TriedPrompt:
    canary: ReferenceOutput
    new: bool  # the parent has not seen the pair
    base_agreement: float  # share of the tokens that the bare base finds likeliest, too


def record(base: Base, model: Any, training_set: TrainingSet) -> tuple[ReferenceOutput, ...]:
    """Up to `KEPT` canaries of the adapter in `model`; none when it is sure of nothing."""
    new = training_set.measured.get("new", ())
    examples = candidates(new, training_set.epoch(0), training_set.recipe.max_length)
    was_training = model.training
    model.eval()
    try:
        tried = _try(base, model, examples, {example.pair_id for example in new})
    finally:
        model.train(was_training)
    kept = most_telling(tried)
    if not kept:
        log.warning("no canaries: the adapter is sure of none of %d answers", len(examples))
    for one in kept:
        log.info(
            "canary of pair %d: %d tokens, mean logprob %.3f, the bare base agrees on %.0f%%",
            one.canary.pair_id, len(one.canary.answer), one.canary.logprob,
            100 * one.base_agreement,
        )  # fmt: skip
    return tuple(one.canary for one in kept)


def probes(
    base: Base, model: Any, eval_sets: EvalSets, training_set: TrainingSet
) -> tuple[ReferenceOutput, ...]:
    """Longer answers of the adapter in `model`, sure of them or not, by which an engine shows that
    it serves what was trained: half of them to golden questions, the others to trained ones. What
    was not taught is left out: between many likely words rounding alone decides.
    """
    golden = [q.example for q in eval_sets.sets.get("golden", ())][: PROBES // 2]
    order = [*golden, *sorted(training_set.epoch(0), key=_hash)]
    chosen = list(dict.fromkeys(order))[:PROBES]
    was_training = model.training
    model.eval()
    try:
        answers = generation.generate(base, model, [e.prompt for e in chosen], PROBE_TOKENS)
        return tuple(
            _probe(base, model, example, answer)
            for example, answer in zip(chosen, answers, strict=True)
        )
    finally:
        model.train(was_training)


def candidates(
    new: Sequence[Example], trained: Sequence[Example], max_length: int
) -> list[Example]:
    """The questions to try: `new` ones first, then short ones, of each response one only."""
    news = {example.pair_id for example in new}
    fitting = [e for e in [*new, *trained] if len(e.prompt) + TOKENS <= max_length]
    order = sorted(
        fitting,
        key=lambda e: (
            e.pair_id not in news,
            e.answered <= FEWEST,
            len(e.prompt) // SIMILAR,
            _hash(e),
        ),
    )
    one_each = {example.ids[-example.answered :]: example for example in reversed(order)}
    chosen = set(one_each.values())
    return [e for e in dict.fromkeys(order) if e in chosen][:TRIED]


def most_telling(tried: Sequence[TriedPrompt]) -> list[TriedPrompt]:
    """The `KEPT` of them that tell the adapter best from its parent and from the bare base."""
    order = sorted(tried, key=lambda t: (not t.new, t.base_agreement, -len(t.canary.answer)))
    return order[:KEPT]


def _try(base: Base, model: Any, examples: Sequence[Example], news: set[int]) -> list[TriedPrompt]:
    if not examples:
        return []
    tried = []
    answers = generation.generate(base, model, [e.prompt for e in examples], TOKENS)
    for example, answer in zip(examples, answers, strict=True):
        logprobs = answer_logprobs(base, model, example.prompt, answer)
        sure = sure_tokens(logprobs, answer)
        if sure < FEWEST:
            continue
        kept = answer[:sure]
        mean = sum(float(logprobs[i, token]) for i, token in enumerate(kept)) / sure
        with model.disable_adapter():
            bare = answer_logprobs(base, model, example.prompt, kept).argmax(-1).tolist()
        agreed = sum(a == b for a, b in zip(bare, kept, strict=True))
        canary = ReferenceOutput(example.pair_id, example.prompt, kept, round(mean, 6))
        tried.append(TriedPrompt(canary, example.pair_id in news, agreed / sure))
    return tried


def _probe(base: Base, model: Any, example: Example, answer: tuple[int, ...]) -> ReferenceOutput:
    """The answer up to its first near tie, where nobody could say which token is right."""
    logprobs = answer_logprobs(base, model, example.prompt, answer)
    kept = answer[: max(1, sure_tokens(logprobs, answer, TIE))]
    mean = sum(float(logprobs[i, token]) for i, token in enumerate(kept)) / len(kept)
    return ReferenceOutput(example.pair_id, example.prompt, kept, round(mean, 6))


def _hash(example: Example) -> bytes:
    """An order that depends on the example alone."""
    return hashlib.sha256(repr(example.ids).encode()).digest()


def sure_tokens(logprobs: Tensor, answer: Sequence[int], margin: float = MARGIN) -> int:
    """How many tokens of `answer`, from its first on, lead the next likely one by `margin`.
    `logprobs`: (tokens, vocabulary)."""
    top = logprobs.topk(2, dim=-1)
    for i, token in enumerate(answer):
        lead = float(top.values[i, 0] - top.values[i, 1])
        if int(top.indices[i, 0]) != token or lead < margin:
            return i
    return len(answer)


@torch.no_grad()
def answer_logprobs(base: Base, model: Any, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    """Natural logarithms of the probabilities of what may stand at each place of `answer`, given
    all before it: (tokens, vocabulary), float32."""
    ids = torch.tensor([[*prompt, *answer]], device=base.device)
    with base.precision():
        logits = model(input_ids=ids, use_cache=False).logits[0]
    return logits[len(prompt) - 1 : -1].float().log_softmax(-1)
