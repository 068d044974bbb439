"""Feedback on an answer: 👍 and 👎 as buttons and emoji, the form behind 👎, the offer behind 👍.

Buttons and emoji are stored as reactions (`data/feedback/reactions.py`) by person, reply and time
of the press. However late, often or out of order Slack delivers them, exactly one live rating
remains. Slack sends nothing when a button is un-pressed.
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
from bot.slack.workspace.context import STORE_BUSY, WorkspaceContext
from data.conversations import conversations
from data.feedback import feedback, rating_totals, reactions
from data.people import consent
from data.slack import question_queue
from data.store.clock import now_us
from data.store.errors import Invalid, UnderstudyError

log = logging.getLogger(__name__)

Ack = Callable[..., Awaitable[Any]]
THUMBS = {"+1": True, "thumbsup": True, "thumbsup_all": True, "-1": False, "thumbsdown": False}
THUMB_WAIT_S = 1.0  # leaves the rest of the trigger's three seconds to open the form
STORE_WAIT_S = 2.0  # Slack waits three seconds for the answer to a form


@dataclass(frozen=True)
class Pressed:
    """Whether a button press changed anything, and the person's earlier feedback on that answer."""

    is_new: bool
    earlier: EarlierFeedback


def time_us(ts: str) -> int:
    """Slack's `1710000000.000100` in microseconds since the epoch; the current time if `ts` is not
    a timestamp."""
    seconds, _, rest = ts.partition(".")
    if not (seconds.isascii() and seconds.isdigit()):
        return now_us()
    return int(seconds) * 1_000_000 + int((rest if rest.isdigit() else "").ljust(6, "0")[:6])


# -- the buttons -----------------------------------------------------------------------------


async def thumb_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """👍 or 👎 under an answer: store it, acknowledge it, and open the form after 👎. The form's
    trigger expires after three seconds, so the form does not wait for a slow store."""
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
    is_new = reactions.put(db, reply_id, who, reactions.BUTTON, up=up, active=True, at=at)
    return Pressed(is_new, _earlier(db, reply_id, who))


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
    async with workspace.report_errors(place):
        if not up:
            known = storing.done() and storing.exception() is None
            earlier = storing.result().earlier if known else EarlierFeedback()
            await _open_form(workspace, body, place, reply_id, earlier)
        pressed = await storing
        if up and pressed.is_new and not pressed.earlier.opted_out:
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
        # the rating counts anyway, and another press opens the form
        log.info("The feedback form for %s was not opened: %s", reply_id, failure(error).code)


# -- the form --------------------------------------------------------------------------------


async def correction_sent(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """The form behind 👎 was submitted. It closes only after its text is stored, so that nothing
    is lost."""
    view = body["view"]
    reply_id, channel, thread_ts = orjson.loads(view["private_metadata"])
    why, better = form_fields.typed(view, REASON), form_fields.typed(view, BETTER)
    who, learn = person(team_of(body), body["user"]["id"]), form_fields.ticked(view, LEARN)
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            not_learned = await workspace.service.store.submit(
                lambda db: _keep(db, reply_id, who, why, better, learn)
            )
    except Invalid as error:
        await _refuse(ack, BETTER if better else REASON, str(error))
        return
    except UnderstudyError as error:
        await _refuse(ack, REASON, str(error))
        return
    except TimeoutError:
        await _refuse(ack, REASON, STORE_BUSY)
        return
    await ack()
    if why or better:
        place = SlackPlace(team_of(body), channel, thread_ts, body["user"]["id"])
        workspace.tasks.start(_thank(workspace, place, better, not_learned), "thanks")


def _keep(db: Database, reply_id: str, who: str, why: str, better: str, learn: bool) -> str:
    """Store the submitted texts, and withdraw those that were emptied. Returns why the better
    answer is not learned ("because …"); '' if it is pending review or empty."""
    if why:
        feedback.reason(db, reply_id, who, why)
    else:
        feedback.withdraw(db, reply_id, who, "reason")
    if not better:
        feedback.withdraw(db, reply_id, who, "correction")
        return ""
    rating = feedback.correction(db, reply_id, who, better, learn)
    if rating.pair_id is not None:
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
    workspace: WorkspaceContext, place: SlackPlace, better: str, not_learned: str
) -> None:
    async with workspace.report_errors(place):
        await workspace.tell(place, feedback_forms.thanks(better, not_learned))


# -- emoji -----------------------------------------------------------------------------------


def reaction_changed(db: Database, body: dict[str, Any]) -> bool:
    """A 👍 or 👎 emoji was added to one of our answers or removed from it. Runs in the transaction
    that ingests the event. Returns False if the event does not rate an answer."""
    event = body["event"]
    emoji = str(event.get("reaction", ""))
    up = THUMBS.get(emoji.split("::")[0])
    item = event.get("item", {})
    if up is None or item.get("type") != "message":
        return False
    team, channel, ts = team_of(body), str(item.get("channel", "")), str(item.get("ts", ""))
    reply_id = conversations.reply_shown_at(db, shown_at(team, channel, ts))
    reply_id = reply_id or question_queue.reply_in(db, team, channel, ts)
    if reply_id is None or rating_totals.shown_side_by_side(db, reply_id):
        return False  # an emoji can't tell which of two answers it rates
    who, at = person(team, str(event.get("user", ""))), time_us(str(event.get("event_ts") or ""))
    active = event["type"] == "reaction_added"
    try:
        with db.atomic():
            return reactions.put(db, reply_id, who, emoji, up=up, active=active, at=at)
    except UnderstudyError as error:
        log.info("A reaction was not counted: %s", error)  # nobody expects a reply to a reaction
        return False
