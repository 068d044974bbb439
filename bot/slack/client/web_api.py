"""Calls to Slack's Web API, and the meaning of their errors. Two clients share one session.

`quick` never retries, because streams have to react to an error at once. `patient` waits when Slack
reports too many calls. Neither repeats a call whose connection broke: it may have taken effect, and
only the caller knows whether repeating is safe.

`throttled` is for calls that must happen. It waits for the rate limiter, and again whenever Slack
reports too many calls.
"""

import logging
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

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
MAX_RATE_LIMITED = 30  # refusals of one call in a row before its caller gets the error
RESPOND_BACKOFF = Backoff(attempts=3, first_s=0.5, growth=4.0)

Transport = (SlackClientError, aiohttp.ClientError, TimeoutError, OSError)


def method_name(method: Callable[..., Any]) -> str:
    """Slack's name for a client method: `chat.postMessage` for `chat_postMessage`."""
    return str(method.__name__).replace("_", ".")


@dataclass(frozen=True)
class Failure:
    """Why a call failed. `unclear`: it may have taken effect anyway."""

    kind: Literal["limited", "over", "refused", "unclear"]
    code: str
    retry_after_s: float = 0.0


def failure(error: Exception) -> Failure:
    """Classify an error of the client. An error that is not in `Transport` is raised again."""
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


class _Client(AsyncWebClient):
    """Reports when Slack rejects the token."""

    def __init__(self, rejected: Callable[[str], None], **args: Any) -> None:
        super().__init__(**args)
        self._rejected = rejected

    async def api_call(self, api_method: str, **args: Any) -> AsyncSlackResponse:
        try:
            return await super().api_call(api_method, **args)
        except SlackApiError as error:
            code = failure(error).code
            if code in WRONG_TOKEN:
                self._rejected(code)
            raise

    async def assistant_threads_setTitle(
        self, *, channel_id: str, thread_ts: str, title: str, **more: Any
    ) -> AsyncSlackResponse:
        """The SDK puts the title into the URL, and URLs are logged in many places."""
        given = {"channel_id": channel_id, "thread_ts": thread_ts, "title": title, **more}
        return await self.api_call("assistant.threads.setTitle", json=given)


class WebApi:
    """The two clients, their shared session, and the rate limiter."""

    def __init__(
        self,
        token: str,
        base_url: str,
        clock: Clock | None = None,
        rejected: Callable[[str], None] = lambda code: None,
    ) -> None:
        """`rejected` is called with the error code whenever Slack rejects the token."""
        logger = logging.getLogger("bot.slack.web")
        # the SDK formats its debug lines whenever the logger has no level of its own
        logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))
        waits = AsyncRateLimitErrorRetryHandler(max_retry_count=5)
        common: dict[str, Any] = {
            "token": token,
            "base_url": base_url,
            "timeout": TIMEOUT_S,
            "logger": logger,
        }
        self.quick = _Client(rejected, retry_handlers=[], **common)
        self.patient = _Client(rejected, retry_handlers=[waits], **common)
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

    async def throttled(self, method: Callable[..., Awaitable[Any]], **args: Any) -> Any:
        """Call `method` of `quick` when the rate limiter allows it, and again after Slack's
        rate-limit errors. Raises any other error."""
        name, channel = method_name(method), str(args.get("channel", ""))
        refusals = 0
        while True:
            await self.limiter.acquire(name, channel)
            try:
                return await method(**args)
            except Transport as error:
                problem, refusals = failure(error), refusals + 1
                if problem.kind != "limited" or refusals > MAX_RATE_LIMITED:
                    raise
                self.limiter.block(name, channel, problem.retry_after_s)

    async def send_file(self, url: str, content: bytes) -> bool:
        """Upload a file's bytes to `url`. Returns False if Slack rejects them. Raises transport
        errors."""
        if self._session is None:
            return False
        async with self._session.post(url, data=content) as response:
            return response.status == 200

    async def read_file(self, url: str, most: int) -> bytes | None:
        """The first `most` bytes of a file in Slack. None if it is not one of Slack's, or the bot
        may not read it: then Slack sends its sign-in page. Raises transport errors."""
        given, own = urllib.parse.urlsplit(url), urllib.parse.urlsplit(self.quick.base_url)
        of_slack = given.scheme == "https" and (given.hostname or "").endswith(".slack.com")
        if self._session is None or not (of_slack or given[:2] == own[:2]):
            return None  # the token goes to Slack alone
        headers = {"Authorization": f"Bearer {self.quick.token}"}
        async with self._session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status != 200 or response.content_type == "text/html":
                return None
            found = b""
            async for piece in response.content.iter_any():
                found += piece
                if len(found) >= most:
                    break
            return found[:most]

    async def respond(self, url: str, message: dict[str, Any]) -> bool:
        """Send `message` to a response_url. Returns False if Slack rejects it."""
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
                RESPOND_BACKOFF,
                on=Transport,
                on_error=lambda error, _: log.info(
                    "A response could not be sent: %s", type(error).__name__
                ),
            )
        except Transport:
            return False
