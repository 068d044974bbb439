"""How references stand in a prompt: written once, for training and for answering.

The references stand in the last user message, before the question. So the system prompt and the
earlier turns come first, as without references, and the engine's prefix cache still serves them.
The best reference stands last, next to the question.

    Q: When is the shop open?
    A: From 9 am to 5 pm.

    Question: Can I come at six?

An adapter is trained with one layout and is served with it. Its recipe keeps the number of the
layout; an adapter whose recipe has none was trained without references and is served without.

An adapter that reads references says `UNKNOWN` when they do not answer the question: one sentence
for all domains, so that it can be recognised, and replaced by the domain's own words, which may
change after training.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

NONE = 0  # without references
VERSION = 1
RECIPE_FIELD = "layout"
UNKNOWN = "I don't know."

ROLE_MARK = re.compile(r"^([ \t]*)(Q|A|Question)(?=:)", re.MULTILINE)


class Readable(Protocol):
    """A reference as the model reads it."""

    @property
    def prompt(self) -> str: ...
    @property
    def response(self) -> str: ...


def with_references(question: str, references: Sequence[Readable]) -> str:
    """The content of the last user message: the references, given best first, and the question.
    Without references, the question alone.

    A line in any of them that begins with one of the layout's own marks cannot pass for a
    reference or for the question: the mark is set in brackets."""
    if not references:
        return question
    shown = [f"Q: {_inside(r.prompt)}\nA: {_inside(r.response)}" for r in reversed(references)]
    return "\n\n".join([*shown, f"Question: {_inside(question)}"])


def of_recipe(recipe: Mapping[str, Any]) -> int:
    """The layout of an adapter that was trained by this recipe; NONE if this version of Understudy
    does not know it."""
    return VERSION if recipe.get(RECIPE_FIELD, NONE) == VERSION else NONE


def references_of(recipe: Mapping[str, Any]) -> int:
    """How many references an adapter of this recipe gets; 0: it was trained without."""
    return int(recipe.get("references", 0)) if of_recipe(recipe) else 0


def is_unknown(answer: str) -> bool:
    """Whether an adapter's answer says that the references do not answer the question."""
    return answer.strip() == UNKNOWN


def may_become_unknown(beginning: str) -> bool:
    """Whether an answer that begins like this may still turn out to be `UNKNOWN`. A front end holds
    the text back as long as it may."""
    return UNKNOWN.startswith(beginning.strip())


def harmless(text: str, control_tokens: Collection[str]) -> str:
    """The text with each control token that it spells broken up by a space, so that it does not
    begin or end a turn. Written for prompts: `control_tokens` gives the tokens of a base model."""
    found = [token for token in control_tokens if token in text]
    for token in sorted(found, key=len, reverse=True):
        while token in text:  # breaking up one may complete no other, but the same one may overlap
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def control_tokens(added: Mapping[str, bool]) -> frozenset[str]:
    """The control tokens among a tokenizer's added tokens, given with whether each is special.
    Many tokenizers do not mark all of them as special (`<|im_sep|>`, `<tool_call>`). Added words
    and runs of spaces control nothing and stay."""
    return frozenset(
        token for token, special in added.items() if len(token) > 1 and (special or _marked(token))
    )


def _marked(token: str) -> bool:
    """Whether a token looks like a mark: it has letters inside brackets of some kind."""
    ends = token[0] + token[-1]
    return any(c.isalpha() for c in token) and not any(c.isalnum() or c.isspace() for c in ends)


def _inside(text: str) -> str:
    return ROLE_MARK.sub(r"\1(\2)", text.strip())
