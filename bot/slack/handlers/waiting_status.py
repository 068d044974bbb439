"""What Slack shows while people wait: the status under a question, and the title of its thread."""

import asyncio
import logging

from bot.slack.client.stream import SlackPlace
from bot.slack.client.web_api import Transport
from bot.slack.handlers import addressing
from bot.slack.render import blocks
from bot.slack.workspace.context import WorkspaceContext
from bot.slack.workspace.question_worker import QuestionLease

log = logging.getLogger(__name__)

LOADING_MESSAGES = ("Thinking it over…", "Finding the words…")
STATUS_S = 100.0  # a status is renewed after this time, because Slack clears it after two minutes
MAX_TITLE = 75  # characters of a thread's title


class WaitingStatus:
    """The status that Slack shows while people wait. It is renewed before it expires, until
    `end`."""

    def __init__(
        self, workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace
    ) -> None:
        self._over = asyncio.Event()
        self._task = workspace.tasks.start(self._keep(workspace, lease, place), "status")

    def end(self) -> "asyncio.Task[None]":
        """Stop renewing the status. The returned task ends with the last call to Slack."""
        self._over.set()
        return self._task

    async def _keep(
        self, workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace
    ) -> None:
        while not self._over.is_set():
            await show_status(workspace, lease, place, "is thinking…")
            await workspace.api.clock.wait(self._over, STATUS_S)


async def show_status(
    workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace, status: str
) -> None:
    """Set the status that Slack shows while people wait. A failure does not stop the answer."""
    if lease.question.response_url or addressing.unasked(workspace, lease.question):
        return
    try:
        await workspace.api.quick.assistant_threads_setStatus(
            channel_id=place.channel,
            thread_ts=place.thread_ts,
            status=status,
            loading_messages=list(LOADING_MESSAGES) if status else None,
        )
    except Transport as error:
        log.debug("The status could not be set: %s", error)


async def set_title(workspace: WorkspaceContext, place: SlackPlace, question: str) -> None:
    """Name the thread in the list of conversations that Slack shows. Not every workspace has that
    list, so a failure is no problem."""
    try:
        await workspace.api.quick.assistant_threads_setTitle(
            channel_id=place.channel,
            thread_ts=place.thread_ts,
            title=blocks.shorten(" ".join(question.split()), MAX_TITLE),
        )
    except Transport as error:
        log.debug("The title could not be set: %s", error)
