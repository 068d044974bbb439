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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from data.adapters.registry import ReferenceOutput
from tuning.data.examples import Example
from tuning.data.training_set import TrainingSet
from tuning.evaluation.eval_sets import EvalSets
from tuning.model import greedy_answers
from tuning.model.base_model import Base, only_positions

log = logging.getLogger(__name__)

KEPT = 4  # reference outputs of an adapter
PROBES = 48  # longer outputs, compared once, during the evaluation
PROBE_TOKENS = 24  # of each, at most
TRIED = 16  # prompts to choose from
ROWS = 16  # outputs whose log probabilities are computed at once
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
        prompts = [e.prompt for e in chosen]
        answers = greedy_answers.generate(base, model, prompts, PROBE_TOKENS)
        every = all_logprobs(base, model, prompts, answers)
        return tuple(map(_probe, chosen, answers, every))
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
    prompts = [e.prompt for e in examples]
    answers = greedy_answers.generate(base, model, prompts, TOKENS)
    with model.disable_adapter():
        likeliest = [found.argmax(-1) for found in all_logprobs(base, model, prompts, answers)]
    every = all_logprobs(base, model, prompts, answers)
    for example, answer, logprobs, bare in zip(examples, answers, every, likeliest, strict=True):
        sure = sure_tokens(logprobs, answer)
        if sure < FEWEST:
            continue
        kept = answer[:sure]
        mean = sum(float(logprobs[i, token]) for i, token in enumerate(kept)) / sure
        agreed = sum(a == b for a, b in zip(bare.tolist(), kept, strict=False))
        output = ReferenceOutput(example.pair_id or None, example.prompt, kept, round(mean, 6))
        tried.append(TriedPrompt(output, example.pair_id in news, agreed / sure))
    return tried


def _probe(example: Example, answer: tuple[int, ...], logprobs: Tensor) -> ReferenceOutput:
    """The answer up to its first near tie, where rounding decides about the token."""
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


def answer_logprobs(base: Base, model: Any, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    """Log probabilities, in nats, of all tokens at each position of `answer`: (tokens, vocabulary),
    float32."""
    (found,) = all_logprobs(base, model, [prompt], [answer])
    return found


def all_logprobs(
    base: Base, model: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> Iterator[Tensor]:
    """`answer_logprobs` of each prompt with its answer, `ROWS` of them in one pass."""
    for start in range(0, len(prompts), ROWS):
        some = slice(start, start + ROWS)
        yield from _logprobs_of_batch(base, model, prompts[some], answers[some])


@torch.no_grad()
def _logprobs_of_batch(
    base: Base, model: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> list[Tensor]:
    rows = [(*prompt, *answer) for prompt, answer in zip(prompts, answers, strict=True)]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), base.pad_id)
    wanted = torch.zeros((len(rows), longest), dtype=torch.bool)
    for i, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        ids[i, : len(row)] = torch.tensor(row)
        wanted[i, len(prompt) - 1 : len(row) - 1] = True  # position i predicts token i + 1
    with base.precision(), only_positions(model, wanted.to(base.device)):
        logits = model(input_ids=ids.to(base.device), use_cache=False).logits
    return [part.float().log_softmax(-1) for part in logits.split([len(a) for a in answers])]
