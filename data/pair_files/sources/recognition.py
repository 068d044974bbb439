"""Which tool wrote a record: `SOURCES` are asked in order."""

from functools import lru_cache

from data.pair_files.sources import argilla, freshdesk, intercom, label_studio, labelbox, zendesk
from data.pair_files.sources.translation import Given, Record, RecordSource

SOURCES: tuple[RecordSource, ...] = (
    *label_studio.SOURCES,
    *labelbox.SOURCES,
    *zendesk.SOURCES,
    *intercom.SOURCES,
    *freshdesk.SOURCES,
    *argilla.SOURCES,
)
PAIR = frozenset({"prompt", "response"})


def source_of(record: Record, given: Given) -> RecordSource | None:
    """The source that translates the record; None for a row as any other, and for one of which the
    person has named both the question's and the answer's column."""
    possible = _with_keys(tuple(record))
    if not possible or {part for column, part in given.items() if column in record} >= PAIR:
        return None
    return next((source for source in possible if source.fits(record)), None)


@lru_cache(maxsize=1024)
def _with_keys(keys: tuple[str, ...]) -> tuple[RecordSource, ...]:
    return tuple(source for source in SOURCES if source.has(keys))
