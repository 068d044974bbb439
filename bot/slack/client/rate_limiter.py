"""Limits the calls of each Web API method to what Slack allows.

Slack counts an app's calls in a workspace separately for each method, and refuses calls over the
limit. Each method has a sliding window over its calls of the last minute (chat.postMessage: of the
last second, per channel). There are two kinds of callers:

- Progress updates use `try_acquire`, which succeeds now or not at all. They never get the reserve
  of a window, and nothing while another caller waits for the same method.
- The end of an answer, with its feedback buttons, uses `acquire`, which waits in order of arrival.

A stream starts only if the window has room for the chat.stopStream call of every open stream, so
that an answer never waits to end. The more streams are open, the less often each is appended to
(`append_interval_s`).
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from bot.slack.client.clock import Clock

MARGIN_S = 1.0  # a call may reach Slack this much later than it was made


@dataclass(frozen=True)
class Limit:
    """At most `calls` calls in `seconds`; `reserve` of them are not for progress updates."""

    calls: int
    seconds: float = 60.0
    reserve: int = 0


LIMITS: dict[str, Limit] = {
    "chat.startStream": Limit(20),
    "chat.appendStream": Limit(100),
    "chat.stopStream": Limit(20),
    "chat.update": Limit(50, reserve=25),
    "chat.postMessage": Limit(1, seconds=1.0),  # per channel
    "chat.delete": Limit(50),
    "conversations.replies": Limit(50),
    "views.publish": Limit(100),
    "views.update": Limit(100),
}
PER_CHANNEL = {"chat.postMessage"}
MAX_WINDOWS = 1_000  # channels' windows that are kept


class RateLimiter:
    """The limiter of one workspace, because Slack counts by app and workspace."""

    def __init__(self, limits: Mapping[str, Limit] = LIMITS, clock: Clock | None = None) -> None:
        self.limits = dict(limits)
        self.open_streams = 0
        self._updating = 0  # messages that show a partial answer and will be updated
        self._clock = clock or Clock()
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)
        self._not_before: dict[str, float] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def try_acquire(self, method: str, channel: str = "") -> bool:
        """Record one call of a progress update if the window has room now. Returns whether it
        does."""
        limit, name = self.limits.get(method), _name(method, channel)
        if limit is None:
            return True
        if self._locks[name].locked() or self._wait_s(name, limit, limit.reserve) > 0:
            return False
        self._calls[name].append(self._clock.now())
        return True

    async def acquire(self, method: str, channel: str = "") -> None:
        """Wait until the window has room for one call, in order of arrival, and record it."""
        limit, name = self.limits.get(method), _name(method, channel)
        if limit is None:
            return
        async with self._locks[name]:
            while (wait_s := self._wait_s(name, limit)) > 0:
                await self._clock.sleep(wait_s)
            self._calls[name].append(self._clock.now())
        self._prune()

    def block(self, method: str, channel: str, retry_after_s: float) -> None:
        """Slack refused a call anyway: block the method for `retry_after_s` seconds."""
        self._not_before[_name(method, channel)] = self._clock.now() + retry_after_s

    def may_stream(self) -> bool:
        """Whether a stream may start. If so, it counts as open until `stream_ended`."""
        stop = self.limits.get("chat.stopStream")
        if stop is not None:
            self._free("chat.stopStream", stop)
            if len(self._calls["chat.stopStream"]) + self.open_streams >= stop.calls:
                return False
        if not self.try_acquire("chat.startStream"):
            return False
        self.open_streams += 1
        return True

    def stream_ended(self) -> None:
        self.open_streams -= 1

    def may_update(self, channel: str) -> bool:
        """Whether a partial message may be posted that updates complete. If so, it counts until
        `updates_ended`."""
        update = self.limits.get("chat.update")
        if update is not None:
            used = update.calls - self._free("chat.update", update)
            if used + self._updating >= update.calls - update.reserve:
                return False
        if not self.try_acquire("chat.postMessage", channel):
            return False
        self._updating += 1
        return True

    def updates_ended(self) -> None:
        self._updating -= 1

    def append_interval_s(self) -> float:
        """Seconds between two appends to one stream, so that the window lasts for all open
        streams."""
        limit = self.limits.get("chat.appendStream")
        if limit is None:
            return 0.0
        return limit.seconds * self.open_streams / max(1, self._free("chat.appendStream", limit))

    def _free(self, name: str, limit: Limit) -> int:
        """How many calls the window has room for."""
        made, gone = self._calls[name], self._clock.now() - limit.seconds - _margin(limit)
        while made and made[0] <= gone:
            made.popleft()
        return limit.calls - len(made)

    def _wait_s(self, name: str, limit: Limit, reserve: int = 0) -> float:
        """Seconds until the window has room for a call."""
        refused = self._not_before.get(name, 0.0) - self._clock.now()
        missing = 1 + reserve - self._free(name, limit)
        if missing <= 0:
            return max(0.0, refused)
        until = self._calls[name][missing - 1] + limit.seconds + _margin(limit)
        return max(refused, until - self._clock.now(), 0.001)

    def _prune(self) -> None:
        if len(self._locks) < MAX_WINDOWS:
            return
        for name, lock in list(self._locks.items()):
            limit = self.limits.get(name.split(" ")[0])
            if " " in name and not lock.locked() and limit and self._free(name, limit) > 0:
                del self._locks[name], self._calls[name]
                self._not_before.pop(name, None)


def _name(method: str, channel: str) -> str:
    return f"{method} {channel}" if method in PER_CHANNEL else method


def _margin(limit: Limit) -> float:
    return min(MARGIN_S, limit.seconds / 10)
