"""Roles that Slack and the settings give. `bot/commands/roles.py` adds the granted ones.

The settings name people (`admins`, `reviewers`), user groups and workspace admins. What Slack says
is at most five minutes old. If Slack cannot be asked, nobody gets a role from it.

Guests, and people from other organisations in shared channels, may do nothing, not even ask,
unless the settings allow it or name them. `refused_to_act` is checked for every delivery before a
listener gets it (`bot/slack/inbound/permission.py`).
"""

from dataclasses import replace

from bot.commands.requester import Requester
from bot.slack.client.user_names import UserNames, UserProfile
from bot.slack.client.web_api import Transport, WebApi, failure
from data.config.settings import SlackSettings
from data.people.roles import Role, at_least
from data.store.errors import Unavailable

FRESH_S = 300.0
LOOK_UP_S = 0.8  # for a delivery that Slack wants acknowledged within three seconds
UNKNOWN = "Slack could not tell me who you are just now. Try again in a minute."
FIRST_ADMIN = (
    "The operator of this bot can make you one: add your user id, {id}, to `admins` under [slack] "
    "in understudy.toml, then restart the bot."
)


class Roles:
    """The roles in one workspace."""

    def __init__(
        self, settings: SlackSettings, api: WebApi, names: UserNames, own: bool = True
    ) -> None:
        """`own`: whether it is the workspace whose token is in the settings. Plain user ids in the
        settings refer to that workspace."""
        self._settings = settings
        self._api = api
        self._names = names
        self._own = own
        self._groups: dict[str, tuple[frozenset[str], float]] = {}

    async def requester(self, team: str, user: str) -> Requester:
        """A person's role and status according to the settings and Slack."""
        named = self._named(team, user)
        from_settings = Requester(
            f"slack:{team}/{user}",
            named or "member",
            "the settings" if named else "",
            how=FIRST_ADMIN.format(id=self.id_in_settings(team, user)),
            admins=self._admins(team),
        )
        if named == "admin" or (named and not self._higher_in_slack):
            return from_settings
        profile = await self._names.about(user, FRESH_S)
        if profile is None or self._api.clock.now() - profile.at > FRESH_S + 60:
            if named:
                return replace(from_settings, unsure=UNKNOWN)
            return replace(from_settings, refused=UNKNOWN, retry=True)
        if refused := self.refused(profile, team):
            return from_settings if named else replace(from_settings, refused=refused)
        try:
            role, by = await self._role_in_slack(user, profile)
        except Unavailable as error:
            return replace(from_settings, unsure=str(error))
        return (
            from_settings
            if at_least(from_settings.role, role)
            else replace(from_settings, role=role, by=by)
        )

    @property
    def _higher_in_slack(self) -> bool:
        """Whether Slack may make an admin of a reviewer."""
        return self._settings.workspace_admins or bool(self._settings.admin_group)

    async def refused_to_ask(self, team: str, user: str) -> str:
        """Why a person is not answered; '' if they are. The profile may be an hour old here, and a
        person who cannot be looked up is answered, because no role depends on it."""
        if self._named(team, user):
            return ""
        profile = await self._names.about(user)
        return self.refused(profile, team) if profile is not None else ""

    async def refused_to_act(self, team: str, user: str) -> str:
        """Why a person may not press, vote, correct, teach or open anything; '' if they may. Unlike
        a question, an action counts for something, so a person who cannot be looked up within
        `LOOK_UP_S` seconds is refused with `UNKNOWN`."""
        if self._named(team, user):
            return ""
        profile = await self._names.about(user, wait_s=LOOK_UP_S)
        return self.refused(profile, team) if profile is not None else UNKNOWN

    def refused(self, profile: UserProfile, team: str) -> str:
        """Why a person may not use the bot at all; '' if they may."""
        if profile.bot:
            return "I do not accept commands from apps."
        if profile.external(team) and not self._settings.allow_external:
            return (
                "I can't do that, because you are from another organisation than the one that "
                "installed me. My operator can allow it with the setting `allow_external`."
            )
        if profile.guest and not self._settings.allow_guests:
            return (
                "You are a guest in this workspace, and guests can't do that. My operator can "
                "allow it with the setting `allow_guests`."
            )
        return ""

    async def _role_in_slack(self, user: str, profile: UserProfile) -> tuple[Role, str]:
        settings = self._settings
        if settings.workspace_admins and profile.workspace_admin:
            return "admin", "Slack: workspace admin"
        if settings.admin_group and user in await self._group(settings.admin_group):
            return "admin", "Slack: user group"
        if settings.reviewer_group and user in await self._group(settings.reviewer_group):
            return "reviewer", "Slack: user group"
        return "member", ""

    async def _group(self, group: str) -> frozenset[str]:
        """The members of a user group. Raises Unavailable if Slack cannot be asked."""
        members, at = self._groups.get(group, (frozenset(), -FRESH_S))
        if self._api.clock.now() - at < FRESH_S and group in self._groups:
            return members
        try:
            found = await self._api.quick.usergroups_users_list(usergroup=group)
        except Transport as error:
            code = failure(error).code
            raise Unavailable(
                f"Slack could not tell me who is in the user group {group} ({code}), so I don't "
                "know whether you may do that. Try again in a minute."
            ) from error
        users: list[str] = found.get("users") or []
        self._groups[group] = frozenset(users), self._api.clock.now()
        return self._groups[group][0]

    def _named(self, team: str, user: str) -> Role | None:
        names = {user, f"{team}/{user}"} if self._own else {f"{team}/{user}"}
        if names & set(self._settings.admins):
            return "admin"
        return "reviewer" if names & set(self._settings.reviewers) else None

    def id_in_settings(self, team: str, user: str) -> str:
        """The id by which the settings name a person of this workspace."""
        return user if self._own else f"{team}/{user}"

    def _admins(self, team: str) -> tuple[str, ...]:
        """The admins that the settings name: people, then descriptions of groups."""
        found = [f"slack:{a if '/' in a else f'{team}/{a}'}" for a in self._settings.admins]
        if self._settings.workspace_admins:
            found.append("an admin of this workspace")
        if self._settings.admin_group:
            found.append("a member of the admins' user group")
        return tuple(found)
