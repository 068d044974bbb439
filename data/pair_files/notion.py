"""Notion's export ("Markdown & CSV"): a zip with the CSV file of each database and its pages.

The names of its files end with the id of the page, 32 hexadecimal digits. A database is written
twice: as it is shown, and whole, with `_all` behind the id. Its first column is the row's title,
which is the question if no other column is. The page of a row states the row's columns below its
title.

https://www.notion.com/help/export-your-content
"""

import csv
import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from data.pair_files.column_names import field_named
from data.pair_files.columns import ColumnMap

FILE = re.compile(r"(?P<title>.+) (?P<id>[0-9a-f]{32})(?P<all>_all)?\.(?P<kind>csv|md)")


def is_database(name: str) -> bool:
    """Whether a file is a database of Notion, by its name."""
    found = FILE.fullmatch(PurePosixPath(name).name)
    return found is not None and found["kind"] == "csv"


def views(names: Iterable[str]) -> set[str]:
    """The files of an export that another one holds whole."""
    given = set(names)
    return {name for name in given if is_database(name) and f"{name[:-4]}_all.csv" in given}


def folders(name: str) -> tuple[str, ...]:
    """Where the pages of a database's rows are, by the name of its file."""
    path = PurePosixPath(name)
    found = FILE.fullmatch(path.name)
    if found is None:
        return ()
    title = found["title"]
    return (f"{path.parent / title}/", f"{path.parent / title} {found['id']}/")


def columns_of(start: bytes) -> tuple[str, ...]:
    """The columns of a database that begins with these bytes; none if it is damaged."""
    header = start.decode("utf-8-sig", "replace").partition("\n")[0].rstrip("\r")
    try:
        return tuple(name.strip() for name in next(csv.reader([header]), []))
    except csv.Error:
        return ()


def with_title(columns: ColumnMap, start: bytes) -> ColumnMap:
    """What the columns of a database mean that begins with these bytes: the first is the question
    if no other is."""
    names = columns_of(start)
    have = columns.of(names).of
    if not names or "prompt" in have or "response" not in have:
        return columns
    return columns.also({names[0]: "prompt"})


def page_of_a_row(text: str, columns: Collection[str]) -> tuple[str, dict[str, str]]:
    """The page of a database's row with the lines below its title left empty that state the row's
    columns; and these. The title and what a question or an answer may be stay in the page."""
    lines = text.split("\n")
    found: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 1):
        name, colon, said = line.partition(": ")
        if colon and name in columns:
            lines[number] = ""
            if field_named(name) not in ("prompt", "response"):
                found[name] = said.strip()
        elif line.strip():
            break
    return "\n".join(lines), found
