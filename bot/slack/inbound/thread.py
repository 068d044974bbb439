"""Reads a thread as a question, its answer and earlier turns, for teaching."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.slack.client.stream import SlackPlace
from bot.slack.workspace.context import WorkspaceContext
from data.pairs.pairs import Turn

MAX_MESSAGES = 30  # of a thread that are read


@dataclass(frozen=True)
class Line:
    user: str  # who wrote it
    text: str


async def messages_before(workspace: WorkspaceContext, place: SlackPlace, ts: str) -> list[Line]:
    """The messages of the thread before the message `ts`, oldest first. Raises transport
    errors."""
    found = await workspace.api.quick.conversations_replies(
        channel=place.channel, ts=place.thread_ts, latest=ts, limit=1_000
    )
    lines = [
        Line(str(m.get("user") or ""), str(m.get("text") or ""))
        for m in found["messages"]
        if float(m.get("ts") or 0) < float(ts) and m.get("subtype") in (None, "thread_broadcast")
    ]
    return [line for line in lines if line.text][-MAX_MESSAGES:]


async def message_at(
    workspace: WorkspaceContext, channel: str, thread_ts: str, ts: str
) -> dict[str, Any] | None:
    """A message as it is now; None if it is gone. Raises transport errors."""
    # not `patient`: some apps may make one such call a minute, and a person waits
    found = await workspace.api.quick.conversations_replies(
        channel=channel, ts=thread_ts, oldest=ts, latest=ts, inclusive=True, limit=2
    )
    return next((m for m in found["messages"] if m.get("ts") == ts), None)


def read(lines: Sequence[Line], bot_user: str) -> tuple[str, str, tuple[Turn, ...]]:
    """Question, answer and earlier turns of a thread whose last line a person wants to teach. That
    line answers the last line by someone else; without one, it is itself the question. A line
    without text stands for one that may not be used. `bot_user` always counts as answering."""
    last, earlier = lines[-1], list(lines[:-1])
    while earlier and earlier[-1].user == last.user:
        earlier.pop()
    if not earlier:
        return last.text, "", ()
    question = earlier.pop()
    answering = {last.user, bot_user} - {question.user}
    return question.text, last.text, _turns([x for x in earlier if x.text], answering)


def _turns(lines: Sequence[Line], answering: set[str]) -> tuple[Turn, ...]:
    """Alternating turns that start with a question and end with an answer."""
    turns: list[Turn] = []
    for line in lines:
        role = "assistant" if line.user in answering else "user"
        if turns and turns[-1].role == role:
            turns[-1] = Turn(turns[-1].role, f"{turns[-1].content}\n\n{line.text}")
        elif turns or role == "user":
            turns.append(Turn("user" if role == "user" else "assistant", line.text))
    if turns and turns[-1].role == "user":
        turns.pop()
    return tuple(turns[-12:])
