"""One answer being written: which engine writes it, and failover when that engine fails.

- The intended adapter is tried first, on every replica that holds it, then each fallback in order.
- Before its first word, an answer may move to any of these; the store records the move first.
- If none is left, `bot/answering/chat.py` quotes an approved answer where there is one. A question
  with such an answer waits for no engine.
- After its first word, only the same adapter at the same precision may continue the text.
- While an engine restarts, questions wait for it, and so do the answers that it interrupted.
- A replica or adapter with an open circuit is skipped (`bot/answering/circuit_breaker.py`).
- Each replica writes a limited number of answers at once; the others wait in a queue
  (`bot/answering/admission.py`).
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from sqlite_utils import Database

from bot.answering import prompt, recording, routing
from bot.answering.admission import Admission, TooBusy
from bot.answering.circuit_breaker import Attempt, Breaker
from bot.answering.grounding import Grounds
from bot.answering.plan import AnswerPlan, NobodyCanAnswer, read
from bot.answering.prompt import Ask, Prompt
from bot.answering.recording import Record
from bot.answering.routing import NoEngine, Route, Target
from data.adapters import placements, registry
from data.adapters.placements import Replica
from data.config.settings import Settings
from data.pairs.reply_sources import Source
from data.search import layout
from data.store.db import Store
from data.store.errors import Unavailable, UnderstudyError
from serving.client import (
    AdapterMissing,
    Chunk,
    EngineBusy,
    EngineClient,
    EngineDown,
    EngineGone,
    PromptTooLong,
    Sampling,
    StreamCut,
    WrongAdapter,
)

log = logging.getLogger(__name__)

MAX_ENGINE_FAILURES = 2  # after this many, a question stops waiting for engines
POLL_S = 0.25  # between checks for an engine that restarts
MAX_PLANS = 5  # attempts to open a reply while adapters are being moved
MAX_RESUMES = 2  # interruptions of one answer that another replica may repair
QUEUE_SHARE = 0.5  # of an answer's time that it may spend in the queue, once an engine is ready
JUST_STARTED = "The engine has just started and answers earlier questions first"
REPLAN_AFTER_S = 1.0  # after a longer wait, the plan is read again
RETRY_S = 30  # the advice after a wait that ended without a slot
FIRST_WORD_SHARE = 0.25  # of an answer's time limit; then the next target is tried, if any


class NotLearned(Unavailable):
    """The adapter cannot know the approved answer, because it was approved after its training."""


class SystemPromptTooLong(Unavailable):
    """The system prompt of the variant or the domain leaves no room for a question."""


class TookTooLong(StreamCut):
    """The answer has reached its time limit."""


# worth trying another target
FAILURES = (EngineDown, AdapterMissing, WrongAdapter, StreamCut, SystemPromptTooLong)


@dataclass(frozen=True)
class Engines:
    """The objects that all answers of a process share."""

    store: Store
    client: EngineClient
    settings: Settings
    breaker: Breaker
    admission: Admission
    control_tokens: frozenset[str]  # of the base model


class Writing:
    """One answer. `begin` it, read its `chunks`, and `leave` it in any case."""

    def __init__(self, engines: Engines, ask: Ask, grounds: Grounds | None = None) -> None:
        self.record = Record()
        self.grounds = grounds
        self.plan: AnswerPlan | None = None  # None: no reply has been opened
        self._route: Route | None = None
        self._ask = ask
        self._engines = engines
        self._bot = engines.settings.bot
        self._prompt: Prompt | None = None
        self._deadline = asyncio.get_running_loop().time() + self._bot.answer_timeout_s
        self._tried: set[tuple[str, str]] = set()  # replica and adapter
        self._slot_at = ""  # the replica where it has a slot
        self._attempt: Attempt | None = None  # at that replica, for the circuit breaker
        self._slot_since = 0.0  # when it got its last slot; 0: never
        self._requests = 0
        self._interruptions: list[UnderstudyError] = []  # failures after text was shown
        self._engine_failures = 0  # the question itself may be the cause
        self._engine_wait_until: float | None = None  # the end of the wait for an engine
        self._queue_until: float | None = None  # the end of the wait in the queue

    @property
    def route(self) -> Route:
        """The present route."""
        if self._route is None:
            raise AssertionError("no route was found yet")
        return self._route

    @property
    def intended(self) -> Target | None:
        """The target that should answer; None if no reply has been opened."""
        return self.plan.targets[0] if self.plan is not None else None

    @property
    def may_decline(self) -> bool:
        """Whether the adapter may find that its references do not answer the question."""
        return self.layout > 0 and self.grounds is not None and self.grounds.may_decline

    @property
    def layout(self) -> int:
        """The layout of the references in the prompt; 0 if there are none."""
        sent = self._prompt is not None and bool(self._prompt.references)
        return self.route.target.layout if sent else layout.NONE

    @property
    def sources(self) -> tuple[Source, ...]:
        """The pairs in the prompt; if the adapter reads none, the pairs that were found."""
        if self.grounds is None:
            return ()
        if self._prompt is not None and self.layout:
            return self.grounds.sources[: len(self._prompt.references)]
        return self.grounds.sources

    async def begin(self) -> None:
        """Find a route and open the reply there. Raises NobodyCanAnswer and the errors of
        `assignment.targets_for`; then nothing is recorded."""
        await self._find_route(None)

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """The answer, with failover. Raises the last error when no target is left."""
        while True:
            attempt = self._attempt
            assert attempt is not None, "no route was found yet"
            try:
                async with contextlib.aclosing(self._request(self.route)) as chunks:
                    async for chunk in chunks:
                        attempt.started()
                        self.record.add(chunk)
                        yield chunk
            except UnderstudyError as error:
                failure = error
                self._report_failure(attempt, error)
            else:
                attempt.succeeded()
                self.leave(asyncio.get_running_loop().time() - self._slot_since)
                return
            finally:
                attempt.release()
            await self._fail_over(failure)

    def leave(self, seconds: float | None = None) -> None:
        """Free the slot at the replica; `seconds` is how long the answer took, if complete."""
        if self._attempt is not None:
            self._attempt.release()
            self._attempt = None
        if self._slot_at:
            self._engines.admission.leave(self._ask.person, self._slot_at, seconds)
            self._slot_at = ""

    @property
    def _may_quote(self) -> bool:
        return self.grounds is not None and self.grounds.may_quote

    # -- finding a route ---------------------------------------------------------------------

    async def _find_route(self, error: UnderstudyError | None) -> None:
        """Take the first target that is available; `error` is the failure of the previous one.
        While none is available, wait for an engine that restarts."""
        while True:
            try:
                return await self._find_available(error)
            except (NobodyCanAnswer, NoEngine) as unavailable:
                self.leave()  # the slot may be at an engine that stopped in the meantime
                await self._wait_for_engine(unavailable)

    async def _find_available(self, error: UnderstudyError | None) -> None:
        for _ in range(MAX_PLANS):
            plan, target, replicas = await self._first_available(error)
            waited_s = await self._take_slot(replicas)
            if waited_s > REPLAN_AFTER_S:  # another adapter may have been promoted
                plan, target, replicas = await self._first_available(error)
            instead_of = None if target is plan.targets[0] else plan.targets[0]
            at = self._slot_at
            route = next((Route(target, r, instead_of) for r in replicas if r.name == at), None)
            if route and self._start_attempt(route) and await self._record(plan, route):
                found = self.grounds.references if self.grounds else ()
                self._prompt = prompt.build_prompt(
                    self._ask,
                    plan.domain,
                    target.variant,
                    plan.history,
                    self._bot,
                    found[: target.references],
                    self._engines.control_tokens,
                )
                return
            self.leave()
        raise EngineDown("The adapters are being moved right now. Try again in a moment.")

    async def _has_not_learned(self, target: Target) -> bool:
        """Whether the target can neither have the best pair's answer from its training nor read it.
        Variants of a comparison answer in any case, so that each is judged by all questions."""
        grounds = self.grounds
        if grounds is None or not self._may_quote or target.layout or target.variant is not None:
            return False
        adapter, best = target.adapter, grounds.references[0]
        if adapter is None:
            return False
        return not await self._engines.store.read(
            lambda db: registry.learned(db, adapter, best.fact, best.response)
        )

    async def _first_available(
        self, error: UnderstudyError | None
    ) -> tuple[AnswerPlan, Target, list[Replica]]:
        """The plan, the first available target in it, and its replicas. Raises NobodyCanAnswer and
        NotLearned."""
        turns, grounded = self._bot.history_turns, self.grounds is not None
        plan = await self._engines.store.read(
            lambda db: read(db, self._ask, turns, grounded=grounded)
        )
        for target in plan.targets:
            if replicas := self._available(target, target.replicas):
                if await self._has_not_learned(target):
                    raise NotLearned(f"{target.name} was not trained on the approved answer.")
                return plan, target, replicas
        raise self._unavailable(plan, error) from error

    def _available(self, target: Target, replicas: Sequence[Replica]) -> list[Replica]:
        """The replicas where `target` has not failed in this answer and its circuit is closed."""
        breaker, name = self._engines.breaker, target.name
        for replica in replicas:
            breaker.note_generation(replica.name, replica.generation)
        untried = [r for r in replicas if (r.name, name) not in self._tried]
        return [r for r in untried if breaker.allows(r.name, name)]

    def _unavailable(self, plan: AnswerPlan, error: UnderstudyError | None) -> NobodyCanAnswer:
        """The error that names the cause and the time to retry."""
        breaker = self._engines.breaker
        keys = [(r.name, target.name) for target in plan.targets for r in target.replicas]
        wait_s = min((breaker.wait_s(*key) for key in keys), default=0.0)
        reason = str(error or "") or next(filter(None, (breaker.reason(*k) for k in keys)), "")
        return NobodyCanAnswer(plan.targets, reason, max(1, math.ceil(wait_s)))

    async def _take_slot(self, replicas: Sequence[Replica]) -> float:
        """Wait for a slot at one of the replicas; returns the wait in seconds. An answer that had a
        slot before skips the queue. Raises TooBusy."""
        started = asyncio.get_running_loop().time()
        names, resuming = [r.name for r in replicas], self._slot_since > 0
        if self._queue_until is None:
            self._queue_until = started + QUEUE_SHARE * (self._deadline - started)
        try:
            async with asyncio.timeout_at(self._deadline if resuming else self._queue_until):
                self._slot_at = await self._engines.admission.enter(
                    self._ask.person, names, address=self._ask.address, resuming=resuming
                )
        except TimeoutError:
            if self._engine_wait_until is not None:
                raise TooBusy(RETRY_S, JUST_STARTED) from None
            raise TooBusy(RETRY_S) from None
        self._slot_since = asyncio.get_running_loop().time()
        return self._slot_since - started

    def _start_attempt(self, route: Route) -> bool:
        """Start an attempt; False when the circuit is open or another request is its probe."""
        if not self._engines.breaker.allows(*route.key):
            return False
        self._attempt = self._engines.breaker.attempt(*route.key)
        return True

    async def _wait_for_engine(self, unavailable: UnderstudyError) -> None:
        """Wait a moment for an engine that restarts; then every target may be tried again.

        Raises `unavailable` when no engine is expected back, too many questions wait already, or
        `[bot] engine_wait_s` is over; and at once if an approved answer can be quoted, because
        people prefer that to waiting. A question that engines keep failing on is given up, because
        it may be the cause of the failures."""
        if self._may_quote and not self.record.parts:
            raise unavailable
        engines, now = self._engines, asyncio.get_running_loop().time()
        if self._engine_wait_until is None:
            self._engine_wait_until = min(now + self._bot.engine_wait_s, self._deadline)
        if now >= self._engine_wait_until or self._engine_failures >= MAX_ENGINE_FAILURES:
            raise unavailable
        restarting = await engines.store.read(placements.count_expected)
        capacity = self._bot.max_in_flight + self._bot.max_waiting  # of each engine, once it is up
        if engines.admission.waiting_for_engine >= capacity * restarting:
            raise unavailable
        with engines.admission.wait_for_engine():
            await asyncio.sleep(POLL_S)
        self._tried.clear()
        self._queue_until = None  # what it waited here does not count as time in the queue

    async def _record(self, plan: AnswerPlan, route: Route) -> bool:
        """Record the route in the store; False when it is no longer valid."""
        old_route, old_plan = self._route, self.plan

        def write(db: Database) -> bool:
            if old_route is None:
                return recording.open_reply(db, self._ask, plan.domain, route, self.grounds)
            return recording.move_reply(db, self._ask, old_route, route)

        self.plan, self._route = plan, route  # set first, because the wait may be cancelled
        written = await self._engines.store.submit(write)
        if not written:
            self.plan, self._route = old_plan, old_route
        return written

    # -- the request -------------------------------------------------------------------------

    async def _request(self, route: Route) -> AsyncGenerator[Chunk, None]:
        """The answer of one replica to the longest prompt that fits its context; only the rest if
        another replica wrote the beginning."""
        shown, limit = self.record.text, self._first_word_deadline(route)
        while self._prompt is not None:
            sampling = self._for_rest(self._prompt.sampling)
            if sampling.max_tokens <= 0:  # interrupted after its last permitted token
                yield Chunk("", "length")
                return
            stream = self._engines.client.stream(
                route.replica.url,
                route.served_name,
                self._prompt.messages,
                sampling,
                self._request_id(),
                self._ask.prefix + shown,
            )
            try:
                async with contextlib.aclosing(stream) as chunks:
                    while True:
                        async with asyncio.timeout_at(limit):
                            chunk = await anext(chunks, None)
                        if chunk is None:
                            return
                        limit = self._deadline
                        yield chunk
            except TimeoutError:
                raise self._timed_out(route) from None
            except PromptTooLong as error:
                self._prompt = self._prompt.shorter()
                if shown:
                    raise StreamCut("There is no room for the rest of the answer.") from error
                if self._prompt is None:  # without earlier turns and references
                    raise self._too_long(route, error) from error

    def _too_long(self, route: Route, error: PromptTooLong) -> UnderstudyError:
        """The error when nothing can be left out any more. It is the caller's, unless what the
        caller sent is so small that only the system prompt can be too long."""
        if error.limit is None or not prompt.is_small(self._ask, error.limit):
            return PromptTooLong(error.tokens, error.limit, "question")
        return SystemPromptTooLong(
            f"The system prompt of {route.target.name} is too long: it leaves no room for a "
            f"question in a context of {error.limit} tokens."
        )

    @property
    def history_dropped(self) -> int:
        """How many earlier messages did not fit into the prompt."""
        return self._prompt.history_dropped if self._prompt is not None else 0

    @property
    def without_quoted(self) -> bool:
        """Whether what the question quotes did not fit into the prompt."""
        sent = self._prompt
        return bool(self._ask.quoted.text and sent is not None and not sent.quoted)

    def _for_rest(self, sampling: Sampling) -> Sampling:
        """The sampling settings, limited to the tokens that are left for the answer."""
        used = self.record.completion_tokens
        return replace(sampling, max_tokens=sampling.max_tokens - used) if used else sampling

    def _request_id(self) -> str:
        self._requests += 1
        retry = f"-{self._requests - 1}" if self._requests > 1 else ""
        return f"{self._ask.reply_id}{retry}"

    def _first_word_deadline(self, route: Route) -> float:
        """When to give up on a silent replica: early only if there is something else to try."""
        targets = () if self.plan is None or self.record.parts else self.plan.targets
        available = [(r.name, t.name) for t in targets for r in self._available(t, t.replicas)]
        if not self._may_quote and not any(key != route.key for key in available):
            return self._deadline
        patience_s = FIRST_WORD_SHARE * self._bot.answer_timeout_s
        return min(self._deadline, asyncio.get_running_loop().time() + patience_s)

    def _timed_out(self, route: Route) -> UnderstudyError:
        if asyncio.get_running_loop().time() >= self._deadline:
            return TookTooLong(f"The answer took longer than {self._bot.answer_timeout_s} seconds.")
        return EngineDown(f"{route.target.name} on {route.replica.name} did not start to answer.")

    # -- failover ----------------------------------------------------------------------------

    def _report_failure(self, attempt: Attempt, error: UnderstudyError) -> None:
        """Report a failure to the circuit breaker."""
        name, replica = self.route.target.name, self.route.replica.name
        match error:
            case WrongAdapter():
                log.error("%s on %s: %s", name, replica, error)
                attempt.adapter_failed(str(error))
            case AdapterMissing():
                attempt.adapter_failed(str(error))
            case EngineGone():
                attempt.replica_failed(str(error))
            case EngineBusy():
                attempt.asked_to_wait(str(error), error.retry_after)
            case TookTooLong() if self.record.parts:
                pass  # a long answer is not a failure of the engine
            case EngineDown() | StreamCut():
                self._engine_failures += 1
                attempt.failed(str(error))

    async def _fail_over(self, error: UnderstudyError) -> None:
        """Switch to the next target, or continue the text with the same adapter on another replica.
        Raises the error when neither is possible."""
        route = self.route
        if isinstance(error, TookTooLong):
            raise error
        if self.record.parts:
            await self._resume(route, error)
        elif isinstance(error, FAILURES):
            log.warning("%s on %s did not answer: %s", *reversed(route.key), error)
            self._tried.add(route.key)
            self.leave()
            await self._find_route(error)
        else:
            raise error

    async def _resume(self, route: Route, error: UnderstudyError) -> None:
        """Move the rest of the answer to another replica with the same adapter and precision."""
        self._interruptions.append(error)
        self._tried.add(route.key)
        self.leave()
        first = self._interruptions[0]
        if isinstance(error, WrongAdapter):
            raise error
        if self._ask.constrained:  # the form would begin anew in the middle
            raise first
        too_often = len(self._interruptions) > MAX_RESUMES
        if self.plan is None or too_often or not isinstance(error, FAILURES):
            raise first
        new = await self._route_to_resume(route, first)
        if not await self._record(self.plan, new):
            raise first
        log.warning("%s continues %s after: %s", new.replica.name, self._ask.reply_id, error)
        self.record.resume()

    async def _route_to_resume(self, route: Route, first: UnderstudyError) -> Route:
        """A slot at a replica that can continue the answer; waits for an engine that restarts.
        Raises `first` when there is none."""
        while True:
            while not (replicas := await self._replicas_to_resume(route)):
                await self._wait_for_engine(first)
            try:
                await self._take_slot(replicas)
            except TooBusy as busy:
                raise first from busy
            new = replace(route, replica=next(r for r in replicas if r.name == self._slot_at))
            if self._start_attempt(new):
                return new
            self.leave()

    async def _replicas_to_resume(self, route: Route) -> list[Replica]:
        """The available replicas that hold the same adapter at the same precision."""
        store, target = self._engines.store, route.target
        holding = await store.read(lambda db: routing.replicas_holding(db, target))
        same = [r for r in holding if r.precision == route.replica.precision]
        return self._available(target, same)
