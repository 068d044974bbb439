"""The frozen base model, in NF4 or as it is, and the adapter that is trained on it.

On a CPU, the 4-bit weights are unpacked once (`cpu_linear`), and adapters and norms get faster
layers (`cpu_lora`, `cpu_norm`). Three things here are easy to get wrong without an error:

- On CPUs with AVX512-BF16, bitsandbytes repacks 4-bit weights at the first evaluation, and training
  after that runs a kernel without gradients. `keep_trainable_on_cpu` prevents this.
- Adapter weights stay float32, because half precision loses small updates. The arithmetic may be
  bf16.
- Code from a model repository is never run (`trust_remote_code` stays off).
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bitsandbytes
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from data.bases import context_length, folders
from data.lora_limits import UNSERVED_MODULES
from data.store.errors import Invalid, Unavailable
from tuning.model import cpu_linear, cpu_lora, cpu_norm, shared_prefix, unpadded
from tuning.model.chat_template import stop_ids
from tuning.recipe.recipe import Recipe

log = logging.getLogger(__name__)

MLP_WORDS = ("mlp", "feed_forward", "ffn")  # names of MLP blocks in model families


@dataclass(frozen=True)
class Base:
    """A loaded base model, ready for an adapter."""

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype  # of computations
    stops: frozenset[int]
    pad_id: int
    shares_prefix: bool = False  # whether rows can share their beginning (`shared_prefix`)
    skips_padding: bool = False  # whether rows can lie end to end (`unpadded`)

    @property
    def weights(self) -> str:
        """The precision of the frozen weights: `nf4`, or the type of computations, such as
        `bfloat16`."""
        if getattr(self.model, "is_loaded_in_4bit", False):
            return "nf4"
        return str(self.dtype).removeprefix("torch.")

    @contextlib.contextmanager
    def precision(self) -> Iterator[None]:
        """Inside it, matrices are multiplied in `dtype`, independent of the format of the
        weights."""
        if self.dtype == torch.float32:
            yield
        else:
            with torch.autocast(self.device.type, self.dtype):
                yield


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(device: torch.device) -> torch.dtype:
    """bf16 if the processor supports it natively (four times as fast as float32 on a CPU with
    AVX512-BF16), else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    capable = torch.cpu.get_capabilities()
    native = capable.get("avx512_bf16") or capable.get("amx_bf16") or capable.get("bf16")
    return torch.bfloat16 if native else torch.float32


def count_parameters(path: str) -> int:
    """The number of weights of the base, without loading them. Raises Invalid or Unavailable."""
    with _explained(path):
        config = AutoConfig.from_pretrained(
            path, local_files_only=_is_folder(path), trust_remote_code=False
        )
    with torch.device("meta"):
        return int(AutoModelForCausalLM.from_config(config).num_parameters())


def target_names(path: str, recipe: Recipe) -> tuple[str, ...]:
    """The layers that get an adapter, without loading the base. Raises Invalid or Unavailable."""
    with _explained(path):
        config = AutoConfig.from_pretrained(
            path, local_files_only=_is_folder(path), trust_remote_code=False
        )
    with torch.device("meta"):
        return tuple(targets(AutoModelForCausalLM.from_config(config), recipe))


def positions(path: str) -> int | None:
    """The number of tokens that the base supports; None when its config does not say. Raises
    Invalid or Unavailable."""
    with _explained(path):
        config = AutoConfig.from_pretrained(
            path, local_files_only=_is_folder(path), trust_remote_code=False
        )
    return context_length.of_config(config.get_text_config().to_dict())


def load_tokenizer(path: str) -> Any:
    """Load the tokenizer. Raises Invalid or Unavailable when there is none."""
    with _explained(path):
        return AutoTokenizer.from_pretrained(
            path, local_files_only=_is_folder(path), trust_remote_code=False
        )


