"""Writes one answer into a Slack thread, streamed if possible.

There are three modes. The first words of the answer and the room in the rate limits decide:
- a stream, whose appends become less frequent while many streams are open;
- a message that is updated a few times;
- one message when the answer is complete.

Streams can fail in several ways:
- Starting is over the rate limit: the next mode is used.
- Appending is over the rate limit: the text waits for the next append, at a slower pace.
- The stream expires (after five minutes), or a broken connection leaves its state unclear: the
  final update replaces the message with the whole text.
- It is unclear whether a message was posted (a broken connection, or a crash before its ts was
  stored): the thread is searched for it. All our messages have metadata, except open streams.
- Slack may drop leading white space of an append: every append ends before a visible character.

Whatever happens, the final message has the whole text exactly once, with the feedback buttons.
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
from data.store.errors import Forbidden, Unavailable
from data.visible_text import visible

T = TypeVar("T")
log = logging.getLogger(__name__)

BOUNDARY = re.compile(r"\s(?=\S)")
ATTEMPTS = 8
ANSWER = "understudy_answer"  # event type in the metadata of answers
CHANNEL_REFUSALS = {
    "channel_not_found": "I am not a member of it",
    "is_archived": "it is archived",
    "missing_scope": "I lack a permission that this needs",
    "not_in_channel": "I am not a member of it",
    "restricted_action": "an admin has limited who may post there",
    "restricted_action_non_threadable_channel": "it does not allow threads",
    "restricted_action_read_only_channel": "it is read-only",
    "restricted_action_thread_locked": "the thread is locked",
}


class NotShown(Unavailable):
    """Slack could not be reached, so the answer is not shown, or not completely."""


class ChannelRefused(Forbidden):
    """Slack does not let the bot write in the channel."""

    def __init__(self, channel: str, code: str) -> None:
        why = CHANNEL_REFUSALS.get(code, f"Slack refused my message ({code})")
        super().__init__(
            f"I have an answer for you, but I can't post it in <#{channel}>, because {why}. Ask me "
            "here, in a direct message."
        )
        self.code = code


class LeaseLost(Unavailable):
    """Another worker has the question, or it was changed. This attempt must show nothing more."""


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
    """Seconds between the appends to a stream. Each interval is `growth` times the one before."""

    half_word_s: float = 0.1  # how long the first piece waits for its word to be complete
    first_s: float = 0.4
    growth: float = 1.25
    longest_s: float = 3.0
    retry_s: float = 0.2  # after a broken connection; doubles each time, up to `longest_s`

    def backoff(self, attempts: int) -> Backoff:
        return Backoff(attempts, first_s=self.retry_s, longest_s=self.longest_s)


class AnswerState(Protocol):
    """What is shown of an answer, recorded so that it survives a crash."""

    question_ts: str  # of the question, or another id of it
    asked_ts: str  # of the message that the answer replies to
    begun: bool  # an earlier attempt may have shown something
    shown_ts: str  # of the answer's message, if known

    async def begin(self) -> None:
        """Record that something is about to be shown. Raises LeaseLost."""

    async def shown(self, ts: str) -> None:
        """Record the answer's message. Raises LeaseLost."""


