"""Carries deeds out and tells what they came to, however often the bot is stopped in between.

Each deed is carried out by one transaction (`effects.carry_out`) and told afterwards. A private
answer is told at least once. A message that everybody sees is posted once: before it is posted
that is written down, and whoever finds it written but no message known looks for it, by the
metadata that it has. What Slack could not take is tried again for half an hour.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from bot.slack.client.stream import Place
from bot.slack.client.web_api import Transport, failure
from bot.slack.commands import executor
from bot.slack.render import reports
from bot.slack.render.blocks import Block, notice_of
from bot.slack.workspace.context import Desk
from bot.slack.workspace.workspaces import Workspaces
from data.privacy import erasure
from data.runs import runs
from data.slack import command_queue
from data.slack.command_queue import Deed
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


async def finish(desk: Desk, deed_id: int, show: Show | None = None) -> None:
    """Carry a deed out if it still waits, then tell what it came to; `show` is how, for a private
    outcome, where that is elsewhere than usual. What cannot be done now stays for `sweep`."""
    if deed_id in desk.in_hand:
        return
    desk.in_hand.add(deed_id)
    try:
        async with desk.hands:
            await _attempts(desk, deed_id, show)
    finally:
        desk.in_hand.discard(deed_id)


async def _attempts(desk: Desk, deed_id: int, show: Show | None) -> None:
    for attempt in range(ATTEMPTS):
        try:
            await _finish(desk, deed_id, show)
            return
        except UnderstudyError as error:
            log.info("Deed %d is not finished yet: %s", deed_id, error)
            await desk.api.clock.sleep(desk.pace.before_retry_s(attempt))


async def sweep(workspaces: Workspaces, rest_s: float) -> None:
    """Finish what was left over, once nobody has touched it for `rest_s` seconds."""
    before = now_us() - int(rest_s * 1_000_000)
    store = workspaces.service.store
    for deed in await store.read(lambda db: command_queue.unfinished(db, before)):
        desk = workspaces.of_team(deed.team)
        if desk is None:
            continue
        try:
            await finish(desk, deed.id)
        except Exception:
            log.exception("Deed %d failed; trying again", deed.id)


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


async def _finish(desk: Desk, deed_id: int, show: Show | None) -> None:
    store, settings = desk.service.store, desk.service.settings
    deed = await store.read(lambda db: command_queue.get(db, deed_id))
    if deed is not None and deed.state == "waiting":
        standing = await desk.roles.standing(deed.team, deed.user)
        await store.submit(lambda db: executor.carry_out(db, settings, deed_id, standing))
        deed = await store.read(lambda db: command_queue.get(db, deed_id))
    if deed is None or deed.state == "told":
        return
    if deed.command.strip().lower().startswith("forget"):
        await erasure.resume(store, settings.home)  # which the deed has only begun
    try:
        await _tell(desk, deed, show)
    except NotTold:
        if now_us() - deed.created_at < GIVE_UP_S * 1_000_000:
            raise
        log.warning("The outcome of deed %d could not be told", deed.id)
        await store.submit(lambda db: command_queue.told(db, deed.id))


async def _tell(desk: Desk, deed: Deed, show: Show | None) -> None:
    """Raises NotTold."""
    if deed.how == "private":
        said = list(deed.said)
        if not (show and await show(said)) and not await desk.respond(
            Place(deed.team, deed.channel, deed.thread_ts, deed.user), deed.response_url, said
        ):
            raise NotTold("Slack did not take it.")
        await desk.service.store.submit(lambda db: command_queue.told(db, deed.id))
        return
    posted = await _post(desk, deed)
    await desk.service.store.submit(lambda db: _told(db, deed, posted))
    if deed.run_id is not None and (posted is None or posted[0] != deed.channel or show):
        await _say_where(desk, deed, posted, show)


def _told(db: Any, deed: Deed, posted: tuple[str, str] | None) -> None:
    """It is told; from now on the message follows its run."""
    if command_queue.told(db, deed.id) and deed.run_id is not None and posted is not None:
        runs.watch(db, deed.run_id, deed.team, *posted)


async def _say_where(
    desk: Desk, deed: Deed, posted: tuple[str, str] | None, show: Show | None
) -> None:
    """To who asked for a run elsewhere than its message is."""
    said = reports.followed(deed.run_id or 0, posted and posted[0], deed.channel)
    if show is None or not await show(said):
        place = Place(deed.team, deed.channel, deed.thread_ts, deed.user)
        await desk.respond(place, deed.response_url, said)


async def _post(desk: Desk, deed: Deed) -> tuple[str, str] | None:
    """The one message that says it: found, or posted; None when Slack takes it nowhere. Raises
    NotTold when that is not clear."""
    if deed.begun and (found := await _find(desk, deed)):
        return found
    await desk.service.store.submit(lambda db: command_queue.begin_telling(db, deed.id))
    thread_ts = deed.thread_ts if deed.how == "thread" else ""
    for channel, thread in ((deed.channel, thread_ts), (deed.user, "")):
        if not channel:
            continue
        try:
            return await _send(desk, deed, channel, thread)
        except Transport as error:
            problem = failure(error)
            log.info("Deed %d: chat.postMessage: %s", deed.id, problem.code)
            if problem.kind == "unclear":
                raise NotTold("It is not clear whether Slack took it.") from error
            await desk.service.store.submit(lambda db: command_queue.not_begun(db, deed.id))
            if problem.kind == "limited":
                raise NotTold("Slack takes no more messages just now.") from error
    return None


async def _send(desk: Desk, deed: Deed, channel: str, thread_ts: str) -> tuple[str, str]:
    said = list(deed.said)
    response = await desk.api.patient.chat_postMessage(
        channel=channel,
        thread_ts=thread_ts or None,
        text=notice_of(said),
        blocks=said,
        unfurl_links=False,
        unfurl_media=False,
        metadata={"event_type": DEED, "event_payload": {"deed": deed.id}},
    )
    return str(response["channel"]), str(response["ts"])


async def _find(desk: Desk, deed: Deed) -> tuple[str, str] | None:
    """The message, if Slack had taken it. Raises NotTold when Slack cannot be asked."""
    oldest = f"{deed.created_at / 1_000_000 - CLOCKS_APART_S:.6f}"
    common: dict[str, Any] = {"channel": deed.channel, "oldest": oldest, "limit": 200}
    common["include_all_metadata"] = True
    try:
        if deed.how == "thread":
            listed = await desk.api.patient.conversations_replies(ts=deed.thread_ts, **common)
        else:
            listed = await desk.api.patient.conversations_history(**common)
    except Transport as error:
        problem = failure(error)
        if problem.kind == "unclear" or problem.kind == "limited":
            raise NotTold("Slack cannot be asked for it just now.") from error
        return None
    for message in listed.get("messages") or []:
        about = message.get("metadata") or {}
        ours = about.get("event_type") == DEED
        if ours and about.get("event_payload", {}).get("deed") == deed.id:
            return deed.channel, str(message["ts"])
    return None
