"""Keeps the Slack messages that follow a tuning run up to date, until they show its end.

Which messages there are is in the store, so a restart of the bot goes on where it was. A message
is updated only when what it would say has changed, at most every few seconds, and its end is
marked only after Slack took it.
"""

import asyncio
import logging
from dataclasses import dataclass

from sqlite_utils import Database

from bot.slack import blocks
from bot.slack.api import MESSAGE_GONE, Transport, failure
from bot.slack.desk import Desk
from bot.slack.workspaces import Workspaces
from data import adapters, runs
from data.adapters import Adapter
from data.errors import UnderstudyError
from data.runs import Run

log = logging.getLogger(__name__)

AT_ONCE = 2  # messages a round; with a round every 3 s, 40 updates a minute of Slack's 50


@dataclass(frozen=True)
class Watched:
    """A message, and what it should say."""

    team: str
    channel: str
    ts: str
    run: Run
    result: Adapter | None
    live: Adapter | None


def watched(db: Database) -> list[Watched]:
    """The messages that do not show their run's end yet."""
    found = []
    for row in runs.watchers(db):
        run = runs.get(db, row["run_id"])
        result = adapters.by_id(db, run.adapter_id) if run.adapter_id is not None else None
        live = adapters.live(db, run.domain_id)
        found.append(Watched(row["team"], row["channel"], row["ts"], run, result, live))
    return found


class Follower:
    def __init__(self, workspaces: Workspaces, every_s: float) -> None:
        self._workspaces = workspaces
        self._every_s = every_s
        self._shown: dict[tuple[str, str], list[blocks.Block]] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            count = 0
            try:
                count = await self.tick()
            except UnderstudyError as error:
                log.warning("Runs cannot be followed just now: %s", error)
            except Exception:
                log.exception("Following runs failed; trying again")
            await asyncio.sleep(self._every_s * max(1.0, count / AT_ONCE))

    async def tick(self) -> int:
        """Bring every message up to date once; returns how many there are."""
        messages = await self._workspaces.service.store.read(watched)
        for message in messages:
            content = blocks.run_message(message.run, message.result, message.live)
            place, desk = (message.channel, message.ts), self._workspaces.of_team(message.team)
            if desk is None:  # the workspace has uninstalled the bot
                await self._done(message)
                continue
            if self._shown.get(place) != content and not await self._update(desk, message, content):
                continue
            self._shown[place] = content
            if not message.run.open:
                await self._done(message)
        return len(messages)

    async def _update(self, desk: Desk, message: Watched, content: list[blocks.Block]) -> bool:
        """Show `content`; False when it has to be tried again."""
        if not desk.api.governor.take("chat.update"):
            return False
        try:
            await desk.api.quick.chat_update(
                channel=message.channel,
                ts=message.ts,
                text=blocks.run_title(message.run),
                blocks=content,
            )
        except Transport as error:
            problem = failure(error)
            if problem.kind == "over" or problem.code in MESSAGE_GONE:
                await self._done(message)  # somebody deleted it: nothing to follow
            else:
                log.info("Run %s: chat.update: %s", message.run.id, problem.code)
            if problem.kind == "limited":
                governor = desk.api.governor
                governor.limited("chat.update", message.channel, problem.retry_after_s)
            return False
        return True

    async def _done(self, message: Watched) -> None:
        self._shown.pop((message.channel, message.ts), None)
        await self._workspaces.service.store.submit(
            lambda db: runs.watcher_done(db, message.run.id, message.channel, message.ts)
        )
