"""A tiny random model of each family, with a tokenizer and a chat template of its own.

Small enough that a step takes milliseconds, and real: the architecture, the names of its layers
and its attention are those of the models that people download.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GenerationConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

VOCABULARY = 400
WORDS = "What is the code of box number? The box opens with a key, be brief. Where when how 0 1 2"

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{% for m in messages %}<|head|>{{ m.role }}<|/head|>\n\n{{ m.content }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)
GEMMA = (  # knows no system role: what it says goes before the first question
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% for m in messages if m.role != 'system' %}"
    "<|turn|>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{% if loop.first and system %}{{ system }}\n\n{% endif %}{{ m.content }}<|/turn|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|turn|>model\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """How a tiny model of a family is made, and what it needs to be answered from."""

    config: Callable[..., Any]
    template: str
    stop: str
    marks: tuple[str, ...]  # control tokens of the template, beside the stop
    served: bool  # vLLM serves adapters on it


SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 512,
}
CHATML_MARKS = ("<|im_start|>",)
LLAMA_MARKS = ("<|head|>", "<|/head|>")
GEMMA_MARKS = ("<|turn|>",)
PHI_MARKS = ("<|system|>", "<|user|>", "<|assistant|>")


def _gpt2(**ids: Any) -> Any:
    return GPT2Config(n_embd=64, n_layer=2, n_head=2, n_positions=512, **ids)


def _bloom(**ids: Any) -> Any:
    return BloomConfig(hidden_size=64, n_layer=2, n_head=2, **ids)


def _phi(**ids: Any) -> Any:
    return PhiConfig(**SIZES | ids)


def _sized(kind: Any, **more: Any) -> Callable[..., Any]:
    return lambda **ids: kind(**SIZES | more | ids)


FAMILIES = {
    "gpt2": Family(_gpt2, CHATML, "<|im_end|>", CHATML_MARKS, served=False),
    "llama": Family(_sized(LlamaConfig), LLAMA, "<|eot|>", LLAMA_MARKS, served=True),
    "bloom": Family(_bloom, CHATML, "<|im_end|>", CHATML_MARKS, served=False),
    "qwen2": Family(_sized(Qwen2Config), CHATML, "<|im_end|>", CHATML_MARKS, served=True),
    "qwen3": Family(
        _sized(Qwen3Config, head_dim=32), CHATML, "<|im_end|>", CHATML_MARKS, served=True
    ),
    "mistral": Family(
        _sized(MistralConfig, sliding_window=None, head_dim=32),
        LLAMA, "<|eot|>", LLAMA_MARKS, served=True,
    ),
    "gemma": Family(
        _sized(GemmaConfig, head_dim=32), GEMMA, "<|/turn|>", GEMMA_MARKS, served=True
    ),
    "gemma2": Family(
        _sized(Gemma2Config, head_dim=32, sliding_window=16),
        GEMMA, "<|/turn|>", GEMMA_MARKS, served=True,
    ),
    "gemma3": Family(
        _sized(Gemma3TextConfig, head_dim=32, sliding_window=16),
        GEMMA, "<|/turn|>", GEMMA_MARKS, served=True,
    ),
    "phi": Family(_phi, PHI, "<|end|>", PHI_MARKS, served=False),
    "phi3": Family(_sized(Phi3Config), PHI, "<|end|>", PHI_MARKS, served=True),
}  # fmt: skip


def build(name: str, folder: Path) -> Path:
    """Write the family's tiny base model into `folder`; the same bytes each time."""
    family = FAMILIES[name]
    tokenizer = _tokenizer(family)
    torch.manual_seed(0)
    ids = {
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = AutoModelForCausalLM.from_config(family.config(**ids, initializer_range=0.1)).to(
        torch.bfloat16
    )
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """A byte-level BPE of a few words, with the family's control tokens and template."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|pad|>", family.stop, *family.marks]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    raw.train_from_iterator([WORDS] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=family.stop,
        pad_token="<|pad|>",
        additional_special_tokens=list(family.marks),
        chat_template=family.template,
        clean_up_tokenization_spaces=False,
    )
