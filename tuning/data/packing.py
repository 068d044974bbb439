"""Packing: several examples in one row instead of padding, without one seeing another.

Rows are as long as the longest example of the window, so attention costs no more than with padding.
Each example starts at position 0 again, and there is no attention mask: from restarted positions
alone, transformers builds the mask that separates examples, if there is no cache. (With a mask of
ones, or a cache, examples see each other without an error.) Model families without positions get a
block mask at each layer instead.

This is verified: before the first step, `check_isolation` shows on the actual model that the other
examples of a row do not change one bit of an example's predictions, and that an example predicts
the same as alone."""

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

EXAMPLES = 3  # in the check
TOKENS = 256  # of each example in the check
SHOWN = 32  # last positions of each example that are compared
BOUND = 0.05  # standard deviations of a logit; bf16 stays below a tenth of this


class ExamplesNotIsolated(Invalid):
    """Packed examples of this model see each other."""


@dataclass(frozen=True)
class IsolationCheck:
    """Measurements on a packed row of the run's own examples."""

    examples: int
    leak: float  # largest change of a logit when the other examples change; 0: none
    error: float  # root mean square difference to the example alone, in standard deviations


def pack(
    window: Sequence[Example], micro_tokens: int, pad_id: int, device: str | torch.device = "cpu"
) -> list[Batch]:
    """Split a window into forward passes of at most `micro_tokens` tokens (or one row), with rows
    filled by first-fit decreasing. An example that is in the window several times is computed once
    and weighted."""
    counts = Counter(window)
    length = max(len(example.ids) for example in window)
    rows = _fill(list(counts), length)
    size = max(1, micro_tokens // length)
    return [
        _batch(rows[i : i + size], counts, length, pad_id, device)
        for i in range(0, len(rows), size)
    ]


def _fill(examples: list[Example], length: int) -> list[list[Example]]:
    """First-fit decreasing: put each example into the first row with enough free tokens."""
    rows: list[list[Example]] = []
    free: list[int] = []
    for example in sorted(examples, key=lambda e: -len(e.ids)):
        for i, left in enumerate(free):
            if len(example.ids) <= left:
                rows[i].append(example)
                free[i] -= len(example.ids)
                break
        else:
            rows.append([example])
            free.append(length - len(example.ids))
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
            # nothing predicts the first token of an example
            labels[i, start + 1 : end] = torch.tensor(example.labels[1:])
            weights[i, start:end] = float(counts[example])
            positions[i, start:end] = torch.arange(len(example.ids))
            start = end
    tokens = sum(e.trained * counts[e] for row in rows for e in row)
    return Batch(
        ids.to(device), labels.to(device), weights.to(device), tokens, positions.to(device)
    )


@contextlib.contextmanager
def isolation_arguments(model: Any, batch: Batch) -> Iterator[dict[str, Tensor]]:
    """The additional arguments of a forward pass that keep the examples of a row separate. Empty
    when each row is one example."""
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
    """Give each layer a block mask, `(rows, 1, tokens, tokens)`, that is added to its attention
    scores. For families without positions, such as BLOOM, whose bias depends only on distances."""
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


def check_isolation(base: Base, model: Any, examples: Sequence[Example]) -> IsolationCheck:
    """Show on up to EXAMPLES of `examples`, packed into one row, that packing changes nothing.

    Raises ExamplesNotIsolated with the measured number otherwise. When the other examples are
    replaced, the predictions of an example must stay the same to the last bit, because masked
    tokens have a weight of exactly zero. Compared with the example alone, the arithmetic differs
    slightly, so that difference is bounded."""
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
    return _check(IsolationCheck(len(some), leak, error))


def _check(proof: IsolationCheck) -> IsolationCheck:
    if not proof.leak == 0:  # also when it is not a number
        raise ExamplesNotIsolated(
            "packing is on, but packed pairs see each other in this base model: a logit changed by "
            f"{proof.leak:.3g} when only other pairs changed. Set packing=false."
        )
    if not proof.error <= BOUND:
        raise ExamplesNotIsolated(
            "packing is on, but this base model predicts packed pairs differently from single "
            f"ones: by {proof.error:.3g} standard deviations, and {BOUND} are allowed. Set "
            "packing=false."
        )
    return proof


@torch.no_grad()
def _logits(base: Base, model: Any, batch: Batch, span: slice) -> Tensor:
    """The logits at the positions `span` of the only row, (positions, vocabulary)."""
    wanted = torch.zeros(batch.ids.shape, dtype=torch.bool, device=batch.ids.device)
    wanted[:, span] = True
    with (
        base.precision(),
        only_positions(model, wanted),
        isolation_arguments(model, batch) as places,
    ):
        logits: Tensor = model(input_ids=batch.ids, use_cache=False, **places).logits
    return logits.float()


def _with_others(base: Base, batch: Batch, start: int, end: int) -> Batch:
    """The row with every token outside `start` to `end` replaced by another one."""
    others = (batch.ids + 1) % base.model.get_input_embeddings().num_embeddings
    others[:, start:end] = batch.ids[:, start:end]
    return replace(batch, ids=others)


def _cut(example: Example) -> Example:
    return Example(example.pair_id, example.ids[:TOKENS], example.labels[:TOKENS])
