"""Slack's message text as plain words: `<@U1>` becomes `@Ada`, a link its label and address.

The engine reads what a person reads. Names come from outside and are data: they are cut to one
short line, so that a display name cannot pass for instructions. The marks with which chat models
begin and end a role (`<|im_start|>`, `[INST]`, …) are taken apart, so that a pasted one begins
none.
"""

import re
from collections.abc import Mapping

TOKEN = re.compile(r"<([^<>]*)>")
MAX_NAME = 60
# ChatML, Llama 3, Phi and others | DeepSeek | Gemma | Llama 2 and Mistral
ROLE = re.compile(
    r"<(?=\|)|(?<=\|)>|<(?=｜)|(?<=｜)>|<(?=(?:start|end)_of_turn>)|\[(?=/?INST\])"
    r"|<(?=</?SYS>>)|<(?=/?s>)"
)


def people_in(text: str) -> set[str]:
    """The ids of the people that a message mentions."""
    return {m[1][1:].split("|")[0] for m in TOKEN.finditer(text) if m[1].startswith("@")}


def mentions(text: str, user: str) -> bool:
    """Whether the message mentions that user."""
    return user in people_in(text)


def as_words(text: str, bot_user: str, names: Mapping[str, str]) -> str:
    """The text as it reads; mentions of the bot itself are left out. `names` maps user ids."""
    rendered = TOKEN.sub(lambda match: _token(match[1], bot_user, names), text)
    return _without_roles(_unescaped(rendered)).strip()


def tidy_name(name: str) -> str:
    """A display name as one short line without markup."""
    return " ".join(re.sub(r"[<>`*_\n\r]", " ", name).split())[:MAX_NAME]


def _token(token: str, bot_user: str, names: Mapping[str, str]) -> str:
    target, _, label = token.partition("|")
    if target.startswith("@"):
        if target[1:] == bot_user:
            return ""
        return "@" + (names.get(target[1:]) or tidy_name(label) or "somebody")
    if target.startswith("#"):
        return "#" + (label or "a channel")
    if target.startswith("!"):
        return _special(target[1:], label)
    address = target.removeprefix("mailto:").removeprefix("tel:")
    if not label or label in (address, target.split("://")[-1].rstrip("/")):
        return address
    return f"{label} ({address})"


def _special(target: str, label: str) -> str:
    """`<!here>`, `<!subteam^S1|@team>`, `<!date^…|fallback>`."""
    if label:
        return label if target.startswith("date") else "@" + label.removeprefix("@")
    return "@" + target.split("^")[0]


def _without_roles(text: str) -> str:
    return ROLE.sub(lambda mark: f" {mark[0]}" if mark[0] == ">" else f"{mark[0]} ", text)


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
