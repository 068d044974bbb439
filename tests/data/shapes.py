"""Tensor names and shapes of published models, as their safetensors headers list them."""

from typing import Any

from data.adapters.safetensors_file import Shape
from data.gpu.memory import ModelShape, model_shape

Config = dict[str, Any]
Tensors = dict[str, tuple[str, Shape]]

LLAMA_3_8B: Config = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "tie_word_embeddings": False,
}  # fmt: skip
QWEN_3_4B: Config = {
    "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "tie_word_embeddings": True, "model_type": "qwen3",
}  # fmt: skip


def tensors(config: Config) -> Tensors:
    """What the files of such a model hold."""
    hidden, inner, vocabulary = (
        config[k] for k in ("hidden_size", "intermediate_size", "vocab_size")
    )
    width = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = width * config["num_attention_heads"], width * config["num_key_value_heads"]
    shapes: dict[str, Shape] = {
        "model.embed_tokens.weight": (vocabulary, hidden),
        "model.norm.weight": (hidden,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocabulary, hidden)
    block: dict[str, Shape] = {
        "self_attn.q_proj": (q, hidden), "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden), "self_attn.o_proj": (hidden, q),
        "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
    }  # fmt: skip
    if config.get("model_type") == "qwen3":
        block |= {"self_attn.q_norm": (width,), "self_attn.k_norm": (width,)}
    for i in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in block.items()}
    return {name: ("BF16", shape) for name, shape in shapes.items()}


def shape_of(config: Config) -> ModelShape:
    return model_shape(config, tensors(config))
