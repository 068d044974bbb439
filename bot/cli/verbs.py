"""Commands of the registry (`bot/commands/registry.py`) on the command line.

`registered` gives a command that is written by hand the help sentence of its verb, the same one as
in Slack. `add_generated` adds the commands that need nothing but the registry: their arguments,
help and output come from there.
"""

import inspect
from collections.abc import Callable
from typing import Any

import click

from bot.cli import terminal
from bot.cli.context import App
from bot.commands import registry
from bot.commands.registry import Argument, Command, Verb

PERCENT = click.FloatRange(0, 100, min_open=True, max_open=True)


def sentence(name: str) -> str:
    """The help sentence of a verb."""
    return registry.verb(name).help


def registered(group: click.Group | None, name: str, **more: Any) -> Callable[..., click.Command]:
    """Like `group.command()`, for the verb of that name. The command has the verb's name on the
    command line. Its help is the verb's sentence, followed by the docstring of the function."""
    verb = registry.verb(name)

    def decorate(function: Callable[..., Any]) -> click.Command:
        details = inspect.getdoc(function)
        text = f"{verb.help}\n\n{details}" if details else verb.help
        make = group.command if group is not None else click.command
        made: click.Command = make(verb.cli.split()[-1], help=text, **more)(function)
        return made

    return decorate


def add_generated(group: click.Group, path: str) -> None:
    """Add the verbs whose command on the command line begins with `path` and is not there yet."""
    for verb in registry.verbs():
        front, _, last = verb.cli.rpartition(" ")
        if front == path and not last.startswith("-") and last not in group.commands:
            group.add_command(generated(verb, last))


def generated(verb: Verb, name: str) -> click.Command:
    """A verb as a command. A domain comes first, and must be named if something changes."""
    ordered = sorted(verb.arguments, key=lambda argument: argument.kind != "domain")
    return click.Command(
        name,
        params=[_parameter(argument, verb.effect == "change") for argument in ordered],
        callback=_callback(verb.command),
        help=f"{verb.help}\n\n{verb.details}" if verb.details else verb.help,
    )


def _parameter(argument: Argument, changes: bool) -> click.Parameter:
    kind = _type(argument)
    if argument.kind == "flag":
        return click.Option([argument.option, argument.name], is_flag=True, help=argument.help)
    if argument.option:
        return click.Option([argument.option, argument.name], type=kind, help=argument.help)
    required = argument.required or (changes and argument.kind == "domain")
    metavar = argument.shown.lstrip("@")
    return click.Argument(
        [argument.name], type=kind, required=required, metavar=metavar if required else None
    )


def _type(argument: Argument) -> Any:
    match argument.kind:
        case "percent":
            return PERCENT
        case "number":
            return click.IntRange(min=1)
        case "choice":
            return click.Choice(argument.choices)
    return str


def _callback(kind: type[Command]) -> Callable[..., None]:
    percents = {a.name for a in kind.verb.arguments if a.kind == "percent"}

    @click.pass_obj
    def run(app: App, /, **given: Any) -> None:
        from bot.commands import executor
        from bot.commands.perform import Context
        from bot.commands.requester import Requester

        values = {n: v / 100 if n in percents else v for n, v in given.items() if v is not None}
        requester = Requester(app.actor, "admin", by="the command line", admins=(app.actor,))
        with app.store.write() as db:
            result = executor.run(Context(db, app.settings, requester), kind(**values))
        terminal.echo(result.text)

    return run
