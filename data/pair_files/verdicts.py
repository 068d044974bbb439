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


@dataclass(frozen=True)
class CandidatePair(Draft):
    """A pair from what people wrote to each other. It always waits for review, and the importer
    masks contact data, secrets and names in it."""

    people: frozenset[str] = frozenset()  # names of those who take part


def candidate(draft: Draft, people: frozenset[str]) -> CandidatePair:
    """The draft as a candidate."""
    return CandidatePair(
        draft.prompt, draft.response, draft.system, draft.turns, draft.fact, draft.split,
        status="pending", people=people,
    )  # fmt: skip


Verdict = Draft | JudgedDraft | LeftOut | BadRow


class NumberedRow(NamedTuple):
    """A verdict with the first line of its row."""

    line: int
    found: Verdict
    member: str = ""  # the file inside an archive
