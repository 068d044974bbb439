"""Commands about people: roles, and the erasure of a person's data."""

from dataclasses import dataclass

from bot.commands import commands, roles
from bot.commands.perform import Context, Result, perform
from data.people import roles as granted
from data.people.roles import Grant
from data.privacy import erasure


@dataclass(frozen=True)
class RoleList(Result):
    """The granted roles. A front end adds those it knows itself."""

    grants: tuple[Grant, ...]  # admins first

    @property
    def text(self) -> str:
        lines = [f"{g.person}: {g.role}, granted by {g.granted_by}" for g in self.grants]
        return "\n".join(lines) or "No role has been granted."


@perform.register
def _list(command: commands.ShowRoles, context: Context) -> RoleList:
    return RoleList(tuple(granted.list_grants(context.db)))


@dataclass(frozen=True)
class RoleGranted(Result):
    person: str
    role: str

    @property
    def text(self) -> str:
        return f"{self.person} now has the role {self.role}."


@perform.register
def _grant(command: commands.GrantRole, context: Context) -> RoleGranted:
    roles.grant(context.db, context.requester, command.person, command.role)
    return RoleGranted(command.person, command.role)


@dataclass(frozen=True)
class RoleRevoked(Result):
    person: str

    @property
    def text(self) -> str:
        return f"The granted role of {self.person} was revoked."


@perform.register
def _revoke(command: commands.RevokeRole, context: Context) -> RoleRevoked:
    roles.revoke(context.db, context.requester, command.person)
    return RoleRevoked(command.person)


@dataclass(frozen=True)
class PersonForgotten(Result):
    person: str
    receipt: str  # of the audit log, which names nobody

    @property
    def text(self) -> str:
        return f"The data about {self.person} is deleted. Receipt: {self.receipt}."


@perform.register
def _forget(command: commands.Forget, context: Context) -> PersonForgotten:
    """Begins the erasure; `executor.execute_queued` finishes it."""
    receipt = erasure.begin(context.db, command.person, context.person, retrain=command.retrain)
    return PersonForgotten(command.person, receipt)
