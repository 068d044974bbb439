"""What the store keeps of an answer: that it was begun, who writes it, how it ended.

A reply is opened, and moved to another replica or adapter, only in a transaction that finds the
adapter held there. So whoever drains an adapter afterwards sees every reply that still needs it.
"""

import time
from dataclasses import dataclass, field

from sqlite_utils import Database

from bot.answering.assignment import Choice, Route
from bot.answering.prompt import Ask
from data.adapters import placements
from data.conversations import conversations
from data.conversations.conversations import Status
from data.domains import Domain
from data.experiments import assignments
from data.store.errors import UnderstudyError
from serving.client import Chunk


@dataclass(frozen=True)
class Closed:
    """How an answer ended, for who counts (`bot/runtime/metrics.py`). Times in microseconds."""

    domain: str
    adapter: str
    status: Status
    first_token_us: int | None
    latency_us: int
    prompt_tokens: int
    completion_tokens: int
    instead_of: str | None = None  # the adapter that should have answered and could not


@dataclass
class Record:
    """What is known of an answer while it is written."""

    began_ns: int = field(default_factory=time.perf_counter_ns)
    parts: list[str] = field(default_factory=list)
    first_token_us: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = ""
    _earlier_tokens: int = 0  # of the answer, from a replica that broke off

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def age_us(self) -> int:
        return (time.perf_counter_ns() - self.began_ns) // 1000

    def add(self, chunk: Chunk) -> None:
        """Pieces count as a token each until the engine says how many there were."""
        if chunk.text:
            if self.first_token_us is None:
                self.first_token_us = self.age_us()
            self.parts.append(chunk.text)
            self.completion_tokens += 1
        self.finish_reason = chunk.finish_reason or self.finish_reason
        if chunk.prompt_tokens and not self.prompt_tokens:
            self.prompt_tokens = chunk.prompt_tokens - self._earlier_tokens
        if chunk.completion_tokens:
            self.completion_tokens = self._earlier_tokens + chunk.completion_tokens

    def go_on(self) -> None:
        """Another replica goes on with the text; what it counts begins at zero."""
        self._earlier_tokens = self.completion_tokens


def open_reply(db: Database, ask: Ask, domain: Domain, route: Route) -> bool:
    """The question, its reply and the person's exposure. False, and nothing is written, when the
    adapter may not be asked there any more, or the person is on another variant meanwhile."""
    choice = route.choice
    if not placements.can_answer(db, route.replica.name, choice.adapter_id):
        return False
    if not _may_see(db, ask, choice):
        return False
    thread = conversations.open_thread(db, ask.thread, domain.id, ask.person)
    conversations.ask(
        db,
        reply_id=ask.reply_id,
        conversation=thread,
        person=ask.person,
        text=ask.text,
        external_id=ask.external_id,
        adapter_id=choice.adapter_id,
        variant_id=choice.variant.id if choice.variant else None,
        replica=route.replica.name,
        precision=route.replica.precision,
        instead_of=route.instead_of.adapter_id if route.instead_of else None,
        again_of=ask.again_of,
        continues=ask.continues,
    )
    _expose(db, ask, route)
    return True


def move_reply(db: Database, ask: Ask, old: Route, new: Route) -> bool:
    """Another one answers, or the same one elsewhere. False as for `open_reply`."""
    before, choice = old.choice, new.choice
    if not placements.can_answer(db, new.replica.name, choice.adapter_id):
        return False
    if choice != before and not _may_see(db, ask, choice):
        return False
    conversations.moved(
        db,
        ask.reply_id,
        adapter_id=choice.adapter_id,
        variant_id=choice.variant.id if choice.variant else None,
        replica=new.replica.name,
        precision=new.replica.precision,
        instead_of=new.instead_of.adapter_id if new.instead_of else None,
    )
    _expose(db, ask, new)
    return True


def _may_see(db: Database, ask: Ask, choice: Choice) -> bool:
    if choice.experiment_id is None or choice.variant is None or choice.beside:
        return True
    return assignments.may_see(db, choice.experiment_id, ask.person, choice.variant.id)


def _expose(db: Database, ask: Ask, route: Route) -> None:
    """Who should answer is what the person is on, also where something stands in: were they left
    out, a variant that fails would lose people and nobody could tell why. An answer beside the
    person's own is no exposure: they are told of neither whose it is."""
    due = route.instead_of or route.choice
    if due.experiment_id is None or due.variant is None or due.beside or not _may_see(db, ask, due):
        return
    assignments.expose(db, due.experiment_id, ask.person, due.variant.id, due.stage)


def close_reply(
    db: Database,
    reply_id: str,
    record: Record,
    status: Status,
    latency_us: int,
    error: BaseException | None,
) -> None:
    """How it ended, with the text that was shown."""
    expected = error is None or isinstance(error, UnderstudyError)
    conversations.answered(
        db,
        reply_id,
        record.text,
        status=status,
        finish_reason=record.finish_reason,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        first_token_us=record.first_token_us,
        latency_us=latency_us,
        error="" if error is None else str(error) if expected else "internal error",
    )
