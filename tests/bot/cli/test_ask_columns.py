"""`pairs import` asks which columns count, on a terminal and nowhere else."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bot.cli.conftest import Run

TABLE = "nr,Betreff,Text\n1,Wann ist offen?,Das Haus ist ab acht Uhr offen.\n"


@pytest.fixture
def table(home: Path, run: Run) -> Path:
    run("domains", "add", "art")
    (home / "a.csv").write_text(TABLE)
    return home / "a.csv"


def on_a_terminal(home: Path, *args: str, typed: str) -> str:
    """What the command prints when a person types at a terminal."""
    outer, inner = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", *args],
            stdin=inner, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=home, text=True,
        )  # fmt: skip
        os.write(outer, typed.encode())
        out, _ = process.communicate(timeout=60)
    finally:
        os.close(outer)
        os.close(inner)
    return out


@pytest.mark.integration
def test_enter_accepts_the_guess(table: Path, home: Path) -> None:
    out = on_a_terminal(home, "pairs", "import", "art", "a.csv", "--preview", typed="\n\n")
    assert "  2  Betreff: Wann ist offen?" in out
    assert "--map question=Betreff,answer=Text" in out
    assert "  question: Wann ist offen?" in out
    assert "Would be added to art: 1." in out


@pytest.mark.integration
def test_columns_without_a_name_and_with_commas_are_shown_right(table: Path, home: Path) -> None:
    table.write_text(';"Betreff, kurz";Text\n1;Wann ist offen?;Das Haus ist ab acht Uhr offen.\n')
    out = on_a_terminal(home, "pairs", "import", "art", "a.csv", "--preview", typed="\n\n")
    assert "  1  Betreff, kurz: Wann ist offen?" in out
    assert "--map 'question=Betreff, kurz,answer=Text'" in out
    assert "Would be added to art: 1." in out


@pytest.mark.integration
def test_another_column_can_be_named(table: Path, home: Path) -> None:
    out = on_a_terminal(home, "pairs", "import", "art", "a.csv", "--preview", typed="3\n2\n")
    assert "--map question=Text,answer=Betreff" in out
    assert "  answer:   Wann ist offen?" in out


@pytest.mark.integration
def test_a_pipe_is_read_once_and_not_asked_about(table: Path, home: Path) -> None:
    """Looking at the columns used the pipe up, and the import was empty."""
    os.mkfifo(home / "pipe")
    writer = subprocess.Popen(
        ["sh", "-c", "printf 'question,answer\\nOpen?,Yes.\\n' > pipe"], cwd=home
    )
    out = on_a_terminal(home, "pairs", "import", "art", "pipe", typed="\n\n")
    writer.wait(timeout=60)
    assert "Added to art: 1." in out


def test_without_a_terminal_the_error_names_the_columns(table: Path, run: Run) -> None:
    result = run("pairs", "import", "art", "a.csv", input="\n\n")
    assert result.exit_code != 0
    assert "nr,Betreff,Text" in result.output
    assert "Which column" not in result.output
