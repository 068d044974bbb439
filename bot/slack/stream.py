"""One answer on its way into a Slack thread: streamed where Slack lets us, whole otherwise.

What Slack does to streams, and what is done here about it:
- starting is refused or over the limit: the answer becomes one message when it is complete;
- appending is over the limit: the text waits and goes with the next piece, at a slower pace;
- the stream expires (five minutes) or its state is unclear after a broken connection: the text
  that may be doubled or missing is put right at the end by updating the message with all of it;
- leading white space of a piece may vanish: a piece always ends before a character that shows.

So whatever happens in between, the message at the end has the whole text once, and the thumbs.
"""

import asyncio
import logging
import re
import uuid
from dataclasses import dataclass

from bot.slack import blocks
from bot.slack.api import MESSAGE_GONE, Api, Failure, Transport, failure

log = logging.getLogger(__name__)

BOUNDARY = re.compile(r"\s(?=\S)")
ATTEMPTS = 5


@dataclass(frozen=True)
class Place:
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

    first_s: float = 0.4
    growth: float = 1.25
    longest_s: float = 3.0
    retry_s: float = 0.2  # after a broken connection; doubles each time


class AnswerMessage:
    """Give it text with `add`, then call `finish` exactly once."""

    def __init__(self, api: Api, place: Place, reply_id: str, pace: Pace) -> None:
        self.stopped = False  # the person pressed stop
        self._api = api
        self._place = place
        self._reply_id = reply_id
        self._pace = pace
        self._text = ""
        self._sent = 0  # characters of it that went into the stream
        self._ts: str | None = None  # of the stream's message
        self._may_stream = True
        self._exact = True  # the stream shows precisely what was sent
        self._interval_s = pace.first_s
        self._more = asyncio.Event()
        self._finishing = asyncio.Event()
        self._pump = asyncio.create_task(self._keep_sending(), name=f"stream {reply_id}")

    def add(self, text: str) -> None:
        self._text += text
        self._more.set()

    async def finish(self, note: str = "") -> str | None:
        """Bring the message to its end, with `note` below the text if something went wrong.

        Returns the ts of the message that carries the thumbs, None when nothing could be sent."""
        self._finishing.set()
        self._more.set()
        await self._pump
        if self.stopped:
            return self._ts
        if self._ts is None:
            return await self._post(blocks.answers(self._text, self._reply_id, note))
        if await self._stop(note):
            return self._ts
        return await self._rewrite(note)

    # -- while text comes --------------------------------------------------------------------

    async def _keep_sending(self) -> None:
        while not self._finishing.is_set():
            await self._more.wait()
            self._more.clear()
            cut = self._ready()
            if cut == self._sent or not self._may_stream:
                continue
            if self._ts is None:
                await self._start(cut)
            elif self._api.governor.take("chat.appendStream"):
                await self._append(cut)
            else:
                self._slow_down()
            await self._pause(self._interval_s)
            self._more.set()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._finishing.wait()
        except TimeoutError:
            pass

    def _ready(self) -> int:
        """How far the text may be sent: up to the last word that is certainly complete, or, where
        there are no spaces, all but the last character."""
        waiting = self._text[self._sent :]
        if not waiting.strip():
            return self._sent
        cut = self._sent
        for match in BOUNDARY.finditer(waiting):
            cut = self._sent + match.end()
        if cut == self._sent and len(waiting) > 40 and not waiting[-1].isspace():
            cut = len(self._text) - 1
        return min(cut, blocks.MARKDOWN)

    async def _start(self, cut: int) -> None:
        place = self._place
        if not self._api.governor.take("chat.startStream"):
            self._may_stream = False
            return
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
            self._may_stream = False
            return
        self._ts, self._sent = str(response["ts"]), cut

    async def _append(self, cut: int) -> None:
        piece = self._text[self._sent : cut]
        try:
            await self._api.quick.chat_appendStream(
                channel=self._place.channel, ts=str(self._ts), markdown_text=piece
            )
        except Transport as error:
            problem = failure(error)
            self._note(problem, "chat.appendStream")
            if problem.kind == "limited":
                self._interval_s = max(self._interval_s, problem.retry_after_s)
            elif problem.kind == "unclear":
                self._sent, self._exact = cut, False
            else:
                self._may_stream = self._exact = False
                self.stopped = problem.code == "stopped_by_user"
            return
        self._sent = cut
        self._slow_down()

    def _slow_down(self) -> None:
        self._interval_s = min(self._interval_s * self._pace.growth, self._pace.longest_s)

    def _note(self, problem: Failure, method: str) -> None:
        log.info("%s for %s: %s", method, self._reply_id, problem.code)
        if problem.kind == "limited":
            self._api.governor.limited(method)

    # -- at the end --------------------------------------------------------------------------

    async def _stop(self, note: str) -> bool:
        """End the stream; True when its message is now exactly right."""
        fits = len(self._text) <= blocks.MARKDOWN
        below = blocks.below_answer(self._reply_id, note) if fits and self._exact else None
        for attempt in range(ATTEMPTS):
            rest = self._text[self._sent :] if fits and self._exact else ""
            try:
                await self._api.quick.chat_stopStream(
                    channel=self._place.channel,
                    ts=str(self._ts),
                    markdown_text=rest or None,
                    blocks=below,
                )
                return fits and self._exact
            except Transport as error:
                problem = failure(error)
                self._note(problem, "chat.stopStream")
                if problem.kind == "limited":
                    if rest.strip():
                        await self._append(len(self._text))  # to be read while we wait
                    await asyncio.sleep(problem.retry_after_s)
                elif problem.kind == "unclear":
                    self._exact = False
                    await asyncio.sleep(self._pace.retry_s * 2**attempt)
                else:
                    self.stopped = problem.code == "stopped_by_user"
                    return self.stopped
        return False

    async def _rewrite(self, note: str) -> str | None:
        """Replace what the stream's message shows with the whole answer."""
        first, *others = blocks.answers(self._text, self._reply_id, note)
        for attempt in range(ATTEMPTS):
            try:
                await self._api.patient.chat_update(
                    channel=self._place.channel,
                    ts=str(self._ts),
                    text=blocks.notice(self._text),
                    blocks=first,
                )
                return await self._post(others) if others else self._ts
            except Transport as error:
                problem = failure(error)
                self._note(problem, "chat.update")
                if problem.code in MESSAGE_GONE:
                    return None
                if problem.code == "streaming_state_conflict":
                    await self._end_stream()
                elif problem.kind == "refused":
                    break
                await asyncio.sleep(self._pace.retry_s * 2**attempt)
        return await self._post([first, *others])  # twice is better than not at all

    async def _end_stream(self) -> None:
        try:
            await self._api.quick.chat_stopStream(channel=self._place.channel, ts=str(self._ts))
        except Transport as error:
            self._note(failure(error), "chat.stopStream")

    async def _post(self, messages: list[list[blocks.Block]]) -> str | None:
        ts = None
        for number, content in enumerate(messages):
            # with the same id, Slack takes a repeated post for the same message
            message_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{self._reply_id}/{self._ts}/{number}")
            ts = await self._post_one(content, str(message_id)) or ts
        return ts

    async def _post_one(self, content: list[blocks.Block], message_id: str) -> str | None:
        text = next((b["text"] for b in content if b["type"] == "markdown"), "")
        for attempt in range(ATTEMPTS):
            try:
                response = await self._api.patient.chat_postMessage(
                    channel=self._place.channel,
                    thread_ts=self._place.thread_ts,
                    text=blocks.notice(text),
                    blocks=content,
                    unfurl_links=False,
                    unfurl_media=False,
                    client_msg_id=message_id,
                )
                return str(response["ts"])
            except Transport as error:
                problem = failure(error)
                self._note(problem, "chat.postMessage")
                if problem.kind in ("refused", "over"):
                    break
                await asyncio.sleep(self._pace.retry_s * 2**attempt)
        log.warning("The answer %s could not be sent to Slack.", self._reply_id)
        return None
