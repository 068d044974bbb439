"""The workspaces that the bot is in: a desk for each, found by what Slack delivers.

One token may be in the settings: that workspace is `own`, and the only one in most deployments. The
others have installed the bot through Slack's OAuth page (`bot/slack/inbound/oauth.py`); their
tokens are in the store, encrypted (`bot/slack/client/token_encryption.py`). Who uninstalls the bot,
or takes its token back, is not answered any more, and the token is deleted.
"""

import logging
from typing import Any

from sqlite_utils import Database

from bot.service import Service
from bot.slack.client.clock import Clock
from bot.slack.client.stream import Pace
from bot.slack.client.token_encryption import TokenEncryption
from bot.slack.client.web_api import WRONG_TOKEN, Transport, failure
from bot.slack.payloads import happened_us, team_of, teams_of
from bot.slack.workspace.context import Identity, SharedState, WorkspaceContext
from data import command_queue
from data.slack import installations, question_queue
from data.slack.installations import Installation
from data.store.clock import now_us

log = logging.getLogger(__name__)


class Workspaces:
    """Open it before anything is asked of it, and close it at the end."""

    def __init__(self, service: Service, pace: Pace, clock: Clock | None = None) -> None:
        slack = service.settings.slack
        self.service = service
        self.shared = SharedState(service, pace, clock)
        self.accepting = False  # whether deliveries are taken
        token = slack.bot_token.get_secret_value()
        self.own = WorkspaceContext(self.shared, token) if token else None
        self._vault = (
            TokenEncryption(slack.token_key.get_secret_value()) if slack.installable else None
        )
        self._installed: dict[str, WorkspaceContext] = {}
        self._left: list[WorkspaceContext] = []  # their last calls may still be on the way

    async def open(self) -> None:
        """Take up the workspaces that have installed the bot. Raises Invalid when their tokens
        cannot be decrypted with the key of the settings."""
        if self.own is not None:
            await self.own.api.open()
        if self._vault is not None:
            for found in await self.service.store.read(installations.list_installations):
                await self._take_up(found, self._vault.open(found.token, found.team))
                await self._reseal(found)
                self.shared.tasks.start(self._check(found.team), f"check {found.team}")

    async def close(self) -> None:
        for workspace in [
            *self._installed.values(),
            *self._left,
            *([self.own] if self.own else []),
        ]:
            await workspace.api.close()

    @property
    def encryption(self) -> TokenEncryption:
        """Of the tokens of those who install the bot."""
        if self._vault is None:
            raise LookupError("nobody can install the bot")
        return self._vault

    # -- whose it is -------------------------------------------------------------------------

    def find(self, body: dict[str, Any]) -> WorkspaceContext | None:
        """The desk of the workspace that a delivery comes from; None when it is not ours."""
        desks = (self.of_team(team) for team in teams_of(body))
        return next((workspace for workspace in desks if workspace is not None), None)

    def at(self, body: dict[str, Any]) -> WorkspaceContext:
        """As `find`, for what `accept.middleware` has let through."""
        workspace = self.find(body)
        if workspace is None:
            raise LookupError("a delivery of a workspace that has just gone")
        return workspace

    def of_team(self, team: str) -> WorkspaceContext | None:
        """The desk of a workspace. Where nobody can install the bot, whatever comes is for the one
        that we are in: in shared channels, under the name of the other one."""
        if self.own is not None and (self._vault is None or team == self.own.identity.team):
            return self.own
        return self._installed.get(team)

    # -- who comes and goes ------------------------------------------------------------------

    async def installed(self, found: Installation, token: str) -> None:
        """A workspace installed the bot, perhaps anew: keep its token, encrypted."""
        sealed = self.encryption.seal(token)
        await self.service.store.submit(lambda db: installations.keep(db, found, sealed))
        await self._take_up(found, token)
        log.info("The workspace %s has installed the bot", found.team)

    async def leaving(self, body: dict[str, Any]) -> None:
        """A workspace uninstalled the bot, or took its token back: its questions end unanswered
        and its token is deleted, unless it has installed the bot again since."""
        event = body["event"]
        if event["type"] == "tokens_revoked" and not event.get("tokens", {}).get("bot"):
            return  # a person's own token, of which we have none
        await self._leave(team_of(body), happened_us(body))

    async def _check(self, team: str) -> None:
        """Slack gives up telling us after a while: who took its token back while we were away is
        known by that token being refused."""
        began, workspace = now_us(), self._installed.get(team)
        if workspace is None:
            return
        try:
            await workspace.api.quick.auth_test()
        except Transport as error:
            if failure(error).code in WRONG_TOKEN:
                await self._leave(team, began)

    async def _leave(self, team: str, at_us: int) -> None:
        """Forget a workspace's token, unless it has installed the bot since `at_us`."""

        def end(db: Database) -> bool:
            gone = (
                installations.remove(db, team, at_us)
                or installations.installation_of(db, team) is None
            )
            if gone:
                question_queue.end_all_of(db, team)
                command_queue.end_all_of(db, team)
            return gone

        if not await self.service.store.submit(end):
            return
        if self.own is not None and team == self.own.identity.team:
            self._left.append(self.own)
            self.own = None
        elif team in self._installed:
            self._left.append(self._installed.pop(team))
        self.shared.queue.wake()
        log.warning("The workspace %s has uninstalled the bot, or revoked its token", team)

    async def _reseal(self, found: Installation) -> None:
        """Encrypt its token with the newest key, so that the older ones may go."""
        if sealed := self.encryption.resealed(found.token):
            await self.service.store.submit(
                lambda db: installations.reseal(db, found.team, found.token, sealed)
            )

    async def _take_up(self, found: Installation, token: str) -> None:
        if self.own is not None and found.team == self.own.identity.team:
            return
        if found.team in self._installed:
            self._left.append(self._installed[found.team])
        identity = Identity(found.team, found.bot_user, found.bot_id)
        workspace = WorkspaceContext(self.shared, token, identity)
        await workspace.api.open()
        self._installed[found.team] = workspace
