"""The chat template that an adapter was trained with, kept beside it.

Training and answering render the same messages with the base model's own template. When that is
changed under a trained adapter, by an update of the base say, every prompt looks a little
different from what was learned, and nothing says so. The copy makes the difference visible.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from data.store.errors import Invalid

FILE = "chat_template.json"


def template_of(tokenizer: Any) -> str:
    """The template as one text; '' when there is none."""
    template = tokenizer.chat_template
    return template if isinstance(template, str) else json.dumps(template or "", sort_keys=True)


def stop_ids(tokenizer: Any, generation_config: Any = None) -> frozenset[int]:
    """The tokens that end an answer: the tokenizer's and those the base model's settings name."""
    named = getattr(generation_config, "eos_token_id", None)
    ids = named if isinstance(named, list) else [named]
    return frozenset(int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None)


def freeze(folder: Path, template: str) -> None:
    """Keep the template in an adapter's folder."""
    digest = hashlib.sha256(template.encode("utf-8")).hexdigest()
    text = json.dumps({"sha256": digest, "template": template}, indent=2) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


def check(folder: Path, name: str, tokenizer: Any) -> None:
    """Raises Invalid when the adapter of `folder` was trained with another template. One that came
    without a copy is taken as it is."""
    file = folder / FILE
    if file.is_file() and json.loads(file.read_bytes())["template"] != template_of(tokenizer):
        raise Invalid(
            f"The base model's chat template has changed since {name} was trained: its prompts "
            "would look different from those it learned. Put the template back, or ask for a full "
            "run."
        )
