"""The rows of a batch end to end, so that nothing is computed for padding.

Only attention needs to know which tokens belong together. All other layers see one row: the common
beginning of the batch's rows, if it is worth sharing (`shared_prefix`), and then of each row what
follows it, up to the last position whose prediction is wanted. The MLP of the last block and the
output layer see only the positions whose predictions are wanted. Inside attention the rows are
padded again, and keys and values that serve several query heads are not repeated for each. Losses
and gradients are those of padded rows, up to rounding (`benchmarks/train_step.py`).

Model families that do not take their attention from transformers, or ask it for more than a scale
and a causal mask, such as windows, keep padded rows. So do those with other layers that mix tokens,
such as convolutions. `works` shows on the loaded model that the predictions are the same, and that
no row changes another.
"""

import contextlib
import functools
import inspect
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

from tuning.model import shared_prefix

log = logging.getLogger(__name__)

NAME = "understudy_unpadded"  # among the attention functions of transformers
BEGINS = 3  # tokens at the beginning of a row that another row must not change
LEAK = 0.0005  # standard deviations of a logit; there is no change without a leak, up to rounding
LEAST_SAVED = 32  # tokens; a shared beginning costs a second attention in each layer
BOUND = 0.05  # root mean square difference, in standard deviations of a logit, as with packing
UNUSED = ("sliding_window", "softcap", "s_aux", "position_bias")  # not computed here


class Unsupported(Exception):
    """The layers ask attention for something that `attend` does not compute."""


@dataclass(frozen=True)
class RowLayout:
    """Where the tokens of a batch lie when they are end to end."""

    common: int  # tokens at the beginning, which all rows share
    places: Tensor  # (rows, longest): the place behind the beginning; of padding, 0
    back: Tensor  # (tokens - common,): the place of each token in padded rows, flattened
    mask: Tensor  # (longest, common + longest), added to the scores: what each token does not see
    common_mask: Tensor  # (common, common), the same for the beginning
    known: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=dict)

    @functools.cached_property
    def beginning(self) -> "RowLayout":
        """The common beginning as a row of its own."""
        row = torch.arange(self.common)
        return RowLayout(0, row[None], row, self.common_mask, self.common_mask)

    def by_head(self, heads: int, common: int = 0) -> tuple[Tensor, Tensor]:
        """Two indexes. The first says which of the `(tokens, heads)` vectors comes where in
        `(rows, heads, longest)`, flattened; the second where each of these vectors of
        `(tokens - common, heads)` has gone. With `common`, each row begins with as many tokens
        of the beginning."""
        if (found := self.known.get((heads, common))) is not None:
            return found
        count, longest = self.places.shape
        first = torch.arange(common).expand(count, -1)
        places = torch.cat([first, self.places + common], dim=1)
        head = torch.arange(heads)
        there = places[:, None, :] * heads + head[:, None]
        row, column = self.back // longest, self.back % longest + common
        again = (row[:, None] * heads + head) * (common + longest) + column[:, None]
        self.known[heads, common] = there.flatten(), again.flatten()
        return self.known[heads, common]


def logits(model: Any, ids: Tensor, wanted: Tensor) -> Tensor:
    """The logits of the `wanted` positions, (positions, vocabulary), row by row. `ids` and `wanted`
    are (rows, tokens)."""
    common = shared_prefix.length(ids, wanted, LEAST_SAVED)
    used = wanted.flip(1).cumsum(1).flip(1)[:, common:] > 0  # up to the last wanted one
    rows, columns = used.nonzero(as_tuple=True)
    longest = int(columns.max()) + 1
    back = rows * longest + columns
    places = torch.zeros(len(ids) * longest, dtype=torch.long)
    places[back] = torch.arange(len(back))
    dtype = next(p.dtype for p in model.parameters())
    layout = RowLayout(
        common, places.view(len(ids), longest), back,
        _causal(longest, common, dtype), _causal(common, 0, dtype),
    )  # fmt: skip
    flat = torch.cat([ids[0, :common], ids[:, common:][used]])
    positions = torch.cat([torch.arange(common), columns + common])
    chosen = functional.pad(wanted[:, common:][used], (common, 0))
    with _attention_in_rows(model), _only(model, chosen), _only_in_last_mlp(model, chosen):
        found: Tensor = model(
            input_ids=flat[None], position_ids=positions[None], use_cache=False, rows=layout
        ).logits
    return found


