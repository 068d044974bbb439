"""What people think of an answer: the two buttons, the form behind 👎, and emoji reactions.

All of them end in `data.feedback`, by person and reply, so that clicking, reacting and changing
one's mind leave one live judgement. Slack sends nothing when a button is un-pressed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from sqlite_utils import Database

from bot.slack import blocks
from bot.slack.accept import person, place_of, shown_at, team_of
from bot.slack.api import Transport, failure
from bot.slack.desk import Desk
from bot.slack.stream import Place
from data import conversations, feedback
from data.errors import Invalid, UnderstudyError

log = logging.getLogger(__name__)

Ack = Callable[..., Awaitable[Any]]
THUMBS = {"+1": True, "thumbsup": True, "-1": False, "thumbsdown": False}
THUMB_WAIT_S = 1.0  # the form behind it has the rest of its trigger's three seconds
STORE_WAIT_S = 2.0  # Slack gives a form three seconds in all


async def clicked(desk: Desk, ack: Ack, body: dict[str, Any]) -> None:
    """👍 or 👎 under an answer: stored, then acknowledged, then the form is opened. Its trigger
    lives for three seconds, so a store that is slow comes second."""
    direction, _, reply_id = str(body["actions"][0].get("value") or "").partition(":")
    place, up = place_of(body), direction == "up"
    who = person(place.team, place.user)
    storing = asyncio.ensure_future(
        desk.service.store.submit(lambda db: feedback.thumb(db, reply_id, who, up))
    )
    await asyncio.wait([storing], timeout=THUMB_WAIT_S)
    await ack()
    desk.tasks.start(_judge(desk, body, place, reply_id, up, storing), "thumb")


async def _judge(
    desk: Desk,
    body: dict[str, Any],
    place: Place,
    reply_id: str,
    up: bool,
    storing: "asyncio.Future[feedback.Judgement]",
) -> None:
    async with desk.telling(place):
        if not up:
            await _open_form(desk, body, place, reply_id)
        await storing


async def _open_form(desk: Desk, body: dict[str, Any], place: Place, reply_id: str) -> None:
    view = blocks.correction_modal(reply_id, place.channel, place.thread_ts)
    try:
        await desk.api.quick.views_open(trigger_id=str(body["trigger_id"]), view=view)
    except Transport as error:
        # the thumb counts all the same; pressing again opens the form
        log.info("The form for %s was not opened: %s", reply_id, failure(error).code)


async def submitted(desk: Desk, ack: Ack, body: dict[str, Any]) -> None:
    """The form behind 👎. It closes only when its words are stored, so that none are lost."""
    view = body["view"]
    reply_id, channel, thread_ts = orjson.loads(view["private_metadata"])
    reason, better = (_value(view, name) for name in (blocks.REASON_BLOCK, blocks.BETTER_BLOCK))
    who = person(team_of(body), body["user"]["id"])

    def keep(db: Database) -> None:
        if reason:
            feedback.reason(db, reply_id, who, reason)
        if better:
            feedback.correction(db, reply_id, who, better)

    try:
        async with asyncio.timeout(STORE_WAIT_S):
            await desk.service.store.submit(keep)
    except Invalid as error:
        await _refuse(ack, blocks.BETTER_BLOCK if better else blocks.REASON_BLOCK, str(error))
        return
    except UnderstudyError as error:
        await _refuse(ack, blocks.REASON_BLOCK, str(error))
        return
    except TimeoutError:
        await _refuse(ack, blocks.REASON_BLOCK, "The store is busy. Send it again in a moment.")
        return
    await ack()
    if reason or better:
        place = Place(team_of(body), channel, thread_ts, body["user"]["id"])
        desk.tasks.start(_thank(desk, place, bool(better)), "thanks")


async def _refuse(ack: Ack, block_id: str, sentence: str) -> None:
    await ack(response_action="errors", errors={block_id: sentence})


async def _thank(desk: Desk, place: Place, corrected: bool) -> None:
    thanks = "Thank you. "
    thanks += (
        "Your answer waits for a reviewer; once approved, I learn from it." if corrected else ""
    )
    async with desk.telling(place):
        await desk.tell(place, thanks.strip())


def reacted(db: Database, body: dict[str, Any]) -> bool:
    """👍 or 👎 as an emoji on one of our answers; taking it back takes the judgement back. Part of
    the transaction that accepts the event; False when it is no judgement of an answer."""
    event = body["event"]
    up = THUMBS.get(str(event.get("reaction", "")).split("::")[0])
    item = event.get("item", {})
    if up is None or item.get("type") != "message":
        return False
    where = shown_at(team_of(body), item.get("channel", ""), item.get("ts", ""))
    reply_id = conversations.shown_reply(db, where)
    if reply_id is None:
        return False
    who = person(team_of(body), event.get("user", ""))
    try:
        with db.atomic():
            _judge_by_emoji(db, reply_id, who, up, added=event["type"] == "reaction_added")
    except UnderstudyError as error:
        log.info("A reaction was not counted: %s", error)  # a reaction expects no reply
        return False
    return True


def _judge_by_emoji(db: Database, reply_id: str, who: str, up: bool, *, added: bool) -> None:
    if added:
        feedback.thumb(db, reply_id, who, up)
        return
    before = feedback.live(db, reply_id, who, "thumb")
    if before is not None and (before.value == 1) == up:
        feedback.withdraw(db, reply_id, who, "thumb")


def _value(view: dict[str, Any], block_id: str) -> str:
    state = view.get("state", {}).get("values", {}).get(block_id, {}).get("text", {})
    return str(state.get("value") or "").strip()
