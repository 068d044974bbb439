"""The only way to the terminal for every command: `echo`, `secho`, `confirm`, `prompt`, `console`
and the log.

What people and models wrote can hold escape sequences. Here they become symbols, and only our own
styles stay (`data/visible_text.py`). A test fails if a command prints in another way.
"""

import io
import logging
import sys
from typing import TYPE_CHECKING, Any

import click

from data.visible_text import visible

if TYPE_CHECKING:
    from rich.console import Console


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text, to stderr with `err`."""
    click.echo(visible(str(text)), err=err, nl=nl)


def secho(text: object = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print text in a style of `click.style`."""
    click.secho(visible(str(text)), err=err, nl=nl, **style)


def confirm(question: str) -> None:
    """Ask on stderr whether to go on. Raises Abort without a yes."""
    click.confirm(visible(question), abort=True, err=True)


def prompt(question: str, choices: click.Choice[str]) -> str:
    """Ask for one of the choices, which the question names."""
    chosen: str = click.prompt(visible(question), type=choices, show_choices=False)
    return chosen


def ask(question: str, choices: click.Choice[str], default: str) -> str:
    """Ask on stderr for one of the choices; Enter takes the default."""
    chosen: str = click.prompt(visible(question), type=choices, default=default, err=True)
    return chosen


def is_interactive() -> bool:
    """Whether a person sits at the input."""
    return sys.stdin is not None and sys.stdin.isatty()


def indented(text: str, columns: int) -> str:
    """Text whose further lines cannot be taken for lines of ours."""
    return visible(text).replace("\n", "\n" + " " * columns)


def console(**options: Any) -> "Console":
    """A console of rich, for tables, progress bars and markup."""
    from rich.console import Console

    class Terminal(Console):
        def print(self, *objects: Any, **more: Any) -> None:
            shown = [visible(each) if isinstance(each, str) else each for each in objects]
            super().print(*shown, **more)

    return Terminal(**options)


def print_anything() -> None:
    """Escape characters that the encoding of the output lacks (✓ in ASCII) instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def refusal(error: OSError) -> str:
    """What the operating system refused, as a sentence. An error that names no file is about the
    output."""
    what = "The output" if error.filename is None else str(error.filename)
    verb = "could not be written" if error.filename is None else "could not be used"
    return f"{what} {verb}: {error.strerror or error}."


class LogFormatter(logging.Formatter):
    """Log lines as they are shown in the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))
