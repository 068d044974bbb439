"""Performing one command: `perform(command, context)` returns a plain result.

Each command has a function under `@perform.register`, in the `*_commands` modules. It runs inside
one transaction, after the role was checked (`executor.py`), and raises an `UnderstudyError` when
the command cannot be done. A result is a frozen dataclass without any front end's markup. `text`
says it in plain words, with commands as the command line spells them; a front end that can show
more renders the fields instead.
"""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any, ClassVar

from sqlite_utils import Database

from bot.commands.registry import Command
from bot.commands.requester import Requester
from data import domains
from data.config.settings import Settings
from data.domains import Domain
from data.store.errors import Invalid


@dataclass(frozen=True)
class Context:
    """The transaction, the person who gave the command, and where."""

    db: Database
    settings: Settings
    requester: Requester
    team: str = ""  # with the channel: the place whose domain is meant when none is named
    channel: str = ""

    @property
    def person(self) -> str:
        return self.requester.person

    def domain(self, name: str | None) -> Domain:
        """The domain of that name, or the one that answers in this place. Raises NotFound."""
        if name is not None:
            return domains.get(self.db, name)
        return domains.answering(self.db, self.person, self.team, self.channel)


@dataclass(frozen=True)
class Result:
    """The outcome of a command. Each subclass is the result of one kind of command."""

    public: ClassVar[bool] = False  # whether everyone in the channel sees it

    @property
    def text(self) -> str:
        """The outcome in plain words."""
        raise NotImplementedError

    @property
    def run(self) -> Any:
        """The run that a message about this result follows from now on, if any."""
        return None


@dataclass(frozen=True)
class Refused(Result):
    """The command was not done, and nothing was changed."""

    reason: str  # a sentence

    @property
    def text(self) -> str:
        return self.reason


@singledispatch
def perform(command: Command, context: Context) -> Result:
    """Do what the command says, in the context's transaction. Raises an UnderstudyError."""
    raise Invalid(f"`{command.verb.name}` cannot be done here.")
