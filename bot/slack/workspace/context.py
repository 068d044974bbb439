"""The desk that listeners work at: the store, Slack's API, and how a person is told something.

Each workspace has a desk of its own, with its token; what all of them share is the `Office`.
`telling` is the one place where an error becomes a Slack message. `workspaces.py` keeps the desks;
`bot/slack/handlers/answer.py`, `bot/slack/handlers/feedback.py`, `bot/slack/commands/handlers.py`
and `bot/slack/handlers/run_follower.py` are given the one that they work at.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

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
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

MOST_PROMPTS = 4  # that Slack shows
LONGEST_TITLE = 75  # characters above them
NOTE = {"event_type": "understudy_note", "event_payload": {"kind": "note"}}  # no answer
HANDS = 4  # commands that are carried out at once: those that come in go first
NOT_THERE = {"channel_not_found", "not_in_channel", "user_not_in_channel", "is_archived"}
INTERNAL_ERROR = "Something went wrong on our side. It has been logged. Please try again."
STORE_BUSY = "The database is busy. Please send this again in a moment."


@dataclass(frozen=True)
class Identity:
    """Who we are in the workspace."""

    team: str = ""
    bot_user: str = ""
    bot_id: str = ""


class SharedState:
    """What all workspaces of a process share."""

    def __init__(self, service: Service, pace: Pace, clock: Clock | None = None) -> None:
        self.service = service
        self.pace = pace
        self.clock = clock
        self.tasks = BackgroundTasks()
        self.triggers = TriggerDedup()
        self.queue = QuestionWorker(service.store, self.tasks, _at_once(service.settings))


class WorkspaceContext:
    """What every listener and task of one workspace shares."""

    def __init__(self, shared: SharedState, token: str, identity: Identity | None = None) -> None:
        self.service = shared.service
        self.pace = shared.pace
        self.tasks = shared.tasks
        self.triggers = shared.triggers
        self.queue = shared.queue
        self.identity = identity or Identity()  # known once we have joined
        self.token = token
        self.api = WebApi(token, shared.service.settings.slack.api_url, shared.clock)
        self.names = UserNames(self.api)
        self.showing_home: dict[str, bool] = {}  # by user: whether it has to be shown once more
        slack = shared.service.settings.slack
        own = token == slack.bot_token.get_secret_value()
        self.roles = Roles(slack, self.api, self.names, own)
        self.in_hand: set[int] = set()  # queued commands that a task of ours handles
        self.hands = asyncio.Semaphore(HANDS)

    @contextlib.asynccontextmanager
    async def telling(self, place: SlackPlace, response_url: str = "") -> AsyncIterator[None]:
        """Whatever goes wrong inside is told to the person, in words; ours is logged as well."""
        try:
            yield
        except UnderstudyError as error:
            await self.tell(place, str(error), response_url)
        except Exception:
            log.exception("Something failed for a person in Slack")
            await self.tell(place, INTERNAL_ERROR, response_url)

    async def tell(self, place: SlackPlace, text: str, response_url: str = "") -> None:
        """Say something that only this person sees."""
        await self.respond(place, response_url, [blocks.section(blocks.sentence(text))])

    async def respond(self, place: SlackPlace, response_url: str, content: list[Block]) -> bool:
        """Answer a command or click; without its response_url, an ephemeral message, and in a
        direct message, where nobody else reads, a plain one that stays. Where we are not in the
        channel, a direct message. False when Slack took none of them."""
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
            log.warning("A person could not be told something: %s", problem.code)
            if problem.code in NOT_THERE:
                return await self.post(place.user, content) is not None
            return False
        return True

    async def post(
        self, channel: str, content: list[Block], thread_ts: str = ""
    ) -> tuple[str, str] | None:
        """Post a message; returns its channel and ts, or None when Slack would not take it."""
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
        """Offer questions of the domain that answers this person where a direct message begins."""
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
                title=blocks.shorten(f"Ask me about {domain.title}", LONGEST_TITLE),
                prompts=prompts[:MOST_PROMPTS],
            )
        except Transport as error:
            log.info("No prompts were suggested: %s", failure(error).code)


def _at_once(settings: Settings) -> int:
    """How many questions are answered at once; the rest waits in the queue."""
    serving = settings.serving
    return settings.bot.max_in_flight * (len(serving.url) or serving.replicas)
