"""Two blinded answers to one question in one message, and the buttons to choose the better one.

The answers are in the random order of their pairing (`bot/answering/side_by_side.py`) and do not
name their adapters. Only the person who asked can choose, and a new choice replaces the old one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from bot.slack.payloads import person, place_of
from bot.slack.render import form_fields
from bot.slack.render.blocks import MARKDOWN, Block, context, section
from bot.slack.render.message_split import reopened
from bot.slack.workspace.context import WorkspaceContext
from data.conversations import conversations, side_by_side
from data.feedback import feedback
from data.feedback.feedback import Preferred
from data.store.errors import Forbidden, NotFound, UnderstudyError

Ack = Callable[..., Awaitable[Any]]
PREFER = "prefer:"  # prefix of the buttons' action ids
LABELS: dict[Preferred, str] = {
    "first": "Answer 1 is better",
    "second": "Answer 2 is better",
    "tie": "Both are equally good",
}
THANKS: dict[Preferred, str] = {
    "first": "Thank you. You chose answer 1.",
    "second": "Thank you. You chose answer 2.",
    "tie": "Thank you. You rated both answers equally good.",
}


@dataclass(frozen=True)
class ButtonPair:
    """The texts of two answers, in the order in which they are shown."""

    reply_id: str  # of the first answer
    first: str
    second: str
    cut: tuple[int, ...] = ()  # numbers of the answers that reached their maximum length: 1, 2

    @property
    def text(self) -> str:
        """Both answers as one markdown text."""
        return f"**Answer 1**\n\n{_closed(self.first)}\n\n---\n\n**Answer 2**\n\n{self.second}"

    @property
    def below(self) -> list[Block]:
        """The blocks under the answers."""
        buttons = [
            {
                "type": "button",
                "action_id": f"{PREFER}{which}",
                "text": form_fields.plain(label),
                "value": f"{which}:{self.reply_id}",
            }
            for which, label in LABELS.items()
        ]
        cut = [context(f"Answer {number} reached its maximum length.") for number in self.cut]
        return [*cut, section("Which answer is better?"), {"type": "actions", "elements": buttons}]


def button_pair(db: Database, reply_id: str) -> ButtonPair | None:
    """The pair that the reply belongs to; None if the reply is shown alone."""
    try:
        pairing = side_by_side.of_reply(db, reply_id)
    except NotFound:
        return None
    ids = (pairing.first_reply, pairing.second_reply)
    first, second = (conversations.exchange(db, one)[1] for one in ids)
    reasons = [conversations.reply(db, one).finish_reason for one in ids]
    cut = tuple(number for number, why in enumerate(reasons, start=1) if why == "length")
    return ButtonPair(pairing.first_reply, first, second, cut)


async def preference_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A press of one of the buttons: store the preference, then acknowledge."""
    named, _, reply_id = str(body["actions"][0].get("value") or "").partition(":")
    place = place_of(body)
    which = next((known for known in LABELS if known == named), None)
    problem = None
    if which is not None:
        who = person(place.team, place.user)
        try:
            await workspace.service.store.submit(lambda db: _prefer(db, reply_id, who, which))
        except UnderstudyError as error:
            problem = error
    await ack()
    if which is not None:
        text = THANKS[which] if problem is None else str(problem)
        workspace.tasks.start(workspace.tell(place, text), "thanks")


def _prefer(db: Database, reply_id: str, who: str, which: Preferred) -> None:
    if side_by_side.of_reply(db, reply_id).person != who:
        raise Forbidden("Only the person who asked can choose between these two answers.")
    feedback.prefer(db, reply_id, who, which)


def _closed(text: str) -> str:
    """The text with an open code fence closed, so that the fence does not swallow what follows."""
    opening = reopened(text, MARKDOWN).strip()
    if not opening.startswith(("```", "~~~")):
        return text
    return f"{text}\n{opening[: len(opening) - len(opening.lstrip(opening[0]))]}"
