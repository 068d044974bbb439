"""Executes queued commands and delivers their results, however often the bot stops in between.

Each command is executed in one transaction (`executor.execute`), and its result is rendered and
delivered afterwards. A private result is delivered at least once. A message that everyone sees is
posted once: before it is posted, the queue notes that it may exist, and a process that finds the
note looks for the message by its metadata. If Slack does not accept a result, delivery is retried
for half an hour.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from bot.commands import command_json, executor
from bot.commands.command_json import Rendered
from bot.commands.requester import Requester
from bot.slack.client.stream import SlackPlace
from bot.slack.client.web_api import Transport, failure
from bot.slack.render import reports, results
from bot.slack.render.blocks import Block, context, notice_of
from bot.slack.workspace.context import WorkspaceContext
from bot.slack.workspace.workspaces import Workspaces
from data import command_queue
from data.command_queue import QueuedCommand
from data.retry import retry_async
from data.runs import runs
from data.store.clock import now_us
from data.store.errors import Unavailable, UnderstudyError

log = logging.getLogger(__name__)

EVENT_TYPE = "understudy_deed"  # of the metadata of a message that everyone sees
GIVE_UP_S = 1800.0
ATTEMPTS = 5  # in a row
REST_S = 10.0  # the pause before the next attempts
CLOCKS_APART_S = 300.0
Show = Callable[[list[Block]], Awaitable[bool]]


class NotDelivered(Unavailable):
    """Slack did not accept the result this time; try again later."""


async def deliver(workspace: WorkspaceContext, command_id: int, show: Show | None = None) -> None:
    """Carry a command out if it still waits, then deliver its result; `show` delivers a private
    one in an unusual place. What cannot be done now stays for `sweep`."""
    if command_id in workspace.commands_in_progress:
        return
    workspace.commands_in_progress.add(command_id)
    try:
        async with workspace.command_slots:
            await _attempts(workspace, command_id, show)
    finally:
        workspace.commands_in_progress.discard(command_id)


async def _attempts(workspace: WorkspaceContext, command_id: int, show: Show | None) -> None:
    with contextlib.suppress(UnderstudyError):  # `sweep` tries again later
        await retry_async(
            lambda _: _finish(workspace, command_id, show),
            workspace.pace.backoff(ATTEMPTS),
            on=UnderstudyError,
            on_error=lambda error, _: log.info(
                "Command %d is not finished yet: %s", command_id, error
            ),
            sleep=workspace.api.clock.sleep,
        )


async def sweep(workspaces: Workspaces, rest_s: float) -> None:
    """Finish the commands that nobody has touched for `rest_s` seconds."""
    before = now_us() - int(rest_s * 1_000_000)
    store = workspaces.service.store
    for queued in await store.read(lambda db: command_queue.unfinished(db, before)):
        workspace = workspaces.of_team(queued.address.team)
        if workspace is None:
            continue
        try:
            await deliver(workspace, queued.id)
        except Exception:
            log.exception("Command %d failed; trying again", queued.id)


async def run(workspaces: Workspaces) -> None:
    """Finish what the previous process left, then look every few seconds, until cancelled."""
    rest_s = 0.0
    while True:
        try:
            await sweep(workspaces, rest_s)
            rest_s = REST_S
        except UnderstudyError as error:
            log.warning("Cannot read the unfinished commands at the moment: %s", error)
        except Exception:
            log.exception("Finishing commands failed; trying again")
        await asyncio.sleep(REST_S)


async def _finish(workspace: WorkspaceContext, command_id: int, show: Show | None) -> None:
    store, settings = workspace.service.store, workspace.service.settings

    async def requester_of(queued: QueuedCommand) -> Requester:
        return await workspace.roles.requester(queued.address.team, queued.user)

    queued = await executor.execute_queued(store, settings, command_id, requester_of)
    if queued is None or queued.state == "told":
        return
    try:
        await _deliver_result(workspace, queued, show)
    except NotDelivered:
        if now_us() - queued.created_at < GIVE_UP_S * 1_000_000:
            raise
        log.warning("The result of command %d could not be delivered", queued.id)
        await store.submit(lambda db: command_queue.mark_delivered(db, queued.id))


def rendered(workspace: WorkspaceContext, queued: QueuedCommand) -> list[Block]:
    """The stored result as blocks; in a thread, with the person who pressed the button."""
    result = command_json.load_result(queued.result)
    said = results.blocks(result, workspace.service.settings.slack)
    if queued.audience == "thread" and not isinstance(result, Rendered):
        said = [*said, context(f"by <@{queued.user}>")]
    return said


async def _deliver_result(
    workspace: WorkspaceContext, queued: QueuedCommand, show: Show | None
) -> None:
    """Raises NotDelivered."""
    said = rendered(workspace, queued)
    if queued.audience == "private":
        if not (show and await show(said)) and not await workspace.respond(
            _place(queued), queued.address.response_url, said
        ):
            raise NotDelivered("Slack did not accept the result.")
        await workspace.service.store.submit(lambda db: command_queue.mark_delivered(db, queued.id))
        return
    posted = await _post(workspace, queued, said)
    await workspace.service.store.submit(lambda db: _mark_delivered(db, queued, posted))
    asked_in = queued.address.channel
    if queued.run_id is not None and (posted is None or posted[0] != asked_in or show):
        await _say_where(workspace, queued, posted, show)


def _place(queued: QueuedCommand) -> SlackPlace:
    address = queued.address
    return SlackPlace(address.team, address.channel, address.thread_ts, queued.user)


def _mark_delivered(db: Any, queued: QueuedCommand, posted: tuple[str, str] | None) -> None:
    """Mark the result as delivered; from now on, its message follows the run."""
    if (
        command_queue.mark_delivered(db, queued.id)
        and queued.run_id is not None
        and posted is not None
    ):
        runs.watch(db, queued.run_id, queued.address.team, *posted)


async def _say_where(
    workspace: WorkspaceContext,
    queued: QueuedCommand,
    posted: tuple[str, str] | None,
    show: Show | None,
) -> None:
    """Tell the person who asked for a run where its message is, if it is in another place."""
    address = queued.address
    said = reports.followed(queued.run_id or 0, posted and posted[0], address.channel)
    if show is None or not await show(said):
        await workspace.respond(_place(queued), address.response_url, said)


async def _post(
    workspace: WorkspaceContext, queued: QueuedCommand, said: list[Block]
) -> tuple[str, str] | None:
    """Find or post the message with the result; None if Slack accepts it nowhere. Raises
    NotDelivered if that is not clear."""
    if queued.begun and (found := await _find(workspace, queued)):
        return found
    await workspace.service.store.submit(lambda db: command_queue.begin_delivery(db, queued.id))
    address = queued.address
    thread_ts = address.thread_ts if queued.audience == "thread" else ""
    for channel, thread in ((address.channel, thread_ts), (queued.user, "")):
        if not channel:
            continue
        try:
            return await _send(workspace, queued.id, said, channel, thread)
        except Transport as error:
            problem = failure(error)
            log.info("Command %d: chat.postMessage: %s", queued.id, problem.code)
            if problem.kind == "unclear":
                raise NotDelivered("It is not clear whether Slack accepted the message.") from error
            await workspace.service.store.submit(
                lambda db: command_queue.reset_delivery(db, queued.id)
            )
            if problem.kind == "limited":
                raise NotDelivered("Slack accepts no more messages at the moment.") from error
    return None


async def _send(
    workspace: WorkspaceContext, command_id: int, said: list[Block], channel: str, thread_ts: str
) -> tuple[str, str]:
    response = await workspace.api.patient.chat_postMessage(
        channel=channel,
        thread_ts=thread_ts or None,
        text=notice_of(said),
        blocks=said,
        unfurl_links=False,
        unfurl_media=False,
        metadata={"event_type": EVENT_TYPE, "event_payload": {"deed": command_id}},
    )
    return str(response["channel"]), str(response["ts"])


async def _find(workspace: WorkspaceContext, queued: QueuedCommand) -> tuple[str, str] | None:
    """The message, if Slack accepted it earlier. Raises NotDelivered if Slack cannot be asked."""
    oldest = f"{queued.created_at / 1_000_000 - CLOCKS_APART_S:.6f}"
    channel = queued.address.channel
    common: dict[str, Any] = {"channel": channel, "oldest": oldest, "limit": 200}
    common["include_all_metadata"] = True
    try:
        if queued.audience == "thread":
            listed = await workspace.api.patient.conversations_replies(
                ts=queued.address.thread_ts, **common
            )
        else:
            listed = await workspace.api.patient.conversations_history(**common)
    except Transport as error:
        problem = failure(error)
        if problem.kind == "unclear" or problem.kind == "limited":
            raise NotDelivered("Slack cannot look for the message at the moment.") from error
        return None
    for message in listed.get("messages") or []:
        about = message.get("metadata") or {}
        ours = about.get("event_type") == EVENT_TYPE
        if ours and about.get("event_payload", {}).get("deed") == queued.id:
            return channel, str(message["ts"])
    return None
