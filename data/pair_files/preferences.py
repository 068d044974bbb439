"""Preference data: one answer that was preferred to another, or one that was liked or not.

It becomes rated answers for preference tuning (`data/pairs/judged_answers.py`). A rejected answer
never becomes a pair.
"""

from dataclasses import replace
from typing import Any

from data.pair_files.chat_messages import (
    draft_of,
    is_conversation,
    message_of,
    turns_of,
    with_last_answer,
)
from data.pair_files.columns import Fields, is_empty, kind_of
from data.pair_files.verdicts import RowError
from data.pairs.judged_answers import JudgedDraft
from data.pairs.pairs import Draft, Turn

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"  # as in Anthropic's HH-RLHF


def read_preference(fields: Fields) -> list[JudgedDraft]:
    """The preferred answer as a liked one, the other as a disliked one. Raises RowError."""
    asked = _asked(fields)
    system = fields.text("system")
    found = []
    for name, liked in (("chosen", True), ("rejected", False)):
        value = fields.given(name)
        if value is not None:
            draft = _answered(value, asked, fields.column(name))
            found.append(judged(replace(draft, system=draft.system or system), liked=liked))
    if not found:
        raise RowError("both answers are empty")
    return found


def judged(draft: Draft, *, liked: bool) -> JudgedDraft:
    """The answer of a draft with its rating."""
    return JudgedDraft(draft.prompt, draft.response, liked, draft.system, draft.turns)


def _asked(fields: Fields) -> list[dict[str, Any]]:
    """The messages before the answers; [] if each answer brings them."""
    for name in ("conversations", "messages"):
        found = fields.given(name)
        if is_conversation(found):
            answered = message_of(found[-1], "the last message")[0] == "assistant"
            return list(found[:-1] if answered else found)
    found = fields.given("prompt")
    if isinstance(found, dict):  # OpenAI's: {"messages": [...], "tools": []}
        if not is_empty(found.get("tools")):
            raise RowError("it has tools: only text is learned, and the bot calls no tools")
        found = found.get("messages")
    if is_conversation(found):
        return list(found)
    if found is None:
        return []
    if not isinstance(found, str):
        raise RowError(f"{fields.column('prompt')} is {kind_of(found)}, not text")
    before = turns_of(fields.given("history") or fields.given("turns") or [])
    more = [fields.text(name) for name in ("context", "input") if name in fields.columns.of]
    text = "\n\n".join([found, *(part for part in more if part.strip())])
    return [*map(_message, before), {"role": "user", "content": text}]


def _answered(value: Any, asked: list[dict[str, Any]], name: str) -> Draft:
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, str):
        if not asked and HUMAN in value:
            return with_last_answer(_transcript(value))
        value = [{"role": "assistant", "content": value}]
    if not is_conversation(value):
        raise RowError(f"{name} is {kind_of(value)}, neither text nor messages")
    whole = len(value) > 1 and message_of(value[0], "message 1")[0] != "assistant"
    if not asked and not whole:
        raise RowError("no prompt (names that are understood: prompt, question, instruction)")
    return draft_of(value if whole else [*asked, *value], name)


def _transcript(text: str) -> list[Turn]:
    """The turns of `\\n\\nHuman: ...\\n\\nAssistant: ...`."""
    turns = []
    for part in text.split(HUMAN)[1:]:
        said, *answers = part.split(ASSISTANT)
        turns.append(Turn("user", said.strip()))
        turns += [Turn("assistant", answer.strip()) for answer in answers if not is_empty(answer)]
    return turns


def _message(turn: Turn) -> dict[str, str]:
    return {"role": turn.role, "content": turn.content}
