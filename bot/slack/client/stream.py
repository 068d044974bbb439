"""One answer on its way into a Slack thread: streamed where Slack lets us, whole otherwise.

Three ways, chosen when the first words are there, by what the governor has room for:
- a stream: pieces at a pace that slows down while many streams are open;
- a message that is updated a few times;
- one message when the answer is complete.

What Slack does to streams, and what is done here about it:
- starting is over the limit: the next of the three ways;
- appending is over the limit: the text waits and goes with the next piece, at a slower pace;
- the stream expires (five minutes) or its state is unclear after a broken connection: the text
  that may be doubled or missing is put right at the end by updating the message with all of it;
- whether a message was made is unclear (a broken connection, or a crash before its ts was stored):
  the thread is looked through for it, by the metadata that all our messages but open streams have;
- leading white space of a piece may vanish: a piece always ends before a character that shows.

So whatever happens in between, the message at the end has the whole text once, and the thumbs.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from bot.slack.client.web_api import MESSAGE_GONE, Failure, Transport, WebApi, failure, method_name
from bot.slack.render import blocks
from data.retry import Backoff, retry_async
from data.store.errors import Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

BOUNDARY = re.compile(r"\s(?=\S)")
ATTEMPTS = 8
ANSWER = "understudy_answer"  # the metadata's event type


class NotShown(Unavailable):
    """Slack could not be reached for so long that the answer is not shown, or not all of it."""


class LeaseLost(Unavailable):
    """The question is somebody else's by now, or was changed: this attempt shows nothing more."""


@dataclass(frozen=True)
class SlackPlace:
    """Where an answer goes, and to whom."""

    team: str
    channel: str
    thread_ts: str
    user: str

    @property
    def is_dm(self) -> bool:
        return self.channel.startswith("D")


@dataclass(frozen=True)
class Pace:
    """Seconds between the pieces of a stream; each is `growth` times later than the one before."""

    half_word_s: float = 0.1  # so long the very first piece waits for its word to be whole
    first_s: float = 0.4
    growth: float = 1.25
    longest_s: float = 3.0
    retry_s: float = 0.2  # after a broken connection; doubles each time, up to `longest_s`

    def backoff(self, attempts: int) -> Backoff:
        return Backoff(attempts, first_s=self.retry_s, longest_s=self.longest_s)


class Showing(Protocol):
    """Remembers what is shown of an answer, across crashes."""

    question_ts: str  # of the question, or what else names it
    asked_ts: str  # the message below which the answer stands
    begun: bool  # something may be shown already, by an earlier attempt
    shown_ts: str  # the message, where it is known

    async def begin(self) -> None:
        """Something is about to be shown. Raises LeaseLost."""

    async def shown(self, ts: str) -> None:
        """The message is known. Raises LeaseLost."""


