"""The rows of a batch end to end, so that nothing is computed for padding.

Only attention needs to know which tokens belong together. All other layers see one row: the common
beginning of the batch's rows, if it is worth sharing (`shared_prefix`), and then of each row what
follows it, up to the last position whose prediction is wanted. Inside attention the rows are padded
again, and keys and values that serve several query heads are not repeated for each. Losses and
gradients are those of padded rows, up to rounding (`benchmarks/train_step.py`).

Model families that do not take their attention from transformers, or ask it for more than a scale
and a causal mask, such as windows, keep padded rows. So do those with other layers that mix tokens,
such as convolutions. `works` shows on the loaded model that the predictions are the same, and that
no row changes another.
"""

import contextlib
import inspect
import logging
from collections.abc import Iterator
from dataclasses import dataclass
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
    with _attention_in_rows(model), _only(model, chosen):
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
    heads, width = query.shape[1], query.shape[-1]
    sizes = (rows.common, query.shape[2] - rows.common)
    firsts, rests = zip(
        *(x[0].transpose(0, 1).split(sizes) for x in (query, key, value)), strict=True
    )
    q, k, v = (_Pad.apply(x.flatten(1), rows.places, rows.back) for x in rests)
    q, k, v = (x.view(*rows.places.shape, -1, width) for x in (q, k, v))
    if rows.common:
        k, v = (
            torch.cat([first.expand(len(x), -1, -1, -1), x], dim=1)
            for first, x in zip(firsts[1:], (k, v), strict=True)
        )
    out = _Unpad.apply(_attention(q, k, v, rows.mask, scaling), rows.back)
    if rows.common:
        q, k, v = (first[None] for first in firsts)
        out = torch.cat([_attention(q, k, v, rows.common_mask, scaling), out])
    return out.view(1, -1, heads, width), None


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """Softmax attention in each row. `query` is (rows, queries, query heads, width), `key` and
    `value` (rows, keys, heads, width), `mask` (queries, keys). Returns (rows * queries, query heads
    * width). The query heads of a head are computed as further queries of it."""
    count, queries, query_heads, width = query.shape
    keys, heads = key.shape[1:3]
    each = query_heads // heads
    query = query.unflatten(2, (heads, each)).permute(0, 2, 3, 1, 4)
    query = query.reshape(count * heads, each * queries, width)
    key = key.permute(0, 2, 3, 1).reshape(count * heads, width, keys)
    value = value.transpose(1, 2).reshape(count * heads, keys, width)
    scores = torch.baddbmm(mask.repeat(each, 1), query, key, alpha=scaling)
    weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
    out = torch.bmm(weights, value).view(count, heads, each, queries, width)
    return out.permute(0, 3, 1, 2, 4).reshape(count * queries, query_heads * width)


class _Pad(torch.autograd.Function):
    """(tokens, width) to (rows * longest, width). Nothing that counts is computed from padding, so
    no gradient comes from there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return x.index_select(0, places.flatten())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return grads[0].index_select(0, back), None, None


class _Unpad(torch.autograd.Function):
    """(rows * longest, width) to (tokens, width)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        ctx.count = len(x)
        return x.index_select(0, back)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (back,) = ctx.saved_tensors
        result = grads[0].new_zeros(ctx.count, grads[0].shape[1])
        return result.index_copy_(0, back, grads[0]), None


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


AttentionInterface.register(NAME, attend)
