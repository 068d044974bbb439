"""How the store records an answer: its start, its adapter and replica, its end.

A reply is opened, or moved to another replica or adapter, only in a transaction that finds the
adapter loaded on that replica. Therefore a process that drains an adapter afterwards sees every
reply that still needs it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlite_utils import Database

from bot.answering import tool_use
from bot.answering.grounding import Grounds
from bot.answering.prompt import Ask
from bot.answering.routing import Route, Target
from data.adapters import placements, registry
from data.conversations import conversations
from data.conversations.conversations import Outcome, Status
from data.domains import Domain
from data.experiments import assignments
from data.feedback import unanswered
from data.pairs import reply_sources
from data.pairs.reply_sources import Source
from data.store.errors import UnderstudyError
from serving.client import Chunk, ToolCall


@dataclass(frozen=True)
class Closed:
    """How an answer ended, for the metrics (`bot/runtime/metrics.py`). Times in microseconds."""

    domain: str
    adapter: str  # '' if none wrote it
    status: Status
    first_token_us: int | None
    latency_us: int
    prompt_tokens: int
    completion_tokens: int
    instead_of: str | None = None  # the adapter that should have answered and could not
    outcome: Outcome = "generated"


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
        if chunk.tool_calls:
            self.parts.append(tool_use.as_text(chunk.tool_calls))
        self.finish_reason = chunk.finish_reason or self.finish_reason
        if chunk.prompt_tokens and not self.prompt_tokens:
            self.prompt_tokens = chunk.prompt_tokens - self._earlier_tokens
        if chunk.completion_tokens:
            self.completion_tokens = self._earlier_tokens + chunk.completion_tokens

    def end_with_calls(self, calls: tuple[ToolCall, ...], *, alone: bool) -> None:
        """The answer has ended, and calls tools. `alone`: all of its text is calls."""
        if self.finish_reason == "stop":
            self.finish_reason = tool_use.CALLED
        if alone and self.finish_reason == tool_use.CALLED:
            self.parts = [tool_use.as_text(calls)]

    def keep_shown(self, started: bool) -> None:
        """The answer ends early. Unless it `started`, all of it was held back: nobody saw it."""
        if not started:
            self.parts = []

    def resume(self) -> None:
        """Another replica continues the text; its token counts start at zero."""
        self._earlier_tokens = self.completion_tokens


def open_reply(
    db: Database, ask: Ask, domain: Domain, route: Route, grounds: Grounds | None = None
) -> bool:
    """Record the question, its reply and the person's exposure. Writes nothing and returns False
    when the replica no longer accepts requests for the adapter, or when the person has been
    assigned to another variant in the meantime."""
    target = route.target
    if not placements.can_answer(db, route.replica.name, target.adapter_id):
        return False
    if not _may_see(db, ask, target):
        return False
    _ask(
        db,
        ask,
        domain,
        grounds,
        adapter_id=target.adapter_id,
        variant_id=target.variant.id if target.variant else None,
        replica=route.replica.name,
        precision=route.replica.precision,
        instead_of=route.instead_of.adapter_id if route.instead_of else None,
        uncertain=grounds is not None and grounds.uncertain,
    )
    _expose(db, ask, route.instead_of or route.target)
    return True


def _ask(db: Database, ask: Ask, domain: Domain, grounds: Grounds | None, **reply: Any) -> None:
    """Record a question and open its reply. `reply`: what is known of who answers."""
    conversations.ask(
        db,
        reply_id=ask.reply_id,
        conversation=conversations.open_thread(db, ask.thread, domain.id, ask.person),
        person=ask.person,
        text=ask.text if ask.store else None,
        external_id=ask.external_id,
        again_of=ask.regenerates,
        continues=ask.continues,
        similarity=grounds.found.similarity if grounds else None,
        confidence=grounds.found.confidence if grounds else None,
        constrained=not ask.plain,
        **reply,
    )


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
    _expose(db, ask, new.instead_of or new.target)
    return True


def give(
    db: Database,
    ask: Ask,
    grounds: Grounds,
    outcome: Outcome,
    latency_us: int,
    *,
    intended: Target | None = None,
    failed: bool = False,
    opened: bool = False,
) -> Target | None:
    """Record an answer that no engine writes, from its question to its end, and return the target
    that should have written it, if any.

    It belongs to no adapter, and to a variant only if variants answer in different ways and nothing
    failed. `failed`: the adapters that should have answered could not. `intended` is the first of
    these, if known; its exposure counts as it does for a fallback. `opened`: the reply was opened
    for an engine."""
    if failed and intended is None:
        live = registry.live(db, grounds.domain.id)
        intended = Target(live, ()) if live is not None else None
    instead_of = intended.adapter_id if intended is not None else None
    compared = None if failed or opened else grounds.compared
    if compared is not None and not _may_see(db, ask, compared):
        compared = None
    if opened:
        conversations.not_generated(db, ask.reply_id, outcome, instead_of)
    else:
        _ask(
            db,
            ask,
            grounds.domain,
            grounds,
            adapter_id=None,
            variant_id=compared.variant.id if compared and compared.variant else None,
            instead_of=instead_of,
            outcome=outcome,
            uncertain=outcome == "quoted" and grounds.uncertain,
        )
        if (meant := intended or compared) is not None:
            _expose(db, ask, meant)
    closed = conversations.finish_reply(
        db,
        ask.reply_id,
        grounds.text(outcome) if ask.store else None,
        status="done",
        finish_reason="stop",
        first_token_us=latency_us,
        latency_us=latency_us,
    )
    if closed:
        reply_sources.record(db, ask.reply_id, grounds.sources_of(outcome))
        if outcome == "declined" and ask.store:
            unanswered.add(db, ask.reply_id, grounds.domain)
    return intended


def _may_see(db: Database, ask: Ask, target: Target) -> bool:
    if target.experiment_id is None or target.variant is None or target.is_second_answer:
        return True
    return assignments.may_see(db, target.experiment_id, ask.person, target.variant.id)


def _expose(db: Database, ask: Ask, intended: Target) -> None:
    """Record that the person is on the variant that should have answered, even if a fallback
    answers. Otherwise a failing variant would lose people, and the split would look broken. The
    second of two blinded answers is no exposure, because the person does not know whose it is."""
    if intended.experiment_id is None or intended.variant is None or intended.is_second_answer:
        return
    if _may_see(db, ask, intended):
        assignments.expose(
            db,
            intended.experiment_id,
            ask.person,
            intended.variant.id,
            intended.stage,
            ask.address,
        )


def take_back(db: Database, ask: Ask) -> None:
    """Remove a question and its reply, as if it had never been asked. A person who got no other
    answer since has not been exposed either."""
    opened = conversations.remove(db, ask.reply_id)
    if opened is not None and ask.second_variant is None and ask.task is None:
        assignments.take_back(db, opened.domain_id, ask.person, opened.created_at, ask.thread)


def close_declined(
    db: Database, ask: Ask, grounds: Grounds, record: Record, latency_us: int, layout: int
) -> None:
    """Record that the adapter declined: it said that the references do not answer the question, and
    people read the domain's own words instead. The reply stays the adapter's and its variant's."""
    closed = conversations.finish_reply(
        db,
        ask.reply_id,
        grounds.text("declined") if ask.store else None,
        status="done",
        finish_reason="stop",
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        first_token_us=latency_us,
        latency_us=latency_us,
        layout=layout,
    )
    if closed:
        conversations.set_outcome(db, ask.reply_id, "declined")
        reply_sources.record(db, ask.reply_id, grounds.sources_of("declined"))
        if ask.second_variant is None and ask.store:
            unanswered.add(db, ask.reply_id, grounds.domain)


def close_reply(
    db: Database,
    ask: Ask,
    record: Record,
    status: Status,
    latency_us: int,
    error: BaseException | None,
    sources: Sequence[Source] = (),
    layout: int = 0,
) -> None:
    """Record how the answer ended, with the text that was shown, the pairs that it rests on, and
    the layout in which these were sent (0: they were not)."""
    expected = error is None or isinstance(error, UnderstudyError)
    closed = conversations.finish_reply(
        db,
        ask.reply_id,
        record.text if ask.store else None,
        status=status,
        finish_reason=record.finish_reason,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        first_token_us=record.first_token_us,
        latency_us=latency_us,
        error="" if error is None else str(error) if expected else "internal error",
        layout=layout,
    )
    if closed and status != "failed":
        reply_sources.record(db, ask.reply_id, sources)
