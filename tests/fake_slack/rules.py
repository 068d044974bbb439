"""What Slack refuses in blocks and views, as a list of sentences; an empty list is valid.

https://docs.slack.dev/reference/block-kit
"""

from typing import Any

Json = dict[str, Any]

IN_MESSAGES = {"section", "context", "markdown", "actions", "context_actions", "divider", "header"}
IN_MODALS = {"section", "context", "actions", "divider", "header", "input"}
MARKDOWN_IN_ALL = 12_000


def blocks(given: Any, allowed: set[str] = IN_MESSAGES, most: int = 50) -> list[str]:
    if not isinstance(given, list):
        return ["blocks is no list"]
    problems = [] if len(given) <= most else [f"{len(given)} blocks, at most {most}"]
    markdown = sum(len(b.get("text", "")) for b in given if b.get("type") == "markdown")
    if markdown > MARKDOWN_IN_ALL:
        problems.append(f"{markdown} characters of markdown, at most {MARKDOWN_IN_ALL}")
    ids = [b["block_id"] for b in given if "block_id" in b]
    if len(ids) != len(set(ids)):
        problems.append("two blocks with one block_id")
    for number, block in enumerate(given):
        kind = block.get("type")
        if kind not in allowed:
            problems.append(f"block {number}: no {kind!r} here")
        else:
            problems += [f"block {number} ({kind}): {p}" for p in BLOCKS[kind](block)]
    return problems


def view(given: Json) -> list[str]:
    if given.get("type") != "modal":
        return ["only modals are known here"]
    problems = blocks(given.get("blocks"), IN_MODALS, most=100)
    for name in ("title", "submit", "close"):
        problems += _plain(given.get(name), 24, name)
    if len(given.get("private_metadata", "")) > 3_000:
        problems.append("private_metadata is longer than 3,000")
    if len(given.get("callback_id", "")) > 255:
        problems.append("callback_id is longer than 255")
    return problems


def _markdown(block: Json) -> list[str]:
    text = block.get("text")
    return [] if isinstance(text, str) and text else ["no text"]


def _section(block: Json) -> list[str]:
    return _text(block.get("text"), 3_000)


def _context(block: Json) -> list[str]:
    elements = block.get("elements", [])
    problems = [] if 1 <= len(elements) <= 10 else ["1 to 10 elements"]
    return problems + [p for element in elements for p in _text(element, 3_000)]


def _actions(block: Json) -> list[str]:
    elements = block.get("elements", [])
    problems = [] if 1 <= len(elements) <= 25 else ["1 to 25 elements"]
    for element in elements:
        if element.get("type") != "button":
            problems.append(f"no {element.get('type')!r} here")
            continue
        problems += _plain(element.get("text"), 75, "button text")
        problems += _interactive(element)
        if element.get("style") not in (None, "primary", "danger"):
            problems.append("style is primary or danger")
        if "confirm" in element:
            problems += _confirm(element["confirm"])
    return problems


def _confirm(dialog: Json) -> list[str]:
    return [
        *_plain(dialog.get("title"), 100, "confirm title"),
        *_text(dialog.get("text"), 300),
        *_plain(dialog.get("confirm"), 30, "confirm"),
        *_plain(dialog.get("deny"), 30, "deny"),
    ]


def _context_actions(block: Json) -> list[str]:
    elements = block.get("elements", [])
    problems = [] if 1 <= len(elements) <= 5 else ["1 to 5 elements"]
    for element in elements:
        if element.get("type") != "feedback_buttons":
            problems.append(f"no {element.get('type')!r} here")
            continue
        if not 0 < len(element.get("action_id", "")) <= 255:
            problems.append("feedback_buttons need an action_id")
        for name in ("positive_button", "negative_button"):
            button = element.get(name, {})
            problems += _plain(button.get("text"), 75, name)
            if not 0 < len(button.get("value", "")) <= 2_000:
                problems.append(f"{name}: value of 1 to 2,000 characters")
            if len(button.get("accessibility_label", "")) > 75:
                problems.append(f"{name}: accessibility_label is longer than 75")
    return problems


def _input(block: Json) -> list[str]:
    problems = _plain(block.get("label"), 2_000, "label")
    if "hint" in block:
        problems += _plain(block["hint"], 2_000, "hint")
    element = block.get("element", {})
    if element.get("type") != "plain_text_input":
        problems.append(f"no {element.get('type')!r} here")
    if not 1 <= element.get("max_length", 3_000) <= 3_000:
        problems.append("max_length is 1 to 3,000")
    if "placeholder" in element:
        problems += _plain(element["placeholder"], 150, "placeholder")
    return problems


def _interactive(element: Json) -> list[str]:
    problems = []
    if not 0 < len(element.get("action_id", "")) <= 255:
        problems.append("action_id of 1 to 255 characters")
    if len(element.get("value", "")) > 2_000:
        problems.append("value is longer than 2,000")
    return problems


def _text(given: Any, most: int) -> list[str]:
    if not isinstance(given, dict) or given.get("type") not in ("plain_text", "mrkdwn"):
        return ["no text object"]
    length = len(given.get("text") or "")
    return [] if 0 < length <= most else [f"text of {length} characters, 1 to {most} fit"]


def _plain(given: Any, most: int, name: str) -> list[str]:
    if not isinstance(given, dict) or given.get("type") != "plain_text":
        return [f"{name}: no plain_text"]
    length = len(given.get("text") or "")
    return [] if 0 < length <= most else [f"{name}: {length} characters, 1 to {most} fit"]


BLOCKS = {
    "section": _section,
    "context": _context,
    "markdown": _markdown,
    "actions": _actions,
    "context_actions": _context_actions,
    "input": _input,
    "divider": lambda block: [],
    "header": lambda block: _plain(block.get("text"), 150, "header"),
}
