"""What annotators answered about a text: an answer in words, a rating, or a preference.

Annotation tools let every project name its fields and questions. A name that is understood counts
(`column_names.py`); otherwise the only text field is the question, and the only text that an
annotator wrote is the answer.

What was not submitted waits for review. So do answers of several annotators that differ: nobody has
decided between them. Of ratings and preferences that differ, the majority counts.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.pair_files.column_names import FIELD_OF, PERHAPS_FIELD_OF, plain
from data.pair_files.rating_words import DISLIKED, LIKED
from data.pair_files.sources.translation import Given, Record, Translation

CORRECTED = re.compile(r"correct|improv|edit|rewrit|better|fix|revis", re.IGNORECASE)
LETTERED = re.compile(r"(?:[\s_-][A-Za-z]|\d|(?<=[a-z])[A-Z])$")  # such as response_b, answer2
Answers = Mapping[str, Any]  # question -> value, of one annotator


@dataclass(frozen=True)
class Annotated:
    """A text and what annotators answered about it."""

    fields: Record
    submitted: Sequence[Answers] = ()
    drafts: Sequence[Answers] = ()  # not submitted, or suggested by a model
    discarded: bool = False  # by at least one annotator


def translate(about: Annotated, given: Given) -> Translation:
    """The pairs or rated answers that the annotators' answers make. `given`: what columns hold, as
    the person said."""
    if about.submitted:
        found = [_rows(about.fields, answers, given) for answers in about.submitted]
        return _agreed(found, given, wait=about.discarded)
    if about.discarded:
        return Translation(left_out="discarded by the annotator")
    drafts = [row for answers in about.drafts[:1] for row in _rows(about.fields, answers, given)]
    if any(_is_judged(row) for row in drafts):
        return Translation(left_out="the rating was not submitted")
    if not drafts:
        return Translation(left_out="no annotator has answered")
    return Translation(tuple(_waiting(row) for row in drafts))


def _agreed(found: Sequence[Sequence[Record]], given: Given, *, wait: bool) -> Translation:
    """What several annotators say together. `wait`: another one discarded the text."""
    keys = [_key(rows, given) for rows in found]
    by_key = dict(zip(keys, found, strict=True))
    if any(_is_judged(row) for rows in found for row in rows):
        (best, most), *others = Counter(keys).most_common()
        if any(count == most for _, count in others):
            return Translation(left_out="the annotators disagree")
        return Translation(tuple(by_key[best]))
    rows = [row for each in by_key.values() for row in each]
    if not rows:
        return Translation(left_out="no answer was preferred")
    return Translation(tuple(map(_waiting, rows) if wait or len(by_key) > 1 else rows))


def _rows(fields: Record, answers: Answers, given: Given) -> list[Record]:
    """The rows of one annotator's answers. Names that are not understood stay as they are."""
    compared = [name for name, text in fields.items() if is_compared(name, text)]
    row = {name: v for name, v in fields.items() if len(compared) < 2 or name not in compared}
    order: list[str] = []
    texts: dict[str, str] = {}
    for question, value in answers.items():
        part = _part(question, given)
        if len(compared) > 1 and not order and (order := _order(value, compared)):
            continue
        if isinstance(value, str) and is_rating_word(value) and part != "response":
            row["rating"] = value
        elif isinstance(value, int | float):
            row[question if part in ("rating", "label") else "rating"] = value
        elif isinstance(value, str):
            texts[question] = value
        else:
            row[question] = value
    _put_answer(row, texts, given, comparing=len(compared) > 1)
    _put_question(row, texts, given)
    answered = any(_part(name, given) == "response" for name in row)
    rows: list[Record] = [row] if answered or len(compared) < 2 else []
    about = {name: value for name, value in row.items() if _part(name, given) != "response"}
    rows += [about | {"chosen": fields[order[0]], "rejected": fields[name]} for name in order[1:]]
    return rows


def _put_answer(
    row: dict[str, Any], texts: Mapping[str, str], given: Given, *, comparing: bool
) -> None:
    """Put the texts of an annotator into the row; what corrects an answer replaces it. `comparing`:
    other texts are answers of models, so a text may be a remark about them."""
    named = [name for name in texts if _part(name, given) == "response"]
    held = [name for name in row if _part(name, given) == "response"]
    if not named and len(texts) == 1:
        (only,) = texts
        if not (held or comparing) or CORRECTED.search(only):
            named = [only]
    if named:
        for name in held:
            del row[name]
    if len(named) == 1 and _part(named[0], given) != "response":
        row["response"] = texts[named[0]]
    row.update({name: text for name, text in texts.items() if "response" not in row or
                name not in named})  # fmt: skip


def _put_question(row: dict[str, Any], texts: Mapping[str, str], given: Given) -> None:
    """Take the only text that is no known part of a pair for the question."""
    if any(_part(name, given) in ("prompt", "messages", "conversations") for name in row):
        return
    unknown = [
        name
        for name, value in row.items()
        if name not in texts and isinstance(value, str) and not _part(name, given)
    ]
    if len(unknown) == 1:
        row["prompt"] = row.pop(unknown[0])


def is_compared(name: str, value: Any) -> bool:
    """Whether a field is one of several answers, such as response_b."""
    return isinstance(value, str) and LETTERED.search(name) is not None


def _order(value: Any, compared: Sequence[str]) -> list[str]:
    """The fields that an answer prefers (the first) and those it does not; [] if it is another
    answer."""
    if isinstance(value, str):
        best = next((name for name in compared if _same_name(name, value)), "")
        return [best, *(name for name in compared if name != best)] if best else []
    if not isinstance(value, list) or not all(isinstance(v, dict) and "rank" in v for v in value):
        return []
    ranked = sorted(value, key=lambda each: int(each["rank"]))
    ranks = {each["value"]: each["rank"] for each in ranked if each.get("value") in compared}
    best = next(iter(ranks), "")
    return [best, *(name for name, rank in ranks.items() if rank > ranks[best])] if best else []


def _same_name(name: str, value: str) -> bool:
    """Whether a value such as `Response B` or `B` names a field such as `response_b`."""
    word, said = plain(name), plain(value)
    return bool(said) and (word == said or (len(said) == 1 and word.endswith(said)))


def _part(name: str, given: Given) -> str:
    """The part of a pair that a name stands for, or ''."""
    if name in given:
        return given[name]
    return FIELD_OF.get(plain(name)) or PERHAPS_FIELD_OF.get(plain(name)) or ""


def is_rating_word(value: str) -> bool:
    return value.strip().casefold() in LIKED | DISLIKED


def _is_judged(row: Record) -> bool:
    return "chosen" in row or isinstance(row.get("rating"), str)


def _waiting(row: Record) -> Record:
    return {**row, "status": "pending"}


def _key(rows: Sequence[Record], given: Given) -> str:
    """Equal for annotators who say the same, whatever they remark. Numbers need not agree: their
    scale is unknown."""
    return repr([
        {name: value for name, value in row.items()
         if _part(name, given) and not isinstance(value, int | float)}
        for row in rows
    ])  # fmt: skip
