"""What people think of an answer: the two buttons, the form behind 👎, what 👍 offers, emoji.

Buttons and emoji are marks (`data/feedback/reactions.py`), by person and reply and by when the
person set them: however late, often or mixed up Slack tells of them, one live judgement stands at
the end. Slack sends nothing when a button is un-pressed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlite_utils import Database

from bot.slack.client.stream import SlackPlace
from bot.slack.client.web_api import Transport, failure
from bot.slack.payloads import person, place_of, shown_at, team_of
from bot.slack.render import feedback_forms, form_fields
from bot.slack.render.feedback_forms import BETTER, LEARN, REASON, EarlierFeedback
from bot.slack.workspace.context import WorkspaceContext
from data.conversations import conversations
from data.feedback import feedback, rating_totals, reactions
from data.people import consent
from data.slack import question_queue
from data.store.clock import now_us
from data.store.errors import Invalid, UnderstudyError

log = logging.getLogger(__name__)

Ack = Callable[..., Awaitable[Any]]
THUMBS = {"+1": True, "thumbsup": True, "thumbsup_all": True, "-1": False, "thumbsdown": False}
THUMB_WAIT_S = 1.0  # the form behind it has the rest of its trigger's three seconds
STORE_WAIT_S = 2.0  # Slack gives a form three seconds in all


@dataclass(frozen=True)
class Pressed:
    """What a press of a button changed, and what its person said about that answer before."""

    news: bool
    earlier: EarlierFeedback


def time_us(ts: str) -> int:
    """Slack's `1710000000.000100` in microseconds since the epoch; now, where there is none."""
    seconds, _, rest = ts.partition(".")
    if not (seconds.isascii() and seconds.isdigit()):
        return now_us()
    return int(seconds) * 1_000_000 + int((rest if rest.isdigit() else "").ljust(6, "0")[:6])


# -- the buttons -----------------------------------------------------------------------------


async def thumb_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """👍 or 👎 under an answer: stored, then acknowledged, then the form is opened. Its trigger
    lives for three seconds, so a store that is slow comes second."""
    action = body["actions"][0]
    direction, _, reply_id = str(action.get("value") or "").partition(":")
    place, up = place_of(body), direction == "up"
    who, at = person(place.team, place.user), time_us(str(action.get("action_ts") or ""))
    storing = asyncio.ensure_future(
        workspace.service.store.submit(lambda db: _press(db, reply_id, who, up, at))
    )
    await asyncio.wait([storing], timeout=THUMB_WAIT_S)
    await ack()
    workspace.tasks.start(_go_on(workspace, body, place, reply_id, up, storing), "thumb")


def _press(db: Database, reply_id: str, who: str, up: bool, at: int) -> Pressed:
    news = reactions.put(db, reply_id, who, reactions.BUTTON, up=up, standing=True, at=at)
    return Pressed(news, _earlier(db, reply_id, who))


def _earlier(db: Database, reply_id: str, who: str) -> EarlierFeedback:
    why = feedback.live(db, reply_id, who, "reason")
    better = feedback.live(db, reply_id, who, "correction")
    return EarlierFeedback(
        reason=why.text if why else "",
        better=better.text if better else "",
        learn=better is not None and better.pair_id is not None,
        opted_out=not consent.may_learn(db, who),
    )


async def _go_on(
    workspace: WorkspaceContext,
    body: dict[str, Any],
    place: SlackPlace,
    reply_id: str,
    up: bool,
    storing: "asyncio.Future[Pressed]",
) -> None:
    async with workspace.telling(place):
        if not up:
            known = storing.done() and storing.exception() is None
            earlier = storing.result().earlier if known else EarlierFeedback()
            await _open_form(workspace, body, place, reply_id, earlier)
        pressed = await storing
        if up and pressed.news and not pressed.earlier.opted_out:
            offer = feedback_forms.teach_more(reply_id)
            await workspace.respond(place, str(body.get("response_url") or ""), offer)