@torch.no_grad()
def works(model: Any, dtype: torch.dtype) -> bool:
    """Whether the loaded base `model` predicts the same from rows end to end, and in training."""
    names = inspect.signature(model.forward).parameters
    if "position_ids" not in names or not any(p.kind is p.VAR_KEYWORD for p in names.values()):
        return False
    size = model.get_input_embeddings().num_embeddings
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(size, (3, 24), generator=generator)
    alike = ids.clone()
    alike[:, :16] = alike[0, :16]
    wanted = torch.zeros(ids.shape, dtype=torch.bool)
    for row, last in enumerate((20, 24, 22)):
        wanted[row, last - 4 : last] = True
    errors = []
    was_training = model.training
    try:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32), torch.random.fork_rng():
            for some in (ids, alike):
                model.eval()
                padded = model(input_ids=some, use_cache=False).logits[wanted].float()
                model.train()  # families with dropout of their own fail the comparison
                found = logits(model, some, wanted).float()
                errors.append(float((found - padded).square().mean().sqrt() / padded.std()))
            leak = _leak(model, ids)
    except Unsupported as reason:
        log.info("the base model computes padding, too: %s", reason)
        return False
    finally:
        model.train(was_training)
    if not all(error <= BOUND for error in errors):  # also when one is not a number
        log.info("the base model computes padding, too: predictions differ by %s", errors)
        return False
    if not leak <= LEAK:
        log.info("the base model computes padding, too: a row changes the next one by %.3g", leak)
        return False
    return True


