"""How many calls of each method Slack will take, and who may make the next one.

Slack counts the calls of an app in a workspace, each method for itself, and refuses what is over.
Here each method has a window of the calls of the last minute (chat.postMessage: of the last
second, for each channel). Two kinds of callers:

- progress asks `take`: now or not at all. It never gets the last part of a window, nor anything
  while somebody waits for the same method.
- finishing (the end of an answer, with its feedback buttons) awaits `turn`: in order of arrival.

Streams are begun only while every open one still has its chat.stopStream in the window, so that
ending an answer does not have to wait. The pieces of open streams come the more seldom, the more
of them there are (`spread_s`).
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from bot.slack.client.clock import Clock

MARGIN_S = 1.0  # a call may arrive that much later than it was made


@dataclass(frozen=True)
class Limit:
    """So many calls in so many seconds; `reserve` of them are not for progress."""

    calls: int
    seconds: float = 60.0
    reserve: int = 0


LIMITS: dict[str, Limit] = {
    "chat.startStream": Limit(20),
    "chat.appendStream": Limit(100),
    "chat.stopStream": Limit(20),
    "chat.update": Limit(50, reserve=25),
    "chat.postMessage": Limit(1, seconds=1.0),  # of one channel
    "chat.delete": Limit(50),
    "conversations.replies": Limit(50),
    "views.publish": Limit(100),
    "views.update": Limit(100),
}
OF_A_CHANNEL = {"chat.postMessage"}
MANY = 1_000  # windows of channels that are kept at most


class RateLimiter:
    """One for each workspace: Slack counts by app and workspace."""

    def __init__(self, limits: Mapping[str, Limit] = LIMITS, clock: Clock | None = None) -> None:
        self.limits = dict(limits)
        self.open_streams = 0
        self._growing = 0  # messages that show an answer's beginning and will be updated
        self._clock = clock or Clock()
        self._made: defaultdict[str, deque[float]] = defaultdict(deque)
        self._not_before: dict[str, float] = {}
        self._lines: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def take(self, method: str, channel: str = "") -> bool:
        """One call of progress, if there is room for it now."""
        limit, name = self.limits.get(method), _name(method, channel)
        if limit is None:
            return True
        if self._lines[name].locked() or self._wait_s(name, limit, limit.reserve) > 0:
            return False
        self._made[name].append(self._clock.now())
        return True

    async def turn(self, method: str, channel: str = "") -> None:
        """Wait until it is this caller's turn for one call."""
        limit, name = self.limits.get(method), _name(method, channel)
        if limit is None:
            return
        async with self._lines[name]:
            while (wait_s := self._wait_s(name, limit)) > 0:
                await self._clock.sleep(wait_s)
            self._made[name].append(self._clock.now())
        self._prune()

    def limited(self, method: str, channel: str, retry_after_s: float) -> None:
        """Slack refused all the same: nobody calls that method before then."""
        self._not_before[_name(method, channel)] = self._clock.now() + retry_after_s

    def may_stream(self) -> bool:
        """Whether a stream may be begun; if so, it counts as open until `stream_ended`."""
        stop = self.limits.get("chat.stopStream")
        if stop is not None:
            self._room("chat.stopStream", stop)
            if len(self._made["chat.stopStream"]) + self.open_streams >= stop.calls:
                return False
        if not self.take("chat.startStream"):
            return False
        self.open_streams += 1
        return True

    def stream_ended(self) -> None:
        self.open_streams -= 1

    def may_grow(self, channel: str) -> bool:
        """Whether a message may be posted that later updates complete; it counts until
        `grown`."""
        update = self.limits.get("chat.update")
        if update is not None:
            used = update.calls - self._room("chat.update", update)
            if used + self._growing >= update.calls - update.reserve:
                return False
        if not self.take("chat.postMessage", channel):
            return False
        self._growing += 1
        return True

    def grown(self) -> None:
        self._growing -= 1

    def spread_s(self) -> float:
        """Seconds between the pieces of one stream with which the window lasts for all of them."""
        limit = self.limits.get("chat.appendStream")
        if limit is None:
            return 0.0
        return limit.seconds * self.open_streams / max(1, self._room("chat.appendStream", limit))

    def _room(self, name: str, limit: Limit) -> int:
        """How many calls the window still takes."""
        made, gone = self._made[name], self._clock.now() - limit.seconds - _margin(limit)
        while made and made[0] <= gone:
            made.popleft()
        return limit.calls - len(made)

    def _wait_s(self, name: str, limit: Limit, reserve: int = 0) -> float:
        """Seconds until there is room for a call."""
        refused = self._not_before.get(name, 0.0) - self._clock.now()
        missing = 1 + reserve - self._room(name, limit)
        if missing <= 0:
            return max(0.0, refused)
        until = self._made[name][missing - 1] + limit.seconds + _margin(limit)
        return max(refused, until - self._clock.now(), 0.001)

    def _prune(self) -> None:
        if len(self._lines) < MANY:
            return
        for name, line in list(self._lines.items()):
            limit = self.limits.get(name.split(" ")[0])
            if " " in name and not line.locked() and limit and self._room(name, limit) > 0:
                del self._lines[name], self._made[name]
                self._not_before.pop(name, None)


def _name(method: str, channel: str) -> str:
    return f"{method} {channel}" if method in OF_A_CHANNEL else method


def _margin(limit: Limit) -> float:
    return min(MARGIN_S, limit.seconds / 10)
