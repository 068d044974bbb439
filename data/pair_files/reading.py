"""What is known while a file is read: its columns, and what the report has to say about it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from data.pair_files.columns import ColumnMap
from data.pair_files.openai_batch import BatchFiles
from data.pair_files.verdicts import NumberedRow, RowError
from data.pairs.pairs import Draft
from data.store.errors import Invalid

BOM = b"\xef\xbb\xbf"
MAX_LINE = 4 * 1024 * 1024  # bytes; far longer than a pair, but it bounds files without line ends


@dataclass
class Reading:
    """One file while it is read."""

    path: Path
    columns: ColumnMap = field(default_factory=ColumnMap)
    notes: list[str] = field(default_factory=list)  # sentences for the report
    batch: BatchFiles = field(default_factory=BatchFiles)
    member: str = ""  # the file inside an archive
    row_columns: tuple[str, ...] = ()  # of the database of Notion whose row this page is
    row_marks: dict[str, str] = field(default_factory=dict)  # what the page says of them
    channels: tuple[str, ...] = ()  # of Slack's export that are to be read; (): the public ones


class Lines:
    """The lines of a file, one at a time, counted. A line that is too long raises RowError.

    This is an iterator, not a generator, because it must continue after an exception. Lines that
    were taken since `mark` can be given back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._again: list[bytes] = []  # lines that were given back, the next one last
        self._since: list[bytes] = []  # lines taken since `mark`
        self.number = 0  # of the last returned line, from 1
        self.read = 0  # bytes

    @property
    def file(self) -> IO[bytes]:
        """The file, for readers that do not go by lines."""
        return self._file

    def peek(self, count: int) -> bytes:
        """The first bytes of the file; only before the first line is taken."""
        start = self._file.read(count)
        self._file.seek(0)
        return start

    def mark(self) -> None:
        """Remember the lines from here on."""
        self._since = []

    def give_back(self) -> int:
        """Give back the lines since `mark`, except the first. Returns how many."""
        rest = self._since[1:]
        self._again += reversed(rest)
        self._since = self._since[:1]
        self.number -= len(rest)
        return len(rest)

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> bytes:
        line = self._again.pop() if self._again else self._next()
        self.number += 1
        self._since.append(line)
        return line

    def _next(self) -> bytes:
        line = self._file.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.read += len(line)
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            while (rest := self._file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                self.read += len(rest)
            self.read += len(rest)
            self.number += 1
            raise RowError(f"the line is longer than {MAX_LINE // 1024**2} MiB")
        return line.removeprefix(BOM) if self.read == len(line) else line


class Unrecognised(Invalid):
    """The file has no format that is read."""


def no_text(start: bytes) -> bool:
    """`PairFormat.starts` of formats that are no text."""
    return False


@dataclass(frozen=True)
class PairFormat:
    """How files of a format are recognised, read row by row, and written."""

    starts: Callable[[bytes], bool]  # whether a text that begins with these bytes has the format
    read: Callable[[Lines, Reading], Iterator[NumberedRow]]  # raises Invalid for the whole file
    write: Callable[[IO[str], Iterable[Draft]], int] | None = None  # returns the number of pairs
    suffixes: tuple[str, ...] = ()  # of the files that are written in it when none is named
    packed: Callable[[IO[bytes]], bool] | None = None  # whether a file that is no text has it
