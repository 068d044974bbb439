"""The common beginning of a batch's rows, computed once instead of once a row.

The pairs of a domain begin alike: with the marks of the chat template and the domain's system
prompt. In a causal model what stands in a row afterwards does not change how its beginning is
computed, so one row of it serves all: its keys and values are repeated for every row, and the
gradients of all rows add up in it. Losses and gradients are those of whole rows, up to rounding
(`benchmarks/train_step.py`). With dropout, all rows drop the same positions of the beginning.

Model families whose layers keep something else than keys and values of all tokens take whole rows.
`works` shows on the loaded model that the predictions are the same.
"""

import logging
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

log = logging.getLogger(__name__)

LEAST_SAVED = 128  # tokens; below that, the additional pass costs more than it saves
BOUND = 0.05  # root mean square difference, in standard deviations of a logit, as with packing
ROWS, PREFIX, REST = 2, 8, 8  # of the check


def length(ids: Tensor, wanted: Tensor, least: int = LEAST_SAVED) -> int:
    """How many tokens at the beginning of all rows of `ids`, (rows, tokens), need to be computed
    only once; 0 if that saves fewer than `least`. The `wanted` positions are not among them."""
    differs = (ids != ids[0]).any(dim=0) | wanted.any(dim=0)
    common = int(differs.nonzero()[0]) if bool(differs.any()) else 0
    return common if common * (len(ids) - 1) >= least else 0


def logits(model: Any, ids: Tensor, common: int) -> Tensor:
    """The model's logits after the first `common` tokens, which are the same in all rows of `ids`,
    (rows, tokens). Inside `only_positions`, those of the wanted positions among the rest."""
    cache = _computed(model, ids[:1, :common])
    cache.batch_repeat_interleave(len(ids))
    found: Tensor = model(input_ids=ids[:, common:], past_key_values=cache, use_cache=True).logits
    return found


def _computed(model: Any, ids: Tensor) -> DynamicCache:
    cache = DynamicCache()
    # the inner model: nothing of the beginning goes through the output layer
    model.get_decoder()(input_ids=ids, past_key_values=cache, use_cache=True)
    return cache


@torch.no_grad()
def works(model: Any, dtype: torch.dtype) -> bool:
    """Whether the loaded base `model` predicts the same with and without a shared beginning."""
    size = model.get_input_embeddings().num_embeddings
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(size, (ROWS, PREFIX + REST), generator=generator)
    ids[:, :PREFIX] = ids[0, :PREFIX]
    was_training = model.training
    model.eval()
    try:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            found = model(input_ids=ids[:1, :PREFIX], use_cache=True)
            kept: Any = getattr(found, "past_key_values", None)
            if type(kept) is not DynamicCache or {type(x) for x in kept.layers} != {DynamicLayer}:
                return False
            whole = model(input_ids=ids, use_cache=False).logits[:, PREFIX:].float()
            shared = logits(model, ids, PREFIX).float()
    finally:
        model.train(was_training)
    error = float((shared - whole).square().mean().sqrt() / whole.std())
    if not error <= BOUND:  # also when it is not a number
        log.info("the beginning of the pairs is not shared: predictions differ by %.3g", error)
        return False
    return True
