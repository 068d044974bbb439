"""What a record of another tool says, as rows of pairs."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
Given = Mapping[str, str]  # column -> part of a pair, as the person said (`--map`)


@dataclass(frozen=True)
class Translation:
    """The rows of a record, or why there are none."""

    rows: tuple[Record, ...] = ()
    left_out: str = ""  # why the record is not to be learned
    note: str = ""  # a sentence about records such as this one, for the report
    records: tuple[Record, ...] = ()  # records inside, each to be translated
    candidate: bool = False  # people wrote it to each other: it waits for review, masked
    people: frozenset[str] = frozenset()  # names of those who take part in it


@dataclass(frozen=True)
class RecordSource:
    """A kind of record of another tool."""

    name: str  # as the report calls its records, such as "records of Argilla"; '': a mere wrapping
    has: Callable[[Collection[str]], bool]  # whether a record with these keys can be one
    translate: Callable[[Record, Given], Translation]
    fits: Callable[[Record], bool] = lambda record: True  # whether it is one, by its values


def without(record: Record, known: Collection[str]) -> dict[str, Any]:
    """The record without the keys that say nothing about a pair."""
    return {key: value for key, value in record.items() if key not in known}