def load_base(path: str, recipe: Recipe, device: torch.device | None = None) -> Base:
    """Load the base model with every weight frozen, and its linear layers in NF4 unless the recipe
    says otherwise. Raises Invalid or Unavailable with a sentence for people."""
    device = device or pick_device()
    dtype = compute_dtype(device)
    given: dict[str, Any] = {}
    if recipe.quantization == "nf4":
        given["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    tokenizer = load_tokenizer(path)
    transformers.utils.logging.disable_progress_bar()
    with _explained(path):
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            device_map={"": device},
            local_files_only=_is_folder(path),
            trust_remote_code=False,
            # The fused kernel is slow in bf16 on CPUs: a step of the pocket base took 141 ms with
            # it and 90 ms without.
            attn_implementation="eager" if device.type == "cpu" else None,
            **given,
        )
    model.requires_grad_(False)
    keep_trainable_on_cpu(model)
    if device.type == "cpu":
        cpu_linear.keep_dense(model, dtype)
        cpu_norm.use(model)
    stops = stop_ids(tokenizer, model.generation_config)
    pad = tokenizer.pad_token_id
    on_cpu = device.type == "cpu"
    return Base(
        model, tokenizer, device, dtype, stops, 0 if pad is None else int(pad),
        shares_prefix=on_cpu and shared_prefix.works(model, dtype),
        skips_padding=on_cpu and unpadded.works(model, dtype),
    )  # fmt: skip


def keep_trainable_on_cpu(model: nn.Module) -> int:
    """Prevent the repacking of 4-bit weights, after which training has no gradients (bitsandbytes
    0.50, `Linear4bit.forward`, in evaluation mode on CPUs with AVX512-BF16). Returns the number of
    4-bit layers."""
    layers = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    return len(layers)


def check_guarded(model: nn.Module) -> None:
    """Raises Invalid when a 4-bit layer may still be repacked, which would remove its gradients at
    the first evaluation."""
    for name, layer in model.named_modules():
        if isinstance(layer, bitsandbytes.nn.Linear4bit) and layer.support_avx512bf16_for_cpu:
            raise Invalid(
                f"The 4-bit weights of {name} would be repacked at the first evaluation, and "
                "training after that would silently fail. Set quantization=none."
            )


def new_adapter(base: Base, recipe: Recipe) -> Any:
    """A new adapter on the base. It changes nothing until it is trained."""
    torch.manual_seed(recipe.seed)
    names = targets(base.model, recipe)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=names,
        fan_in_fan_out=_transposed(base.model, names),
        layers_to_transform=_upper_layers(base.model, recipe),
        use_rslora=recipe.rslora,
        bias="none",
        task_type="CAUSAL_LM",
    )
    if base.device.type == "cpu":
        cpu_lora.use(config, base.model)
    return _in_float32(get_peft_model(base.model, config))


def continued_adapter(base: Base, folder: Path, dropout: float | None = None) -> Any:
    """The adapter in `folder` for further training, in its own shape, with its own dropout or
    `dropout`."""
    config = LoraConfig.from_pretrained(folder, local_files_only=True)
    if dropout is not None:
        config.lora_dropout = dropout
    if base.device.type == "cpu":
        cpu_lora.use(config, base.model)
    model = PeftModel.from_pretrained(
        base.model, folder, config=config, is_trainable=True, local_files_only=True,
        use_safetensors=True,
    )  # fmt: skip
    return _in_float32(model)


