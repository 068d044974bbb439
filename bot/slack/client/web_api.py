"""Calls to Slack's Web API: two clients over one session, and what a failure means.

`quick` never retries: streams have to decide at once what a failure means. `patient` waits when
Slack says that there were too many calls. Neither repeats a call whose connection broke: whether
it happened is not known, and the caller knows whether repeating is safe.

`in_turn` is for what must happen: it waits for the governor, and again whenever Slack says that
there were too many calls.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.client.clock import Clock
from bot.slack.client.rate_limiter import RateLimiter
from data.retry import Backoff, retry_async

log = logging.getLogger(__name__)

TIMEOUT_S = 30
MESSAGE_GONE = {"message_not_found", "channel_not_found", "is_archived", "not_in_channel"}
STREAM_OVER = {"message_not_in_streaming_state", "stopped_by_user", "message_not_found"}
TRANSIENT = {"internal_error", "fatal_error", "service_unavailable", "request_timeout"}
WRONG_TOKEN = {
    "account_inactive",
    "invalid_auth",
    "not_allowed_token_type",
    "not_authed",
    "token_expired",
    "token_revoked",
}
MOST_REFUSALS = 30  # in a row, of one call, before its caller has to know
RESPONDING = Backoff(attempts=3, first_s=0.5, growth=4.0)

Transport = (SlackClientError, aiohttp.ClientError, TimeoutError, OSError)


def method_name(method: Callable[..., Any]) -> str:
    """`chat_postMessage` of a client as Slack spells it."""
    return str(method.__name__).replace("_", ".")


@dataclass(frozen=True)
class Failure:
    """What went wrong with a call. `unclear`: it may have happened all the same."""

    kind: Literal["limited", "over", "refused", "unclear"]
    code: str
    retry_after_s: float = 0.0


def failure(error: Exception) -> Failure:
    """Classify an error of the client; anything that is none of `Transport` is raised again."""
    if isinstance(error, SlackApiError):
        status = int(getattr(error.response, "status_code", 0) or 0)
        data = getattr(error.response, "data", None)
        code = str(data.get("error", "")) if isinstance(data, dict) else ""
        if status == 429 or code == "ratelimited":
            return Failure("limited", "ratelimited", _retry_after(error.response))
        if status >= 500 or code in TRANSIENT or not code:
            return Failure("unclear", code or f"HTTP {status}")
        return Failure("over" if code in STREAM_OVER else "refused", code)
    if isinstance(error, Transport):
        return Failure("unclear", type(error).__name__)
    raise error


def _retry_after(response: Any) -> float:
    headers: Mapping[str, Any] = getattr(response, "headers", {}) or {}
    for name, value in headers.items():
        text = str(value[0] if isinstance(value, list) else value)
        if name.lower() == "retry-after" and text.isascii() and text.isdigit():
            return float(text)
    return 1.0


class WebApi:
    """The clients, the session that they share, and the governor."""

    def __init__(self, token: str, base_url: str, clock: Clock | None = None) -> None:
        logger = logging.getLogger("bot.slack.web")
        # the SDK formats its debug lines whenever a logger's own level is unset
        logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))
        waits = AsyncRateLimitErrorRetryHandler(max_retry_count=5)
        common: dict[str, Any] = {
            "token": token,
            "base_url": base_url,
            "timeout": TIMEOUT_S,
            "logger": logger,
        }
        self.quick = AsyncWebClient(retry_handlers=[], **common)
        self.patient = AsyncWebClient(retry_handlers=[waits], **common)
        self.clock = clock or Clock()
        self.limiter = RateLimiter(clock=self.clock)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)
        self.quick.session = self.patient.session = self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def in_turn(self, method: Callable[..., Awaitable[Any]], **args: Any) -> Any:
        """Call `method` of `quick` when its turn comes, again when Slack says later. Raises what
        else goes wrong."""
        name, channel = method_name(method), str(args.get("channel", ""))
        refusals = 0
        while True:
            await self.limiter.turn(name, channel)
            try:
                return await method(**args)
            except Transport as error:
                problem, refusals = failure(error), refusals + 1
                if problem.kind != "limited" or refusals > MOST_REFUSALS:
                    raise
                self.limiter.limited(name, channel, problem.retry_after_s)

    async def send_file(self, url: str, content: bytes) -> bool:
        """Put a file's bytes where Slack asked for them. Raises what goes wrong on the way."""
        if self._session is None:
            return False
        async with self._session.post(url, data=content) as response:
            return response.status == 200

    async def respond(self, url: str, message: dict[str, Any]) -> bool:
        """Send `message` to a response_url; False when Slack would not take it."""
        session = self._session
        if session is None:
            return False

        async def send(_: int) -> bool:
            async with session.post(url, json=message) as response:
                if response.status >= 429:
                    response.raise_for_status()
                return response.status < 300

        try:
            return await retry_async(
                send,
                RESPONDING,
                on=Transport,
                on_error=lambda error, _: log.info(
                    "A response could not be sent: %s", type(error).__name__
                ),
            )
        except Transport:
            return False
