"""Once a day, what waits for review, told in a channel.

The digest of a day enters the store as a deed that is done already, under the day's name: so it is
posted once, however often the bot is started, by the same path as every other outcome
(`delivery.py`). A day on which nothing waits and nothing was decided has none.
"""

import asyncio
import logging
from datetime import date, datetime, timedelta

from sqlite_utils import Database

from bot.slack.client.clock import Clock
from bot.slack.commands import delivery
from bot.slack.render import reports
from bot.slack.workspace.workspaces import Workspaces
from data import command_queue
from data.config.settings import SlackSettings
from data.feedback import feedback_summary
from data.pairs import review_queue
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

LOOK_S = 20.0


async def run(workspaces: Workspaces) -> None:
    """Look at the time now and then, until cancelled."""
    clock = workspaces.shared.clock or Clock()
    while True:
        try:
            await tell(workspaces, clock.local())
        except UnderstudyError as error:
            log.warning("The digest cannot be made just now: %s", error)
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
    deed_id = await workspaces.service.store.submit(lambda db: take_in(db, team, channel, now))
    if deed_id is not None:
        await delivery.deliver(workspace, deed_id)


def due(settings: SlackSettings, now: datetime) -> bool:
    """Whether the day's digest is to be there by `now`, in local time."""
    return now.strftime("%H:%M") >= settings.digest_at


def take_in(db: Database, team: str, channel: str, now: datetime) -> int | None:
    """The digest of `now`'s day as a deed; None when it was taken in before."""
    day: date = now.date()
    deed_id = command_queue.add(
        db, team=team, key=f"digest:{day}", channel=channel, user="", command="", how="channel"
    )
    if deed_id is None:
        return None
    since_us = int((now - timedelta(days=1)).timestamp() * 1_000_000)
    waiting, decided = review_queue.waiting(db), review_queue.decided_since(db, since_us)
    judged = feedback_summary.rating_counts(db, since_us)
    if not waiting and not any(decided.values()) and not judged.any:
        command_queue.told(db, deed_id)
        return None
    command_queue.done(db, deed_id, reports.digest(waiting, decided, judged))
    return deed_id
