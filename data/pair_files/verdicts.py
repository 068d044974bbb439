"""What a row of a file turns out to be: a pair, a rated answer, left out on purpose, or wrong."""

from dataclasses import dataclass
from typing import NamedTuple

from data.pairs.judged_answers import JudgedDraft
from data.pairs.pairs import Draft
from data.store.errors import Invalid


class RowError(Invalid):
    """This row cannot be a pair."""


@dataclass(frozen=True)
class BadRow:
    """A row that was skipped: its first line (or its number, where a file has no lines), and the
    reason."""

    line: int
    reason: str
    member: str = ""  # the file inside an archive


@dataclass(frozen=True)
class LeftOut:
    """A row that the file itself marks as not to be learned."""

    line: int
    reason: str


Verdict = Draft | JudgedDraft | LeftOut | BadRow


class NumberedRow(NamedTuple):
    """A verdict with the first line of its row."""

    line: int
    found: Verdict
    member: str = ""  # the file inside an archive