class AnswerMessage:
    """Give it text with `add`, then call `finish`, `suspend` or `abandon` exactly once."""

    def __init__(
        self,
        api: WebApi,
        bot_user: str,
        place: SlackPlace,
        reply_id: str,
        pace: Pace,
        state: AnswerState,
        after: "asyncio.Task[None] | None" = None,
    ) -> None:
        """Nothing is shown before `after` has ended."""
        self.stopped = False  # the person pressed stop
        self.earlier_parts: list[str] = []  # the ts of each message before the last one
        self._api = api
        self._bot_user = bot_user
        self._place = place
        self._reply_id = reply_id
        self._pace = pace
        self._state = state
        self._text = ""
        self._sent = 0  # characters shown so far
        self._first_text_s = 0.0  # when the first visible text came; 0: none yet
        self._ts = state.shown_ts
        self._resumed = state.begun
        self._uncertain = state.begun and not state.shown_ts  # a message may exist
        self._mode: Literal["undecided", "stream", "updates", "whole"] = (
            "whole" if state.begun else "undecided"
        )
        self._exact = True  # the stream shows exactly what was sent
        self._interval_s = pace.first_s
        self._has_text = asyncio.Event()
        self._finishing = asyncio.Event()
        self._after = after
        self._sender = asyncio.create_task(self._keep_sending(), name=f"stream {reply_id}")

    def add(self, text: str) -> None:
        self._text += visible(text)
        if not self._first_text_s and self._text.strip():
            self._first_text_s = self._api.clock.now()
        self._has_text.set()

    async def finish(self, below: list[blocks.Block]) -> str | None:
        """Complete the message, with `below` under the text.

        Returns the ts of the message with `below`, or None if it was deleted. Raises NotShown if
        Slack can't be reached, ChannelRefused if it does not let the bot write there, and LeaseLost
        if another worker has the question."""
        await self._end_sender()
        try:
            if self._mode == "stream" and not self.stopped and await self._stop_stream(below):
                return self._ts
            if self.stopped:
                await self._finish_stopped(below)
                return self._ts
            return await self._show_all(blocks.answers(self._text, below))
        finally:
            self._release_limits()

    async def suspend(self, note: str) -> None:
        """Stop here with `note` below the text. A later attempt completes the message."""
        try:
            with contextlib.suppress(LeaseLost):
                await self._end_sender()
            if self._mode != "stream":
                return
            await self._api.throttled(
                self._api.quick.chat_stopStream,
                channel=self._place.channel,
                ts=self._ts,
                blocks=[blocks.context(blocks.escape(note))],
            )
        except Transport as error:
            self._log_failure(failure(error), "chat.stopStream")
        finally:
            self._release_limits()

    async def abandon(self) -> None:
        """Stop without another call. Another attempt completes the message."""
        self._sender.cancel()
        await asyncio.gather(self._sender, return_exceptions=True)
        self._release_limits()

    # -- while text arrives ------------------------------------------------------------------

    async def _keep_sending(self) -> None:
        if self._after is not None:
            await asyncio.wait([self._after])
        while not self._finishing.is_set():
            await self._wait_for_text()
            cut = self._sendable()
            if cut == self._sent or self._mode == "whole":
                continue
            if self._mode == "undecided":
                await self._open(cut)
            elif self._mode == "stream":
                await self._append_to_stream(cut)
            else:
                await self._update_first(cut)
            await self._api.clock.wait(self._finishing, self._pause_s())
            self._has_text.set()

    async def _wait_for_text(self) -> None:
        """Wait for more text. Before the first piece is shown, do not wait long for the end of a
        word."""
        if self._first_text_s and self._mode == "undecided":
            await self._api.clock.wait(self._has_text, self._pace.half_word_s)
        else:
            await self._has_text.wait()
        self._has_text.clear()

    async def _end_sender(self) -> None:
        self._finishing.set()
        self._has_text.set()
        try:
            await self._sender
        except BaseException:
            self._release_limits()
            raise

    def _pause_s(self) -> float:
        if self._mode == "updates":
            return self._pace.longest_s
        return max(self._interval_s, self._api.limiter.append_interval_s())

    def _sendable(self) -> int:
        """How far the text may be sent: up to the end of the last complete word. Without spaces,
        or if the first word takes long, up to the last character."""
        waiting = self._text[self._sent :]
        if not waiting.strip():
            return self._sent
        cut = self._sent
        for match in BOUNDARY.finditer(waiting):
            cut = self._sent + match.end()
        if cut == self._sent and not waiting[-1].isspace():
            late = self._api.clock.now() - self._first_text_s >= self._pace.half_word_s
            if len(waiting) > 40 or (not self._sent and late and waiting[:-1].strip()):
                cut = len(self._text) - 1
        return min(cut, blocks.MARKDOWN)

    async def _open(self, cut: int) -> None:
        """Show the first words in the best mode that the rate limits allow."""
        if self._api.limiter.may_stream():
            self._mode = "stream"
            await self._start_stream(cut)
        elif self._api.limiter.may_update(self._place.channel):
            self._mode = "updates"
            await self._post_first(cut)
        else:
            self._mode = "whole"

    async def _start_stream(self, cut: int) -> None:
        place = self._place
        await self._state.begin()
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
            self._log_failure(problem, "chat.startStream")
            self._release_limits()
            self._mode = "undecided" if problem.kind == "limited" else "whole"
            self._uncertain = problem.kind == "unclear"
            return
        self._sent = cut
        await self._record_ts(str(response["ts"]))

    async def _append_to_stream(self, cut: int) -> None:
        if not self._api.limiter.try_acquire("chat.appendStream"):
            self._slow_down()
            return
        piece = self._text[self._sent : cut]
        try:
            await self._api.quick.chat_appendStream(
                channel=self._place.channel, ts=self._ts, markdown_text=piece
            )
        except Transport as error:
            problem = failure(error)
            self._log_failure(problem, "chat.appendStream")
            if problem.kind == "unclear":
                self._sent, self._exact = cut, False
            elif problem.kind != "limited":
                self._exact = False
                self._mode = "whole"
                self._release_limits()
                self.stopped = problem.code == "stopped_by_user"
            return
        self._sent = cut
        self._slow_down()

    async def _post_first(self, cut: int) -> None:
        await self._state.begin()
        try:
            response = await self._api.quick.chat_postMessage(
                **self._message(0, self._partial(cut))
            )
        except Transport as error:
            problem = failure(error)
            self._log_failure(problem, "chat.postMessage")
            self._release_limits()
            self._mode = "whole"
            self._uncertain = problem.kind == "unclear"
            return
        self._sent = cut
        await self._record_ts(str(response["ts"]))

    async def _update_first(self, cut: int) -> None:
        if not self._api.limiter.try_acquire("chat.update"):
            return
        try:
            await self._api.quick.chat_update(
                channel=self._place.channel, ts=self._ts, **_content(self._partial(cut))
            )
        except Transport as error:
            self._log_failure(failure(error), "chat.update")  # a later update has all the text
            return
        self._sent = cut

    def _partial(self, cut: int) -> list[blocks.Block]:
        return [blocks.markdown(self._text[:cut].rstrip()[: blocks.MARKDOWN - 2] + " …")]

    def _slow_down(self) -> None:
        self._interval_s = min(self._interval_s * self._pace.growth, self._pace.longest_s)

    def _log_failure(self, problem: Failure, method: str) -> None:
        log.info("%s for %s: %s", method, self._reply_id, problem.code)
        if problem.kind == "limited":
            limiter = self._api.limiter
            limiter.block(method, self._place.channel, problem.retry_after_s)

    async def _record_ts(self, ts: str) -> None:
        self._ts = ts
        await self._state.shown(ts)

    def _release_limits(self) -> None:
        """Tell the rate limiter that this message is finished."""
        if self._mode == "stream":
            self._api.limiter.stream_ended()
        elif self._mode == "updates":
            self._api.limiter.updates_ended()
        self._mode = "whole"

    # -- at the end --------------------------------------------------------------------------

    async def _stop_stream(self, below: list[blocks.Block]) -> bool:
        """End the stream. Returns True if its message is complete and correct."""
        whole = len(self._text) <= blocks.MARKDOWN and self._exact

        async def stop(attempt: int) -> bool:
            exact = whole and attempt == 0  # after a failure it is unclear what is shown
            rest = self._text[self._sent :] if exact else ""
            try:
                await self._api.throttled(
                    self._api.quick.chat_stopStream,
                    channel=self._place.channel,
                    ts=self._ts,
                    markdown_text=rest or None,
                    blocks=below if exact else None,
                    metadata=self._metadata(0) if exact else None,
                )
            except Transport as error:
                problem = failure(error)
                self._log_failure(problem, "chat.stopStream")
                if problem.kind in ("over", "refused"):
                    self.stopped = problem.code == "stopped_by_user"
                    return False
                raise
            return exact

        try:
            return await self._retry(stop)
        except NotShown:
            return False

    async def _finish_stopped(self, below: list[blocks.Block]) -> None:
        """Add the feedback buttons to an answer that the person stopped; its text stays as it
        is."""
        (content,) = blocks.answers(self._text[: self._sent], below)
        update = self._api.quick.chat_update
        try:
            await self._api.throttled(
                update,
                channel=self._place.channel,
                ts=self._ts,
                metadata=self._metadata(0),
                **_content(content),
            )
        except Transport as error:
            self._log_failure(failure(error), method_name(update))

    async def _show_all(self, messages: list[list[blocks.Block]]) -> str | None:
        """Make the thread show the whole answer, whatever it shows now."""
        shown = {0: self._ts} if self._ts else {}
        if self._uncertain or (self._resumed and len(messages) > 1):
            shown = await self._find() | shown
        await self._state.begin()
        last: str | None = None
        for part, content in enumerate(messages):
            known = shown.get(part)
            last = await (
                self._update(part, known, content) if known else self._post(part, content)
            )
            if last is None:
                return None
            if part == 0 and last != self._ts:
                await self._record_ts(last)
            if part < len(messages) - 1:
                self.earlier_parts.append(last)
        for part in sorted(set(shown) - set(range(len(messages)))):
            await delete(self._api, self._place.channel, shown[part])
        return last

    async def _update(self, part: int, ts: str, content: list[blocks.Block]) -> str | None:
        """Replace the content of a message. Returns None if it was deleted."""

        async def update(_: int) -> str | None:
            try:
                await self._api.throttled(
                    self._api.quick.chat_update,
                    channel=self._place.channel,
                    ts=ts,
                    metadata=self._metadata(part),
                    **_content(content),
                )
            except Transport as error:
                problem = failure(error)
                self._log_failure(problem, "chat.update")
                if problem.code in MESSAGE_GONE:
                    return None
                if problem.code == "streaming_state_conflict":
                    await self._close_stream(ts)
                elif problem.kind == "refused":  # showing it twice is better than not at all
                    return await self._post(part, content)
                raise
            return ts

        return await self._retry(update)

    async def _close_stream(self, ts: str) -> None:
        stop = self._api.quick.chat_stopStream
        try:
            await self._api.throttled(stop, channel=self._place.channel, ts=ts)
        except Transport as error:
            self._log_failure(failure(error), method_name(stop))

    async def _post(self, part: int, content: list[blocks.Block]) -> str | None:

        async def post(attempt: int) -> str | None:
            if attempt and (made := (await self._find()).get(part)):
                return made
            try:
                response = await self._api.throttled(
                    self._api.quick.chat_postMessage, **self._message(part, content)
                )
            except Transport as error:
                problem = failure(error)
                self._log_failure(problem, "chat.postMessage")
                if problem.kind == "refused":
                    raise ChannelRefused(self._place.channel, problem.code) from error
                if problem.kind == "over":
                    return None
                raise
            return str(response["ts"])

        return await self._retry(post)

    async def _retry(self, attempt: Callable[[int], Awaitable[T]]) -> T:
        """Call `attempt` until it succeeds. Raises NotShown if Slack can't be reached."""
        return await _retry_transport(self._api, self._pace, attempt, "show")

    async def _find(self) -> dict[int, str]:
        """Search the thread for the messages of this answer: part -> ts."""
        return await find(self._api, self._bot_user, self._place, self._state, self._pace)

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
        payload = {"question": self._state.question_ts, "part": part}
        return {"event_type": ANSWER, "event_payload": payload}


