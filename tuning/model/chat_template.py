"""The chat template that an adapter was trained with, kept in its folder.

Training and serving render messages with the base model's own template. If an update of the base
changes the template, every prompt differs slightly from training, without an error. The copy makes
such a change visible.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from data.search import layout
from data.store.errors import Invalid

FILE = "chat_template.json"


def template_of(tokenizer: Any) -> str:
    """The template as one text; '' if there is none."""
    template = tokenizer.chat_template
    return template if isinstance(template, str) else json.dumps(template or "", sort_keys=True)


def stop_ids(tokenizer: Any, generation_config: Any = None) -> frozenset[int]:
    """The tokens that end an answer: from the tokenizer and the base model's generation config."""
    named = getattr(generation_config, "eos_token_id", None)
    ids = named if isinstance(named, list) else [named]
    return frozenset(int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None)


def control_tokens(tokenizer: Any) -> frozenset[str]:
    """The tokens that begin or end turns, or could be taken for it, as text."""
    added = tokenizer.added_tokens_decoder.values()
    special = set(tokenizer.all_special_tokens)
    return layout.control_tokens(
        {str(token): token.special or str(token) in special for token in added}
    )


def freeze(folder: Path, template: str) -> None:
    """Save the template in an adapter's folder."""
    digest = hashlib.sha256(template.encode("utf-8")).hexdigest()
    text = json.dumps({"sha256": digest, "template": template}, indent=2) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


def check(folder: Path, name: str, tokenizer: Any) -> None:
    """Raises Invalid when the adapter in `folder` was trained with another template. An adapter
    without a copy is accepted."""
    file = folder / FILE
    if file.is_file() and json.loads(file.read_bytes())["template"] != template_of(tokenizer):
        raise Invalid(
            f"The base model's chat template has changed since {name} was trained, so prompts "
            "would differ from those it learned. Restore the template, or request a full run."
        )