async def _open_form(
    workspace: WorkspaceContext,
    body: dict[str, Any],
    place: SlackPlace,
    reply_id: str,
    earlier: EarlierFeedback,
) -> None:
    view = feedback_forms.correction(reply_id, place.channel, place.thread_ts, earlier)
    try:
        await workspace.api.quick.views_open(trigger_id=str(body["trigger_id"]), view=view)
    except Transport as error:
        # the thumb counts all the same; pressing again opens the form
        log.info("The form for %s was not opened: %s", reply_id, failure(error).code)


# -- the form --------------------------------------------------------------------------------


async def correction_sent(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """The form behind 👎. It closes only when its words are stored, so that none are lost."""
    view = body["view"]
    reply_id, channel, thread_ts = orjson.loads(view["private_metadata"])
    why, better = form_fields.typed(view, REASON), form_fields.typed(view, BETTER)
    who, learn = person(team_of(body), body["user"]["id"]), form_fields.ticked(view, LEARN)
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            learning = await workspace.service.store.submit(
                lambda db: _keep(db, reply_id, who, why, better, learn)
            )
    except Invalid as error:
        await _refuse(ack, BETTER if better else REASON, str(error))
        return
    except UnderstudyError as error:
        await _refuse(ack, REASON, str(error))
        return
    except TimeoutError:
        await _refuse(ack, REASON, "The store is busy. Send it again in a moment.")
        return
    await ack()
    if why or better:
        place = SlackPlace(team_of(body), channel, thread_ts, body["user"]["id"])
        workspace.tasks.start(_thank(workspace, place, better, learning), "thanks")


def _keep(db: Database, reply_id: str, who: str, why: str, better: str, learn: bool) -> str:
    """Store what was said, and take back what is there no more. Returns why nothing is learned
    from it, '' when it waits for review."""
    if why:
        feedback.reason(db, reply_id, who, why)
    else:
        feedback.withdraw(db, reply_id, who, "reason")
    if not better:
        feedback.withdraw(db, reply_id, who, "correction")
        return ""
    judged = feedback.correction(db, reply_id, who, better, learn)
    if judged.pair_id is not None:
        return ""
    if not consent.may_learn(db, who):
        return "because you have opted out of learning"
    return (
        "because the person who asked has opted out of learning"
        if learn
        else "because you did not tick the box"
    )


async def _refuse(ack: Ack, block_id: str, sentence: str) -> None:
    await ack(response_action="errors", errors={block_id: sentence})


async def _thank(
    workspace: WorkspaceContext, place: SlackPlace, better: str, learning: str
) -> None:
    async with workspace.telling(place):
        await workspace.tell(place, feedback_forms.thanks(better, learning))


# -- emoji -----------------------------------------------------------------------------------


def reaction_changed(db: Database, body: dict[str, Any]) -> bool:
    """👍 or 👎 as an emoji on one of our answers; taking it back takes the judgement back. Part of
    the transaction that accepts the event; False when it is no judgement of an answer."""
    event = body["event"]
    mark = str(event.get("reaction", ""))
    up = THUMBS.get(mark.split("::")[0])
    item = event.get("item", {})
    if up is None or item.get("type") != "message":
        return False
    team, channel, ts = team_of(body), str(item.get("channel", "")), str(item.get("ts", ""))
    reply_id = conversations.shown_reply(db, shown_at(team, channel, ts))
    reply_id = reply_id or question_queue.reply_in(db, team, channel, ts)
    if reply_id is None or rating_totals.shown_side_by_side(db, reply_id):
        return False  # of two answers an emoji does not say which it means
    who, at = person(team, str(event.get("user", ""))), time_us(str(event.get("event_ts") or ""))
    standing = event["type"] == "reaction_added"
    try:
        with db.atomic():
            return reactions.put(db, reply_id, who, mark, up=up, standing=standing, at=at)
    except UnderstudyError as error:
        log.info("A reaction was not counted: %s", error)  # a reaction expects no reply
        return False
