"""Keeps the Slack messages that follow tuning runs up to date until the runs end.

The store records the messages, so the bot continues after a restart. A message is updated only when
its content has changed, at most every few seconds. It is marked as finished only after Slack
accepted its final state. Finally the loss curve is posted below it as a picture.
"""

import asyncio
import logging
from dataclasses import dataclass

from sqlite_utils import Database

from bot.slack.client.web_api import MESSAGE_GONE, Transport, failure
from bot.slack.render import blocks, loss_curve, run_message
from bot.slack.render.run_message import RunSnapshot
from bot.slack.workspace import upload
from bot.slack.workspace.context import WorkspaceContext
from bot.slack.workspace.workspaces import Workspaces
from data.adapters import registry
from data.runs import runs
from data.runs.runs import Run
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

MAX_POINTS = 600  # of a curve, about as many as the picture has pixels
PER_ROUND = 2  # messages; with a round every 3 s, 40 of the 50 updates a minute that Slack allows


@dataclass(frozen=True)
class FollowedRun:
    """A message that follows a run, and the run's current state."""

    team: str
    channel: str
    ts: str
    about: RunSnapshot

    @property
    def run(self) -> Run:
        return self.about.run


def followed_runs(db: Database) -> list[FollowedRun]:
    """The messages that do not show the end of their run yet."""
    found = []
    for row in runs.watchers(db):
        about = _snapshot(db, row["run_id"])
        found.append(FollowedRun(row["team"], row["channel"], row["ts"], about))
    return found


def _snapshot(db: Database, run_id: int) -> RunSnapshot:
    run = runs.get(db, run_id)
    result = registry.by_id(db, run.adapter_id) if run.adapter_id is not None else None
    curve = runs.curve(db, run.id, every=run.step // MAX_POINTS)
    return RunSnapshot(run, curve, result, registry.live(db, run.domain_id))


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
                log.warning("Run messages cannot be updated now: %s", error)
            except Exception:
                log.exception("Updating run messages failed; trying again")
            await asyncio.sleep(self._every_s * max(1.0, count / PER_ROUND))

    async def tick(self) -> int:
        """Update every message once, and return how many there are."""
        messages = await self._workspaces.service.store.read(followed_runs)
        for message in messages:
            content = run_message.shown(message.about)
            place, workspace = (message.channel, message.ts), self._workspaces.of_team(message.team)
            if workspace is None:  # the workspace has uninstalled the bot
                await self._done(message)
                continue
            if self._shown.get(place) != content and not await self._update(
                workspace, message, content
            ):
                continue
            self._shown[place] = content
            if not message.run.open:
                await self._draw(workspace, message)
                await self._done(message, content)
        return len(messages)

    async def _update(
        self, workspace: WorkspaceContext, message: FollowedRun, content: list[blocks.Block]
    ) -> bool:
        """Show `content`. Returns False if it has to be tried again."""
        if not workspace.api.limiter.try_acquire("chat.update"):
            return False
        try:
            await workspace.api.quick.chat_update(
                channel=message.channel,
                ts=message.ts,
                text=run_message.title(message.about),
                blocks=content,
            )
        except Transport as error:
            problem = failure(error)
            if problem.kind == "over" or problem.code in MESSAGE_GONE:
                await self._done(message)  # the message was deleted
            else:
                log.info("Run %s: chat.update: %s", message.run.id, problem.code)
            if problem.kind == "limited":
                limiter = workspace.api.limiter
                limiter.block("chat.update", message.channel, problem.retry_after_s)
            return False
        return True

    async def _draw(self, workspace: WorkspaceContext, message: FollowedRun) -> None:
        """Post the loss curve below the message, at most once. The message has the figures."""
        run, place = message.run, (message.run.id, message.channel, message.ts)
        curve = await asyncio.to_thread(loss_curve.loss_curve, message.about.curve)
        store = self._workspaces.service.store
        if curve is None or not await store.submit(lambda db: runs.begin_curve(db, *place)):
            return
        name = f"{run.domain}-run-{run.id}.png"
        title = f"Loss of run {run.id} of {run.domain} by step"
        await upload.picture(workspace, curve, name, title, message.channel, message.ts)

    async def _done(self, message: FollowedRun, shown: list[blocks.Block] | None = None) -> None:
        """Stop following. With `shown`, only if that is still the current content."""

        def mark(db: Database) -> None:
            if shown in (None, run_message.shown(_snapshot(db, message.run.id))):
                runs.watcher_done(db, message.run.id, message.channel, message.ts)

        self._shown.pop((message.channel, message.ts), None)
        await self._workspaces.service.store.submit(mark)
