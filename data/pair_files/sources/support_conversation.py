"""What a customer asked first, and what an agent answered in public.

The first messages of the customer are the question, and the agents' public messages up to the
customer's next one are the answer. Internal notes and what bots write never count. Quoted mail and
the part below a signature mark are left out.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from data.pair_files.html_text import html_text
from data.pair_files.sources.translation import Translation

By = Literal["customer", "agent", "nobody"]  # nobody: a note, a bot, or somebody else
QUOTED = re.compile(
    r"^(?:On .{5,200} wrote:|Am .{5,200} schrieb .{2,200}:|Le .{5,200} a écrit ?:|"
    r"-{2,}\s*(?:Original Message|Ursprüngliche Nachricht|Forwarded message)\s*-{2,}|"
    r"_{10,}|From: .+|##- Please type your reply above this line -##)\s*$",
    re.MULTILINE,
)
SIGNATURE = re.compile(r"^--[ \t]*$", re.MULTILINE)
QUOTE = re.compile(r"^>.*\n?", re.MULTILINE)
NO_ANSWER = "no agent answered in public"


@dataclass(frozen=True)
class SupportMessage:
    by: By
    text: str


def first_exchange(
    messages: Iterable[SupportMessage], subject: str = "", names: Iterable[Any] = ()
) -> Translation:
    """The pair of a conversation, which waits for review. `names`: of people who take part."""
    asked: list[str] = []
    answered: list[str] = []
    for message in messages:
        text = own_words(message.text)
        if not text or message.by == "nobody":
            continue
        if message.by == "customer":
            if answered:
                break
            asked.append(text)
        elif asked or subject.strip():
            answered.append(text)
    question = "\n\n".join(asked) or subject.strip()
    if not question:
        return Translation(left_out="no customer asked anything")
    if not answered:
        return Translation(left_out=NO_ANSWER)
    return Translation(
        ({"prompt": question, "response": "\n\n".join(answered)},),
        people=frozenset(str(name) for name in names if name),
        candidate=True,
    )


def own_words(text: str) -> str:
    """A message without quoted mail and without what follows the mark of a signature."""
    for mark in (QUOTED, SIGNATURE):
        found = mark.search(text)
        if found and text[: found.start()].strip():
            text = text[: found.start()]
    return QUOTE.sub("", text).strip()


def text_of(html: Any, plain: Any) -> str:
    """The text of a message that comes in both forms, or in one."""
    return html_text(str(html)) if html else str(plain or "").strip()