def _leak(model: Any, ids: Tensor) -> float:
    """How much the words of the first row change what is predicted at the beginning of the others:
    root mean square, in standard deviations of a logit. Layers that mix neighbours outside of
    attention, such as convolutions and state spaces, do that."""
    wanted = torch.zeros(ids.shape, dtype=torch.bool)
    wanted[:, :BEGINS] = True
    wanted[0, -1] = True  # the row before is computed to its end
    other = ids.clone()
    other[0] = other[0].flip(0)
    found, changed = (logits(model, some, wanted).float()[BEGINS + 1 :] for some in (ids, other))
    return float((found - changed).square().mean().sqrt() / found.std())


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    *,
    rows: RowLayout,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of rows that lie end to end, as transformers calls it: `query` is (1, query heads,
    tokens, width), `key` and `value` (1, heads, tokens, width). Returns (1, tokens, query heads,
    width). Raises Unsupported."""
    asked = [name for name in UNUSED if others.get(name) is not None]
    if dropout:
        asked.append("dropout")
    if not query.shape[-1] == key.shape[-1] == value.shape[-1]:
        asked.append("values of another width than keys")  # as in DeepSeek's latent attention
    if asked:
        raise Unsupported(f"its attention has {', '.join(asked)}")
    query, key, value = (x[0].transpose(0, 1) for x in (query, key, value))
    return _Attention.apply(query, key, value, rows, scaling)[None], None


class _Attention(torch.autograd.Function):
    """Softmax attention in each row, and in the common beginning. `query` is (tokens, query heads,
    width), `key` and `value` (tokens, heads, width); returns the shape of `query`. The query heads
    of a head are computed as further queries of it. Vectors go straight from tokens that lie end to
    end to padded rows by head, and back. Nothing that counts is computed from padding."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, rows: RowLayout, scaling: float
    ) -> Tensor:
        ctx.rows, ctx.scaling, ctx.shapes = rows, scaling, (query.shape, key.shape)
        common = rows.common
        out, saved = _attention(query[common:], key, value, rows, scaling)
        if common:
            first, more = _attention(
                query[:common], key[:common], value[:common], rows.beginning, scaling
            )
            out, saved = torch.cat([first, out]), saved + more
        ctx.save_for_backward(*saved)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, common = ctx.rows, ctx.rows.common
        saved = ctx.saved_tensors
        found = _gradients(grads[0][common:], saved[:4], rows, ctx.scaling, *ctx.shapes)
        if common:
            first = _gradients(
                grads[0][:common], saved[4:], rows.beginning, ctx.scaling, *ctx.shapes
            )
            found = (torch.cat([first[0], found[0]]), *found[1:])
            for all_of_it, beginning in zip(found[1:], first[1:], strict=True):
                all_of_it[:common] += beginning
        return (*found, None, None)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, rows: RowLayout, scaling: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The attention of the tokens behind the beginning, and what its gradients need."""
    count, longest = rows.places.shape
    query_heads, heads, width = query.shape[1], key.shape[1], query.shape[2]
    each = query_heads // heads
    there, again = rows.by_head(query_heads)
    queries = (
        query.reshape(-1, width).index_select(0, there).view(count * heads, each * longest, width)
    )
    there, _ = rows.by_head(heads, rows.common)
    keys, values = (
        x.reshape(-1, width)
        .index_select(0, there)
        .view(count * heads, rows.common + longest, width)
        for x in (key, value)
    )
    mask = rows.mask.repeat(each, 1)
    scores = torch.baddbmm(mask, queries, keys.transpose(1, 2), alpha=scaling)
    weights = functional.softmax(scores, dim=-1, dtype=torch.float32)
    out = torch.bmm(weights.to(values.dtype), values).view(-1, width).index_select(0, again)
    return out.view(-1, query_heads, width), (queries, keys, values, weights)


def _gradients(
    grad: Tensor, saved: Sequence[Tensor], rows: RowLayout, scaling: float,
    of_query: torch.Size, of_key: torch.Size,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of `_attention`: those of `query` behind the beginning, of all keys and
    values."""
    queries, keys, values, exact = saved
    weights = exact.to(values.dtype)
    query_heads, width = of_query[1:]
    heads, longest = of_key[1], rows.places.shape[1]
    _, again = rows.by_head(query_heads)
    padded = grad.new_zeros(queries.numel() // width, width)
    padded = padded.index_copy_(0, again, grad.reshape(-1, width)).view_as(queries)
    of_weights = torch.bmm(padded, values.transpose(1, 2)).to(exact.dtype)
    # PyTorch's own gradient of softmax is rounded differently with another number of threads
    along = (of_weights * exact).sum(-1, keepdim=True)
    of_scores = of_weights.sub_(along).mul_(exact).mul_(scaling).to(values.dtype)
    by_head = (
        torch.bmm(of_scores.transpose(1, 2), queries),
        torch.bmm(weights.transpose(1, 2), padded),
    )
    _, back = rows.by_head(heads, rows.common)
    found = [x.view(-1, width).index_select(0, back).view(-1, heads, width) for x in by_head]
    if rows.common:
        shape = (-1, heads, rows.common + longest, width)
        firsts = (x.view(shape)[:, :, : rows.common].sum(0).transpose(0, 1) for x in by_head)
        found = [torch.cat(both) for both in zip(firsts, found, strict=True)]
    of_queries = torch.bmm(of_scores, keys).view(-1, width).index_select(0, again)
    return of_queries.view(-1, query_heads, width), found[0], found[1]


def _causal(queries: int, before: int, dtype: torch.dtype) -> Tensor:
    """(queries, before + queries): the lowest number for what comes after a query, 0 elsewhere."""
    lowest = torch.full((queries, before + queries), torch.finfo(dtype).min, dtype=dtype)
    return lowest.triu(before + 1)


@contextlib.contextmanager
def _attention_in_rows(model: Any) -> Iterator[None]:
    """Inside it, the layers of `model` call `attend`."""
    config = model.config.get_text_config()
    usual = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = usual


@contextlib.contextmanager
def _only(model: Any, chosen: Tensor) -> Iterator[None]:
    """Inside it, the output layer sees only the `chosen` tokens of the one row."""
    handle = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, args: (args[0][0, chosen], *args[1:])
    )
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _only_in_last_mlp(model: Any, chosen: Tensor) -> Iterator[None]:
    """Inside it, the MLP of the last block sees only the `chosen` tokens of the one row. Nothing
    reads what becomes of the others."""
    blocks: Any = getattr(model.get_decoder(), "layers", ())
    mlp = getattr(blocks[-1], "mlp", None) if len(blocks) else None
    if mlp is None:
        yield
        return
    index = chosen.nonzero()[:, 0]

    def select(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not args:
            raise Unsupported("its MLPs are called by the names of their arguments")
        return (args[0].index_select(-2, index), *args[1:])

    def spread(some: Tensor) -> Tensor:
        places = some.new_zeros(*some.shape[:-2], len(chosen), some.shape[-1])
        return places.index_copy(-2, index, some)

    def back(_: Any, __: Any, out: Any) -> Any:
        # beside the output, some return what their router decided
        return (spread(out[0]), *out[1:]) if isinstance(out, tuple) else spread(out)

    handles = mlp.register_forward_pre_hook(select), mlp.register_forward_hook(back)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


AttentionInterface.register(NAME, attend)
