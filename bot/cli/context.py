"""Shared by all commands: settings, store, actor, output formats, renamed commands."""

import getpass
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bot.cli import terminal
from data.visible_text import escaped, visible

if TYPE_CHECKING:
    from data.config.settings import Settings
    from data.store.db import Store

F = TypeVar("F", bound=Callable[..., Any])

BROKEN_AFTER = 12  # characters of a word in a table; a longer one may continue on the next line
GAP = 3  # characters between two columns


class App:
    """The object behind every command: settings and store, opened on first use."""

    def __init__(self, config: Path | None) -> None:
        self.config = config
        self.base = ""  # the base model of this command; '': that of the settings

    @cached_property
    def settings(self) -> "Settings":
        from data.config.settings import load

        settings = load(self.config)
        if not self.base:
            return settings
        return settings.model_copy(update={"base": settings.base.named(self.base)})

    @cached_property
    def store(self) -> "Store":
        """The store. Raises NotFound when there is none yet."""
        from data.store.db import Store
        from data.store.errors import NotFound

        if not self.settings.store_path.exists():
            raise NotFound(
                f"There is no store in {self.settings.home}. Create one with `understudy init`, "
                "or name another folder with --config or UNDERSTUDY_HOME."
            )
        store = Store(self.settings.store_path)
        click.get_current_context().call_on_close(store.close)
        return store

    @property
    def actor(self) -> str:
        """The name of the person at the terminal in the audit log."""
        try:
            return f"cli:{getpass.getuser()}"
        except (KeyError, OSError):  # a container's user may have no name
            return "cli:unknown"


pass_app = click.make_pass_decorator(App)


def base_option(command: F) -> F:
    """Add `--base`, which names the base model instead of the settings."""

    def remember(ctx: click.Context, _: click.Parameter, base: str | None) -> None:
        if base:
            ctx.find_object(App).base = base  # type: ignore[union-attr]

    option = click.option(
        "--base",
        metavar="MODEL",
        expose_value=False,
        callback=remember,
        help="Use this base model instead of [base] model: a name, a folder or a name on a hub.",
    )
    return option(command)


class Group(click.Group):
    """A group whose help shows the complete first sentence of each command.

    `renamed` maps old names of commands to their new ones. An old name still works, with a
    warning."""

    group_class = type  # nested groups get this class too

    def __init__(
        self, *args: Any, renamed: Mapping[str, str] | None = None, **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.renamed = dict(renamed or {})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        new = self.renamed.get(cmd_name)
        if new is None:
            return super().get_command(ctx, cmd_name)
        path = ctx.command_path
        terminal.echo(f"Warning: `{path} {cmd_name}` is now called `{path} {new}`.", err=True)
        return super().get_command(ctx, new)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(n, c.get_short_help_str(limit=1000)) for n, c in found if c])


def json_option(command: F) -> F:
    """Add `--json`, which prints one JSON document instead of a table."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(value: Any) -> None:
    """Print a dataclass, or a list or dict of dataclasses, as indented JSON."""
    import orjson

    text = orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2)
    terminal.echo(escaped(text.decode()))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def print_table(headers: Sequence[str], lines: Iterable[Sequence[object]], empty: str) -> None:
    """Print a table, or the sentence `empty` if there are no lines. In a terminal that is too
    narrow for the columns, each cell has a line of its own."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = [["" if cell is None else visible(str(cell)) for cell in line] for line in lines]
    if not shown:
        terminal.echo(empty)
        return
    console = terminal.console()
    if _least_width(headers, shown) > console.width:
        terminal.echo(as_records(headers, shown))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for line in shown:
        table.add_row(*map(Text, line))
    console.print(table)


def _least_width(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> int:
    """The number of characters that a table needs so that hardly a word is broken."""
    words = [
        max((len(word) for cell in column for word in cell.split()), default=0)
        for column in zip(headers, *lines, strict=True)
    ]
    return sum(min(longest, BROKEN_AFTER) for longest in words) + GAP * (len(words) - 1) + 1


def as_records(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The lines of a table one below the other, for narrow terminals."""
    between = "\n\n" if any(headers) else "\n"
    return between.join(_record(headers, line) for line in lines)


def _record(headers: Sequence[str], line: Sequence[str]) -> str:
    """One line of a table, a cell below the other."""
    if not any(headers):  # a table of names and values
        name, *values = line
        return f"{name}: {' '.join(values)}"
    named = (f"{head}: {cell}" if head else cell for head, cell in zip(headers, line, strict=True))
    return "\n".join(text for text, cell in zip(named, line, strict=True) if cell)


def threads_option(command: F) -> F:
    """Add `--threads`, for commands that execute tuning runs."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="CPU threads of a run that this command executes. Default: [tuning] threads.",
    )(command)


def with_threads(settings: "Settings", threads: int | None) -> "Settings":
    """The settings with the number of threads that `--threads` gives."""
    if threads is None:
        return settings
    tuning = settings.tuning.model_copy(update={"threads": threads})
    return settings.model_copy(update={"tuning": tuning})
