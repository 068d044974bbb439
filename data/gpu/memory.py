"""Estimates the GPU memory that tuning and serving need, from the base model's shapes.

With `[serving] gpu_sharing = "split"`, one card serves and tunes at the same time, so the memory
for each must be known before either starts. Every term is a `MemoryPart` with its bytes and an
explanation. All figures are upper estimates for plain transformers as this project runs them: too
high an estimate costs some engine cache, too low an estimate costs a run. Needs no torch and no
GPU.

Sources of the terms:
- NF4 with double quantisation, 4.127 bits per weight: Dettmers et al., "QLoRA", section 3,
  https://arxiv.org/abs/2305.14314
- AdamW in float32, 16 bytes per trained weight: Rajbhandari et al., "ZeRO", section 3.1,
  https://arxiv.org/abs/1910.02054
- activations as a sum over what each operation keeps for the backward pass, and recomputation
  layer by layer: Korthikanti et al., "Reducing Activation Recomputation in Large Transformer
  Models", section 4, https://arxiv.org/abs/2205.05198
- keys and values, 2 x layers x heads x width a token: Kwon et al., "PagedAttention",
  https://arxiv.org/abs/2309.06180
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.adapters.safetensors_file import FLOATS, Shape
from data.store.errors import Invalid

GIB = 1 << 30
HALF, FULL = 2, 4  # bytes of a bfloat16 or float16, and of a float32

# Bytes per weight: 4 bits, an 8-bit scale per block of 64, a float32 per 256 scales (QLoRA).
NF4_DOUBLE = 0.5 + 1 / 64 + 4 / (64 * 256)
NF4_SINGLE = 0.5 + 4 / 64  # vLLM quantises while loading, with a float32 per block of 64
TRAINED = 4 * FULL  # per trained weight: itself, its gradient, two moments of AdamW
BEST = FULL  # a copy of the best weights so far
LOGITS = 10  # bytes per logit: bfloat16, float32, and its log-softmax or gradient
CONTEXT = GIB * 3 // 4  # CUDA context, cuBLAS and its workspaces, of each process
FRAGMENTS = 0.1  # of the activations: what PyTorch's allocator holds and cannot use
BLOCK = 16  # tokens of a block of vLLM's cache
GRAPHS = GIB  # CUDA graphs of the decoding steps
UTILISATION_STEP = 100  # the engine's share is given in hundredths


@dataclass(frozen=True)
class Layer:
    """A linear layer that occurs in `count` blocks: a weight of `outputs` x `inputs`."""

    name: str  # q_proj, ...
    outputs: int
    inputs: int
    count: int


@dataclass(frozen=True)
class ModelShape:
    """The properties of a base model that determine its memory use."""

    linear: tuple[Layer, ...]  # layers of the blocks: quantised, and can have adapters
    rest: int  # all other weights: embeddings, output layer, norms
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int

    @property
    def linear_weights(self) -> int:
        return sum(layer.outputs * layer.inputs * layer.count for layer in self.linear)

    @property
    def parameters(self) -> int:
        return self.linear_weights + self.rest

    def adapted(self, modules: Sequence[str] | None) -> tuple[Layer, ...]:
        """The linear layers with these names; None: all."""
        return tuple(x for x in self.linear if modules is None or x.name in modules)

    def lora_weights(self, rank: int, modules: Sequence[str] | None = None) -> int:
        """LoRA A is (rank, inputs), B is (outputs, rank)."""
        return sum(rank * (x.inputs + x.outputs) * x.count for x in self.adapted(modules))


@dataclass(frozen=True)
class TuningPlan:
    """The properties of a recipe that determine its memory use."""

    rank: int = 64
    modules: tuple[str, ...] | None = None  # None: all linear layers
    micro_tokens: int = 4096  # in one forward pass
    max_length: int = 1024  # a pass holds one sequence at least
    nf4: bool = True
    dropout: bool = True
    recompute: bool = False  # activations, layer by layer, in the backward pass
    packed: bool = False  # several pairs in a row, kept apart by a mask
    evaluated: int = 48  # golden questions answered at the same time

    @property
    def tokens(self) -> int:
        return max(self.micro_tokens, self.max_length)


@dataclass(frozen=True)
class ServingPlan:
    """The start options of the engine that determine its memory use."""

    nf4: bool = False
    bytes_a_number: int = HALF
    max_model_len: int = 1024
    max_loras: int = 5
    max_rank: int = 64
    batched_tokens: int = 2048  # in one step
    sequences: int = 64  # at once


@dataclass(frozen=True)
class MemoryPart:
    name: str
    nbytes: int
    why: str


@dataclass(frozen=True)
class Need:
    parts: tuple[MemoryPart, ...]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts)

    def describe(self) -> str:
        """`base 5.5 GiB, adapter 0.6 GiB, ...`, largest first, omitting small parts."""
        counts = [part for part in self.parts if part.nbytes >= GIB // 20]
        largest = sorted(counts, key=lambda part: -part.nbytes)
        return ", ".join(f"{part.name} {gib(part.nbytes)}" for part in largest)


def gib(nbytes: float) -> str:
    """`12.4 GiB`."""
    return f"{nbytes / GIB:.1f} GiB"


def model_shape(config: Mapping[str, Any], tensors: Mapping[str, tuple[str, Shape]]) -> ModelShape:
    """The shape from a model's `config.json` and its tensors' (dtype, shape) by name.

    Raises Invalid if the estimate does not support the model: one that is stored quantised, or a
    mixture of experts."""
    text = config.get("text_config", config)
    if any(dtype not in FLOATS for dtype, _ in tensors.values()):
        raise Invalid("The base model is stored quantised, so its memory use cannot be estimated.")
    if any(".experts." in name for name in tensors):
        raise Invalid(
            "The base model is a mixture of experts, so its memory use cannot be estimated."
        )
    found: dict[tuple[str, int, int], int] = {}
    rest = 0
    for name, (_, shape) in tensors.items():
        owner = name.removesuffix(".weight")
        if ".layers." in name and len(shape) == 2 and owner != name:
            key = (owner.rpartition(".")[2], shape[0], shape[1])
            found[key] = found.get(key, 0) + 1
        else:
            rest += math.prod(shape)
    try:
        heads, hidden = text["num_attention_heads"], text["hidden_size"]
        return ModelShape(
            linear=tuple(Layer(*key, count) for key, count in sorted(found.items())),
            rest=rest,
            layers=text["num_hidden_layers"],
            hidden=hidden,
            intermediate=text["intermediate_size"],
            heads=heads,
            kv_heads=text.get("num_key_value_heads") or heads,
            head_dim=text.get("head_dim") or hidden // heads,
            vocabulary=text["vocab_size"],
        )
    except KeyError as error:
        raise Invalid(
            f"The base model's config.json has no {error}, so its memory use cannot be estimated."
        ) from error


def tuning_need(shape: ModelShape, plan: TuningPlan) -> Need:
    """The peak memory of a tuning run, in bytes."""
    weight = NF4_DOUBLE if plan.nf4 else HALF
    adapter = shape.lora_weights(plan.rank, plan.modules)
    kept = _activations(shape, plan)
    largest = max((x.outputs * x.inputs for x in shape.linear), default=0)
    parts = [
        MemoryPart("base", _up(shape.linear_weights * weight + shape.rest * HALF),
             f"{shape.linear_weights:,} weights of {weight:.3f} bytes, {shape.rest:,} of {HALF}"),
        MemoryPart("adapter", adapter * (TRAINED + BEST + HALF),
             f"{adapter:,} trained weights of {TRAINED + BEST + HALF} bytes: float32, gradient, "
             "AdamW, best so far, bfloat16 copy"),
        MemoryPart("activations", _up(kept * (1 + FRAGMENTS)),
             f"{plan.tokens:,} tokens in a pass, and {FRAGMENTS:.0%} that fragments"),
        MemoryPart("masks", _masks(shape, plan) if plan.packed else 0,
             f"{plan.tokens:,} tokens x rows of {plan.max_length:,}, to tell packed pairs apart"),
        MemoryPart("logits", plan.tokens * shape.vocabulary * LOGITS,
             f"{plan.tokens:,} tokens x {shape.vocabulary:,} words x {LOGITS} bytes"),
        MemoryPart("one layer unpacked", largest * HALF * 2 if plan.nf4 else 0,
             "the largest weight in bfloat16, and the next"),
        MemoryPart("CUDA", CONTEXT, "context and workspaces"),
    ]  # fmt: skip
    passing = ("activations", "masks", "logits")
    working = sum(part.nbytes for part in parts if part.name in passing)
    answering = plan.evaluated * 2 * plan.max_length * kv_bytes(shape)
    more = max(0, answering - working)  # one after the other: the larger counts
    parts.append(MemoryPart("evaluation", more, f"{plan.evaluated} answers at once"))
    return Need(tuple(parts))


def _activations(shape: ModelShape, plan: TuningPlan) -> int:
    """Bytes that a forward pass keeps for the backward pass."""
    a_layer = plan.tokens * _bytes_per_token(shape, plan)
    if not plan.recompute:
        return shape.layers * a_layer
    return shape.layers * plan.tokens * shape.hidden * HALF + a_layer


def _masks(shape: ModelShape, plan: TuningPlan) -> int:
    """Bytes of the attention mask that separates the pairs of a row: one boolean mask, and the
    bfloat16 mask that each layer's attention derives from it and keeps for the backward pass."""
    seen = plan.tokens * plan.max_length
    return seen * (1 + HALF * (1 if plan.recompute else shape.layers))


