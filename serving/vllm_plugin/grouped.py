"""LoRA's products, x A^T and (x A^T) B^T, for a step whose tokens belong to different adapters.

vLLM's operations for CPUs copy A and B for every token. Here, tokens are grouped by adapter, and
each group is multiplied once: by products of its own or, when several adapters have few tokens
each, by one batched product over all of them.

vLLM keeps the adapters of a layer in slots. Its weights are stacked, with the shapes
(slots, 1, rank, inputs) for A and (slots, 1, outputs, rank) for B. A token without an adapter has
the slot -1; nothing is added to its row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

PADDING = 40  # rows that are computed in vain take about as long as one more product
SMALL = 100_000  # numbers in a result, below which products in float32 are faster than in bfloat16


@dataclass(frozen=True)
class BatchedSlots:
    """The layout of a batched product: equally many rows for each slot of a range."""

    slots: slice
    order: Tensor  # the token that is computed in each row
    places: Tensor  # the row of each token that has an adapter
    owners: Tensor | None  # the tokens that have an adapter; None: all

    def arrange(self, x: Tensor) -> Tensor:
        """The rows of `x` (tokens, n) as (slots, rows of each, n)."""
        slots = self.slots.stop - self.slots.start
        return x.index_select(0, self.order).view(slots, -1, x.shape[1])

    def multiply(self, arranged: Tensor, weights: Tensor) -> Tensor:
        """The arranged rows times the transposed matrix of their slot."""
        return torch.bmm(arranged.to(weights.dtype), weights[self.slots, 0].transpose(1, 2))

    def put(self, y: Tensor, arranged: Tensor, *, add: bool = True) -> None:
        """Add the rows to those of their tokens in `y`, or replace these."""
        rows = arranged.flatten(0, 1).index_select(0, self.places).to(y.dtype)
        if self.owners is None:
            y.add_(rows) if add else y.copy_(rows)
        elif add:
            y.index_add_(0, self.owners, rows)
        else:
            y.index_copy_(0, self.owners, rows)


@dataclass(frozen=True)
class Grouping:
    """Which tokens of a step belong to which slot."""

    groups: Sequence[tuple[int, slice | Tensor]]  # each slot in use, with its tokens
    batch: BatchedSlots | None  # None: products for each slot are faster


def group(indices: Tensor) -> Grouping:
    """Group the tokens of a step by `indices`, the slot of each."""
    slot_of = indices.tolist()
    tokens_of: dict[int, list[int]] = {}
    for token, slot in enumerate(slot_of):
        if slot >= 0:
            tokens_of.setdefault(slot, []).append(token)
    groups = [(slot, _rows(tokens)) for slot, tokens in tokens_of.items()]
    return Grouping(groups, _batch(tokens_of, len(slot_of)))


def _rows(tokens: list[int]) -> slice | Tensor:
    first, last = tokens[0], tokens[-1]
    neighbours = last - first + 1 == len(tokens)
    return slice(first, last + 1) if neighbours else torch.tensor(tokens)


def _batch(tokens_of: dict[int, list[int]], tokens: int) -> BatchedSlots | None:
    """A layout without too many unused slots and rows, if there is one."""
    if len(tokens_of) < 2:
        return None
    first, last = min(tokens_of), max(tokens_of)
    slots, height = last - first + 1, max(map(len, tokens_of.values()))
    padding = slots * height - sum(map(len, tokens_of.values()))
    if slots > 2 * len(tokens_of) or padding > PADDING * (len(tokens_of) - 1):
        return None
    order: list[int] = []
    place: dict[int, int] = {}
    for slot in range(first, last + 1):
        its = tokens_of.get(slot, [])
        place.update(zip(its, range(len(order), len(order) + len(its)), strict=True))
        order += its + [0] * (height - len(its))
    owners = sorted(place)
    return BatchedSlots(
        slice(first, last + 1),
        torch.tensor(order),
        torch.tensor([place[token] for token in owners]),
        None if len(owners) == tokens else torch.tensor(owners),
    )


def add_linear(
    y: Tensor,
    x: Tensor,
    a: Sequence[Tensor],
    b: Sequence[Tensor],
    widths: Sequence[int],
    scale: float,
    grouping: Grouping,
) -> None:
    """y += scale * x A^T B^T, for a layer of several projections, whose outputs are `widths` wide
    and lie side by side in `y` (tokens, outputs). `x` is (tokens, inputs)."""
    batch = grouping.batch
    if batch is not None:
        arranged, start = batch.arrange(x), 0
        for one_a, one_b, width in zip(a, b, widths, strict=True):
            shrunk = batch.multiply(arranged, one_a)
            shrunk = shrunk if scale == 1 else scale * shrunk
            batch.put(y[:, start : start + width], batch.multiply(shrunk, one_b))
            start += width
        return
    for slot, rows in grouping.groups:
        theirs = y[rows]  # a view for a slice, otherwise a copy
        matrices = [(one_a[slot, 0], one_b[slot, 0]) for one_a, one_b in zip(a, b, strict=True)]
        if theirs.numel() <= SMALL or y.dtype != b[0].dtype:
            wide = theirs.float()
            matrices = [(one_a.float(), one_b.float()) for one_a, one_b in matrices]
            theirs.copy_(_added(wide, x[rows].float(), matrices, widths, scale))
        else:
            _added(theirs, x[rows], matrices, widths, scale)
        if isinstance(rows, Tensor):
            y.index_copy_(0, rows, theirs)


def _added(
    y: Tensor,
    x: Tensor,
    matrices: Sequence[tuple[Tensor, Tensor]],
    widths: Sequence[int],
    scale: float,
) -> Tensor:
    """`y`, to which the products of one slot are added; all in one type."""
    start = 0
    for (a, b), width in zip(matrices, widths, strict=True):
        y[:, start : start + width].addmm_(linear(x, a), b.t(), alpha=scale)
        start += width
    return y


def shrink(y: Tensor, x: Tensor, a: Tensor, scale: float, grouping: Grouping) -> None:
    """y = scale * x A^T, for `x` (tokens, inputs) and `y` (tokens, rank)."""
    batch = grouping.batch
    if batch is not None:
        batch.put(y, scale * batch.multiply(batch.arrange(x), a).to(y.dtype), add=False)
        return
    for slot, rows in grouping.groups:
        y[rows] = scale * linear(x[rows].to(a.dtype), a[slot, 0]).to(y.dtype)


def expand(y: Tensor, x: Tensor, b: Tensor, grouping: Grouping, *, add: bool = True) -> None:
    """y += x B^T, or y = x B^T, for `x` (tokens, rank) and `y` (tokens, outputs)."""
    batch = grouping.batch
    if batch is not None:
        batch.put(y, batch.multiply(batch.arrange(x), b), add=add)
        return
    for slot, rows in grouping.groups:
        product = linear(x[rows].to(b.dtype), b[slot, 0]).to(y.dtype)
        y[rows] = y[rows] + product if add else product
