"""What the listeners and tasks of a workspace share: the store, Slack's API, messages to a person.

Each workspace has its own `WorkspaceContext` with its token; all of them share one `SharedState`.
`report_errors` is the one place where an error becomes a Slack message. `workspaces.py` keeps the
contexts and passes the right one to the handlers.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlite_utils import Database

from bot.service import Service
from bot.slack.client.clock import Clock
from bot.slack.client.stream import Pace, SlackPlace
from bot.slack.client.user_names import UserNames
from bot.slack.client.web_api import Transport, WebApi, failure
from bot.slack.render import blocks
from bot.slack.render.blocks import Block
from bot.slack.workspace.background_tasks import BackgroundTasks
from bot.slack.workspace.question_worker import QuestionWorker
from bot.slack.workspace.roles import Roles
from bot.slack.workspace.trigger_dedup import TriggerDedup
from data import domains
from data.config.settings import Settings
from data.slack import installations, problems
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

MAX_PROMPTS = 4  # that Slack shows
MAX_TITLE = 75  # characters of the title above the prompts
NOTE = {"event_type": "understudy_note", "event_payload": {"kind": "note"}}  # not an answer
MAX_CONCURRENT_COMMANDS = 4  # executed at the same time; new ones go first
INTERNAL_ERROR = "Something went wrong on our side. It has been logged. Please try again."
STORE_BUSY = "The database is busy. Please send this again in a moment."


@dataclass(frozen=True)
class Identity:
    """The bot's own ids in the workspace."""

    team: str = ""
    bot_user: str = ""
    bot_id: str = ""


class SharedState:
    """What all workspaces of this process share."""

    def __init__(self, service: Service, pace: Pace, clock: Clock | None = None) -> None:
        self.service = service
        self.pace = pace
        self.clock = clock
        self.tasks = BackgroundTasks()
        self.triggers = TriggerDedup()
        self.queue = QuestionWorker(service.store, self.tasks, _max_in_flight(service.settings))


class WorkspaceContext:
    """What the listeners and tasks of one workspace share."""

    def __init__(self, shared: SharedState, token: str, identity: Identity | None = None) -> None:
        self.service = shared.service
        self.pace = shared.pace
        self.tasks = shared.tasks
        self.triggers = shared.triggers
        self.queue = shared.queue
        self.identity = identity or Identity()  # set when the bot has joined
        self.token = token
        url = shared.service.settings.slack.api_url
        self.api = WebApi(token, url, shared.clock, self._token_rejected)
        self.names = UserNames(self.api)
        self.publishing_home: dict[str, bool] = {}  # user -> whether to publish again
        slack = shared.service.settings.slack
        self._own = token == slack.bot_token.get_secret_value()
        self.roles = Roles(slack, self.api, self.names, self._own)
        self.commands_in_progress: set[int] = set()  # queued commands that a task of ours handles
        self.command_slots = asyncio.Semaphore(MAX_CONCURRENT_COMMANDS)
        self._rejected = False  # whether Slack rejects the token

    def _token_rejected(self, code: str) -> None:
        """Slack rejects the token: store that once, for the operator."""
        if self.identity.team and not self._rejected:
            self._rejected = True
            log.error("Slack rejects the token of %s: %s", self.identity.team, code)
            self.tasks.start(self.record_problem("", code), "slack problem")

    async def record_problem(self, channel: str, code: str) -> None:
        """Store what Slack refuses, for the operator: `channel` '' stands for the whole
        workspace."""
        team, own = self.identity.team, self._own

        def write(db: Database) -> None:
            if own or installations.installation_of(db, team) is not None:
                problems.record(db, team, channel, code)

        await self.service.store.submit(write)

    @contextlib.asynccontextmanager
    async def report_errors(self, place: SlackPlace, response_url: str = "") -> AsyncIterator[None]:
        """Tell the person about any error inside. Unexpected errors are logged too."""
        try:
            yield
        except UnderstudyError as error:
            await self.tell(place, str(error), response_url)
        except Exception:
            log.exception("A request from Slack failed")
            await self.tell(place, INTERNAL_ERROR, response_url)

    async def tell(self, place: SlackPlace, text: str, response_url: str = "") -> None:
        """Send a message that only this person sees."""
        await self.respond(place, response_url, [blocks.section(blocks.sentence(text))])

    async def respond(self, place: SlackPlace, response_url: str, content: list[Block]) -> bool:
        """Reply to a command or click through its response_url. Otherwise send an ephemeral
        message; in a direct message, which nobody else reads, a normal one; and if Slack refuses
        that, a direct message. Returns False if Slack rejects all of them."""
        text = blocks.notice_of(content)
        if response_url and await self.api.respond(
            response_url,
            {"response_type": "ephemeral", "text": text, "blocks": content},
        ):
            return True
        if place.is_dm:
            return await self.post(place.channel, content, place.thread_ts) is not None
        if not place.channel:
            return await self.post(place.user, content) is not None
        try:
            await self.api.patient.chat_postEphemeral(
                channel=place.channel,
                user=place.user,
                thread_ts=place.thread_ts or None,
                text=text,
                blocks=content,
            )
        except Transport as error:
            problem = failure(error)
            log.warning("A message to a person could not be sent: %s", problem.code)
            if problem.kind in ("refused", "over"):
                return await self.post(place.user, content) is not None
            return False
        return True

    async def post(
        self, channel: str, content: list[Block], thread_ts: str = ""
    ) -> tuple[str, str] | None:
        """Post a message. Returns its channel and ts, or None if Slack rejects it."""
        try:
            response = await self.api.patient.chat_postMessage(
                channel=channel,
                thread_ts=thread_ts or None,
                text=blocks.notice_of(content),
                blocks=content,
                unfurl_links=False,
                unfurl_media=False,
                metadata=NOTE,
            )
        except Transport as error:
            log.info("chat.postMessage: %s", failure(error).code)
            return None
        return str(response["channel"]), str(response["ts"])

    async def suggest_prompts(self, channel: str, person: str) -> None:
        """Suggest questions of the person's domain at the start of a direct message."""
        team = self.identity.team
        domain = await self.service.store.read(
            lambda db: domains.answering(db, person, team, channel)
        )
        prompts = [{"title": q[:75], "message": q} for q in domain.suggested_prompts]
        if not prompts:
            return
        try:
            await self.api.quick.assistant_threads_setSuggestedPrompts(
                channel_id=channel,
                title=blocks.shorten(f"Ask me about {domain.title}", MAX_TITLE),
                prompts=prompts[:MAX_PROMPTS],
            )
        except Transport as error:
            log.info("Suggesting prompts failed: %s", failure(error).code)


def _max_in_flight(settings: Settings) -> int:
    """How many questions are answered at once. The rest wait in the queue."""
    serving = settings.serving
    return settings.bot.max_in_flight * (len(serving.url) or serving.replicas)