def _bytes_per_token(shape: ModelShape, plan: TuningPlan) -> int:
    """Bytes that one token keeps in one block. The base weights are frozen, so a linear layer keeps
    its inputs only if it has an adapter, as that adapter's bfloat16 copy."""
    attended = shape.heads * shape.head_dim
    grouped = shape.kv_heads * shape.head_dim
    scales = 2 + shape.heads + shape.kv_heads
    norms = (2 * shape.hidden + attended + grouped + scales) * FULL  # of the block; of q and k
    attention = 4 * attended * HALF + shape.heads * FULL  # q; k, v, for all heads; result; its sums
    gated = 3 * shape.intermediate * HALF  # gate, its SiLU, up
    adapters = 0
    for layer in shape.adapted(plan.modules):
        mask = layer.inputs if plan.dropout else 0
        adapters += (layer.inputs * HALF + mask + plan.rank * HALF) * layer.count
    return norms + attention + gated + math.ceil(adapters / max(1, shape.layers))


def serving_need(shape: ModelShape, plan: ServingPlan, requests: int = 1) -> Need:
    """Bytes of an engine whose cache holds `requests` requests of the maximum length."""
    number = plan.bytes_a_number
    weight = NF4_SINGLE if plan.nf4 else number
    slots = plan.max_loras * shape.lora_weights(plan.max_rank)
    widest = max((x.outputs + x.inputs for x in shape.linear), default=0)
    step = plan.batched_tokens * (2 * shape.hidden + widest + 2 * shape.intermediate) * number
    logits = plan.sequences * shape.vocabulary * 2 * FULL
    blocks = math.ceil(plan.max_model_len / BLOCK) * requests
    parts = [
        MemoryPart("base", _up(shape.linear_weights * weight + shape.rest * number),
             f"{shape.linear_weights:,} weights of {weight:g} bytes, {shape.rest:,} of {number}"),
        MemoryPart("adapters", slots * number,
             f"{plan.max_loras} slots of rank {plan.max_rank} on every linear layer"),
        MemoryPart("cache", blocks * BLOCK * kv_bytes(shape, number),
             f"{requests} x {plan.max_model_len:,} tokens of keys and values"),
        MemoryPart("one step", step + logits,
             f"{plan.batched_tokens:,} tokens; the logits of {plan.sequences} sequences"),
        MemoryPart("CUDA", CONTEXT + GRAPHS, "context, workspaces and CUDA graphs"),
    ]  # fmt: skip
    return Need(tuple(parts))


def kv_bytes(shape: ModelShape, number: int = HALF) -> int:
    """Bytes of the keys and values of one token."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * number


def _up(nbytes: float) -> int:
    return math.ceil(nbytes)
