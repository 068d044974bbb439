"""Reference outputs: outputs of a new adapter, recorded after training, which every engine must
reproduce.

A reference output has two purposes. An engine that serves the adapter correctly must agree, in any
precision of the base: so an output is kept only as far as the trainer is sure of each token. An
engine that serves something else must disagree: so the outputs that differ most from the bare base
are kept, and in a run that continues a parent, first those for pairs that are new to the parent.

The choice of prompts depends only on the pairs, so the same run records the same outputs.
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

KEPT = 4  # reference outputs of an adapter
PROBES = 48  # longer outputs, compared once, during the evaluation
PROBE_TOKENS = 24  # of each, at most
TRIED = 16  # prompts to choose from
TOKENS = 12  # of an output at most: each costs an engine one step at every load
FEWEST = 3  # tokens; a shorter output proves nothing
SIMILAR = 32  # tokens; prompt lengths closer than this count as equal
MARGIN = 1.5  # nats between a sure token and the next likely one
TIE = 0.25  # nats; below this, rounding decides, such as between 4-bit and bf16 bases


@dataclass(frozen=True)
class TriedPrompt:
    output: ReferenceOutput
    new: bool  # the pair is new to the parent
    base_agreement: float  # share of the tokens that the bare base also finds likeliest


def record(base: Base, model: Any, training_set: TrainingSet) -> tuple[ReferenceOutput, ...]:
    """Up to `KEPT` reference outputs of the adapter in `model`; none if it is sure of nothing."""
    new = training_set.measured.get("new", ())
    examples = candidates(new, training_set.epoch(0), training_set.recipe.max_length)
    was_training = model.training
    model.eval()
    try:
        tried = _try(base, model, examples, {example.pair_id for example in new})
    finally:
        model.train(was_training)
    kept = most_distinctive(tried)
    if not kept:
        log.warning(
            "no reference outputs: the adapter is sure of none of %d answers", len(examples)
        )
    for one in kept:
        log.info(
            "reference output of pair %d: %d tokens, mean logprob %.3f, the base agrees on %.0f%%",
            one.output.pair_id, len(one.output.answer), one.output.logprob,
            100 * one.base_agreement,
        )  # fmt: skip
    return tuple(one.output for one in kept)


def probes(
    base: Base, model: Any, eval_sets: EvalSets, training_set: TrainingSet
) -> tuple[ReferenceOutput, ...]:
    """Longer outputs of the adapter in `model`, sure or not, for the parity of an engine: half of
    them for golden questions, the others for training pairs. Untrained questions are left out,
    because rounding decides between many likely words.
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
    """The prompts to try: `new` ones first, then short ones, and only one for each response."""
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


def most_distinctive(tried: Sequence[TriedPrompt]) -> list[TriedPrompt]:
    """The `KEPT` outputs that best distinguish the adapter from its parent and the bare base."""
    order = sorted(tried, key=lambda t: (not t.new, t.base_agreement, -len(t.output.answer)))
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
        output = ReferenceOutput(example.pair_id or None, example.prompt, kept, round(mean, 6))
        tried.append(TriedPrompt(output, example.pair_id in news, agreed / sure))
    return tried


def _probe(base: Base, model: Any, example: Example, answer: tuple[int, ...]) -> ReferenceOutput:
    """The answer up to its first near tie, where rounding decides about the token."""
    logprobs = answer_logprobs(base, model, example.prompt, answer)
    kept = answer[: max(1, sure_tokens(logprobs, answer, TIE))]
    mean = sum(float(logprobs[i, token]) for i, token in enumerate(kept)) / len(kept)
    return ReferenceOutput(example.pair_id or None, example.prompt, kept, round(mean, 6))


def _hash(example: Example) -> bytes:
    """An order that depends only on the example."""
    return hashlib.sha256(repr(example.ids).encode()).digest()


def sure_tokens(logprobs: Tensor, answer: Sequence[int], margin: float = MARGIN) -> int:
    """The number of tokens at the start of `answer` that lead the next likely one by `margin` nats.
    `logprobs`: (tokens, vocabulary)."""
    top = logprobs.topk(2, dim=-1)
    for i, token in enumerate(answer):
        lead = float(top.values[i, 0] - top.values[i, 1])
        if int(top.indices[i, 0]) != token or lead < margin:
            return i
    return len(answer)


@torch.no_grad()
def answer_logprobs(base: Base, model: Any, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    """Log probabilities, in nats, of all tokens at each position of `answer`: (tokens, vocabulary),
    float32."""
    ids = torch.tensor([[*prompt, *answer]], device=base.device)
    with base.precision():
        logits = model(input_ids=ids, use_cache=False).logits[0]
    return logits[len(prompt) - 1 : -1].float().log_softmax(-1)
