"""Writes a small GGUF file: a random Llama with a byte-level tokenizer, some weights quantised."""

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quants
from transformers.convert_slow_tokenizer import bytes_to_unicode

HIDDEN, LAYERS, HEADS, INNER, CONTEXT = 64, 2, 2, 96, 256
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<file_sep>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write(
    file: Path,
    *,
    pre: str = "smollm",
    template: str = TEMPLATE,
    licence: str = "apache-2.0",
    tied: bool = True,
    quantised: bool = True,
) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the weights as they were before quantisation, by their names in the file."""
    rng = np.random.default_rng(0)
    letters = list(bytes_to_unicode().values())
    tokens = [*CONTROL, *letters, "Ġt", "Ġa", "in", "ĠĠ"]
    merges = ["Ġ t", "Ġ a", "i n", "Ġ Ġ"]
    writer = GGUFWriter(file, "llama")
    writer.add_name("Small")
    if licence:
        writer.add_license(licence)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    kinds = [TokenType.CONTROL] * len(CONTROL) + [TokenType.NORMAL] * (len(tokens) - len(CONTROL))
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    if template:
        writer.add_chat_template(template)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(tokens), HIDDEN),
        "output_norm.weight": (HIDDEN,),
    }
    if not tied:
        shapes["output.weight"] = (len(tokens), HIDDEN)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        shapes |= {
            f"{block}.attn_norm.weight": (HIDDEN,),
            f"{block}.ffn_norm.weight": (HIDDEN,),
            f"{block}.ffn_gate.weight": (INNER, HIDDEN),
            f"{block}.ffn_up.weight": (INNER, HIDDEN),
            f"{block}.ffn_down.weight": (HIDDEN, INNER),
            **{f"{block}.attn_{part}.weight": (HIDDEN, HIDDEN) for part in "qkv"},
            f"{block}.attn_output.weight": (HIDDEN, HIDDEN),
        }
    weights = {
        name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()
    }
    for name, weight in weights.items():
        if quantised and weight.ndim == 2:
            kind = GGMLQuantizationType.Q4_1 if "blk" in name else GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quants.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights
