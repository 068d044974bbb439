"""Form inputs, and reading what was typed into them."""

from typing import Any

from bot.slack.render.blocks import Block
from data.visible_text import visible

MAX_LENGTH = 3_000  # characters that a multi-line input accepts
YES = "yes"


def modal(
    callback_id: str, title: str, blocks: list[Block], metadata: str, submit: str, close: str
) -> Block:
    return {
        "type": "modal",
        "callback_id": callback_id,
        "private_metadata": metadata,
        "title": plain(title),
        "submit": plain(submit),
        "close": plain(close),
        "blocks": blocks,
    }


def text_input(
    block_id: str,
    label: str,
    placeholder: str,
    initial: str = "",
    *,
    hint: str = "",
    optional: bool = True,
) -> Block:
    """A multi-line text input. An `initial` value that is too long for it is left out."""
    element: Block = {
        "type": "plain_text_input",
        "action_id": "text",
        "multiline": True,
        "max_length": MAX_LENGTH,
        "placeholder": plain(placeholder),
    }
    if 0 < len(initial) <= MAX_LENGTH:
        element["initial_value"] = visible(initial)
    block: Block = {
        "type": "input",
        "block_id": block_id,
        "optional": optional,
        "label": plain(label),
        "element": element,
    }
    return {**block, "hint": plain(hint)} if hint else block


def checkbox(block_id: str, label: str, text: str, ticked: bool = False, hint: str = "") -> Block:
    """A single checkbox."""
    option: Block = {"text": plain(text), "value": YES}
    element: Block = {"type": "checkboxes", "action_id": "ticked", "options": [option]}
    if ticked:
        element["initial_options"] = [option]
    block: Block = {
        "type": "input",
        "block_id": block_id,
        "optional": True,
        "label": plain(label),
        "element": element,
    }
    return {**block, "hint": plain(hint)} if hint else block


def typed(view: dict[str, Any], block_id: str) -> str:
    """The text of a text input, stripped."""
    return str(_state(view, block_id, "text").get("value") or "").strip()


def ticked(view: dict[str, Any], block_id: str) -> bool:
    """Whether a checkbox was ticked; False if the form has no such checkbox."""
    chosen = _state(view, block_id, "ticked").get("selected_options") or []
    return any(option.get("value") == YES for option in chosen)


def _state(view: dict[str, Any], block_id: str, action_id: str) -> dict[str, Any]:
    values = view.get("state", {}).get("values", {})
    return dict(values.get(block_id, {}).get(action_id) or {})


def button(action_id: str, text: str, value: str, style: str = "") -> Block:
    element: Block = {"type": "button", "action_id": action_id, "text": plain(text), "value": value}
    return {**element, "style": style} if style else element


def plain(text: str) -> Block:
    return {"type": "plain_text", "text": visible(text)}
