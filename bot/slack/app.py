"""The Slack front end, joined in one place: `create(service)`, `start`, `stop`.

Listeners only acknowledge and start a tracked task; what they start lives in `answer.py`,
`feedback.py` and `deeds.py`. Whatever goes wrong there is told to the person by `telling`, the
one place where an error becomes a Slack message.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.async_context import AsyncBoltContext
from slack_sdk.errors import SlackApiError
from starlette.routing import Route

from bot.service import Service
from bot.slack import accept, answer, blocks, deeds, feedback, http, manifest
from bot.slack.api import WRONG_TOKEN, Api, Transport, failure
from bot.slack.blocks import Block
from bot.slack.follow import Follower
from bot.slack.people import Names
from bot.slack.stream import Pace, Place
from bot.slack.tasks import Tasks
from data import conversations, domains
from data.clock import now_us
from data.config import SlackSettings
from data.errors import Invalid, Unavailable, UnderstudyError

log = logging.getLogger(__name__)

PING_S = 12.0  # a socket that is silent for four pings is dead: 48 seconds
GRACE_S = 20.0  # for answers in flight when we stop
FOLLOW_S = 3.0
LONGEST_RETRY_S = 60.0
MOST_PROMPTS = 4  # that Slack shows
OUR_FAULT = "Something went wrong on our side; it has been logged. Please try again."

Listener = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Identity:
    """Who we are in the workspace."""

    team: str = ""
    bot_user: str = ""
    bot_id: str = ""


class Slack:
    """One workspace's front end. Make it with `create`."""

    def __init__(self, service: Service, pace: Pace, follow_s: float) -> None:
        settings = service.settings.slack
        token = settings.bot_token.get_secret_value()
        self.service = service
        self.pace = pace
        self.identity = Identity()
        self.accepting = False
        self.tasks = Tasks()
        self.api = Api(token, settings.api_url)
        self.names = Names(self.api)
        self.app = _bolt(self)
        self._follower = Follower(self, follow_s)
        self._background: list[asyncio.Task[None]] = []
        self._socket: AsyncSocketModeHandler | None = None

    @property
    def routes(self) -> list[Route]:
        """What the HTTP application mounts: `/slack/events`, unless the socket is used."""
        return [http.route(self)] if self.service.settings.slack.mode == "http" else []

    async def start(self) -> None:
        """Join the workspace; while Slack can't be reached, keep trying in the background.

        Raises Invalid when Slack does not know our tokens."""
        await self.api.open()
        try:
            await self._join()
        except Unavailable as error:
            log.warning("%s Trying again.", error)
            self._background.append(asyncio.create_task(self._join_later()))
        except BaseException:
            await self.api.close()
            raise

    async def stop(self) -> None:
        """Take nothing new, let what is being answered end, then leave."""
        self.accepting = False
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close_async()  # type: ignore[no-untyped-call]
        await self.tasks.drain(GRACE_S)
        await self.api.close()

    # -- what listeners and tasks use --------------------------------------------------------

    @contextlib.asynccontextmanager
    async def telling(self, place: Place, response_url: str = "") -> AsyncIterator[None]:
        """Whatever goes wrong inside is told to the person, in words; ours is logged as well."""
        try:
            yield
        except UnderstudyError as error:
            await self.tell(place, str(error), response_url)
        except Exception:
            log.exception("Something failed for a person in Slack")
            await self.tell(place, OUR_FAULT, response_url)

    async def tell(self, place: Place, text: str, response_url: str = "") -> None:
        """Say something that only this person sees."""
        await self.respond(place, response_url, [blocks.section(blocks.sentence(text))])

    async def respond(self, place: Place, response_url: str, content: list[Block]) -> None:
        """Answer a command or click; without its response_url, an ephemeral message, and in a
        direct message, where nobody else reads, a plain one that stays."""
        text = _plain(content)
        if response_url and await self.api.respond(
            response_url,
            {"response_type": "ephemeral", "text": text, "blocks": content},
        ):
            return
        if place.is_dm:
            await self.post(place.channel, content, place.thread_ts)
            return
        try:
            await self.api.patient.chat_postEphemeral(
                channel=place.channel,
                user=place.user,
                thread_ts=place.thread_ts or None,
                text=text,
                blocks=content,
            )
        except Transport as error:
            log.warning("A person could not be told something: %s", failure(error).code)

    async def post(
        self, channel: str, content: list[Block], thread_ts: str = ""
    ) -> tuple[str, str] | None:
        """Post a message; returns its channel and ts, or None when Slack would not take it."""
        try:
            response = await self.api.patient.chat_postMessage(
                channel=channel,
                thread_ts=thread_ts or None,
                text=_plain(content),
                blocks=content,
                unfurl_links=False,
                unfurl_media=False,
            )
        except Transport as error:
            log.info("chat.postMessage: %s", failure(error).code)
            return None
        return str(response["channel"]), str(response["ts"])

    async def suggest_prompts(self, channel: str) -> None:
        """Offer the default domain's questions where a direct message begins."""
        domain = await self.service.store.read(domains.default)
        prompts = [{"title": q[:75], "message": q} for q in domain.suggested_prompts]
        if not prompts:
            return
        try:
            await self.api.quick.assistant_threads_setSuggestedPrompts(
                channel_id=channel, prompts=prompts[:MOST_PROMPTS]
            )
        except Transport as error:
            log.info("No prompts were suggested: %s", failure(error).code)

    # -- joining -----------------------------------------------------------------------------

    async def _join(self) -> None:
        """Learn who we are, open the socket if that is the way, begin to follow runs."""
        self.identity = await self._who_am_i()
        old = now_us() - accept.KEEP_DELIVERIES_US
        await self.service.store.submit(lambda db: conversations.forget_deliveries(db, old))
        if self.service.settings.slack.mode == "socket":
            await self._connect()
        self.accepting = True
        self._background.append(asyncio.create_task(self._follower.run()))
        log.info("In Slack as %s of %s", self.identity.bot_user, self.identity.team)

    async def _join_later(self) -> None:
        wait_s = 1.0
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_RETRY_S)
            try:
                await self._join()
                return
            except Unavailable as error:
                log.warning("%s Trying again.", error)
            except UnderstudyError as error:
                log.error("Slack is off: %s", error)  # noqa: TRY400 - a sentence, not a defect
                return

    async def _who_am_i(self) -> Identity:
        try:
            who = await self.api.patient.auth_test()
        except Transport as error:
            raise _unusable(error, "bot_token") from error
        return Identity(who["team_id"], who["user_id"], who.get("bot_id") or "")

    async def _connect(self) -> None:
        app_token = self.service.settings.slack.app_token.get_secret_value()
        try:
            opened = await self.api.patient.apps_connections_open(app_token=app_token)
        except Transport as error:
            raise _unusable(error, "app_token") from error
        self._socket = AsyncSocketModeHandler(
            self.app, app_token, web_client=self.api.patient, ping_interval=PING_S
        )
        self._socket.client.wss_uri = opened["url"]
        await self._socket.connect_async()  # type: ignore[no-untyped-call]


