"""How the store records an answer: its start, its adapter and replica, its end.

A reply is opened, or moved to another replica or adapter, only in a transaction that finds the
adapter loaded on that replica. Therefore a process that drains an adapter afterwards sees every
reply that still needs it.
"""

import time
from dataclasses import dataclass, field

from sqlite_utils import Database

from bot.answering.prompt import Ask
from bot.answering.routing import Route, Target
from data.adapters import placements
from data.conversations import conversations
from data.conversations.conversations import Status
from data.domains import Domain
from data.experiments import assignments
from data.store.errors import UnderstudyError
from serving.client import Chunk


@dataclass(frozen=True)
class Closed:
    """How an answer ended, for the metrics (`bot/runtime/metrics.py`). Times in microseconds."""

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
    """The state of an answer while it is written."""

    started_ns: int = field(default_factory=time.perf_counter_ns)
    parts: list[str] = field(default_factory=list)
    first_token_us: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = ""
    _earlier_tokens: int = 0  # tokens from replicas that were interrupted

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def age_us(self) -> int:
        return (time.perf_counter_ns() - self.started_ns) // 1000

    def add(self, chunk: Chunk) -> None:
        """Add a piece. It counts as one token until the engine reports the true number."""
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

    def resume(self) -> None:
        """Another replica continues the text; its token counts start at zero."""
        self._earlier_tokens = self.completion_tokens


def open_reply(db: Database, ask: Ask, domain: Domain, route: Route) -> bool:
    """Record the question, its reply and the person's exposure. Writes nothing and returns False
    when the replica no longer accepts requests for the adapter, or when the person has been
    assigned to another variant in the meantime."""
    target = route.target
    if not placements.can_answer(db, route.replica.name, target.adapter_id):
        return False
    if not _may_see(db, ask, target):
        return False
    thread = conversations.open_thread(db, ask.thread, domain.id, ask.person)
    conversations.ask(
        db,
        reply_id=ask.reply_id,
        conversation=thread,
        person=ask.person,
        text=ask.text,
        external_id=ask.external_id,
        adapter_id=target.adapter_id,
        variant_id=target.variant.id if target.variant else None,
        replica=route.replica.name,
        precision=route.replica.precision,
        instead_of=route.instead_of.adapter_id if route.instead_of else None,
        again_of=ask.regenerates,
        continues=ask.continues,
    )
    _expose(db, ask, route)
    return True


def move_reply(db: Database, ask: Ask, old: Route, new: Route) -> bool:
    """Record that another target answers, or the same one on another replica. Returns False in the
    same cases as `open_reply`."""
    before, target = old.target, new.target
    if not placements.can_answer(db, new.replica.name, target.adapter_id):
        return False
    if target != before and not _may_see(db, ask, target):
        return False
    conversations.record_new_target(
        db,
        ask.reply_id,
        adapter_id=target.adapter_id,
        variant_id=target.variant.id if target.variant else None,
        replica=new.replica.name,
        precision=new.replica.precision,
        instead_of=new.instead_of.adapter_id if new.instead_of else None,
    )
    _expose(db, ask, new)
    return True


def _may_see(db: Database, ask: Ask, target: Target) -> bool:
    if target.experiment_id is None or target.variant is None or target.is_second_answer:
        return True
    return assignments.may_see(db, target.experiment_id, ask.person, target.variant.id)


def _expose(db: Database, ask: Ask, route: Route) -> None:
    """Record that the person is on the variant that should have answered, even if a fallback
    answers. Otherwise a failing variant would lose people, and the split would look broken. The
    second of two blinded answers is no exposure, because the person does not know whose it is."""
    intended = route.instead_of or route.target
    if intended.experiment_id is None or intended.variant is None or intended.is_second_answer:
        return
    if _may_see(db, ask, intended):
        assignments.expose(
            db, intended.experiment_id, ask.person, intended.variant.id, intended.stage
        )


def close_reply(
    db: Database,
    reply_id: str,
    record: Record,
    status: Status,
    latency_us: int,
    error: BaseException | None,
) -> None:
    """Record how the answer ended, with the text that was shown."""
    expected = error is None or isinstance(error, UnderstudyError)
    conversations.finish_reply(
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
