"""The context of each workspace that the bot is in, found by the request that Slack sends.

One token may be in the settings. That workspace is `own`, and the only one in most deployments. The
others installed the bot through Slack's OAuth page (`bot/slack/inbound/oauth.py`), and their tokens
are in the store, encrypted (`bot/slack/client/token_encryption.py`). When a workspace uninstalls
the bot or revokes its token, the bot stops answering there and deletes the token.
"""

import logging
from typing import Any

from sqlite_utils import Database

from bot.service import Service
from bot.slack.client.clock import Clock
from bot.slack.client.stream import Pace
from bot.slack.client.token_encryption import TokenEncryption
from bot.slack.client.web_api import WRONG_TOKEN, Transport, failure
from bot.slack.payloads import event_end_us, team_of, teams_of
from bot.slack.workspace.context import Identity, SharedState, WorkspaceContext
from data import command_queue
from data.slack import installations, problems, question_queue
from data.slack.installations import Installation
from data.store.clock import now_us

log = logging.getLogger(__name__)


class Workspaces:
    """Call `open` before anything else, and `close` at the end."""

    def __init__(self, service: Service, pace: Pace, clock: Clock | None = None) -> None:
        slack = service.settings.slack
        self.service = service
        self.shared = SharedState(service, pace, clock)
        self.accepting = False  # whether requests are accepted
        token = slack.bot_token.get_secret_value()
        self.own = WorkspaceContext(self.shared, token) if token else None
        self._token_encryption = (
            TokenEncryption(slack.token_key.get_secret_value()) if slack.installable else None
        )
        self._installed: dict[str, WorkspaceContext] = {}
        self._closing: list[WorkspaceContext] = []  # their last calls may still be running

    async def open(self) -> None:
        """Add the workspaces that have installed the bot. Raises Invalid if their tokens cannot be
        decrypted with the keys in the settings."""
        if self.own is not None:
            await self.own.api.open()
        if self._token_encryption is not None:
            for found in await self.service.store.read(installations.list_installations):
                await self._add(found, self._token_encryption.open(found.token, found.team))
                await self._reseal(found)
                self.shared.tasks.start(self._check(found.team), f"check {found.team}")

    async def close(self) -> None:
        for workspace in [
            *self._installed.values(),
            *self._closing,
            *([self.own] if self.own else []),
        ]:
            await workspace.api.close()

    @property
    def encryption(self) -> TokenEncryption:
        """The encryption for the tokens of workspaces that install the bot."""
        if self._token_encryption is None:
            raise LookupError("installation through OAuth is not configured")
        return self._token_encryption

    # -- finding a context -------------------------------------------------------------------

    def find(self, body: dict[str, Any]) -> WorkspaceContext | None:
        """The context of the workspace that a request comes from; None if it is not ours. A request
        that names no workspace, as some of Enterprise Grid's do, is for the only one there is."""
        teams = teams_of(body)
        if not teams:
            return self._only
        contexts = (self.of_team(team) for team in teams)
        return next((workspace for workspace in contexts if workspace is not None), None)

    def at(self, body: dict[str, Any]) -> WorkspaceContext:
        """As `find`, for requests that `ingest.middleware` has let through."""
        workspace = self.find(body)
        if workspace is None:
            raise LookupError("a request from a workspace that was just removed")
        return workspace

    @property
    def _only(self) -> WorkspaceContext | None:
        """The one workspace; None if there are several."""
        every = [*([self.own] if self.own else []), *self._installed.values()]
        return every[0] if len(every) == 1 else None

    def of_team(self, team: str) -> WorkspaceContext | None:
        """The context of a workspace. Without OAuth, every request is for the bot's own workspace:
        in shared channels, Slack may send the other workspace's id."""
        if self.own is not None and (
            self._token_encryption is None or team == self.own.identity.team
        ):
            return self.own
        return self._installed.get(team)

    # -- installing and uninstalling ---------------------------------------------------------

    async def installed(self, found: Installation, token: str) -> None:
        """A workspace installed or reinstalled the bot: store its token, encrypted."""
        sealed = self.encryption.seal(token)
        await self.service.store.submit(lambda db: _keep(db, found, sealed))
        await self._add(found, token)
        log.info("The workspace %s installed the bot", found.team)

    async def uninstalled(self, body: dict[str, Any]) -> None:
        """A workspace uninstalled the bot or revoked its token: end its questions unanswered and
        delete its token, unless it has reinstalled the bot since."""
        event = body["event"]
        if event["type"] == "tokens_revoked" and not event.get("tokens", {}).get("bot"):
            return  # a user token, which the bot does not store
        await self._remove(team_of(body), event_end_us(body), event["type"])

    async def _check(self, team: str) -> None:
        """Remove a workspace whose token Slack rejects. The bot may have missed the event while it
        was stopped, because Slack stops repeating events after a while."""
        began, workspace = now_us(), self._installed.get(team)
        if workspace is None:
            return
        try:
            await workspace.api.quick.auth_test()
        except Transport as error:
            code = failure(error).code
            if code in WRONG_TOKEN:
                await self._remove(team, began, code)

    async def _remove(self, team: str, at_us: int, code: str) -> None:
        """Delete a workspace's token, unless it has reinstalled the bot since `at_us`. `code` says
        why."""

        own = self.own is not None and team == self.own.identity.team

        def end(db: Database) -> bool:
            gone = (
                installations.remove(db, team, at_us)
                or installations.installation_of(db, team) is None
            )
            if gone:
                if own:
                    problems.record(db, team, "", code)
                else:  # others may leave as they like
                    problems.clear(db, team)
                question_queue.end_all_of(db, team)
                command_queue.end_all_of(db, team)
            return gone

        if not await self.service.store.submit(end):
            return
        if self.own is not None and own:
            self._closing.append(self.own)
            self.own = None
        elif team in self._installed:
            self._closing.append(self._installed.pop(team))
        self.shared.queue.wake()
        log.warning("The workspace %s uninstalled the bot or revoked its token", team)

    async def _reseal(self, found: Installation) -> None:
        """Encrypt a token with the newest key, so that older keys can be removed."""
        if sealed := self.encryption.resealed(found.token):
            await self.service.store.submit(
                lambda db: installations.reseal(db, found.team, found.token, sealed)
            )

    async def _add(self, found: Installation, token: str) -> None:
        if self.own is not None and found.team == self.own.identity.team:
            return
        if found.team in self._installed:
            self._closing.append(self._installed[found.team])
        identity = Identity(found.team, found.bot_user, found.bot_id)
        workspace = WorkspaceContext(self.shared, token, identity)
        await workspace.api.open()
        self._installed[found.team] = workspace


def _keep(db: Database, found: Installation, sealed: str) -> None:
    installations.keep(db, found, sealed)
    problems.clear(db, found.team)
