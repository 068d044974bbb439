"""Who somebody is to the bot: their role, where it comes from, and why they may do nothing."""

from dataclasses import dataclass

from bot.commands.commands import Role


@dataclass(frozen=True)
class Standing:
    """What the settings and Slack say of a person."""

    person: str  # slack:T1/U2
    role: Role = "member"
    by: str = ""  # where the role comes from
    refused: str = ""  # why they may do nothing at all, in a sentence
    unsure: str = ""  # what Slack could not be asked, in a sentence
    how: str = ""  # how to become an admin while nobody is