def trainable(model: Any) -> dict[str, nn.Parameter]:
    """The adapter's weights by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def layer_kinds(model: Any) -> list[str]:
    """The classes of the model's layers. They decide how numbers are rounded: with weights that
    stayed in four bits because memory was short, a step gives other last bits."""
    return sorted({f"{type(m).__module__}.{type(m).__qualname__}" for m in model.modules()})


@contextlib.contextmanager
def only_positions(model: Any, wanted: Tensor) -> Iterator[None]:
    """Inside it, the output layer sees only the `wanted` positions `(rows, tokens)`, as one
    `(positions, hidden)` matrix. Works for every architecture with an output layer."""

    def select(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][wanted], *args[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def predictions(base: Base, model: Any, ids: Tensor, wanted: Tensor) -> Tensor:
    """The logits of the `wanted` positions, (positions, vocabulary), row by row. `ids` and `wanted`
    are (rows, tokens), each row a text of its own. Where the base allows it, nothing is computed
    for padding, and the common beginning of the rows only once."""
    if base.skips_padding:
        with base.precision():
            return unpadded.logits(model, ids, wanted)
    common = shared_prefix.length(ids, wanted) if base.shares_prefix else 0
    with base.precision(), only_positions(model, wanted[:, common:]):
        if common:
            return shared_prefix.logits(model, ids, common)
        found: Tensor = model(input_ids=ids, use_cache=False).logits
    return found


def layers(model: Any) -> list[nn.Module]:
    """The blocks of a model, lowest first. Raises Invalid when it has none."""
    count = int(model.config.get_text_config().num_hidden_layers)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    raise Invalid("The base model has no list of layers of the length in its config.")


def targets(model: nn.Module, recipe: Recipe) -> list[str]:
    """The names of the layers that get an adapter. Raises Invalid when the base has no layer of a
    name, or the engine cannot serve an adapter on it."""
    paths = _linear_paths(model)
    linear = {path.rsplit(".", 1)[-1] for path in paths}
    if recipe.target_modules == "all-linear":
        wanted = linear
    elif recipe.target_modules == "mlp":
        wanted = _mlp_names(paths) or linear
    else:
        wanted = set(recipe.target_modules)
    missing = sorted(n for n in wanted if not any(f".{p}".endswith(f".{n}") for p in paths))
    if missing:
        raise Invalid(
            f"target_modules has {missing[0]}, which the base model does not have "
            f"(it has {', '.join(sorted(linear))})."
        )
    return sorted(wanted)


def _transposed(model: nn.Module, names: Sequence[str]) -> bool:
    """Whether the layers `names` store weights as (inputs, outputs), as in GPT-2."""
    kind = transformers.pytorch_utils.Conv1D
    return any(
        isinstance(module, kind) and path.endswith(tuple(names))
        for path, module in model.named_modules()
    )


def _upper_layers(model: Any, recipe: Recipe) -> list[int] | None:
    """The numbers of the blocks that get an adapter, None for all. Raises Invalid when none is
    left."""
    if recipe.frozen_layers == 0:
        return None
    count = int(model.config.get_text_config().num_hidden_layers)
    if recipe.frozen_layers >= count:
        raise Invalid(
            f"frozen_layers is {recipe.frozen_layers}, but the base model has {count} layers: no "
            "layer would be trained."
        )
    return list(range(recipe.frozen_layers, count))


def _mlp_names(paths: Sequence[str]) -> set[str]:
    """The names of the linear layers in MLP blocks. A name that attention uses, too (`c_proj` in
    GPT-2), is given with its parent."""
    in_mlp: set[str] = set()
    others: set[str] = set()
    for path in paths:
        is_mlp = any(word in path for word in MLP_WORDS)
        (in_mlp if is_mlp else others).add(path.rsplit(".", 1)[-1])
    return {
        ".".join(path.rsplit(".", 2)[-2:]) if name in others else name
        for path in paths
        if (name := path.rsplit(".", 1)[-1]) in in_mlp and any(word in path for word in MLP_WORDS)
    }


def _linear_paths(model: nn.Module) -> list[str]:
    """The full name of each linear layer except embeddings."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    kinds = (nn.Linear, transformers.pytorch_utils.Conv1D)  # Linear4bit is a Linear
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, kinds)
        and module is not head
        and path.rsplit(".", 1)[-1] not in UNSERVED_MODULES
    ]


def _in_float32(model: Any) -> Any:
    for parameter in trainable(model).values():
        parameter.data = parameter.data.float()
    return model


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn loading errors of transformers into sentences."""
    if problem := folders.not_usable(path, path):
        raise Invalid(problem)
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if _is_folder(path):
            raise Invalid(f"The base model in {path} cannot be loaded: {first}") from error
        raise Unavailable(
            f"The base model {path} cannot be loaded: {first} If it is a name on a model hub, this "
            "machine must reach the hub once; or set [base] model to a local folder."
        ) from error
