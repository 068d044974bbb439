"""What the store knows that decides an answer, read at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from bot.answering import assignment
from bot.answering.assignment import Order
from bot.answering.prompt import Ask
from data import domains
from data.conversations import conversations
from data.conversations.conversations import Message
from data.domains import Domain
from serving.client import EngineDown


class NobodyCanAnswer(EngineDown):
    """Who should answer has failed, and everyone who could stand in."""

    def __init__(self, order: Order, why: str, retry_after: int) -> None:
        """`retry_after` in seconds."""
        self.retry_after = retry_after
        name = order[0].name
        who = f"{name} cannot" if len(order) == 1 else f"Neither {name} nor a stand-in can"
        again = "a second" if retry_after == 1 else f"{retry_after} seconds"
        super().__init__(f"{who} answer now: {why.rstrip('.')}. Try again in {again}.")


@dataclass(frozen=True)
class AnswerPlan:
    domain: Domain
    order: Order  # who should answer, then who stands in
    history: Sequence[Message]  # earlier turns, the oldest first


def read(db: Database, ask: Ask, turns: int) -> AnswerPlan:
    """The plan for `ask` now, with at most so many earlier turns from the store. Raises what
    `assign.choose` does."""
    known = conversations.find(db, ask.thread)
    domain = ask.domain
    if known is not None and known.domain_id != domain.id:
        domain = domains.by_id(db, known.domain_id)  # a conversation keeps its first domain
    history: Sequence[Message] = ask.history or ()
    if ask.history is None and known is not None:
        history = conversations.history(db, known.id, turns)
    return AnswerPlan(
        domain, assignment.choose(db, domain, ask.person, ask.pinned, ask.beside), history
    )
