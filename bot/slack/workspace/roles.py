"""Who may do what: the roles of the settings, of Slack, and those that admins have granted.

A role is the highest of: `admins` and `reviewers` in the settings, the user groups and workspace
admins that the settings name, and what `/understudy roles add` gave. What Slack says is at most
five minutes old; where it cannot be asked, nobody is given a role for it. What was granted is read
in the transaction of the deed itself, so a role that was taken away counts no more.

Guests, and people of other organisations in shared channels, may do nothing here, not even ask,
unless the settings let them; who is named in the settings always may.
"""

from dataclasses import replace

from sqlite_utils import Database

from bot.commands.commands import RANK, Role
from bot.commands.standing import Standing
from bot.slack.client.user_names import Known, UserNames
from bot.slack.client.web_api import Transport, WebApi, failure
from data.config.settings import SlackSettings
from data.people import roles
from data.store.errors import Conflict, Forbidden, Unavailable, UnderstudyError

FRESH_S = 300.0
MOST_NAMED = 5


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
        person, how = f"slack:{team}/{user}", self._id(team, user)
        named = self._named(team, user)
        settled = Standing(person, named or "member", "the settings" if named else "", how=how)
        if named == "admin" or (named and not self._higher_in_slack):
            return settled
        known = await self._names.about(user, FRESH_S)
        if known is None or self._api.clock.now() - known.at > FRESH_S + 60:
            return replace(settled, unsure=UNKNOWN) if named else replace(settled, refused=UNKNOWN)
        if refused := self.refused(known, team):
            return settled if named else replace(settled, refused=refused)
        try:
            role, by = await self._of_slack(user, known)
        except Unavailable as error:
            return replace(settled, unsure=str(error))
        return settled if RANK[role] <= RANK[settled.role] else replace(settled, role=role, by=by)

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

    def _id(self, team: str, user: str) -> str:
        return user if self._own else f"{team}/{user}"


UNKNOWN = "Slack could not tell me who you are just now. Try again in a minute."


def role_of(db: Database, standing: Standing) -> Role:
    """The highest role that the person has; a member's for who is refused."""
    given = None if standing.refused else roles.granted(db, standing.person)
    return max((standing.role, given or "member"), key=lambda role: RANK[role])


def check(db: Database, settings: SlackSettings, standing: Standing, needs: Role) -> None:
    """Raise Forbidden, saying who may, or Unavailable, unless the person may do what `needs` that
    role. Part of the transaction of the deed."""
    if standing.refused:
        raise _refusal(standing)
    if RANK[role_of(db, standing)] >= RANK[needs]:
        return
    if standing.unsure:
        raise Unavailable(standing.unsure)
    who = "admins" if needs == "admin" else "reviewers and admins"
    if not has_admin(db, settings):
        raise Forbidden(
            f"Only {who} can do that, and nobody is an admin yet. Whoever runs Understudy can make "
            f"you one: put your id, {standing.how}, into `admins` under [slack] in "
            "understudy.toml, then restart the bot."
        )
    raise Forbidden(f"Only {who} can do that. Ask an admin: {admins(db, settings)}.")


def _refusal(standing: Standing) -> UnderstudyError:
    return Unavailable(UNKNOWN) if standing.refused == UNKNOWN else Forbidden(standing.refused)


def has_admin(db: Database, settings: SlackSettings, but: str = "") -> bool:
    """Whether anybody is an admin, apart from the person `but` by a grant."""
    outside = settings.admins or settings.admin_group or settings.workspace_admins
    granted = [g for g in roles.list_grants(db) if g.role == "admin" and g.person != but]
    return bool(outside or granted)


def admins(db: Database, settings: SlackSettings) -> str:
    """Whom to ask, as mentions."""
    named = [f"<@{admin.rpartition('/')[2]}>" for admin in settings.admins]
    given = [g.person.rpartition("/")[2] for g in roles.list_grants(db) if g.role == "admin"]
    named += [f"<@{user}>" for user in given]
    if settings.workspace_admins:
        named.append("an admin of this workspace")
    if settings.admin_group:
        named.append("somebody of the admins' user group")
    return ", ".join(list(dict.fromkeys(named))[:MOST_NAMED])


def grant(
    db: Database, settings: SlackSettings, person: str, role: roles.Granted, actor: str
) -> None:
    """Give somebody a role. Raises Conflict when that would leave no admin."""
    if role != "admin":
        _refuse_last(db, settings, person)
    roles.grant(db, person, role, actor)


def revoke(db: Database, settings: SlackSettings, person: str, actor: str) -> None:
    """Take a granted role away. Raises Conflict when there is none, or no admin would be left."""
    _refuse_last(db, settings, person)
    if not roles.revoke(db, person, actor):
        user = person.rpartition("/")[2]
        raise Conflict(
            f"<@{user}> has no role that was given with `/understudy roles add`. Roles from the "
            "settings or from Slack are changed there: `/understudy roles` shows where each is."
        )


def _refuse_last(db: Database, settings: SlackSettings, person: str) -> None:
    if roles.granted(db, person) == "admin" and not has_admin(db, settings, but=person):
        raise Conflict(
            "That is the last admin: nobody could undo it. Make somebody else an admin first: "
            "`/understudy roles add @PERSON admin`."
        )
