"""The Slack front end: `create(service)`, `start` and `stop`, and all listeners.

Listeners only acknowledge and start a tracked task from `bot/slack/handlers` or
`bot/slack/commands`. `WorkspaceContext.report_errors` tells the person about an error in a task.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from slack_bolt import BoltResponse
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.error import BoltUnhandledRequestError
from slack_sdk.errors import SlackApiError
from sqlite_utils import Database
from starlette.routing import Route

from bot.service import Service
from bot.slack import payloads
from bot.slack.client.clock import Clock
from bot.slack.client.stream import Pace
from bot.slack.client.web_api import WRONG_TOKEN, Transport, failure
from bot.slack.commands import argument_forms, delivery, digest, forms, handlers
from bot.slack.handlers import (
    answer,
    edited_question,
    feedback,
    home,
    members,
    regenerate,
    review,
    unanswered_form,
)
from bot.slack.handlers.run_follower import Follower
from bot.slack.inbound import http, ingest, oauth
from bot.slack.render import admin_forms, blocks, unanswered_forms
from bot.slack.workspace import manifest
from bot.slack.workspace.context import Identity, WorkspaceContext
from bot.slack.workspace.question_worker import QuestionLease
from bot.slack.workspace.workspaces import Workspaces
from data import command_queue
from data.conversations import conversations
from data.retry import Backoff, retry_async
from data.slack import problems, question_queue
from data.store.clock import now_us
from data.store.errors import Invalid, Unavailable, UnderstudyError

log = logging.getLogger(__name__)

PING_S = 12.0  # a socket that is silent for four pings (48 s) counts as dead
GRACE_S = 20.0  # for answers in flight when the bot stops
FOLLOW_S = 3.0
FIRST_RETRY_S = 1.0
MAX_RETRY_S = 60.0

Listener = Callable[..., Awaitable[None]]


class Slack:
    """The front end. Make it with `create`."""

    def __init__(
        self, service: Service, pace: Pace, follow_s: float, clock: Clock | None = None
    ) -> None:
        self.service = service
        self.workspaces = Workspaces(service, pace, clock)
        self.app = _bolt(self.workspaces)
        self._follower = Follower(self.workspaces, follow_s)
        self._background: list[asyncio.Task[None]] = []
        self._socket: AsyncSocketModeHandler | None = None

    @property
    def workspace(self) -> WorkspaceContext:
        """The context of the workspace whose token is in the settings."""
        if self.workspaces.own is None:
            raise LookupError("no token is in the settings")
        return self.workspaces.own

    @property
    def routes(self) -> list[Route]:
        """The routes that the HTTP application mounts: `/slack/events` unless Socket Mode is used,
        and the two OAuth routes if they are configured."""
        slack = self.service.settings.slack
        if slack.mode != "http":
            return []
        events = http.route(self.app, self.workspaces, handlers.slash_command)
        return [events, *(oauth.routes(self.workspaces) if slack.installable else ())]

    async def start(self) -> None:
        """Join the workspaces. If Slack can't be reached, keep trying in the background.

        Raises Invalid if Slack rejects a token, or a stored token can't be decrypted."""
        try:
            await self.workspaces.open()
            await self._join()
        except Unavailable as error:
            log.warning("%s Trying again.", error)
            self._background.append(asyncio.create_task(self._join_later()))
        except BaseException:
            await self.workspaces.close()
            raise

    async def stop(self) -> None:
        """Accept no new requests, let answers in flight end, then disconnect."""
        self.workspaces.accepting = False
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close_async()  # type: ignore[no-untyped-call]
        await self.workspaces.shared.tasks.drain(GRACE_S)
        await self.workspaces.close()

    # -- joining -----------------------------------------------------------------------------

    async def _join(self) -> None:
        """Look up the bot's own user, open the socket in Socket Mode, and start the background
        loops."""
        own = self.workspaces.own
        if own is not None:
            own.identity = await _who_am_i(own)
            team = own.identity.team
            await self.service.store.submit(lambda db: problems.clear(db, team))
            log.info("Joined Slack as %s of %s", own.identity.bot_user, own.identity.team)
        old = now_us() - ingest.KEEP_DELIVERIES_US
        await self.service.store.submit(lambda db: _forget(db, old))
        if self.service.settings.slack.mode == "socket":
            await self._connect()
        self.workspaces.accepting = True
        for forever in (
            self._follower.run(),
            self._answer_questions(),
            delivery.run(self.workspaces),
            digest.run(self.workspaces),
        ):
            self._background.append(asyncio.create_task(forever))

    async def _answer_questions(self) -> None:
        await self.workspaces.shared.queue.run(self._answer)

    async def _answer(self, lease: QuestionLease) -> None:
        workspace = self.workspaces.of_team(lease.question.team)
        if workspace is None:
            await lease.finish()  # the workspace has uninstalled the bot
        else:
            await answer.answer(workspace, lease)

    async def _join_later(self) -> None:
        await asyncio.sleep(FIRST_RETRY_S)  # the first attempt has just failed
        try:
            await retry_async(
                lambda _: self._join(),
                Backoff(first_s=2 * FIRST_RETRY_S, longest_s=MAX_RETRY_S),
                on=Unavailable,
                on_error=lambda error, _: log.warning("%s Trying again.", error),
            )
        except UnderstudyError as error:
            log.error("Slack is off: %s", error)  # noqa: TRY400 - a sentence, not a defect

    async def _connect(self) -> None:
        app_token = self.service.settings.slack.app_token.get_secret_value()
        try:
            opened = await self.workspace.api.patient.apps_connections_open(app_token=app_token)
        except Transport as error:
            raise _unusable(error, "app_token") from error
        self._socket = AsyncSocketModeHandler(
            self.app, app_token, web_client=self.workspace.api.patient, ping_interval=PING_S
        )
        self._socket.client.wss_uri = opened["url"]
        await self._socket.connect_async()  # type: ignore[no-untyped-call]