class AnswerMessage:
    """Give it text with `add`, then call `finish`, `suspend` or `abandon` exactly once."""

    def __init__(
        self,
        api: WebApi,
        me: str,
        place: SlackPlace,
        reply_id: str,
        pace: Pace,
        showing: Showing,
        after: "asyncio.Task[None] | None" = None,
    ) -> None:
        """Nothing is shown before `after` has ended."""
        self.stopped = False  # the person pressed stop
        self._api = api
        self._me = me
        self._place = place
        self._reply_id = reply_id
        self._pace = pace
        self._showing = showing
        self._text = ""
        self._sent = 0  # characters of it that were shown while text comes
        self._began_s = 0.0  # when there was something to see; 0: there is nothing yet
        self._ts = showing.shown_ts
        self._resumed = showing.begun
        self._uncertain = showing.begun and not showing.shown_ts  # there may be a message
        self._way: Literal["undecided", "stream", "updates", "whole"] = (
            "whole" if showing.begun else "undecided"
        )
        self._exact = True  # the stream shows precisely what was sent
        self._interval_s = pace.first_s
        self._more = asyncio.Event()
        self._finishing = asyncio.Event()
        self._after = after
        self._pump = asyncio.create_task(self._keep_sending(), name=f"stream {reply_id}")

    def add(self, text: str) -> None:
        self._text += text
        if not self._began_s and self._text.strip():
            self._began_s = self._api.clock.now()
        self._more.set()

    async def finish(self, below: list[blocks.Block]) -> str | None:
        """Bring the message to its end, with `below` under the text.

        Returns the ts of the message that carries them, None when it was deleted or Slack does
        not take it. Raises NotShown when Slack can't be reached, LeaseLost when the question is
        somebody else's."""
        await self._end_pump()
        try:
            if self._way == "stream" and not self.stopped and await self._stop(below):
                return self._ts
            if self.stopped:
                await self._put_below_stopped(below)
                return self._ts
            return await self._settle(blocks.answers(self._text, below))
        finally:
            self._release()

    async def suspend(self, note: str) -> None:
        """Leave what is shown to a later attempt, and say so below it."""
        try:
            with contextlib.suppress(LeaseLost):
                await self._end_pump()
            if self._way != "stream":
                return
            await self._api.in_turn(
                self._api.quick.chat_stopStream,
                channel=self._place.channel,
                ts=self._ts,
                blocks=[blocks.context(blocks.escape(note))],
            )
        except Transport as error:
            self._note(failure(error), "chat.stopStream")
        finally:
            self._release()

    async def abandon(self) -> None:
        """Do nothing more: another attempt goes on."""
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        self._release()

    # -- while text comes --------------------------------------------------------------------

    async def _keep_sending(self) -> None:
        if self._after is not None:
            await asyncio.wait([self._after])
        while not self._finishing.is_set():
            await self._news()
            cut = self._ready()
            if cut == self._sent or self._way == "whole":
                continue
            if self._way == "undecided":
                await self._open(cut)
            elif self._way == "stream":
                await self._append(cut)
            else:
                await self._grow(cut)
            await self._api.clock.wait(self._finishing, self._pause_s())
            self._more.set()

    async def _news(self) -> None:
        """Wait for more text; while nothing is shown, only until half a word has to do."""
        if self._began_s and self._way == "undecided":
            await self._api.clock.wait(self._more, self._pace.half_word_s)
        else:
            await self._more.wait()
        self._more.clear()

    async def _end_pump(self) -> None:
        self._finishing.set()
        self._more.set()
        try:
            await self._pump
        except BaseException:
            self._release()
            raise

    def _pause_s(self) -> float:
        if self._way == "updates":
            return self._pace.longest_s
        return max(self._interval_s, self._api.limiter.spread_s())

    def _ready(self) -> int:
        """How far the text may be sent: up to the last word that is certainly complete. Where
        there are no spaces, or the first word takes long, all but the last character."""
        waiting = self._text[self._sent :]
        if not waiting.strip():
            return self._sent
        cut = self._sent
        for match in BOUNDARY.finditer(waiting):
            cut = self._sent + match.end()
        if cut == self._sent and not waiting[-1].isspace():
            late = self._api.clock.now() - self._began_s >= self._pace.half_word_s
            if len(waiting) > 40 or (not self._sent and late and waiting[:-1].strip()):
                cut = len(self._text) - 1
        return min(cut, blocks.MARKDOWN)

    async def _open(self, cut: int) -> None:
        """Show the first words, in the best way that there is room for."""
        if self._api.limiter.may_stream():
            self._way = "stream"
            await self._start(cut)
        elif self._api.limiter.may_grow(self._place.channel):
            self._way = "updates"
            await self._begin_growing(cut)
        else:
            self._way = "whole"

    async def _start(self, cut: int) -> None:
        place = self._place
        await self._showing.begin()
        try:
            response = await self._api.quick.chat_startStream(
                channel=place.channel,
                thread_ts=place.thread_ts,
                recipient_team_id=place.team,
                recipient_user_id=place.user,
                markdown_text=self._text[:cut],
            )
        except Transport as error:
            problem = failure(error)
            self._note(problem, "chat.startStream")
            self._release()
            self._way = "undecided" if problem.kind == "limited" else "whole"
            self._uncertain = problem.kind == "unclear"
            return
        self._sent = cut
        await self._is_shown(str(response["ts"]))

    async def _append(self, cut: int) -> None:
        if not self._api.limiter.take("chat.appendStream"):
            self._slow_down()
            return
        piece = self._text[self._sent : cut]
        try:
            await self._api.quick.chat_appendStream(
                channel=self._place.channel, ts=self._ts, markdown_text=piece
            )
        except Transport as error:
            problem = failure(error)
            self._note(problem, "chat.appendStream")
            if problem.kind == "unclear":
                self._sent, self._exact = cut, False
            elif problem.kind != "limited":
                self._exact = False
                self._way = "whole"
                self._release()
                self.stopped = problem.code == "stopped_by_user"
            return
        self._sent = cut
        self._slow_down()

    async def _begin_growing(self, cut: int) -> None:
        await self._showing.begin()
        try:
            response = await self._api.quick.chat_postMessage(**self._message(0, self._so_far(cut)))
        except Transport as error:
            problem = failure(error)
            self._note(problem, "chat.postMessage")
            self._release()
            self._way = "whole"
            self._uncertain = problem.kind == "unclear"
            return
        self._sent = cut
        await self._is_shown(str(response["ts"]))

    async def _grow(self, cut: int) -> None:
        if not self._api.limiter.take("chat.update"):
            return
        try:
            await self._api.quick.chat_update(
                channel=self._place.channel, ts=self._ts, **_content(self._so_far(cut))
            )
        except Transport as error:
            self._note(failure(error), "chat.update")  # the last update says it all again
            return
        self._sent = cut

    def _so_far(self, cut: int) -> list[blocks.Block]:
        return [blocks.markdown(self._text[:cut].rstrip()[: blocks.MARKDOWN - 2] + " …")]

    def _slow_down(self) -> None:
        self._interval_s = min(self._interval_s * self._pace.growth, self._pace.longest_s)

    def _note(self, problem: Failure, method: str) -> None:
        log.info("%s for %s: %s", method, self._reply_id, problem.code)
        if problem.kind == "limited":
            limiter = self._api.limiter
            limiter.limited(method, self._place.channel, problem.retry_after_s)

    async def _is_shown(self, ts: str) -> None:
        self._ts = ts
        await self._showing.shown(ts)

    def _release(self) -> None:
        """The governor need not think of this message any more."""
        if self._way == "stream":
            self._api.limiter.stream_ended()
        elif self._way == "updates":
            self._api.limiter.grown()
        self._way = "whole"

    # -- at the end --------------------------------------------------------------------------

    async def _stop(self, below: list[blocks.Block]) -> bool:
        """End the stream; True when its message is now exactly right."""
        whole = len(self._text) <= blocks.MARKDOWN and self._exact

        async def stop(attempt: int) -> bool:
            exact = whole and attempt == 0  # after a failure, who knows what is shown
            rest = self._text[self._sent :] if exact else ""
            try:
                await self._api.in_turn(
                    self._api.quick.chat_stopStream,
                    channel=self._place.channel,
                    ts=self._ts,
                    markdown_text=rest or None,
                    blocks=below if exact else None,
                    metadata=self._metadata(0) if exact else None,
                )
            except Transport as error:
                problem = failure(error)
                self._note(problem, "chat.stopStream")
                if problem.kind in ("over", "refused"):
                    self.stopped = problem.code == "stopped_by_user"
                    return False
                raise
            return exact

        try:
            return await self._retry(stop)
        except NotShown:
            return False

    async def _put_below_stopped(self, below: list[blocks.Block]) -> None:
        """What the person has stopped stays as it is, and can be judged all the same."""
        (content,) = blocks.answers(self._text[: self._sent], below)
        update = self._api.quick.chat_update
        try:
            await self._api.in_turn(
                update,
                channel=self._place.channel,
                ts=self._ts,
                metadata=self._metadata(0),
                **_content(content),
            )
        except Transport as error:
            self._note(failure(error), method_name(update))

    async def _settle(self, messages: list[list[blocks.Block]]) -> str | None:
        """Make the thread show the whole answer, whatever it shows of it now."""
        shown = {0: self._ts} if self._ts else {}
        if self._uncertain or (self._resumed and len(messages) > 1):
            shown = await self._found() | shown
        await self._showing.begin()
        last: str | None = None
        for part, content in enumerate(messages):
            known = shown.get(part)
            last = await (
                self._update(part, known, content) if known else self._post(part, content)
            )
            if last is None:
                return None
            if part == 0 and last != self._ts:
                await self._is_shown(last)
        for part in sorted(set(shown) - set(range(len(messages)))):
            await delete(self._api, self._place.channel, shown[part])
        return last

    async def _update(self, part: int, ts: str, content: list[blocks.Block]) -> str | None:
        """Replace what a message shows; None when somebody deleted it."""

        async def update(_: int) -> str | None:
            try:
                await self._api.in_turn(
                    self._api.quick.chat_update,
                    channel=self._place.channel,
                    ts=ts,
                    metadata=self._metadata(part),
                    **_content(content),
                )
            except Transport as error:
                problem = failure(error)
                self._note(problem, "chat.update")
                if problem.code in MESSAGE_GONE:
                    return None
                if problem.code == "streaming_state_conflict":
                    await self._end_stream(ts)
                elif problem.kind == "refused":  # twice is better than not at all
                    return await self._post(part, content)
                raise
            return ts

        return await self._retry(update)

    async def _end_stream(self, ts: str) -> None:
        stop = self._api.quick.chat_stopStream
        try:
            await self._api.in_turn(stop, channel=self._place.channel, ts=ts)
        except Transport as error:
            self._note(failure(error), method_name(stop))

    async def _post(self, part: int, content: list[blocks.Block]) -> str | None:

        async def post(attempt: int) -> str | None:
            if attempt and (made := (await self._found()).get(part)):
                return made
            try:
                response = await self._api.in_turn(
                    self._api.quick.chat_postMessage, **self._message(part, content)
                )
            except Transport as error:
                problem = failure(error)
                self._note(problem, "chat.postMessage")
                if problem.kind in ("refused", "over"):
                    log.warning("Slack does not take the answer %s.", self._reply_id)
                    return None
                raise
            return str(response["ts"])

        return await self._retry(post)

    async def _retry(self, attempt: Callable[[int], Awaitable[T]]) -> T:
        """Call `attempt` until Slack can be reached. Raises NotShown when it never can."""
        return await _patiently(self._api, self._pace, attempt, "show")

    async def _found(self) -> dict[int, str]:
        """Look through the thread for what shows this answer: part -> ts."""
        return await find(self._api, self._me, self._place, self._showing, self._pace)

    def _message(self, part: int, content: list[blocks.Block]) -> dict[str, Any]:
        return {
            "channel": self._place.channel,
            "thread_ts": self._place.thread_ts,
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": self._metadata(part),
            **_content(content),
        }

    def _metadata(self, part: int) -> dict[str, Any]:
        payload = {"question": self._showing.question_ts, "part": part}
        return {"event_type": ANSWER, "event_payload": payload}


