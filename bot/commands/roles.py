"""Roles: who may give which command. The same check for every front end.

A person's role is the higher of the role that the front end knows (`Requester`) and the role that
an admin granted with `roles add`. Grants are read in the transaction that executes the command, so
a role that has been revoked no longer counts.
"""

from sqlite_utils import Database

from bot.commands.requester import Requester
from data.people import roles
from data.people.roles import Role
from data.store.errors import Conflict, Forbidden, Unavailable

MOST_NAMED = 5


def role_of(db: Database, requester: Requester) -> Role:
    """The person's highest role; "member" for a person who is refused."""
    granted = None if requester.refused else roles.granted(db, requester.person)
    return roles.highest(requester.role, granted or "member")


def check(db: Database, requester: Requester, needed: Role) -> None:
    """Raise Forbidden, naming who may, or Unavailable, unless the person has the role `needed`.
    Call it in the transaction that does the work."""
    if requester.refused:
        raise (Unavailable if requester.retry else Forbidden)(requester.refused)
    if roles.at_least(role_of(db, requester), needed):
        return
    if requester.unsure:
        raise Unavailable(requester.unsure)
    who = "admins" if needed == "admin" else "reviewers and admins"
    admins = _admins(db, requester)
    if not admins:
        raise Forbidden(f"Only {who} can do that, and nobody is an admin yet. {requester.how}")
    raise Forbidden(f"Only {who} can do that. Ask an admin: {', '.join(admins[:MOST_NAMED])}.")


def grant(db: Database, requester: Requester, person: str, role: roles.Granted) -> None:
    """Give a person a role. Raises Conflict when no admin would be left."""
    if role != "admin":
        _refuse_last(db, requester, person)
    roles.grant(db, person, role, requester.person)


def revoke(db: Database, requester: Requester, person: str) -> None:
    """Revoke a granted role. Raises Conflict when the person has none, or no admin would be
    left."""
    _refuse_last(db, requester, person)
    if not roles.revoke(db, person, requester.person):
        raise Conflict(
            f"{person} has no role that was granted with `roles add`. Roles from the settings or "
            "from the workspace are changed there. `roles` lists each role with its source."
        )


def _refuse_last(db: Database, requester: Requester, person: str) -> None:
    if roles.granted(db, person) == "admin" and not _admins(db, requester, but=person):
        raise Conflict(
            "This is the last admin, so nobody could undo this. Make someone else an admin first: "
            "`roles add @PERSON admin`."
        )


def _admins(db: Database, requester: Requester, but: str = "") -> list[str]:
    """The admins to ask: those the front end knows, and the granted ones without `but`."""
    granted = [g.person for g in roles.list_grants(db) if g.role == "admin" and g.person != but]
    return list(dict.fromkeys([*requester.admins, *granted]))
