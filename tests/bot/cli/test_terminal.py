"""Strangers' text in the terminal: one way out, for every command."""

import ast
import io
import re
from pathlib import Path

import click
import pytest

from bot.cli import terminal
from data import domains
from data.feedback import feedback
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.store.db import Store
from data.visible_text import visible
from tests.bot.cli.conftest import Run
from tests.data import given
from tests.data.test_visible_text import HOSTILE

ROOT = Path(__file__).parents[3]


def test_every_command_prints_in_one_way() -> None:
    """No command calls click.echo, click.confirm, print or rich itself, or writes to a stream."""
    found = [
        f"{file.name}:{printed}"
        for file in [*ROOT.glob("bot/cli/*.py"), *ROOT.glob("bot/demo/*.py")]
        if file.name != "terminal.py"
        for printed in prints(file.read_text(encoding="utf-8"))
    ]
    assert found == []


WAYS = ("echo", "secho", "confirm", "prompt", "echo_via_pager", "progressbar", "Console", "print")
OURS = re.compile(r"terminal\.|(.*\.)?console\.print$|self\.")  # and the consoles that it made


def prints(source: str) -> list[str]:
    """Line and name of whatever prints past `terminal`, however it was imported."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in ("click", "rich"):
            found += [f"{node.lineno}: {a.name}" for a in node.names if a.name in WAYS]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            stream = called.endswith(("stdout.write", "stderr.write"))
            named = called.rpartition(".")[2] in WAYS and not OURS.match(called)
            if stream or named:
                found.append(f"{node.lineno}: {called}")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "print('x')",
        "click.echo('x')",
        "click.confirm('x')",
        "click.prompt('x')",
        "from click import confirm",
        "from click import prompt as ask",
        "import click as c\nc.secho('x')",
        "sys.stdout.write('x')",
        "rich.console.Console()",
    ],
)
def test_another_way_to_print_is_found(source: str) -> None:
    assert prints(source)


def test_questions_show_symbols(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    for ask in (
        lambda: terminal.confirm(HOSTILE),
        lambda: terminal.prompt(HOSTILE, click.Choice(["a"])),
    ):
        with pytest.raises(click.Abort):  # there is no input
            ask()
    said = capsys.readouterr()
    assert "␛" in said.out
    assert "␛" in said.err
    assert visible(said.out + said.err) == said.out + said.err


def test_the_ways_out_show_symbols(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.echo(HOSTILE)
    terminal.secho(HOSTILE, bold=True)
    terminal.console().print(HOSTILE, markup=False)
    out = capsys.readouterr().out
    assert visible(out.replace("\x1b[1m", "").replace("\x1b[0m", "")) == out.replace(
        "\x1b[1m", ""
    ).replace("\x1b[0m", "")
    assert terminal.indented("a\n[1/1] b\x1b", 2) == "a\n  [1/1] b␛"


@pytest.fixture
def old(store: Store) -> Store:
    """A store from before such text was marked: it is everywhere, raw."""
    with store.write() as db:
        subject = domains.create(db, "helpdesk", "the help desk")
        reply = given.reply(db, subject, "http:1/eve", "Where?", "There.")
        feedback.correction(db, reply, "http:1/eve", "In the attic.")
        feedback.reason(db, reply, "http:1/eve", "wrong")
        pairs.add(db, subject, [Draft("Why?", "So.")], source="import", status="approved")
        pairs.add(db, subject, [Draft("G?", "G.", split="golden")], source="import")
        for table, columns in {
            "messages": ("text",),
            "feedback": ("text",),
            "pairs": ("prompt", "response", "author", "source_ref"),
            "audit": ("subject",),
            "domains": ("title", "system_prompt"),
        }.items():
            for column in columns:
                db.execute(f"UPDATE {table} SET {column} = {column} || ?", [HOSTILE])
        db.execute("UPDATE pairs SET status = 'pending' WHERE source = 'correction'")
    return store


COMMANDS = [
    ["pairs", "list", "helpdesk"],
    ["pairs", "list", "helpdesk", "--json"],
    ["pairs", "review", "helpdesk"],
    ["pairs", "golden", "list", "helpdesk"],
    ["pairs", "golden", "list", "helpdesk", "--json"],
    ["search", "helpdesk", "Why?"],
    ["domains", "list"],
    ["domains", "list", "--json"],
    ["status"],
    ["status", "--json"],
    ["audit"],
    ["audit", "--json"],
    ["people", "show", "http:1/eve"],
    ["people", "export", "http:1/eve"],
    ["feedback", "raters", "helpdesk"],
    ["unanswered", "list", "helpdesk"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_stored_text_raw(old: Store, run: Run, command: list[str]) -> None:
    done = run(*command, input="q\n")
    printed = done.output + done.stderr
    assert done.exit_code in (0, 1)  # 1: the status has alerts
    assert "Usage:" not in printed
    assert printed
    assert visible(printed) == printed.replace("\r\n", "\n")


def test_an_error_is_shown_with_symbols(old: Store, run: Run) -> None:
    done = run("pairs", "list", f"x{HOSTILE}")
    assert done.exit_code != 0
    assert visible(done.stderr) == done.stderr


def test_what_people_write_is_marked_when_it_is_taken_in(store: Store) -> None:
    with store.write() as db:
        subject = domains.create(db, "helpdesk")
        reply = given.reply(db, subject, "http:1/eve", "Where\x1b[2J?", "There.")
        feedback.correction(db, reply, "http:1/eve", "In the\u202e attic\x1b.")
        feedback.reason(db, reply, "http:1/eve", "wro\x9bng")
    stored = [r["text"] for r in store.db.query("SELECT text FROM feedback ORDER BY id")]
    assert stored == ["In the⟨U+202E⟩ attic␛.", "wro⟨U+009B⟩ng"]
    (pair,) = pairs.list_pairs(store.db, subject)
    assert (pair.prompt, pair.response) == ("Where␛[2J?", "In the⟨U+202E⟩ attic␛.")
