"""The file formats of pairs, one entry each in `FORMATS`.

`understudy pairs import` and `export`, detection and the tests read the table.
"""

from pathlib import Path
from typing import IO

from data.pair_files.columns import ColumnMap
from data.pair_files.csv_files import CSV, has_header
from data.pair_files.docx_files import DOCX
from data.pair_files.html_files import HTML_PAGE
from data.pair_files.json_files import is_document, json_lines, read_document
from data.pair_files.markdown_files import MARKDOWN, has_topics
from data.pair_files.parquet_files import PARQUET
from data.pair_files.reading import PairFormat
from data.pair_files.rows import fields_of, messages_of
from data.pair_files.stack_exchange import STACK_EXCHANGE
from data.pair_files.xlsx_files import XLSX

AUTO = "auto"  # in place of a name in `FORMATS`: the format that the file has
MIXED_JSON = json_lines(None, fields_of)  # rows may differ in shape
FORMATS: dict[str, PairFormat] = {
    "jsonl": json_lines("flat", fields_of),
    "chat": json_lines("chat", messages_of),
    "json": PairFormat(starts=is_document, read=read_document),
    "csv": CSV,
    "xlsx": XLSX,
    "parquet": PARQUET,
    "html": HTML_PAGE,
    "markdown": MARKDOWN,
    "docx": DOCX,
    "stack-exchange": STACK_EXCHANGE,
}
TITLES = {"jsonl": "JSON Lines", "chat": "JSON Lines with chat messages", "csv": "CSV"}
WRITTEN = tuple(name for name, found in FORMATS.items() if found.write)


def detect(start: bytes, columns: ColumnMap) -> PairFormat | None:
    """The format of a file that begins with these bytes, or None."""
    if MIXED_JSON.starts(start):
        return MIXED_JSON
    if has_header(start, columns, first=True):
        return CSV
    for name, found in FORMATS.items():
        if name != "csv" and found.starts(start):
            return found
    if has_header(start, columns):
        return CSV
    return MARKDOWN if has_topics(start) else None


def detect_packed(file: IO[bytes]) -> PairFormat | None:
    """The format of a file that is no text, or None."""
    return next((found for found in FORMATS.values() if found.packed and found.packed(file)), None)


def by_name(path: Path) -> PairFormat:
    """The format in which a file of this name is written; JSON Lines for any other name."""
    suffix = path.suffix.lower()
    named = (found for found in FORMATS.values() if suffix in found.suffixes)
    return next(named, FORMATS["jsonl"])
