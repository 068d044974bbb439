"""Roles that Slack and the settings give. `bot/commands/roles.py` adds the granted ones.

The settings name people (`admins`, `reviewers`), user groups and workspace admins. What Slack says
is at most five minutes old. If Slack cannot be asked, nobody gets a role from it.

Guests, and people from other organisations in shared channels, may do nothing, not even ask,
unless the settings allow it or name them.
"""

from dataclasses import replace

from bot.commands.standing import Standing
from bot.slack.client.user_names import Known, UserNames
from bot.slack.client.web_api import Transport, WebApi, failure
from data.config.settings import SlackSettings
from data.people.roles import Role, at_least
from data.store.errors import Unavailable

FRESH_S = 300.0
UNKNOWN = "Slack could not tell me who you are just now. Try again in a minute."
FIRST_ADMIN = (
    "Whoever runs Understudy can make you one: put your id, {id}, into `admins` under [slack] in "
    "understudy.toml, then restart the bot."
)


class Roles:
    """Of one workspace."""

    def __init__(
        self, settings: SlackSettings, api: WebApi, names: UserNames, own: bool = True
    ) -> None:
        """`own`: the workspace whose token is in the settings, where plain user ids are meant."""
        self._settings = settings
        self._api = api
        self._names = names
        self._own = own
        self._groups: dict[str, tuple[frozenset[str], float]] = {}

    async def standing(self, team: str, user: str) -> Standing:
        """What is known of a person outside of the store."""
        named = self._named(team, user)
        settled = Standing(
            f"slack:{team}/{user}",
            named or "member",
            "the settings" if named else "",
            how=FIRST_ADMIN.format(id=self.id_in_settings(team, user)),
            admins=self._admins(team),
        )
        if named == "admin" or (named and not self._higher_in_slack):
            return settled
        known = await self._names.about(user, FRESH_S)
        if known is None or self._api.clock.now() - known.at > FRESH_S + 60:
            if named:
                return replace(settled, unsure=UNKNOWN)
            return replace(settled, refused=UNKNOWN, retry=True)
        if refused := self.refused(known, team):
            return settled if named else replace(settled, refused=refused)
        try:
            role, by = await self._of_slack(user, known)
        except Unavailable as error:
            return replace(settled, unsure=str(error))
        return settled if at_least(settled.role, role) else replace(settled, role=role, by=by)

    @property
    def _higher_in_slack(self) -> bool:
        """Whether Slack may make an admin of a reviewer."""
        return self._settings.workspace_admins or bool(self._settings.admin_group)

    async def refused_to_ask(self, team: str, user: str) -> str:
        """Why somebody is not answered; '' when they are. What Slack says of them may be an hour
        old here, and who cannot be looked up is answered: a role is never given that way."""
        if self._named(team, user):
            return ""
        known = await self._names.about(user)
        return self.refused(known, team) if known is not None else ""

    def refused(self, known: Known, team: str) -> str:
        """Why somebody may do nothing at all; '' when they may."""
        if known.bot:
            return "I take no commands from apps."
        if known.external(team) and not self._settings.allow_external:
            return (
                "I belong to the organisation that installed me, and you are from another one, so "
                "I can't do that for you. Whoever runs me can allow it: `allow_external`."
            )
        if known.guest and not self._settings.allow_guests:
            return (
                "You are a guest in this workspace, and guests can't do that. Whoever runs me can "
                "allow it: `allow_guests`."
            )
        return ""

    async def _of_slack(self, user: str, known: Known) -> tuple[Role, str]:
        settings = self._settings
        if settings.workspace_admins and known.workspace_admin:
            return "admin", "Slack: workspace admin"
        if settings.admin_group and user in await self._group(settings.admin_group):
            return "admin", "Slack: user group"
        if settings.reviewer_group and user in await self._group(settings.reviewer_group):
            return "reviewer", "Slack: user group"
        return "member", ""

    async def _group(self, group: str) -> frozenset[str]:
        """The members of a user group. Raises Unavailable when Slack cannot say."""
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
