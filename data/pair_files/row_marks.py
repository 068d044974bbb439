"""What a row says about itself: its split, its status, a rating, or that it is not to be learned.

A mark with a known meaning is obeyed; one that cannot be understood, or whose meaning cannot be
kept, makes the row a bad row. It is never ignored.
"""

from dataclasses import dataclass
from typing import Any

from data.pair_files.column_names import FLAGS
from data.pair_files.columns import Fields, is_empty
from data.pair_files.rating_words import DISLIKED, LIKED
from data.pair_files.verdicts import RowError
from data.pairs.pairs import SPLITS, Split, Status

YES = frozenset({"true", "yes", "y", "1", "on", "x", "ja", "oui", "si", "sí", "wahr", "vrai"})
NO = frozenset({"false", "no", "n", "0", "off", "nein", "non", "falsch", "faux"})
SPLIT_NAMES: dict[str, Split] = {
    "val": "validation", "valid": "validation", "dev": "validation", "eval": "validation",
    "training": "train",
}  # fmt: skip
UNKNOWN = "(unknown)"  # in place of a word that is no known status
STATUSES: dict[str, Status | None] = {  # None: as the import says
    **dict.fromkeys(
        ("approved", "accepted", "published", "public", "active", "live", "final", "done",
         "completed", "complete", "solved", "closed", "resolved", "answered", "submitted"), None,
    ),
    **dict.fromkeys(
        ("pending", "draft", "in review", "review", "new", "open", "todo", "to do", "in progress",
         "not started",
         "unreviewed", "proposed"), "pending",
    ),
    "rejected": "rejected",
    "quarantined": "quarantined",
    UNKNOWN: "pending",
}  # fmt: skip
GONE = frozenset({
    "archived", "inactive", "deleted", "obsolete", "deprecated", "discarded", "spam", "hidden",
    "disabled", "unpublished", "trash", "withdrawn",
})  # fmt: skip
REFUSED = {
    "tools": "only text is learned, and the bot calls no tools",
    "media": "only text is learned",
    "choices": "a question with choices is no question that people ask; put them into the prompt",
}


@dataclass(frozen=True)
class RowMarks:
    """The marks of a row."""

    fact: str = ""
    split: Split = "auto"
    status: Status | None = None  # None: as the import says
    liked: bool | None = None  # None: the answer is not rated
    left_out: str = ""  # why the row is not to be learned


NONE = RowMarks()
MARKS = frozenset(
    {
        "fact",
        "split",
        "status",
        "label",
        "weight",
        "rating",
        "active",
        "inactive",
        "draft",
        *REFUSED,
    }
)


def read_marks(fields: Fields) -> RowMarks:
    """Raises RowError for a mark that cannot be understood or kept."""
    have = MARKS & fields.columns.of.keys()
    verdict = fields.verdict()
    if not have and not verdict:
        return NONE
    for name in REFUSED.keys() & have:
        if fields.given(name) is not None:
            raise RowError(f"it has {fields.column(name)}: {REFUSED[name]}")
    left_out = ""
    status: Status | None = None
    for name in FLAGS:
        if name in have and (flag := _flag(fields, name)) is not None:
            if name == "draft":
                status = "pending" if flag else status
            elif flag != (name == "active"):
                left_out = f"{fields.column(name)} is {fields.value(name)}"
    if "status" in have:
        found = _status(fields)
        left_out = f"status is {found}" if found in GONE else left_out
        status = STATUSES.get(found) or status
    if "weight" in have and _weight(fields) == 0:
        left_out = f"{fields.column('weight')} is 0"
    if verdict == "ignore":
        left_out = "answer is ignore"
    liked = _liked(fields, have) if verdict != "reject" else False
    if liked is None and "rating" in have and fields.given("rating") is not None:
        status = "pending"  # on a scale that nobody named
        fields.map.scales[fields.column("rating")] += 1
    return RowMarks(
        fact=fields.text("fact"),
        split=_split(fields),
        status=status,
        liked=liked,
        left_out=left_out,
    )


def weight_of(value: Any, where: str) -> float:
    """0 or 1. Raises RowError for any other weight."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise RowError(f"{where} is {value!r}, not a number") from None
    if number not in (0, 1):
        raise RowError(f"{where} is {value}; an answer can be learned (1) or left out (0)")
    return number


def _weight(fields: Fields) -> float:
    value = fields.given("weight")
    return 1 if value is None else weight_of(value, fields.column("weight"))


def _flag(fields: Fields, name: str) -> bool | None:
    value = fields.given(name)
    if value is None:
        return None
    found = _truth(value)
    if found is None:
        raise RowError(
            f"{fields.column(name)} is {_shown(value)}, neither yes nor no; "
            f"--map ignore={fields.column(name)} leaves the column out"
        )
    return found


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    word = str(value).strip().casefold()
    return True if word in YES else False if word in NO else None


def _liked(fields: Fields, have: frozenset[str] | set[str]) -> bool | None:
    """Whether the answer was liked; None: it is not rated in words that are understood."""
    for name in ("label", "rating"):
        value = fields.given(name) if name in have else None
        if value is None:
            continue
        word = str(value).strip().casefold()
        if word in LIKED or word in DISLIKED:
            return word in LIKED
        if isinstance(value, bool) or (name == "label" and word in YES | NO):
            return _truth(value)
        if name == "label":
            if isinstance(value, int | float):
                raise RowError(f"label is {value}; a rated answer has true or false")
            fields.taken.discard("label")  # a topic: reported as not used
    return None


def _status(fields: Fields) -> str:
    word = fields.text("status").strip().casefold().replace("_", " ")
    if not word:
        return ""
    if word not in STATUSES and word not in GONE:
        fields.map.note_status(fields.column("status"), word)
        return UNKNOWN
    return word


def _split(fields: Fields) -> Split:
    value = fields.text("split").strip()
    word = value.casefold()
    if is_empty(word):
        return "auto"
    found = SPLIT_NAMES.get(word, word)
    if found not in SPLITS:
        raise RowError(f"split is {value!r}; it can be {', '.join(SPLITS)}")
    return found  # type: ignore[return-value] # it is among SPLITS


def _shown(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:39] + "…")
