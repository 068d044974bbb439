"""What people are called, asked of Slack once an hour at most, and what they may do."""

import time
from collections.abc import Iterable

from bot.slack import words
from bot.slack.api import Api, Transport, failure
from bot.slack.commands import RANK, Command, Role
from data.config import SlackSettings
from data.errors import Forbidden

REMEMBER_S = 3600
MOST = 10_000


class Names:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, tuple[str, float]] = {}

    async def of(self, users: Iterable[str]) -> dict[str, str]:
        """Display names by user id; who cannot be looked up is left out."""
        return {user: name for user in users if (name := await self._name(user))}

    async def _name(self, user: str) -> str:
        name, at = self._known.get(user, ("", 0.0))
        if name and time.monotonic() - at < REMEMBER_S:
            return name
        try:
            found = (await self._api.quick.users_info(user=user))["user"]
        except Transport as error:
            failure(error)
            return name
        profile = found.get("profile", {})
        name = profile.get("display_name") or found.get("real_name") or found.get("name") or ""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[user] = words.tidy_name(str(name)), time.monotonic()
        return self._known[user][0]


def role_of(settings: SlackSettings, user: str) -> Role:
    if user in settings.admins:
        return "admin"
    return "reviewer" if user in settings.reviewers else "member"


def check(settings: SlackSettings, user: str, command: Command) -> None:
    """Raise Forbidden, saying who may, unless `user` may give that command."""
    if RANK[role_of(settings, user)] >= RANK[command.needs]:
        return
    if not settings.admins:
        raise Forbidden(
            "Nobody is an admin yet. Whoever runs Understudy can make you one: put your id, "
            f"{user}, into `admins` under [slack] in understudy.toml, then restart the bot."
        )
    admins = ", ".join(f"<@{admin}>" for admin in settings.admins[:5])
    who = "admins" if command.needs == "admin" else "reviewers and admins"
    raise Forbidden(f"Only {who} can do that. Ask an admin: {admins}.")