def create(service: Service, pace: Pace | None = None, follow_s: float = FOLLOW_S) -> Slack:
    """The front end that the settings ask for, not started yet. Raises Invalid when a token that
    its mode needs is missing."""
    settings = service.settings.slack
    for name in _needed(settings):
        if not getattr(settings, name).get_secret_value():
            raise Invalid(
                f"[slack] mode is {settings.mode!r}, but {name} is missing. "
                f"Set UNDERSTUDY_SLACK_{name.upper()}, or UNDERSTUDY_SLACK_{name.upper()}_FILE."
            )
    return Slack(service, pace or Pace(), follow_s)


@contextlib.asynccontextmanager
async def attached(app: FastAPI, service: Service) -> AsyncIterator[Slack]:
    """The front end as part of the HTTP application's life: its route mounted, joined, left."""
    slack = create(service)
    app.router.routes.extend(slack.routes)
    await slack.start()
    try:
        yield slack
    finally:
        await slack.stop()


def register(app: Any, slack: Slack) -> None:
    """Every listener. Chat comes first: Bolt asks listeners in this order."""

    async def on_words(context: AsyncBoltContext) -> None:
        heard: accept.Said = context["said"]
        slack.tasks.start(answer.answer(slack, heard), "answer")

    async def on_feedback(ack: Listener, body: dict[str, Any]) -> None:
        await feedback.clicked(slack, ack, body)

    async def on_correction(ack: Listener, body: dict[str, Any]) -> None:
        await feedback.submitted(slack, ack, body)

    async def on_command(ack: Listener, body: dict[str, Any]) -> None:
        await deeds.commanded(slack, ack, body)

    async def on_button(ack: Listener, body: dict[str, Any]) -> None:
        await deeds.pressed(slack, ack, body)

    async def on_reaction(body: dict[str, Any]) -> None:
        added = body["event"]["type"] == "reaction_added"
        slack.tasks.start(feedback.reacted(slack, body, added), "reaction")

    async def on_home(event: dict[str, Any]) -> None:
        if event.get("tab") == "messages":
            slack.tasks.start(slack.suggest_prompts(str(event["channel"])), "prompts")

    app.event("message")(on_words)
    app.event("app_mention")(on_words)
    app.action(blocks.FEEDBACK)(on_feedback)
    app.view(blocks.CORRECTION)(on_correction)
    app.command(manifest.COMMAND)(on_command)
    app.action(blocks.PROMOTE)(on_button)
    app.action(blocks.COMPARE)(on_button)
    app.event("reaction_added")(on_reaction)
    app.event("reaction_removed")(on_reaction)
    app.event("app_home_opened")(on_home)


def _bolt(slack: Slack) -> AsyncApp:
    logger = logging.getLogger("bot.slack.bolt")
    logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))

    async def authorize() -> AuthorizeResult:
        who = slack.identity
        return AuthorizeResult(
            enterprise_id=None,
            team_id=who.team,
            bot_user_id=who.bot_user,
            bot_id=who.bot_id,
            bot_token=slack.service.settings.slack.bot_token.get_secret_value(),
        )

    async def on_error(error: Exception) -> None:
        # listeners only acknowledge and start tasks: what they raise is a defect of ours
        log.error("A Slack delivery failed", exc_info=error)

    app = AsyncApp(
        name="understudy",
        logger=logger,
        signing_secret=slack.service.settings.slack.signing_secret.get_secret_value(),
        authorize=authorize,
    )
    app.use(accept.middleware(slack))
    app.error(on_error)
    register(app, slack)
    return app


def _needed(settings: SlackSettings) -> tuple[str, ...]:
    match settings.mode:
        case "socket":
            return ("bot_token", "app_token")
        case "http":
            return ("bot_token", "signing_secret")
        case _:
            return ()


def _unusable(error: Exception, setting: str) -> UnderstudyError:
    problem = failure(error)
    if isinstance(error, SlackApiError) and problem.code in WRONG_TOKEN:
        return Invalid(f"Slack does not accept [slack] {setting} ({problem.code}).")
    return Unavailable(f"Slack can't be reached ({problem.code}).")


def _plain(content: list[Block]) -> str:
    """The first words of a message, for notifications."""
    for block in content:
        text = block.get("text", "")
        words = text if isinstance(text, str) else str(text.get("text", ""))
        if words:
            return blocks.notice(words)
    return "…"
