"""What every command shares: the settings, the store, who is asking, and how output looks."""

import getpass
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from data.config.settings import Settings
    from data.store.db import Store

F = TypeVar("F", bound=Callable[..., Any])


class App:
    """The object behind every command: settings and store, opened when they are first used."""

    def __init__(self, config: Path | None) -> None:
        self.config = config

    @cached_property
    def settings(self) -> "Settings":
        from data.config.settings import load

        return load(self.config)

    @cached_property
    def store(self) -> "Store":
        """The store. Raises NotFound when this folder has none yet."""
        from data.store.db import Store
        from data.store.errors import NotFound

        if not self.settings.store_path.exists():
            raise NotFound(
                f"There is no store in {self.settings.home}. `understudy init` makes one; "
                "--config or UNDERSTUDY_HOME names another place."
            )
        store = Store(self.settings.store_path)
        click.get_current_context().call_on_close(store.close)
        return store

    @property
    def actor(self) -> str:
        """The person at the terminal, as the audit log names them."""
        try:
            return f"cli:{getpass.getuser()}"
        except (KeyError, OSError):  # a container's user without a name
            return "cli:unknown"


pass_app = click.make_pass_decorator(App)


class Group(click.Group):
    """A group whose help shows the first sentence of each command whole, however long."""

    group_class = type  # groups in it are such groups, too

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(n, c.get_short_help_str(limit=1000)) for n, c in found if c])


def json_option(command: F) -> F:
    """`--json`: print one JSON document instead of a table."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")(command)


def print_json(value: Any) -> None:
    """A dataclass, or a list or dict of such, as indented JSON."""
    import orjson

    text = orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2)
    click.echo(text.decode())


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def print_table(headers: Sequence[str], lines: Iterable[Sequence[object]], empty: str) -> None:
    """Lines under headers, or the sentence `empty` when there are none."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = list(lines)
    if not shown:
        click.echo(empty)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for line in shown:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in line))
    Console().print(table)
