"""A GGUF file becomes a folder that training and vLLM can use: bf16 safetensors and a tokenizer.

transformers unpacks the blocks of the file in float32 and rounds each weight to bf16. The chat
template, the special tokens, the context length and the licence come from the file's metadata. One
thing the metadata only names is how text is split before the byte-pair merges
(`tokenizer.ggml.pre`); transformers knows most names, and `DIGITS_APART` adds those that llama.cpp
splits like SmolLM (`llm_tokenizer_bpe` in its llama-vocab.cpp)."""

import contextlib
import functools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    modeling_gguf_pytorch_utils,
)
from transformers.utils import logging

from data.store.errors import Invalid
from data.wheels import Progress

MAGIC = b"GGUF"
PLAIN_BYTE_LEVEL = ("", "default", "gpt-2", "mpt", "olmo", "phi-2", "jais", "trillion")
DIGITS_APART = (
    "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
)  # fmt: skip


@dataclass(frozen=True)
class GgufFile:
    """What the metadata of a GGUF file says."""

    architecture: str
    name: str
    licence: str
    tokenizer: str  # the kind, such as "gpt2" (byte-level BPE) or "llama" (SentencePiece)
    pre_tokenizer: str
    context_length: int  # 0 when it is not stated
    types: dict[str, int] = field(default_factory=dict)  # quantisation -> number of tensors
    has_template: bool = False

    @property
    def described(self) -> str:
        return f"GGUF ({', '.join(self.types)})"


def read(file: Path) -> GgufFile:
    """The metadata of a GGUF file. Raises Invalid when it is not one."""
    from gguf import GGUFReader

    with file.open("rb") as opened:
        if opened.read(len(MAGIC)) != MAGIC:
            raise Invalid(f"{file} is not a GGUF file.")
    try:
        reader = GGUFReader(file)
        types = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise Invalid(f"{file} is not a complete GGUF file: {error}") from error

    def value(key: str, default: Any) -> Any:
        found = reader.get_field(key)
        return default if found is None else found.contents()

    architecture = str(value("general.architecture", ""))
    return GgufFile(
        architecture=architecture,
        name=str(value("general.name", file.stem)),
        licence=str(value("general.license", "")),
        tokenizer=str(value("tokenizer.ggml.model", "")),
        pre_tokenizer=str(value("tokenizer.ggml.pre", "")),
        context_length=int(value(f"{architecture}.context_length", 0)),
        types=dict(types.most_common()),
        has_template=reader.get_field("tokenizer.chat_template") is not None,
    )


def convert(file: Path, into: Path, progress: Progress) -> tuple[str, ...]:
    """Convert the GGUF file into the folder `into`. Returns what people should know about the
    result, as sentences. Raises Invalid when it cannot be converted."""
    about = read(file)
    if not about.has_template:
        raise Invalid(
            f"{file.name} has no chat template, so it is not a model for chats. Choose the "
            "instruction-tuned variant of the model."
        )
    progress("Reading the tokenizer", None)
    with _quiet(), _explained(file):
        tokenizer = AutoTokenizer.from_pretrained(
            file.parent, gguf_file=file.name, trust_remote_code=False
        )
        notes = _split_as_trained(tokenizer, about)
        if about.context_length:
            tokenizer.model_max_length = about.context_length
        progress("Unpacking the weights", None)
        model = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            trust_remote_code=False,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
    _forget_quantization(model)
    model.config._name_or_path = ""
    progress("Writing the model", None)
    with _quiet():
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)
    _check_written(model, into)
    for path in into.iterdir():  # safetensors writes for its owner only; engines may be others
        path.chmod(0o644)
    return notes


def _split_as_trained(tokenizer: Any, about: GgufFile) -> tuple[str, ...]:
    """Split text before the merges as the model was trained; a note when nobody knows how."""
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf import gguf_tokenizer_mapping

    if about.tokenizer != "gpt2":
        return ()
    pre = about.pre_tokenizer
    if pre in DIGITS_APART:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        return ()
    if pre in gguf_tokenizer_mapping.GGUF_PRE_TOKENIZER_SPLITS or pre in PLAIN_BYTE_LEVEL:
        return ()
    return (
        f"Its tokenizer splits text as {pre!r}, which is not known here: numbers and punctuation "
        "may become other tokens than in the original. Use the original model folder if you can.",
    )


def _forget_quantization(model: Any) -> None:
    """The weights are plain bf16 now; a config that says otherwise would misload them."""
    if getattr(model.config, "quantization_config", None) is not None:
        del model.config.quantization_config
    model.hf_quantizer = None


def _check_written(model: Any, folder: Path) -> None:
    """Raises Invalid unless the files hold every weight of the model. A tied output layer is stored
    once, as the embedding."""
    written: dict[str, tuple[int, ...]] = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no dict
                written[name] = tuple(opened.get_slice(name).get_shape())
    tied = model.config.get_text_config().tie_word_embeddings
    for name, weight in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        if written.get(name) != tuple(weight.shape):
            raise Invalid(f"The converted model lacks {name}.")
    config = json.loads((folder / "config.json").read_bytes())
    if "quantization_config" in config:
        raise Invalid("The converted model still claims to be quantised.")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of transformers."""
    bar, shown = modeling_gguf_pytorch_utils.tqdm, logging.is_progress_bar_enabled()
    modeling_gguf_pytorch_utils.tqdm = functools.partial(bar, disable=True)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        modeling_gguf_pytorch_utils.tqdm = bar
        if shown:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Invalid(f"{file.name} cannot be converted: {lines[0]}") from error
    except MemoryError as error:
        raise Invalid(
            f"{file.name} cannot be converted: this machine has too little memory."
        ) from error
