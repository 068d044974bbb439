"""How many tokens a base model reads, from its config.json.

vLLM does not start with more (`_get_and_verify_max_len`), and says so in a traceback.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from data.config.settings import Settings

KEYS = ("max_position_embeddings", "n_positions")
SCALED_ROPE = ("yarn", "linear", "dynamic")  # rotary scalings that extend the context


def of_config(config: Mapping[str, Any]) -> int | None:
    """The number of tokens that the base supports; None when its config does not say (such as
    BLOOM's, which has no limit). With scaled rotary positions, the number that vLLM computes."""
    text = config.get("text_config")
    if isinstance(text, Mapping):
        config = text
    given = (config.get(key) for key in KEYS)
    found = next((n for n in given if isinstance(n, int) and n > 0), None)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type") or rope.get("type")
    if found is None or kind not in SCALED_ROPE:
        return found
    begun = rope.get("original_max_position_embeddings") or found
    return max(found, int(begun * rope.get("factor", 1.0)))


def too_long(settings: Settings) -> str:
    """Why engines cannot be started with `[serving] max_model_len`, and what to do; '' if they can,
    or if the base is not on this machine."""
    try:
        config = orjson.loads(Path(settings.base.path, "config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return ""
    most, wanted = of_config(config), settings.serving.max_model_len
    if most is None or wanted <= most:
        return ""
    return (
        f"[serving] max_model_len is {wanted:,}, and the base model {settings.base.model} reads at "
        f"most {most:,} tokens. Set it to {most} or less, or choose a base model that reads more."
    )
