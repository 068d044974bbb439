"""The person who gives a command: their role as the front end knows it, and its source."""

from dataclasses import dataclass

from data.people.roles import Role


@dataclass(frozen=True)
class Requester:
    """The person who gives a command, as the front end knows them: without granted roles."""

    person: str  # slack:T1/U2
    role: Role = "member"
    by: str = ""  # the source of the role
    refused: str = ""  # a sentence: why the person may do nothing at all
    retry: bool = False  # refused because a service could not be reached: trying again may help
    unsure: str = ""  # a sentence: why the front end could not look up a higher role
    how: str = ""  # a sentence: how to become an admin while there is none
    admins: tuple[str, ...] = ()  # admins the front end knows: people, or descriptions of groups
