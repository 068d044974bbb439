"""Packing: several examples in one row, without one seeing another, in place of padding.

Rows are as long as the longest example of the window, so attention costs no more than padding
did. Each example begins at position 0 again, and no attention mask is given: from restarted
positions alone transformers makes the mask that keeps examples apart, provided that there is no
cache (with a mask of ones, or a cache, it lets them see each other without a word). Families that
take no positions get a mask of blocks at each of their layers instead.

None of that is taken on trust: `prove` shows on the very model, before the first step, that the
other examples of a row do not change a single bit of what an example predicts, and that it
predicts what it does alone.
"""

import contextlib
import inspect
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from data.store.errors import Invalid
from tuning.data.examples import IGNORED, Batch, Example
from tuning.model.base_model import Base, layers, only_positions

EXAMPLES = 3  # that the proof looks at
TOKENS = 256  # of each of them
SHOWN = 32  # last positions of each whose predictions are compared
BOUND = 0.05  # of a logit's standard deviation: bf16 stays below a tenth of it


class Leaks(Invalid):
    """The model's examples see each other when they are packed."""


@dataclass(frozen=True)
class Proof:
    """What was measured on a packed row of the run's own examples."""

    examples: int
    leak: float  # largest change of a logit when the other examples are others: 0 is none
    error: float  # root mean square against the example alone, in standard deviations


