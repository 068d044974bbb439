"""The conversation of a response: its own input, and the earlier responses that it names.

The store keeps the questions and the answers, with the calls of tools in them. What tools returned,
and other messages of an earlier input, are not stored.
"""

import contextlib
import re
from collections.abc import Sequence

from sqlite_utils import Database

from bot.answering import tool_use
from bot.api.completion_request import ChatMessage
from bot.api.problems import BadField
from bot.api.response_request import CALL, OUTPUT, REFERENCE, InputItem, ResponseRequest
from bot.api.tool_fields import CalledFunction, MessageCall, call_id, of_response
from data.conversations import conversations
from data.conversations.conversations import Message, ReplyWithQuestion
from data.store.db import value
from data.store.errors import NotFound
from serving.client import ToolCall

GOES_ON = re.compile(r"/after/(chatcmpl-[0-9a-f]{1,64})$")  # at the end of a conversation's key
ITEM = re.compile(r"(?:msg_([0-9a-f]{1,64})|fc_([0-9a-f]{1,64})_([0-9]{1,3}))")


class PreviousResponseNotFound(BadField):
    """`previous_response_id` names no response that this person got."""

    def __init__(self) -> None:
        super().__init__(
            "previous_response_id",
            "There is no earlier response with this id for this person. It may have been erased.",
        )


def conversation(
    db: Database, request: ResponseRequest, person: str, turns: int, *, with_tools: bool
) -> list[ChatMessage]:
    """The messages that a response answers. `turns`: how many earlier questions are read at most.
    `with_tools`: the base has a place for calls of tools and their results. Raises BadField."""
    said = _own(db, request.input, person, with_tools)
    if request.instructions:
        said.insert(0, ChatMessage(role="system", content=request.instructions))
    if request.previous_response_id is None:
        return said
    return [*_until(db, request.previous_response_id, person, turns, said), *said]


def history_until(db: Database, reply_id: str, person: str, turns: int) -> tuple[Message, ...]:
    """The last `turns` questions and answers up to a response, the oldest first, without those that
    called tools. Raises PreviousResponseNotFound if this person did not get the response."""
    found: list[Message] = []
    known: ReplyWithQuestion | None = _previous(db, reply_id, person)
    while known is not None and len(found) < 2 * turns:
        if known.text.strip() and not called(known):
            found = [Message("user", known.question), Message("assistant", known.text), *found]
        known = _before(db, known, person)
    return tuple(found)


def response_before(db: Database, conversation_id: int) -> str | None:
    """The response from which a conversation goes on, if it does."""
    thread = value(db, "SELECT thread FROM conversations WHERE id = ?", [conversation_id])
    return _named_in(str(thread))


def called(known: ReplyWithQuestion) -> tuple[ToolCall, ...]:
    """The calls of tools in an answer."""
    if known.reply.finish_reason != tool_use.CALLED:
        return ()
    return tool_use.from_text(known.text)[1]


# -- earlier responses ----------------------------------------------------------------------------


def _until(
    db: Database, reply_id: str, person: str, turns: int, said: Sequence[ChatMessage]
) -> list[ChatMessage]:
    """The conversation up to an earlier response. If `said` has what tools returned for it, it ends
    with the question and the calls."""
    history = history_until(db, reply_id, person, turns)
    earlier = [ChatMessage(role=m.role, content=m.text) for m in history]
    known = _previous(db, reply_id, person)
    calls = _as_message(known.reply.id, called(known))
    wanted = {call.id for call in calls.tool_calls or ()}
    if not wanted.intersection(m.tool_call_id for m in said):
        return earlier
    before = _before(db, known, person)
    if before is not None and called(before) and before.question == known.question:
        raise BadField(
            "previous_response_id",
            "What tools returned in earlier requests is not stored, and this answer needs it. Send "
            "the whole conversation in 'input'.",
        )
    return [*earlier, ChatMessage(role="user", content=known.question), calls]


def _previous(db: Database, reply_id: str, person: str) -> ReplyWithQuestion:
    known = _known(db, reply_id, person)
    if known is None:
        raise PreviousResponseNotFound
    return known


def _before(db: Database, known: ReplyWithQuestion, person: str) -> ReplyWithQuestion | None:
    """The response from which one goes on; None if there is none, or it has been erased since."""
    named = _named_in(known.thread)
    return None if named is None else _known(db, named, person)


def _known(db: Database, reply_id: str, person: str) -> ReplyWithQuestion | None:
    with contextlib.suppress(NotFound):
        known = conversations.reply_with_question(db, reply_id)
        if known.reply.person == person:
            return known
    return None


def _named_in(thread: str) -> str | None:
    found = GOES_ON.search(thread)
    return found[1] if found else None


# -- the input ------------------------------------------------------------------------------------


def _own(
    db: Database, items: Sequence[InputItem], person: str, with_tools: bool
) -> list[ChatMessage]:
    """The messages of the input, with those that are only named. Calls that follow each other, or
    the words that came with them, are one message, as they were one answer."""
    said: list[ChatMessage] = []
    for item in items:
        message = _named(db, item.id or "", person) if item.type == REFERENCE else _message(item)
        if not with_tools and (message.tool_calls or message.role == "tool"):
            message = ChatMessage(role="assistant", content="")
        if message.tool_calls and said and said[-1].role == "assistant":
            before = said.pop()
            calls = [*(before.tool_calls or ()), *message.tool_calls]
            message = before.model_copy(update={"tool_calls": calls})
        said.append(message)
    return said


def _message(item: InputItem) -> ChatMessage:
    if item.type == OUTPUT:
        return ChatMessage(role="tool", content=item.output or "", tool_call_id=item.call_id)
    if item.type == CALL:
        function = CalledFunction(name=item.name or "", arguments=item.arguments or "")
        call = MessageCall(id=item.call_id or "", function=function)
        return ChatMessage(role="assistant", content="", tool_calls=[call])
    return ChatMessage(role=item.role, content=item.content)


def _named(db: Database, item_id: str, person: str) -> ChatMessage:
    """An earlier response's message, or a call in it. Raises BadField."""
    found = ITEM.fullmatch(item_id)
    known = _known(db, of_response(found[1] or found[2]), person) if found else None
    if found is not None and known is not None:
        calls = called(known)
        words = tool_use.from_text(known.text)[0] if calls else known.text
        place = int(found[3]) if found[3] else None
        if place is not None and place < len(calls):
            return _as_message(known.reply.id, calls, place)
        if place is None and words.strip():
            return ChatMessage(role="assistant", content=words)
    raise BadField("input", "An `item_reference` names no message that this person got.")


def _as_message(reply_id: str, calls: Sequence[ToolCall], place: int | None = None) -> ChatMessage:
    """The calls of an answer, or the one at a place among them."""
    made = [
        MessageCall(
            id=call_id(reply_id, number),
            function=CalledFunction(name=call.name, arguments=call.arguments),
        )
        for number, call in enumerate(calls)
        if place in (None, number)
    ]
    return ChatMessage(role="assistant", content="", tool_calls=made or None)
