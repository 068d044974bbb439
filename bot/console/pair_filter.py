"""The filter of a list of pairs, as a page's address and its forms hold it."""

from collections.abc import Mapping
from urllib.parse import urlencode

from data.pairs.pairs import MAX_CHARS, SPLITS, STATUSES
from data.quality import checks
from data.search.pair_pages import PairFilter
from data.store.errors import Invalid
from data.visible_text import marked

NAMES = ("q", "status", "split", "source", "batch", "fact", "finding")
MAX_WORDS = 1_000  # characters of a search


def read(given: Mapping[str, object]) -> PairFilter:
    """The filter in the fields of a form or of an address, with symbols for control characters, as
    pairs are stored. Raises Invalid."""
    found = {name: marked(str(given.get(name) or "")).strip() for name in NAMES}
    if len(found["q"]) > MAX_WORDS:
        raise Invalid(f"Search for at most {MAX_WORDS:,} characters.")
    if any(len(text) > MAX_CHARS for text in found.values()):
        raise Invalid("A filter is too long.")
    for name, known in (("status", STATUSES), ("split", SPLITS), ("finding", checks.NAMES)):
        if found[name] and found[name] not in known:
            raise Invalid(f"There is no {name} “{found[name]}”; it can be {', '.join(known)}.")
    number = found["batch"]
    if number and not (number.isascii() and number.isdigit() and len(number) < 16):
        raise Invalid("The number of an import is a whole number.")
    return PairFilter(
        words=found["q"],
        status=found["status"] or None,  # type: ignore[arg-type] # one of STATUSES
        split=found["split"] or None,  # type: ignore[arg-type] # one of SPLITS
        source=found["source"],
        batch=int(number) if number else None,
        fact=found["fact"],
        finding=found["finding"],
    )


def fields(wanted: PairFilter) -> dict[str, str]:
    """The fields that `read` reads; those that are given."""
    values = (
        wanted.words,
        wanted.status,
        wanted.split,
        wanted.source,
        wanted.batch,
        wanted.fact,
        wanted.finding,
    )
    return {
        name: str(value)
        for name, value in zip(NAMES, values, strict=True)
        if value not in ("", None)
    }


def query(wanted: PairFilter, **more: object) -> str:
    """The end of an address, with `?`; '' if nothing is given."""
    found = fields(wanted) | {name: str(value) for name, value in more.items()}
    return f"?{urlencode(found)}" if found else ""