def pack(
    window: Sequence[Example], micro_tokens: int, pad_id: int, device: str | torch.device = "cpu"
) -> list[Batch]:
    """A window as forward passes of at most `micro_tokens` tokens (or one row), rows filled by
    first-fit decreasing. An example that stands in the window several times is computed once and
    weighted."""
    counts = Counter(window)
    length = max(len(example.ids) for example in window)
    rows = _fill(list(counts), length)
    size = max(1, micro_tokens // length)
    return [
        _batch(rows[i : i + size], counts, length, pad_id, device)
        for i in range(0, len(rows), size)
    ]


def _fill(examples: list[Example], length: int) -> list[list[Example]]:
    """First-fit decreasing: each example into the first row that has room for it."""
    rows: list[list[Example]] = []
    room: list[int] = []
    for example in sorted(examples, key=lambda e: -len(e.ids)):
        for i, left in enumerate(room):
            if len(example.ids) <= left:
                rows[i].append(example)
                room[i] -= len(example.ids)
                break
        else:
            rows.append([example])
            room.append(length - len(example.ids))
    return rows


def _batch(
    rows: list[list[Example]],
    counts: Counter[Example],
    length: int,
    pad_id: int,
    device: str | torch.device,
) -> Batch:
    longest = max(sum(len(e.ids) for e in row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id)
    labels = torch.full((len(rows), longest), IGNORED)
    weights = torch.zeros((len(rows), longest))
    positions = torch.zeros((len(rows), longest), dtype=torch.long)
    for i, row in enumerate(rows):
        start = 0
        for example in row:
            end = start + len(example.ids)
            ids[i, start:end] = torch.tensor(example.ids)
            # the first token of an example is nobody's next one
            labels[i, start + 1 : end] = torch.tensor(example.labels[1:])
            weights[i, start:end] = float(counts[example])
            positions[i, start:end] = torch.arange(len(example.ids))
            start = end
    tokens = sum(e.trained * counts[e] for row in rows for e in row)
    return Batch(
        ids.to(device), labels.to(device), weights.to(device), tokens, positions.to(device)
    )


@contextlib.contextmanager
def isolated(model: Any, batch: Batch) -> Iterator[dict[str, Tensor]]:
    """What the forward pass of a batch has to be given beside its ids, so that the examples of a
    row do not see each other; nothing where each row is one example."""
    if batch.positions is None:
        yield {}
    elif _takes_positions(model):
        yield {"position_ids": batch.positions}
    else:
        with _blocks(model, batch.positions):
            yield {}


def _takes_positions(model: Any) -> bool:
    inner = getattr(model, "get_base_model", lambda: model)()
    return "position_ids" in inspect.signature(inner.forward).parameters


@contextlib.contextmanager
def _blocks(model: Any, positions: Tensor) -> Iterator[None]:
    """Give each layer a mask of blocks, `(rows, 1, tokens, tokens)`, added to its scores. For
    families without positions, such as BLOOM, whose bias depends on distances alone."""
    number = (positions == 0).cumsum(dim=-1)
    same = number[:, :, None] == number[:, None, :]
    causal = torch.ones(same.shape[1:], dtype=torch.bool, device=positions.device).tril()
    hidden = ~(same & causal)[:, None]

    def mask(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        dtype = args[0].dtype
        added = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
        return args, given | {"attention_mask": added.masked_fill(hidden, torch.finfo(dtype).min)}

    handles = [layer.register_forward_pre_hook(mask, with_kwargs=True) for layer in layers(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def prove(base: Base, model: Any, examples: Sequence[Example]) -> Proof:
    """Show on up to EXAMPLES of `examples`, packed into one row, that packing changes nothing.

    Raises Leaks with the number that says otherwise. The other examples are exchanged for others,
    and what an example predicts has to stay the same to the last bit: what is masked weighs
    exactly nothing. Against the example alone the arithmetic differs, so that is bounded."""
    some = [_cut(e) for e in sorted(set(examples), key=lambda e: len(e.ids))[-EXAMPLES:]]
    row = Counter(some)
    length = sum(len(e.ids) for e in some)
    batch = _batch([some], row, length, base.pad_id, base.device)
    leak = error = 0.0
    start = 0
    was_training = model.training
    model.eval()
    try:
        for example in some:
            end = start + len(example.ids)
            span = slice(max(start, end - SHOWN), end)
            packed = _logits(base, model, batch, span)
            changed = _logits(base, model, _with_others(base, batch, start, end), span)
            alone = _batch([[example]], row, len(example.ids), base.pad_id, base.device)
            own = _logits(base, model, alone, slice(span.start - start, span.stop - start))
            leak = max(leak, float((packed - changed).abs().max()))
            error = max(error, float((packed - own).square().mean().sqrt() / own.std()))
            start = end
    finally:
        model.train(was_training)
    return _judged(Proof(len(some), leak, error))


def _judged(proof: Proof) -> Proof:
    if not proof.leak == 0:  # also when it is no number
        raise Leaks(
            "packing is on, but this base model lets packed pairs see each other: a logit changed "
            f"by {proof.leak:.3g} when only other pairs did. Set packing=false."
        )
    if not proof.error <= BOUND:
        raise Leaks(
            "packing is on, but this base model predicts otherwise for packed pairs than for each "
            f"alone: by {proof.error:.3g} standard deviations, and {BOUND} are allowed. Set "
            "packing=false."
        )
    return proof


@torch.no_grad()
def _logits(base: Base, model: Any, batch: Batch, span: slice) -> Tensor:
    """What is predicted at the positions of `span` in the only row, (positions, vocabulary)."""
    wanted = torch.zeros(batch.ids.shape, dtype=torch.bool, device=batch.ids.device)
    wanted[:, span] = True
    with base.precision(), only_positions(model, wanted), isolated(model, batch) as places:
        logits: Tensor = model(input_ids=batch.ids, use_cache=False, **places).logits
    return logits.float()


def _with_others(base: Base, batch: Batch, start: int, end: int) -> Batch:
    """The row with every token but those from `start` to `end` exchanged for another one."""
    others = (batch.ids + 1) % base.model.get_input_embeddings().num_embeddings
    others[:, start:end] = batch.ids[:, start:end]
    return replace(batch, ids=others)


def _cut(example: Example) -> Example:
    return Example(example.pair_id, example.ids[:TOKENS], example.labels[:TOKENS])
