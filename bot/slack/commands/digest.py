"""Once a day, a message in a channel about the pairs that wait for review.

The digest of a day enters the queue as a command that is already done, with the date as its key.
So it is posted once, however often the bot starts, in the same way as every other result
(`delivery.py`). A day without pending pairs, decisions, ratings and unanswered questions has none.
"""

import asyncio
import logging
from datetime import date, datetime, timedelta

from sqlite_utils import Database

from bot.commands import command_json
from bot.commands.overview_commands import ReviewDigest
from bot.slack.client.clock import Clock
from bot.slack.commands import delivery
from bot.slack.workspace.workspaces import Workspaces
from data import command_queue
from data.command_queue import DeliveryAddress
from data.config.settings import SlackSettings
from data.feedback import feedback_summary, unanswered
from data.pairs import review_queue
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

LOOK_S = 20.0


async def run(workspaces: Workspaces) -> None:
    """Check the time at intervals, until cancelled."""
    clock = workspaces.shared.clock or Clock()
    while True:
        try:
            await tell(workspaces, clock.local())
        except UnderstudyError as error:
            log.warning("Cannot make the digest at the moment: %s", error)
        except Exception:
            log.exception("The digest failed; trying again")
        await asyncio.sleep(LOOK_S)


async def tell(workspaces: Workspaces, now: datetime) -> None:
    """Post the digest of the day, if it is time and it has not been posted."""
    settings = workspaces.service.settings.slack
    named, _, channel = settings.digest_channel.rpartition("/")  # C…, or T…/C…
    team = named or (workspaces.own.identity.team if workspaces.own else "")
    workspace = workspaces.of_team(team)
    if not settings.digest_channel or workspace is None or not due(settings, now):
        return
    command_id = await workspaces.service.store.submit(lambda db: enqueue(db, team, channel, now))
    if command_id is not None:
        await delivery.deliver(workspace, command_id)


def due(settings: SlackSettings, now: datetime) -> bool:
    """Whether the day's digest is due at `now`, in local time."""
    return now.strftime("%H:%M") >= settings.digest_at


def enqueue(db: Database, team: str, channel: str, now: datetime) -> int | None:
    """Queue the digest of `now`'s day with its result; None when that was done before."""
    day: date = now.date()
    command_id = command_queue.add(
        db,
        key=f"digest:{day}",
        user="",
        command={},
        address=DeliveryAddress(team, channel),
        audience="channel",
    )
    if command_id is None:
        return None
    since_us = int((now - timedelta(days=1)).timestamp() * 1_000_000)
    waiting, decided = review_queue.waiting(db), review_queue.decided_since(db, since_us)
    ratings = feedback_summary.rating_counts(db, since_us)
    open_questions = unanswered.count_open(db)
    if not waiting and not any(decided.values()) and not ratings.any and not open_questions:
        command_queue.mark_delivered(db, command_id)
        return None
    digest = ReviewDigest(tuple(waiting), decided, ratings, open_questions)
    command_queue.mark_executed(db, command_id, command_json.dump_result(digest))
    return command_id
