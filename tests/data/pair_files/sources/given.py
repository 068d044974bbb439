"""Reads records as an import does."""

import json
from pathlib import Path
from typing import Any

from data.pair_files import columns, files
from data.pair_files.columns import ColumnMap
from data.pair_files.open_rows import open_rows
from data.pair_files.reading import Reading
from data.pair_files.verdicts import Verdict


def read_records(folder: Path, *records: Any, **options: Any) -> list[Verdict]:
    """The verdicts about records, which are written as JSON Lines."""
    file = folder / "records.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return list(files.read(file, **options))


def read_with(file: Path, mapping: str = "") -> tuple[list[Verdict], Reading]:
    """The verdicts about a file, and what there is to report."""
    reading = Reading(file, ColumnMap(columns.parse([mapping])))
    with open_rows(reading) as rows:
        return [row.found for row in rows], reading