async def _who_am_i(workspace: WorkspaceContext) -> Identity:
    try:
        who = await workspace.api.patient.auth_test()
    except Transport as error:
        raise _unusable(error, "bot_token") from error
    return Identity(who["team_id"], who["user_id"], who.get("bot_id") or "")


def create(
    service: Service,
    pace: Pace | None = None,
    follow_s: float = FOLLOW_S,
    clock: Clock | None = None,
) -> Slack:
    """The front end for the settings, not started yet. Raises Invalid if a token that its mode
    needs is missing."""
    settings = service.settings.slack
    if settings.mode == "socket" and settings.client_id:
        raise Invalid('[slack] client_id works only with mode = "http"; remove it.')
    for name, secret in settings.needed.items():
        if not secret.get_secret_value():
            raise Invalid(
                f"[slack] mode is {settings.mode!r}, but {name} is missing. "
                f"Set UNDERSTUDY_SLACK_{name.upper()}, or UNDERSTUDY_SLACK_{name.upper()}_FILE."
            )
    return Slack(service, pace or Pace(), follow_s, clock)


def register(app: Any, workspaces: Workspaces) -> None:
    """Register every listener. Chat comes first, because Bolt tries listeners in this order."""
    at = workspaces.at  # returns the context of the workspace that a request comes from

    async def on_words(body: dict[str, Any]) -> None:
        workspace = at(body)
        workspace.queue.wake()  # the question was queued or changed
        workspace.tasks.start(edited_question.offer(workspace, body), "edited question")

    async def on_answer_anew(ack: Listener, body: dict[str, Any]) -> None:
        await edited_question.button(at(body), ack, body)

    async def on_command(ack: Listener, body: dict[str, Any]) -> None:
        await handlers.slash_command(at(body), ack, body)

    async def on_button(ack: Listener, body: dict[str, Any]) -> None:
        await handlers.command_button(at(body), ack, body)

    async def on_menu(ack: Listener, body: dict[str, Any]) -> None:
        await handlers.question_form_sent(at(body), ack, body)

    async def on_confirmation(ack: Listener, body: dict[str, Any]) -> None:
        await handlers.confirmation(at(body), ack, body)

    async def on_choice(ack: Listener, body: dict[str, Any]) -> None:
        await handlers.argument_form_sent(at(body), ack, body)

    async def on_domain(ack: Listener, body: dict[str, Any]) -> None:
        await forms.domain_chosen(at(body), ack, body)

    async def on_review(ack: Listener, body: dict[str, Any]) -> None:
        await review.review_button(at(body), ack, body)

    async def on_reviewed(ack: Listener, body: dict[str, Any]) -> None:
        await review.review_form_sent(at(body), ack, body)

    async def on_unanswered(ack: Listener, body: dict[str, Any]) -> None:
        await unanswered_form.group_button(at(body), ack, body)

    async def on_unanswered_sent(ack: Listener, body: dict[str, Any]) -> None:
        await unanswered_form.answer_sent(at(body), ack, body)

    async def on_regenerate(ack: Listener, body: dict[str, Any]) -> None:
        await regenerate.regenerate_button(at(body), ack, body)

    async def on_reaction() -> None:
        """The ingest middleware has counted the reaction."""

    async def on_stop(body: dict[str, Any]) -> None:
        event, team = body["event"], payloads.team_of(body)
        at(body).queue.stop(team, str(event.get("channel")), str(event.get("thread_ts")))

    async def on_uninstalled() -> None:
        """The ingest middleware has removed the workspace."""

    app.event("message")(on_words)
    app.event("app_mention")(on_words)
    app.action(blocks.REGENERATE)(on_regenerate)
    app.action(blocks.CONTINUE)(on_regenerate)
    app.action(edited_question.ANSWER_ANEW)(on_answer_anew)
    members.register(app, at)
    app.command(manifest.COMMAND)(on_command)
    app.action(handlers.BUTTON)(on_button)
    app.action(admin_forms.CHOOSE_DOMAIN)(on_domain)
    app.action(review.BUTTON)(on_review)
    app.action(unanswered_forms.BUTTON)(on_unanswered)
    app.view(unanswered_forms.UNANSWERED)(on_unanswered_sent)
    app.view(admin_forms.MENU)(on_menu)
    app.view(admin_forms.CONFIRM)(on_confirmation)
    app.view(argument_forms.CHOOSE)(on_choice)
    app.view(admin_forms.EDIT)(on_reviewed)
    app.view(admin_forms.REJECT)(on_reviewed)
    app.event("reaction_added")(on_reaction)
    app.event("reaction_removed")(on_reaction)
    app.event("agent_session_stopped")(on_stop)
    app.event("app_uninstalled")(on_uninstalled)
    app.event("tokens_revoked")(on_uninstalled)
    members.register_last(app, at)


