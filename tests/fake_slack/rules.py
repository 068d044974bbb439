"""What Slack refuses in blocks and views, as a list of sentences; an empty list is valid.

https://docs.slack.dev/reference/block-kit
"""

from typing import Any

Json = dict[str, Any]

IN_MESSAGES = {"section", "context", "markdown", "actions", "context_actions", "divider", "header"}
IN_MODALS = {"section", "context", "actions", "divider", "header", "input", "image"}
IN_HOME = {"section", "context", "actions", "divider", "header", "input", "image"}
IN_INPUTS = {"checkboxes", "static_select", "radio_buttons", "users_select"}  # and text
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
    """A modal."""
    if given.get("type") != "modal":
        return ["only modals can be opened"]
    problems = blocks(given.get("blocks"), IN_MODALS, most=100)
    needed = {"title"} | ({"submit"} if _has_input(given) else set())
    for name in ("title", "submit", "close"):
        if name in needed or name in given:
            problems += _plain(given.get(name), 24, name)
    return problems + _of_any_view(given)


def home(given: Json) -> list[str]:
    """A Home tab."""
    if given.get("type") != "home":
        return ["only a home view can be published"]
    more = sorted(set(given) - {"type", "blocks", "private_metadata", "callback_id", "external_id"})
    problems = [f"a home view has no {name}" for name in more]
    return problems + blocks(given.get("blocks"), IN_HOME, most=100) + _of_any_view(given)


def _has_input(given: Json) -> bool:
    return any(b.get("type") == "input" for b in given.get("blocks") or [])


def _of_any_view(given: Json) -> list[str]:
    problems = []
    if len(str(given).encode()) > 250_000:
        problems.append("the view is larger than 250 KB")
    if len(given.get("private_metadata", "")) > 3_000:
        problems.append("private_metadata is longer than 3,000")
    if len(given.get("callback_id", "")) > 255:
        problems.append("callback_id is longer than 255")
    return problems


def _markdown(block: Json) -> list[str]:
    text = block.get("text")
    return [] if isinstance(text, str) and text else ["no text"]


def _section(block: Json) -> list[str]:
    problems = [] if "fields" in block and "text" not in block else _text(block.get("text"), 3_000)
    fields = block.get("fields", [])
    if len(fields) > 10:
        problems.append("more than 10 fields")
    problems += [p for f in fields for p in _text(f, 2_000)]
    if "accessory" in block:
        problems += _element(block["accessory"])
    return problems


def _context(block: Json) -> list[str]:
    elements = block.get("elements", [])
    problems = [] if 1 <= len(elements) <= 10 else ["1 to 10 elements"]
    return problems + [p for element in elements for p in _text(element, 3_000)]


def _actions(block: Json) -> list[str]:
    elements = block.get("elements", [])
    problems = [] if 1 <= len(elements) <= 25 else ["1 to 25 elements"]
    ids = [e.get("action_id") for e in elements]
    if len(ids) != len(set(ids)):
        problems.append("two elements with one action_id")
    return problems + [p for element in elements for p in _element(element)]


def _element(element: Json) -> list[str]:
    """What may stand in an actions block or beside a section."""
    kind = element.get("type")
    if kind not in ELEMENTS:
        return [f"no {kind!r} here"]
    problems = ELEMENTS[kind](element) + _interactive(element)
    if "confirm" in element:
        problems += _confirm(element["confirm"])
    return problems


def _button(element: Json) -> list[str]:
    problems = _plain(element.get("text"), 75, "button text")
    if element.get("style") not in (None, "primary", "danger"):
        problems.append("style is primary or danger")
    return problems


def _select(element: Json) -> list[str]:
    return _options(element, most=100) + (
        _plain(element["placeholder"], 150, "placeholder") if "placeholder" in element else []
    )


def _users(element: Json) -> list[str]:
    return _plain(element["placeholder"], 150, "placeholder") if "placeholder" in element else []


def _options(element: Json, most: int) -> list[str]:
    options = element.get("options", [])
    problems = [] if 1 <= len(options) <= most else [f"1 to {most} options"]
    for option in options:
        problems += _text(option.get("text"), 75)
        if not 0 < len(option.get("value", "")) <= 150:
            problems.append("an option's value has 1 to 150 characters")
    values = [o.get("value") for o in options]
    if len(values) != len(set(values)):
        problems.append("two options with one value")
    initial = element.get("initial_options") or []
    initial = [*initial, *([element["initial_option"]] if "initial_option" in element else [])]
    problems += ["an initial option is none of the options" for o in initial if o not in options]
    return problems


def _checkboxes(element: Json) -> list[str]:
    return _options(element, most=10)


def _overflow(element: Json) -> list[str]:
    return _options(element, most=5)


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
        return problems + (
            _element(element)
            if element.get("type") in IN_INPUTS
            else [f"no {element.get('type')!r} here"]
        )
    most = element.get("max_length", 3_000)
    if not 1 <= most <= 3_000:
        problems.append("max_length is 1 to 3,000")
    if len(element.get("initial_value", "")) > most:
        problems.append("initial_value is longer than max_length")
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


def _image(block: Json) -> list[str]:
    problems = [] if block.get("image_url") or block.get("slack_file") else ["no image"]
    if not 0 < len(block.get("alt_text", "")) <= 2_000:
        problems.append("alt_text of 1 to 2,000 characters")
    return problems


ELEMENTS = {
    "button": _button,
    "static_select": _select,
    "users_select": _users,
    "overflow": _overflow,
    "checkboxes": _checkboxes,
    "radio_buttons": _checkboxes,
}
BLOCKS = {
    "image": _image,
    "section": _section,
    "context": _context,
    "markdown": _markdown,
    "actions": _actions,
    "context_actions": _context_actions,
    "input": _input,
    "divider": lambda block: [],
    "header": lambda block: _plain(block.get("text"), 150, "header"),
}