def _content(content: list[blocks.Block]) -> dict[str, Any]:
    text = next((b["text"] for b in content if b["type"] == "markdown"), "")
    return {"text": blocks.escape(blocks.notice(text)), "blocks": content}


async def find(
    api: WebApi, me: str, place: SlackPlace, showing: Showing, pace: Pace
) -> dict[int, str]:
    """The messages of a thread that show the answer to a question: part -> ts.

    All our messages say in their metadata what they are, but for streams that were not ended; a
    thread has one of these at most. Empty when Slack does not let us look. Raises NotShown."""

    async def look(_: int) -> dict[int, str]:
        try:
            response = await api.in_turn(
                api.quick.conversations_replies,
                channel=place.channel,
                ts=place.thread_ts,
                oldest=showing.asked_ts,
                limit=200,
                include_all_metadata=True,
            )
        except Transport as error:
            problem = failure(error)
            log.info("conversations.replies: %s", problem.code)
            if problem.kind in ("refused", "over"):
                return {}
            raise
        return _of_question(response["messages"], me, showing)

    return await _patiently(api, pace, look, "look for")


async def _patiently(
    api: WebApi, pace: Pace, attempt: Callable[[int], Awaitable[T]], what: str
) -> T:
    try:
        return await retry_async(
            attempt, pace.backoff(ATTEMPTS), on=Transport, sleep=api.clock.sleep
        )
    except Transport as error:
        raise NotShown(f"Slack could not be reached to {what} an answer.") from error


def _of_question(messages: list[dict[str, Any]], me: str, showing: Showing) -> dict[int, str]:
    shown: dict[int, str] = {}
    for message in messages:
        if message.get("user") != me:
            continue
        metadata = message.get("metadata") or {}
        payload = metadata.get("event_payload") or {}
        if metadata.get("event_type") == ANSWER and payload.get("question") == showing.question_ts:
            shown[int(payload.get("part", 0))] = str(message["ts"])
        elif not metadata and float(message["ts"]) > float(showing.asked_ts):
            shown.setdefault(0, str(message["ts"]))
    return shown


async def delete(api: WebApi, channel: str, ts: str) -> None:
    """Take a message of ours away, if it is still there."""
    try:
        await api.in_turn(api.quick.chat_delete, channel=channel, ts=ts)
    except Transport as error:
        log.info("chat.delete: %s", failure(error).code)