def _bolt(workspaces: Workspaces) -> AsyncApp:
    logger = logging.getLogger("bot.slack.bolt")
    logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))

    async def authorize() -> AuthorizeResult:
        # no listener calls Slack with Bolt's client; each workspace context has its own
        return AuthorizeResult(enterprise_id=None, team_id=None)

    async def on_error(error: Exception) -> BoltResponse | None:
        if isinstance(error, BoltUnhandledRequestError):
            log.info("Ignored a request that the bot has no use for: %s", _kind(error.body))
            return BoltResponse(status=200, body="")  # otherwise Slack sends it again
        # listeners only acknowledge and start tasks, so an exception is a bug
        log.error("Handling a Slack request failed", exc_info=error)
        return None

    app = AsyncApp(
        name="understudy",
        logger=logger,
        signing_secret=workspaces.service.settings.slack.signing_secret.get_secret_value(),
        authorize=authorize,
        request_verification_enabled=False,  # `bot/slack/inbound/http.py` does it
        raise_error_for_unhandled_request=True,  # for `on_error`
    )
    app.use(
        ingest.middleware(
            workspaces.find, feedback.reaction_changed, workspaces.uninstalled, home.BUTTONS
        )
    )
    app.error(on_error)
    register(app, workspaces)
    return app


def _kind(body: dict[str, Any]) -> str:
    """What kind of request it is, for the log."""
    event = body.get("event")
    return str((event.get("type") if isinstance(event, dict) else "") or body.get("type"))[:50]


def _forget(db: Database, older_than_us: int) -> None:
    conversations.forget_deliveries(db, older_than_us)
    question_queue.forget(db, older_than_us)
    command_queue.forget(db, older_than_us)


def _unusable(error: Exception, setting: str) -> UnderstudyError:
    problem = failure(error)
    if isinstance(error, SlackApiError) and problem.code in WRONG_TOKEN:
        return Invalid(f"Slack does not accept [slack] {setting} ({problem.code}).")
    return Unavailable(f"Slack can't be reached ({problem.code}).")
