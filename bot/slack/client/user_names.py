"""Users' names and status (guest, admin, external) from Slack, cached."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bot.slack.client.web_api import Transport, WebApi, failure
from bot.slack.render import message_text

MAX_AGE_S = 3600.0  # of a cached name
HIDDEN = {"user_not_found", "user_not_visible", "users_not_found"}  # what Slack won't show us
MAX_CACHED = 10_000


@dataclass(frozen=True)
class UserProfile:
    """What Slack said about a user, and when (monotonic seconds)."""

    name: str
    guest: bool  # invited to some channels only
    team: str  # the workspace they belong to
    also_in: frozenset[str]  # their other workspaces in the same organisation
    stranger: bool  # from another organisation, seen through a shared channel
    workspace_admin: bool
    bot: bool
    at: float

    def external(self, team: str) -> bool:
        """Whether they belong to a different organisation than `team`."""
        return self.stranger or bool(self.team and team != self.team and team not in self.also_in)


class UserNames:
    def __init__(self, api: WebApi) -> None:
        self._api = api
        self._known: dict[str, UserProfile] = {}
        self._asking: dict[str, asyncio.Task[UserProfile | None]] = {}

    async def of(self, users: Iterable[str]) -> dict[str, str]:
        """Display names by user id, without users who cannot be looked up."""
        found = {user: await self.about(user) for user in users}
        return {user: known.name for user, known in found.items() if known and known.name}

    async def about(
        self, user: str, fresh_s: float = MAX_AGE_S, wait_s: float | None = None
    ) -> UserProfile | None:
        """A user's profile, at most `fresh_s` seconds old. If Slack can't be reached, or not within
        `wait_s` seconds, an older cached profile, or None. A user whom Slack does not show to the
        bot counts as a stranger."""
        before = self._known.get(user)
        if before is not None and self._api.clock.now() - before.at < fresh_s:
            return before
        if user not in self._asking:  # concurrent callers share one request
            asking = self._asking[user] = asyncio.create_task(self._ask(user))
            asking.add_done_callback(lambda _: self._asking.pop(user))
        try:
            async with asyncio.timeout(wait_s):
                return await asyncio.shield(self._asking[user]) or before
        except TimeoutError:  # the request goes on, for whoever asks next
            return before

    async def _ask(self, user: str) -> UserProfile | None:
        try:
            found = (await self._api.quick.users_info(user=user))["user"]
        except Transport as error:
            if failure(error).code not in HIDDEN:
                return None
            found = {"is_stranger": True}
        if len(self._known) >= MAX_CACHED:
            self._known.clear()
        self._known[user] = _profile(found, self._api.clock.now())
        return self._known[user]


def _profile(found: dict[str, Any], at: float) -> UserProfile:
    profile = found.get("profile", {})
    name = profile.get("display_name") or found.get("real_name") or found.get("name") or ""
    return UserProfile(
        name=message_text.tidy_name(str(name)),
        guest=bool(found.get("is_restricted") or found.get("is_ultra_restricted")),
        team=str(found.get("team_id") or ""),
        also_in=frozenset(found.get("enterprise_user", {}).get("teams") or ()),
        stranger=bool(found.get("is_stranger")),
        workspace_admin=bool(found.get("is_admin") or found.get("is_owner")),
        bot=bool(found.get("is_bot")),
        at=at,
    )
