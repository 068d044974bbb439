"""Whether the chat template of a base has a place for calls of tools and for what they return."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from data.adapters import files
from data.config.settings import Settings
from data.store.errors import Unavailable

log = logging.getLogger(__name__)
CALLS = "tool_calls"  # the field of a message that such a template reads


def takes_tools(settings: Settings) -> bool:
    """Whether earlier calls of tools can stand in a prompt. A base with a parser for them can read
    them as well; otherwise its template tells, if its files are here."""
    if settings.serving.tool_call_parser:
        return True
    try:
        folder = files.base_folder(settings.base.path)
        return any(CALLS in template for template in _templates(folder))
    except (Unavailable, OSError, orjson.JSONDecodeError) as error:
        log.info("the chat template of the base model is not known: %s", error)
        return False


def _templates(folder: Path) -> Iterator[str]:
    """The template beside the tokenizer, and those in its settings, which may have names."""
    if (beside := folder / "chat_template.jinja").is_file():
        yield beside.read_text(encoding="utf-8")
    about = folder / "tokenizer_config.json"
    found: Any = orjson.loads(about.read_bytes()) if about.is_file() else {}
    given = found.get("chat_template") if isinstance(found, dict) else None
    for template in given if isinstance(given, list) else [given]:
        text = template.get("template") if isinstance(template, dict) else template
        if isinstance(text, str):
            yield text
