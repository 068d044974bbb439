"""The control tokens of a base model, from its files, without loading the tokenizer.

A pasted `<|im_start|>` would begin a turn of its own. So the front end breaks up the base's control
tokens in every message, in the same way as training does (`data/search/layout.py`).
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from data.adapters import files
from data.config.settings import Settings
from data.search import layout
from data.store.errors import Unavailable

log = logging.getLogger(__name__)

WIDESPREAD = frozenset({  # of common model families, for a base whose files are elsewhere
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|system|>", "<|user|>",
    "<|assistant|>", "<|end|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<<SYS>>",
    "<</SYS>>", "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<tool_call>", "</tool_call>",
    "<think>", "</think>", "<｜User｜>", "<｜Assistant｜>",
})  # fmt: skip


def of_base(settings: Settings) -> frozenset[str]:
    """The control tokens of the base of the settings; those of common models if its tokenizer
    cannot be read here."""
    try:
        folder = files.base_folder(settings.base.path)
        added = dict(_added(folder))
    except (Unavailable, OSError, orjson.JSONDecodeError) as error:
        log.info("the tokens of the base model are not known: %s", error)
        return WIDESPREAD
    return layout.control_tokens(added) if added else WIDESPREAD


def _added(folder: Path) -> Iterator[tuple[str, bool]]:
    """The added tokens, and whether each is special."""
    about = _json(folder / "tokenizer_config.json")
    given = _json(folder / "tokenizer.json").get("added_tokens") or []
    special = {_text(about[key]) for key in about if key.endswith("_token") and about[key]}
    special |= {_text(token) for token in about.get("additional_special_tokens") or []}
    for token in [*given, *(about.get("added_tokens_decoder") or {}).values()]:
        yield token["content"], bool(token.get("special")) or token["content"] in special
    for text in special - {token["content"] for token in given}:
        yield text, True


def _text(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _json(file: Path) -> dict[str, Any]:
    found = orjson.loads(file.read_bytes()) if file.is_file() else {}
    return found if isinstance(found, dict) else {}
