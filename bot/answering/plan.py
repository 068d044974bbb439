"""Everything in the store that decides one answer, read in one go."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from bot.answering import routing
from bot.answering.prompt import Ask
from bot.answering.routing import Targets
from data import domains
from data.conversations import conversations
from data.conversations.conversations import Message
from data.domains import Domain
from serving.client import EngineDown


class NobodyCanAnswer(EngineDown):
    """The intended target and all its fallbacks have failed."""

    def __init__(self, targets: Targets, reason: str, retry_after: int) -> None:
        """`retry_after` is in seconds."""
        self.retry_after = retry_after
        self.targets = targets
        name = targets[0].name
        who = f"{name} cannot" if len(targets) == 1 else f"Neither {name} nor a fallback can"
        because = f": {reason.rstrip('.')}" if reason else ""
        when = "a second" if retry_after == 1 else f"{retry_after} seconds"
        super().__init__(f"{who} answer right now{because}. Try again in {when}.")


@dataclass(frozen=True)
class AnswerPlan:
    domain: Domain
    targets: Targets  # the intended target first, then its fallbacks
    history: Sequence[Message]  # earlier turns, the oldest first


def conversation(db: Database, ask: Ask, turns: int) -> tuple[Domain, Sequence[Message]]:
    """The domain that answers `ask`, and at most `turns` earlier turns, the oldest first."""
    known = conversations.find(db, ask.thread)
    domain = ask.domain
    if known is not None and known.domain_id != domain.id:
        domain = domains.by_id(db, known.domain_id)  # a conversation keeps its first domain
    history: Sequence[Message] = ask.history or ()
    if ask.history is None and known is not None:
        history = conversations.history(db, known.id, turns)
    return domain, history


def read(db: Database, ask: Ask, turns: int, *, grounded: bool = False) -> AnswerPlan:
    """The plan for `ask` now, with at most `turns` earlier turns from the store. A `grounded`
    answer never falls back to the bare base, nor does that of an ungrounded variant. Raises the
    errors of `routing.targets_for`."""
    domain, history = conversation(db, ask, turns)
    compared = None
    if ask.plain:
        compared = routing.variant_with_own_answers(db, domain, ask.person, ask.second_variant)
    targets = routing.targets_for(
        db,
        domain,
        ask.person,
        ask.pinned,
        ask.second_variant,
        with_base=not grounded and compared is None,
        with_variants=ask.plain,
    )
    return AnswerPlan(domain, targets, history)
