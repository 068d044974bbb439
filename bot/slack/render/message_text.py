"""Turns Slack's message markup into plain text: `<@U1>` becomes `@Ada`, a link its label and URL.

The engine gets the text that a person sees. Display names are untrusted, so they are cut to one
short line and cannot pass for instructions. The control tokens of chat models (`<|im_start|>`,
`[INST]`, …) are broken up with a space, so a pasted one does not start a new role.
"""

import re
from collections.abc import Mapping

from data.visible_text import SHOWN

TOKEN = re.compile(r"<([^<>]*)>")
MAX_NAME = 60
# ChatML, Llama 3, Phi and others | DeepSeek | Gemma | Llama 2 and Mistral
CONTROL_TOKEN = re.compile(
    r"<(?=\|)|(?<=\|)>|<(?=｜)|(?<=｜)>|<(?=(?:start|end)_of_turn>)|\[(?=/?INST\])"
    r"|<(?=</?SYS>>)|<(?=/?s>)"
)


def people_in(text: str) -> set[str]:
    """The ids of the users that a message mentions."""
    return {m[1][1:].split("|")[0] for m in TOKEN.finditer(text) if m[1].startswith("@")}


def mentions(text: str, user: str) -> bool:
    """Whether the message mentions the user."""
    return user in people_in(text)


def plain_text(text: str, bot_user: str, names: Mapping[str, str]) -> str:
    """The message as plain text, without mentions of the bot itself. `names` maps user ids to
    display names."""
    rendered = TOKEN.sub(lambda match: _token(match[1], bot_user, names), text)
    return _break_control_tokens(_unescaped(rendered)).strip()


def tidy_name(name: str) -> str:
    """A display name as one short line without markup and control characters."""
    return " ".join(re.sub(r"[<>`*_\n\r]", " ", SHOWN.sub(" ", name)).split())[:MAX_NAME]


def _token(token: str, bot_user: str, names: Mapping[str, str]) -> str:
    target, _, label = token.partition("|")
    if target.startswith("@"):
        if target[1:] == bot_user:
            return ""
        return "@" + (names.get(target[1:]) or tidy_name(label) or "someone")
    if target.startswith("#"):
        return "#" + (label or "a channel")
    if target.startswith("!"):
        return _special(target[1:], label)
    address = target.removeprefix("mailto:").removeprefix("tel:")
    if not label or label in (address, target.split("://")[-1].rstrip("/")):
        return address
    return f"{label} ({address})"


def _special(target: str, label: str) -> str:
    """The text for `<!here>`, `<!subteam^S1|@team>` or `<!date^…|fallback>`."""
    if label:
        return label if target.startswith("date") else "@" + label.removeprefix("@")
    return "@" + target.split("^")[0]


def _break_control_tokens(text: str) -> str:
    return CONTROL_TOKEN.sub(lambda m: f" {m[0]}" if m[0] == ">" else f"{m[0]} ", text)


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
