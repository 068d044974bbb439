"""Commands and results as JSON objects: the form in which the queue stores them.

A command is `{"command": "ab start", "a": "2", "b": "3", …}`, a result is `{"result": "Promoted",
"adapter": "helpdesk@3", …}`: a name and the fields of the dataclass. Migration m023 writes the
first form as well.
"""

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bot.commands import registry
from bot.commands.perform import Result
from bot.commands.registry import Command
from data.store.errors import Invalid


@dataclass(frozen=True)
class Rendered(Result):
    """A result that an earlier version stored in a front end's own format."""

    content: list[Any]

    @property
    def text(self) -> str:
        return "The command has run."


@dataclass(frozen=True)
class Unreadable(Result):
    """A result that another version stored and this one cannot read."""

    @property
    def text(self) -> str:
        return (
            "The command has run, but another version of Understudy stored the result, and this "
            "version cannot read it. `understudy status` shows the present state."
        )


def dump_command(command: Command) -> dict[str, Any]:
    return {"command": command.verb.name, **asdict(command)}


def load_command(stored: dict[str, Any]) -> Command:
    """Raises Invalid for a command that this version does not have."""
    given = dict(stored)
    name = given.pop("command", None)
    found = next((verb for verb in registry.verbs() if verb.name == name), None)
    if found is None:
        raise Invalid(f"This version has no command {name!r}. Nothing was changed.")
    try:
        command: Command = _adapter(found.command).validate_python(given)
    except ValidationError as error:
        raise Invalid(
            f"This version cannot read the stored command {name!r}. Nothing was changed."
        ) from error
    return command


def dump_result(result: Result) -> dict[str, Any]:
    return {"result": type(result).__name__, **asdict(result)}


def load_result(stored: dict[str, Any]) -> Result:
    """The result, or `Unreadable` for a result that this version does not have."""
    given = dict(stored)
    name = given.pop("result", None)
    kind = next((k for k in Result.__subclasses__() if k.__name__ == name), Unreadable)
    try:
        result: Result = _adapter(kind).validate_python(given)
    except ValidationError:
        return Unreadable()
    return result


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
