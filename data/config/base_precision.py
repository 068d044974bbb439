"""In which precision the base model is served, and so trained on.

An adapter learns to correct the base model that it is trained on. Trained on a base in NF4 and
served on one in bf16, adapters of a real base (SmolLM2-135M) agreed with training on 67 to 90% of
the tokens, and on all of them with the same precision at both ends. So a run holds the base as the
engines serve it, unless its recipe says otherwise.
"""

from pathlib import Path
from typing import Literal

import orjson

from data.config.settings import Settings

Quantization = Literal["nf4", "none"]  # of a recipe; none: as the base model's files are
NAMES = {"nf4": "NF4", "bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def quantization(settings: Settings) -> Quantization:
    """How a run holds the base by default. For an engine that somebody else runs, the settings
    say it too."""
    return "nf4" if settings.serving.quantization == "bitsandbytes" else "none"


def served(settings: Settings) -> str:
    """The precision of the base's weights in engines that are started here: `bfloat16`, `nf4`, ...;
    '' when only vLLM knows."""
    if settings.serving.quantization == "bitsandbytes":
        return "nf4"
    if settings.serving.dtype != "auto":
        return settings.serving.dtype
    try:
        config = orjson.loads(Path(settings.base.path, "config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):  # a name on a hub; vLLM reports problems
        return ""
    return str(config.get("dtype") or config.get("torch_dtype") or "")


def name(precision: str) -> str:
    """A precision as people write it: `bfloat16` is bf16."""
    return NAMES.get(precision, precision)
