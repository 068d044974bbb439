"""The registry of commands: the name, help, role and arguments of each, declared once.

`commands.py` declares a command as a frozen dataclass under the decorator `command`. The grammar
(`grammar.py`), the help in Slack, the help and arguments on the command line (`bot/cli/verbs.py`)
and the JSON of queued commands (`command_json.py`) are made from these declarations. This module
imports nothing heavy.
"""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar, Literal, TypeVar, get_type_hints

from data.people.roles import ROLES, Role, at_least

# show: reads the store; change: is queued and executed once; front end: the front end does it
Effect = Literal["show", "change", "front end"]
Kind = Literal[
    "version", "domain", "person", "variant", "percent", "number", "choice", "flag", "text", "words"
]  # text: everything that follows the command; words: the words that are left


@dataclass(frozen=True)
class Argument:
    """One argument of a command: a field of its dataclass, annotated with this."""

    kind: Kind
    shown: str  # in the usage: VERSION; of an option: --full, --split PERCENT
    missing: str = ""  # the question to ask when it is missing
    help: str = ""
    choices: tuple[str, ...] = ()
    listed_by: str = ""  # the command that lists the possible values
    name: str = ""  # the field
    required: bool = True

    @property
    def option(self) -> str:
        """`--full`; empty for a positional argument."""
        return self.shown.split()[0] if self.shown.startswith("--") else ""


@dataclass(frozen=True)
class Verb:
    """The declaration of a command."""

    name: str  # unique
    role: Role
    effect: Effect
    help: str  # one sentence, the same in every front end
    command: type["Command"]
    arguments: tuple[Argument, ...] = ()
    typed: tuple[str, ...] = ()  # the words that name it; more than one command may share them
    alone: str = ""  # the group whose name, typed alone, means this command
    flag: str = ""  # it is meant only where this flag is given
    lenient: bool = False  # further words are ignored
    hidden: bool = False  # left out of the help
    details: str = ""  # more help, for the command line
    cli: str = ""  # its command on the command line, perhaps with an option
    no_cli: str = ""  # why it has no command of its own there

    @property
    def usage(self) -> str:
        """`ab start A B [DOMAIN] [--split PERCENT]`."""
        name = self.typed[0] if self.arguments or not self.alone else self.alone
        words = [a.shown if a.required else f"[{a.shown}]" for a in self.arguments]
        return " ".join([name, *([self.flag] if self.flag else []), *words])

    @property
    def explained(self) -> str:
        """The help, including the help of the arguments."""
        more = [f"`{a.option or a.shown}`: {a.help}" for a in self.arguments if a.help]
        return " ".join([self.help, *more])


@dataclass(frozen=True)
class Command:
    """Something that a person can do. Each subclass is one command."""

    verb: ClassVar[Verb]

    @property
    def needs(self) -> Role:
        """The role that a person needs to give it."""
        return self.verb.role


C = TypeVar("C", bound=type[Command])
_VERBS: dict[str, Verb] = {}


def command(
    name: str, role: Role, effect: Effect, help: str, *, typed: str = "", **more: Any
) -> Callable[[C], C]:
    """Declare a dataclass as a command. `typed`: the words that name it, when they are not its
    name; `more`: fields of `Verb`."""

    def declare(kind: C) -> C:
        if name in _VERBS:
            raise ValueError(f"two commands are named {name!r}")
        words = tuple(dict.fromkeys([typed or name, name])) if typed else (name,)
        verb = Verb(name, role, effect, help, kind, tuple(_arguments(kind)), words, **more)
        kind.verb = verb
        _VERBS[name] = verb
        return kind

    return declare


def _arguments(kind: type[Command]) -> Iterator[Argument]:
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        for found in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(found, Argument):
                required = field.default is MISSING
                yield replace(found, name=field.name, required=required)


def verbs() -> list[Verb]:
    """Every command, as `commands.py` lists them."""
    from bot.commands import commands  # noqa: F401 - declares them

    return list(_VERBS.values())


def verb(name: str) -> Verb:
    """The command of that name. Raises KeyError."""
    verbs()
    return _VERBS[name]


def listed(role: Role = "admin") -> list[Verb]:
    """The commands that this role may give, those of the lowest role first."""
    shown = [v for v in verbs() if not v.hidden and at_least(role, v.role)]
    return sorted(shown, key=lambda v: ROLES.index(v.role))
