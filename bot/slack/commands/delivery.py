"""Carries deeds out and tells what they came to, however often the bot is stopped in between.

Each deed is carried out by one transaction (`effects.carry_out`) and told afterwards. A private
answer is told at least once. A message that everybody sees is posted once: before it is posted
that is written down, and whoever finds it written but no message known looks for it, by the
metadata that it has. What Slack could not take is tried again for half an hour.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from bot.slack.client.stream import SlackPlace
from bot.slack.client.web_api import Transport, failure
from bot.slack.commands import executor
from bot.slack.render import reports
from bot.slack.render.blocks import Block, notice_of
from bot.slack.workspace.context import WorkspaceContext
from bot.slack.workspace.workspaces import Workspaces
from data import command_queue
from data.command_queue import QueuedCommand
from data.privacy import erasure
from data.retry import retry_async
from data.runs import runs
from data.store.clock import now_us
from data.store.errors import Unavailable, UnderstudyError

log = logging.getLogger(__name__)

DEED = "understudy_deed"  # the metadata's event type
GIVE_UP_S = 1800.0
ATTEMPTS = 5  # at once; then it rests
REST_S = 10.0  # before what failed is tried again
CLOCKS_APART_S = 300.0
Show = Callable[[list[Block]], Awaitable[bool]]


class NotTold(Unavailable):
    """Slack did not take it just now."""


async def deliver(workspace: WorkspaceContext, deed_id: int, show: Show | None = None) -> None:
    """Carry a deed out if it still waits, then tell what it came to; `show` is how, for a private
    outcome, where that is elsewhere than usual. What cannot be done now stays for `sweep`."""
    if deed_id in workspace.in_hand:
        return
    workspace.in_hand.add(deed_id)
    try:
        async with workspace.hands:
            await _attempts(workspace, deed_id, show)
    finally:
        workspace.in_hand.discard(deed_id)


async def _attempts(workspace: WorkspaceContext, deed_id: int, show: Show | None) -> None:
    with contextlib.suppress(UnderstudyError):  # `sweep` tries again later
        await retry_async(
            lambda _: _finish(workspace, deed_id, show),
            workspace.pace.backoff(ATTEMPTS),
            on=UnderstudyError,
            on_error=lambda error, _: log.info("Deed %d is not finished yet: %s", deed_id, error),
            sleep=workspace.api.clock.sleep,
        )


async def sweep(workspaces: Workspaces, rest_s: float) -> None:
    """Finish what was left over, once nobody has touched it for `rest_s` seconds."""
    before = now_us() - int(rest_s * 1_000_000)
    store = workspaces.service.store
    for queued in await store.read(lambda db: command_queue.unfinished(db, before)):
        workspace = workspaces.of_team(queued.team)
        if workspace is None:
            continue
        try:
            await deliver(workspace, queued.id)
        except Exception:
            log.exception("Deed %d failed; trying again", queued.id)


async def run(workspaces: Workspaces) -> None:
    """Take up at once what the process before left, then look now and then; until cancelled."""
    rest_s = 0.0
    while True:
        try:
            await sweep(workspaces, rest_s)
            rest_s = REST_S
        except UnderstudyError as error:
            log.warning("Left-over deeds cannot be read just now: %s", error)
        except Exception:
            log.exception("Finishing left-over deeds failed; trying again")
        await asyncio.sleep(REST_S)


async def _finish(workspace: WorkspaceContext, deed_id: int, show: Show | None) -> None:
    store, settings = workspace.service.store, workspace.service.settings
    queued = await store.read(lambda db: command_queue.get(db, deed_id))
    if queued is not None and queued.state == "waiting":
        standing = await workspace.roles.standing(queued.team, queued.user)
        await store.submit(lambda db: executor.execute(db, settings, deed_id, standing))
        queued = await store.read(lambda db: command_queue.get(db, deed_id))
    if queued is None or queued.state == "told":
        return
    if queued.command.strip().lower().startswith("forget"):
        await erasure.resume(store, settings.home)  # which the deed has only begun
    try:
        await _tell(workspace, queued, show)
    except NotTold:
        if now_us() - queued.created_at < GIVE_UP_S * 1_000_000:
            raise
        log.warning("The outcome of deed %d could not be told", queued.id)
        await store.submit(lambda db: command_queue.told(db, queued.id))


async def _tell(workspace: WorkspaceContext, queued: QueuedCommand, show: Show | None) -> None:
    """Raises NotTold."""
    if queued.how == "private":
        said = list(queued.said)
        if not (show and await show(said)) and not await workspace.respond(
            SlackPlace(queued.team, queued.channel, queued.thread_ts, queued.user),
            queued.response_url,
            said,
        ):
            raise NotTold("Slack did not take it.")
        await workspace.service.store.submit(lambda db: command_queue.told(db, queued.id))
        return
    posted = await _post(workspace, queued)
    await workspace.service.store.submit(lambda db: _told(db, queued, posted))
    if queued.run_id is not None and (posted is None or posted[0] != queued.channel or show):
        await _say_where(workspace, queued, posted, show)


def _told(db: Any, queued: QueuedCommand, posted: tuple[str, str] | None) -> None:
    """It is told; from now on the message follows its run."""
    if command_queue.told(db, queued.id) and queued.run_id is not None and posted is not None:
        runs.watch(db, queued.run_id, queued.team, *posted)


async def _say_where(
    workspace: WorkspaceContext,
    queued: QueuedCommand,
    posted: tuple[str, str] | None,
    show: Show | None,
) -> None:
    """To who asked for a run elsewhere than its message is."""
    said = reports.followed(queued.run_id or 0, posted and posted[0], queued.channel)
    if show is None or not await show(said):
        place = SlackPlace(queued.team, queued.channel, queued.thread_ts, queued.user)
        await workspace.respond(place, queued.response_url, said)


async def _post(workspace: WorkspaceContext, queued: QueuedCommand) -> tuple[str, str] | None:
    """The one message that says it: found, or posted; None when Slack takes it nowhere. Raises
    NotTold when that is not clear."""
    if queued.begun and (found := await _find(workspace, queued)):
        return found
    await workspace.service.store.submit(lambda db: command_queue.begin_telling(db, queued.id))
    thread_ts = queued.thread_ts if queued.how == "thread" else ""
    for channel, thread in ((queued.channel, thread_ts), (queued.user, "")):
        if not channel:
            continue
        try:
            return await _send(workspace, queued, channel, thread)
        except Transport as error:
            problem = failure(error)
            log.info("Deed %d: chat.postMessage: %s", queued.id, problem.code)
            if problem.kind == "unclear":
                raise NotTold("It is not clear whether Slack took it.") from error
            await workspace.service.store.submit(lambda db: command_queue.not_begun(db, queued.id))
            if problem.kind == "limited":
                raise NotTold("Slack takes no more messages just now.") from error
    return None


async def _send(
    workspace: WorkspaceContext, queued: QueuedCommand, channel: str, thread_ts: str
) -> tuple[str, str]:
    said = list(queued.said)
    response = await workspace.api.patient.chat_postMessage(
        channel=channel,
        thread_ts=thread_ts or None,
        text=notice_of(said),
        blocks=said,
        unfurl_links=False,
        unfurl_media=False,
        metadata={"event_type": DEED, "event_payload": {"deed": queued.id}},
    )
    return str(response["channel"]), str(response["ts"])


async def _find(workspace: WorkspaceContext, queued: QueuedCommand) -> tuple[str, str] | None:
    """The message, if Slack had taken it. Raises NotTold when Slack cannot be asked."""
    oldest = f"{queued.created_at / 1_000_000 - CLOCKS_APART_S:.6f}"
    common: dict[str, Any] = {"channel": queued.channel, "oldest": oldest, "limit": 200}
    common["include_all_metadata"] = True
    try:
        if queued.how == "thread":
            listed = await workspace.api.patient.conversations_replies(
                ts=queued.thread_ts, **common
            )
        else:
            listed = await workspace.api.patient.conversations_history(**common)
    except Transport as error:
        problem = failure(error)
        if problem.kind == "unclear" or problem.kind == "limited":
            raise NotTold("Slack cannot be asked for it just now.") from error
        return None
    for message in listed.get("messages") or []:
        about = message.get("metadata") or {}
        ours = about.get("event_type") == DEED
        if ours and about.get("event_payload", {}).get("deed") == queued.id:
            return queued.channel, str(message["ts"])
    return None
