"""One answer on its way from the engines: who writes it, and who goes on when that one fails.

- Who should answer is asked first, on each replica that holds it, then each stand-in in turn.
- Before its first word an answer may move to anyone in that order; the store is told first.
- After it, only the same adapter with the same precision goes on, from where the text broke off.
- While an engine is being started again, questions wait for it, and so do answers it broke off.
- Whoever has just failed is skipped while its circuit is open (`bot/answering/circuit_breaker.py`).
- Each replica writes so many answers at once; the rest wait (`bot/answering/admission.py`).
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from sqlite_utils import Database

from bot.answering import assignment, prompt, recording
from bot.answering.admission import Admission, TooBusy
from bot.answering.assignment import Choice, NoEngine, Route
from bot.answering.circuit_breaker import Attempt, Breaker
from bot.answering.plan import AnswerPlan, NobodyCanAnswer, read
from bot.answering.prompt import Ask, Prompt
from bot.answering.recording import Record
from data.adapters import placements
from data.adapters.placements import Replica
from data.config.settings import Settings
from data.store.db import Store
from data.store.errors import UnderstudyError
from serving.client import (
    AdapterMissing,
    Chunk,
    EngineClient,
    EngineDown,
    EngineGone,
    PromptTooLong,
    Sampling,
    StreamCut,
    WrongAdapter,
)

log = logging.getLogger(__name__)

BREAKS = 2  # engines that fail at a question: then it waits for no other
LOOK_S = 0.25  # between looks for an engine that is coming back
PLANS = 5  # so often an adapter may be drained between planning and opening
RESUMES = 2  # replicas that may break off in the middle of one answer and be replaced
FAILURES = (EngineDown, AdapterMissing, WrongAdapter, StreamCut)  # another may do better
WAIT_SHARE = 0.5  # of an answer's time, for a place at an engine
LONG_WAIT_S = 1.0  # what was planned before it is looked at anew
RETRY_S = 30  # when nothing came free for so long
FIRST_WORD_SHARE = 0.25  # of an answer's time: then the next one is asked, if there is one


class TookTooLong(StreamCut):
    """The time for an answer is over."""


@dataclass(frozen=True)
class Engines:
    """What all answers of a process share."""

    store: Store
    client: EngineClient
    settings: Settings
    breaker: Breaker
    admission: Admission


class Writing:
    """One answer. `begin` it, read its `chunks`, and `leave` it in any case."""

    def __init__(self, engines: Engines, ask: Ask) -> None:
        self.record = Record()
        self.plan: AnswerPlan | None = None  # None: nobody was found to answer
        self._route: Route | None = None
        self._ask = ask
        self._engines = engines
        self._bot = engines.settings.bot
        self._prompt: Prompt | None = None
        self._deadline = asyncio.get_running_loop().time() + self._bot.answer_timeout_s
        self._tried: set[tuple[str, str]] = set()  # replica and adapter
        self._at = ""  # the replica where it has a place
        self._attempt: Attempt | None = None  # there, for the circuit breaker
        self._entered = 0.0  # when; 0: never yet
        self._requests = 0
        self._cuts: list[UnderstudyError] = []  # failures after text was shown
        self._broken = 0  # engines that failed at this question; perhaps it is its fault
        self._patient_until: float | None = None  # for an engine that is being started again

    @property
    def route(self) -> Route:
        """Who answers just now."""
        if self._route is None:
            raise AssertionError("nobody was found yet")
        return self._route

    async def begin(self) -> None:
        """Find who answers and open the reply there. Raises NobodyCanAnswer, and what
        `assign.choose` raises; then nothing is recorded."""
        await self._find(None)

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """The answer, from whoever can give it. Raises what the last one failed with."""
        while True:
            attempt = self._attempt
            assert attempt is not None, "nobody was found yet"
            try:
                async with contextlib.aclosing(self._request(self.route)) as chunks:
                    async for chunk in chunks:
                        attempt.answers()
                        self.record.add(chunk)
                        yield chunk
            except UnderstudyError as error:
                failure = error
                self._judge(attempt, error)
            else:
                attempt.succeeded()
                self.leave(asyncio.get_running_loop().time() - self._entered)
                return
            finally:
                attempt.release()
            await self._move(failure)

    def leave(self, seconds: float | None = None) -> None:
        """Give the place at the replica back; `seconds` is how long a whole answer took."""
        if self._attempt is not None:
            self._attempt.release()
            self._attempt = None
        if self._at:
            self._engines.admission.leave(self._ask.person, self._at, seconds)
            self._at = ""

    # -- who answers -------------------------------------------------------------------------

    async def _find(self, error: UnderstudyError | None) -> None:
        """Take the first in the order who can be asked; `error` is how the last one failed. While
        there is nobody, wait for an engine that is coming back."""
        while True:
            try:
                return await self._find_now(error)
            except (NobodyCanAnswer, NoEngine) as nobody:
                self.leave()  # the place may be at an engine that ended while this one queued
                await self._be_patient(nobody)

    async def _find_now(self, error: UnderstudyError | None) -> None:
        for _ in range(PLANS):
            plan, choice, able = await self._first_able(error)
            waited_s = await self._enter(able)
            if waited_s > LONG_WAIT_S:  # another adapter may have been promoted meanwhile
                plan, choice, able = await self._first_able(error)
            instead_of = None if choice is plan.order[0] else plan.order[0]
            route = next((Route(choice, r, instead_of) for r in able if r.name == self._at), None)
            if route and self._may_ask(route) and await self._record(plan, route):
                variant, ask = choice.variant, self._ask
                self._prompt = prompt.build_prompt(
                    ask, plan.domain, variant, plan.history, self._bot
                )
                return
            self.leave()
        raise EngineDown("The adapters are being moved just now. Try again in a moment.")

    async def _first_able(
        self, error: UnderstudyError | None
    ) -> tuple[AnswerPlan, Choice, list[Replica]]:
        """Who is asked now, and where. Raises NobodyCanAnswer."""
        turns = self._bot.history_turns
        plan = await self._engines.store.read(lambda db: read(db, self._ask, turns))
        for choice in plan.order:
            if able := self._able(choice, choice.replicas):
                return plan, choice, able
        raise self._nobody(plan, error) from error

    def _able(self, choice: Choice, replicas: Sequence[Replica]) -> list[Replica]:
        """Where `choice` has not failed in this answer, nor lately in others."""
        breaker, name = self._engines.breaker, choice.name
        for replica in replicas:
            breaker.met(replica.name, replica.generation)
        untried = [r for r in replicas if (r.name, name) not in self._tried]
        return [r for r in untried if breaker.allows(r.name, name)]

    def _nobody(self, plan: AnswerPlan, error: UnderstudyError | None) -> NobodyCanAnswer:
        """What is wrong, and when to try again."""
        breaker = self._engines.breaker
        keys = [(r.name, choice.name) for choice in plan.order for r in choice.replicas]
        wait_s = min((breaker.wait_s(*key) for key in keys), default=0.0)
        why = str(error or "") or next(filter(None, (breaker.reason(*k) for k in keys)), "")
        return NobodyCanAnswer(plan.order, why, max(1, math.ceil(wait_s)))

    async def _enter(self, able: Sequence[Replica]) -> float:
        """Wait for a place at one of the replicas; returns how many seconds. Who has had one
        before does not queue again. Raises TooBusy."""
        began = asyncio.get_running_loop().time()
        names, again = [r.name for r in able], self._entered > 0
        share = 1.0 if again else WAIT_SHARE
        try:
            async with asyncio.timeout_at(
                self._deadline - (1 - share) * self._bot.answer_timeout_s
            ):
                self._at = await self._engines.admission.enter(
                    self._ask.person, names, goes_on=again
                )
        except TimeoutError:
            raise TooBusy(RETRY_S) from None
        self._entered = asyncio.get_running_loop().time()
        return self._entered - began

    def _may_ask(self, route: Route) -> bool:
        """Begin an attempt; False when somebody else's is the one that finds out whether what had
        failed there works again."""
        if not self._engines.breaker.allows(*route.key):
            return False
        self._attempt = self._engines.breaker.attempt(*route.key)
        return True

    async def _be_patient(self, nobody: UnderstudyError) -> None:
        """Give an engine that is being started again a moment; then everyone may be asked anew.
        Raises `nobody` when none can be expected, or after `[bot] engine_wait_s`. A question at
        which engines break is not asked again and again: it may be what breaks them."""
        engines, now = self._engines, asyncio.get_running_loop().time()
        if self._patient_until is None:
            self._patient_until = min(now + self._bot.engine_wait_s, self._deadline)
        if now >= self._patient_until or self._broken >= BREAKS:
            raise nobody
        coming = await engines.store.read(placements.coming_back)
        room = self._bot.max_in_flight + self._bot.max_waiting  # of an engine when it is back
        if engines.admission.hoping >= room * coming:
            raise nobody
        with engines.admission.hope():
            await asyncio.sleep(LOOK_S)
        self._tried.clear()

    async def _record(self, plan: AnswerPlan, route: Route) -> bool:
        """Tell the store who answers; False when that one is not there any more."""
        before, planned = self._route, self.plan

        def write(db: Database) -> bool:
            if before is None:
                return recording.open_reply(db, self._ask, plan.domain, route)
            return recording.move_reply(db, self._ask, before, route)

        self.plan, self._route = plan, route  # before the wait, which may be cancelled
        written = await self._engines.store.submit(write)
        if not written:
            self.plan, self._route = planned, before
        return written

    # -- asking ------------------------------------------------------------------------------

    async def _request(self, route: Route) -> AsyncGenerator[Chunk, None]:
        """What one replica answers, to the longest prompt that fits; only the rest of an answer
        that was begun elsewhere."""
        shown, limit = self.record.text, self._first_word_by(route)
        while self._prompt is not None:
            sampling = self._rest_of(self._prompt.sampling)
            if sampling.max_tokens <= 0:  # it broke off after its last token
                yield Chunk("", "length")
                return
            stream = self._engines.client.stream(
                route.replica.url,
                route.choice.served_name,
                self._prompt.messages,
                sampling,
                self._request_id(),
                self._ask.begun + shown,
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
                raise self._too_late(route) from None
            except PromptTooLong:
                self._prompt = self._prompt.shorter()
                if shown or self._prompt is None:
                    raise

    def _rest_of(self, sampling: Sampling) -> Sampling:
        """With the tokens that are left for the rest of the answer."""
        used = self.record.completion_tokens
        return replace(sampling, max_tokens=sampling.max_tokens - used) if used else sampling

    def _request_id(self) -> str:
        self._requests += 1
        again = f"-{self._requests - 1}" if self._requests > 1 else ""
        return f"{self._ask.reply_id}{again}"

    def _first_word_by(self, route: Route) -> float:
        """When to give up on one that says nothing: early only where another could be asked."""
        order = () if self.plan is None or self.record.parts else self.plan.order
        able = [(r.name, c.name) for c in order for r in self._able(c, c.replicas)]
        if not any(key != route.key for key in able):
            return self._deadline
        patience_s = FIRST_WORD_SHARE * self._bot.answer_timeout_s
        return min(self._deadline, asyncio.get_running_loop().time() + patience_s)

    def _too_late(self, route: Route) -> UnderstudyError:
        if asyncio.get_running_loop().time() >= self._deadline:
            return TookTooLong(f"The answer took longer than {self._bot.answer_timeout_s} seconds.")
        return EngineDown(f"{route.choice.name} on {route.replica.name} did not begin to answer.")

    # -- when it fails -----------------------------------------------------------------------

    def _judge(self, attempt: Attempt, error: UnderstudyError) -> None:
        """What a failure says about who answered."""
        name, replica = self.route.choice.name, self.route.replica.name
        match error:
            case WrongAdapter():
                log.error("%s on %s: %s", name, replica, error)
                attempt.adapter_failed(str(error))
            case AdapterMissing():
                attempt.adapter_failed(str(error))
            case EngineGone():
                attempt.replica_failed(str(error))
            case TookTooLong() if self.record.parts:
                pass  # a long answer is nobody's fault
            case EngineDown() | StreamCut():
                self._broken += 1
                attempt.failed(str(error))

    async def _move(self, error: UnderstudyError) -> None:
        """Let the next one answer, or the same adapter elsewhere go on. Raises when nobody can."""
        route = self.route
        if isinstance(error, TookTooLong):
            raise error
        if self.record.parts:
            await self._go_on(route, error)
        elif isinstance(error, FAILURES):
            log.warning("%s on %s did not answer: %s", *reversed(route.key), error)
            self._tried.add(route.key)
            self.leave()
            await self._find(error)
        else:
            raise error

    async def _go_on(self, route: Route, error: UnderstudyError) -> None:
        """Find another replica with the same weights for the rest of the answer."""
        self._cuts.append(error)
        self._tried.add(route.key)
        self.leave()
        cut = self._cuts[0]
        if isinstance(error, WrongAdapter):
            raise error
        if self.plan is None or len(self._cuts) > RESUMES or not isinstance(error, FAILURES):
            raise cut
        new = await self._place_to_go_on(route, cut)
        if not await self._record(self.plan, new):
            raise cut
        log.warning("%s goes on with %s: %s", new.replica.name, self._ask.reply_id, error)
        self.record.go_on()

    async def _place_to_go_on(self, route: Route, cut: UnderstudyError) -> Route:
        """A place at one that may be asked; waits for an engine that is coming back. Raises `cut`
        when there is none."""
        while True:
            while not (able := await self._able_to_go_on(route)):
                await self._be_patient(cut)
            try:
                await self._enter(able)
            except TooBusy as busy:
                raise cut from busy
            new = replace(route, replica=next(r for r in able if r.name == self._at))
            if self._may_ask(new):
                return new
            self.leave()

    async def _able_to_go_on(self, route: Route) -> list[Replica]:
        """Where the same adapter is held over the same weights."""
        held = await self._engines.store.read(lambda db: assignment.holding(db, route.choice))
        same = [r for r in held if r.precision == route.replica.precision]
        return self._able(route.choice, same)
