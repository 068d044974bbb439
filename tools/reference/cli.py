"""The commands and options of the command line, from click."""

from collections.abc import Iterator

import click

from tools.reference import markdown
from tools.reference.markdown import code

NAME = "understudy"
HEAD = ("Option", "Value", "Default", "Description")


def reference() -> str:
    """A table of all commands, the options of every command, and a section per command."""
    from bot.cli import COMMANDS, main, summary

    root = click.Context(main, info_name=NAME, **main.context_settings)
    listed = [
        (f"[`{NAME} {name}`](#{markdown.anchor(f'{NAME} {name}')})", summary(name))
        for name in COMMANDS
    ]
    parts = [
        f"## All commands\n\n{markdown.table(('Command', 'Purpose'), listed)}",
        f"## Options of every command\n\nThese stand between {code(NAME)} and the command.\n\n"
        + options(main),
    ]
    for name in COMMANDS:
        command = main.get_command(root, name)
        if command is None:
            raise LookupError(f"{NAME} {name} is listed, and there is no such command")
        parts += sections(command, click.Context(command, parent=root, info_name=name), level=2)
    return "\n".join(parts)


def sections(command: click.Command, ctx: click.Context, level: int) -> Iterator[str]:
    """The section of a command, followed by those of its subcommands."""
    path, listed = ctx.command_path, options(command)
    text = markdown.paragraphs(command.help or "")
    pieces = [f"{'#' * level} {path}\n", f"{text}\n"]
    if not isinstance(command, click.Group):
        words = [w for w in command.collect_usage_pieces(ctx) if listed or w != "[OPTIONS]"]
        pieces.append(f"```\n{' '.join([path, *words])}\n```\n")
    if listed:
        pieces.append(listed)
    yield "\n".join(pieces)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            if inner is not None and not inner.hidden:
                below = click.Context(inner, parent=ctx, info_name=name)
                yield from sections(inner, below, level + 1)


def options(command: click.Command) -> str:
    """A table of a command's options; '' if it has none. `--help` is left out."""
    rows = []
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        names = ", ".join(code(name) for name in [*option.opts, *option.secondary_opts])
        text = markdown.sentence(option.help or "")
        text += " Required." if option.required else ""
        text += " May be given several times." if option.multiple and "several" not in text else ""
        rows.append((names, value(option), default(option), text))
    return markdown.table(HEAD, rows)


def value(option: click.Option) -> str:
    """The type of an option's value; '' for a flag."""
    if option.is_flag:
        return ""
    match option.type:
        case click.Choice(choices=choices):
            kind = ", ".join(code(str(choice)) for choice in choices)
        case click.IntRange() | click.FloatRange() as bounded:
            whole = isinstance(bounded, click.IntRange)
            kind = f"{'whole number' if whole else 'number'}{limits(bounded)}"
        case click.ParamType(name=name):
            kind = {
                "integer": "whole number",
                "float": "number",
                "file": "path",
                "directory": "folder",
            }.get(name, name)
    if option.metavar:
        return code(option.metavar) + (f": {kind}" if kind != "text" else "")
    return kind


def limits(bounded: click.IntRange | click.FloatRange) -> str:
    """The range of a number, as text."""
    low, high = bounded.min, bounded.max
    if low is not None and high is not None and not (bounded.min_open or bounded.max_open):
        return f" from {low:g} to {high:g}"
    least = "" if low is None else f"{'more than' if bounded.min_open else 'at least'} {low:g}"
    most = "" if high is None else f"{'less than' if bounded.max_open else 'at most'} {high:g}"
    return f", {' and '.join(filter(None, (least, most)))}"


def default(option: click.Option) -> str:
    """The default of an option; '' if it has none."""
    given = option.to_info_dict()["default"]
    if option.multiple or given in (None, "", ()):
        return ""
    if option.is_flag:  # for a pair such as --wait/--no-wait, the default one
        names = option.opts if given else option.secondary_opts
        return code(names[0]) if option.secondary_opts else ""
    return code(str(given))