def _content(content: list[blocks.Block]) -> dict[str, Any]:
    text = next((b["text"] for b in content if b["type"] == "markdown"), "")
    return {"text": blocks.escape(blocks.notice(text)), "blocks": content}


async def find(
    api: WebApi, bot_user: str, place: SlackPlace, state: AnswerState, pace: Pace
) -> dict[int, str]:
    """Search a thread for the messages that show the answer to a question: part -> ts.

    The metadata of our messages says what they are. Only unfinished streams have none, and a
    thread has at most one of these. Empty if Slack does not let us read the thread. Raises
    NotShown."""

    async def look(_: int) -> dict[int, str]:
        try:
            response = await api.throttled(
                api.quick.conversations_replies,
                channel=place.channel,
                ts=place.thread_ts,
                oldest=state.asked_ts,
                limit=200,
                include_all_metadata=True,
            )
        except Transport as error:
            problem = failure(error)
            log.info("conversations.replies: %s", problem.code)
            if problem.kind in ("refused", "over"):
                return {}
            raise
        return _messages_of(response["messages"], bot_user, state)

    return await _retry_transport(api, pace, look, "look for")


async def _retry_transport(
    api: WebApi, pace: Pace, attempt: Callable[[int], Awaitable[T]], what: str
) -> T:
    try:
        return await retry_async(
            attempt, pace.backoff(ATTEMPTS), on=Transport, sleep=api.clock.sleep
        )
    except Transport as error:
        raise NotShown(f"Slack could not be reached to {what} an answer.") from error


def _messages_of(
    messages: list[dict[str, Any]], bot_user: str, state: AnswerState
) -> dict[int, str]:
    shown: dict[int, str] = {}
    for message in messages:
        if message.get("user") != bot_user:
            continue
        metadata = message.get("metadata") or {}
        payload = metadata.get("event_payload") or {}
        if metadata.get("event_type") == ANSWER and payload.get("question") == state.question_ts:
            shown[int(payload.get("part", 0))] = str(message["ts"])
        elif not metadata and float(message["ts"]) > float(state.asked_ts):
            shown.setdefault(0, str(message["ts"]))
    return shown


async def delete(api: WebApi, channel: str, ts: str) -> None:
    """Delete one of our messages, if it still exists."""
    try:
        await api.throttled(api.quick.chat_delete, channel=channel, ts=ts)
    except Transport as error:
        log.info("chat.delete: %s", failure(error).code)
