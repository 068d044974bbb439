"""Asks on a terminal which columns are the question and the answer, if their names do not say."""

import csv
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bot.cli import terminal
from data.pair_files.columns import ColumnMap
from data.pair_files.csv_files import DELIMITERS, lines_of
from data.pair_files.encodings import as_utf8
from data.pair_files.open_rows import column_names, open_file, open_rows
from data.pair_files.reading import Reading, Unrecognised
from data.pair_files.verdicts import BadRow

BEGINNING = 64 * 1024  # bytes that hold the first row
SHOWN = 60  # characters of a value
UNNAMED = ("no prompt", "no response")  # how the reasons of such rows begin


def completed(file: Path, format_: str, given: Mapping[str, str]) -> dict[str, str]:
    """The mapping of columns to parts of a pair, with what the person answers where the file's own
    names are not recognised. Asks nothing about a folder, nor about a pipe, which can be read only
    once."""
    if not file.is_file() or not _is_unrecognised(file, format_, given):
        return dict(given)
    names = column_names(file)
    if len(names) < 2:
        return dict(given)
    values = _first_values(file)
    terminal.echo(f"The columns of {file.name} are not recognised:", err=True)
    for number, name in enumerate(names, 1):
        terminal.echo(f"  {number}  {name}: {values.get(name, '')}", err=True)
    parts = {part: column for column, part in given.items()}
    guess = _guess(names, values)
    for part, word in (("prompt", "question"), ("response", "answer")):
        if part not in parts:
            taken = [names.index(c) + 1 for c in parts.values() if c in names]
            parts[part] = _column(word, names, guess[word], taken)
    mapping = f"question={parts['prompt']},answer={parts['response']}"
    terminal.echo(f"Next time: `--map {shlex.quote(mapping)}`", err=True)
    return {**given, parts["prompt"]: "prompt", parts["response"]: "response"}


def _is_unrecognised(file: Path, format_: str, given: Mapping[str, str]) -> bool:
    try:
        with open_rows(Reading(file, ColumnMap(given)), format_) as rows:
            first = next(iter(rows), None)
    except Unrecognised:
        return True
    found = first.found if first is not None else None
    return isinstance(found, BadRow) and found.reason.startswith(UNNAMED)


def _column(word: str, names: tuple[str, ...], guess: int, taken: list[int]) -> str:
    choices = click.Choice([str(n) for n in range(1, len(names) + 1) if n not in taken])
    default = str(guess) if guess not in taken else choices.choices[0]
    return names[int(terminal.ask(f"Which column is the {word}?", choices, default)) - 1]


def _guess(names: tuple[str, ...], values: Mapping[str, str]) -> dict[str, int]:
    """The numbers of the columns: a question ends with a question mark, or is the first text; the
    answer is the longest other one."""
    texts = [n for n, name in enumerate(names, 1) if any(map(str.isalpha, values.get(name, "")))]
    texts = texts if len(texts) > 1 else list(range(1, len(names) + 1))
    asked = [n for n in texts if values.get(names[n - 1], "").rstrip("…").endswith("?")]
    question = asked[0] if asked else texts[0]
    others = [n for n in texts if n != question]
    return {
        "question": question,
        "answer": max(others, key=lambda n: len(values.get(names[n - 1], ""))),
    }


def _first_values(file: Path) -> dict[str, str]:
    with open_file(file) as opened, as_utf8(opened, Reading(file)) as text:
        start = text.read(BEGINNING).decode("utf-8", "replace").lstrip("\ufeff \r\n\t")
    if start[:1] in ("{", "["):
        first, _ = json.JSONDecoder().raw_decode(start.lstrip("[ \t\r\n"))
        return {name: _short(value) for name, value in first.items()}
    lines = [line for line in lines_of(start) if line.strip()]
    delimiter = max(DELIMITERS, key=lines[0].count)
    try:
        rows = list(csv.reader(lines[:2], delimiter=delimiter))
    except csv.Error:
        return {}
    if len(rows) < 2:
        return {}
    return dict(zip(map(str.strip, rows[0]), map(_short, rows[1]), strict=False))


def _short(value: Any) -> str:
    line = " ".join(str(value).split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
