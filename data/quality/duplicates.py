"""The same question twice: duplicates, conflicting answers, and contaminated splits.

`data/pairs/question_matching.py` defines what the same question is: equal words, or words that
differ by a typing error, their form or their order. Another phrasing of a fact is no duplicate: a
bot learns from it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from data.pairs import datasets
from data.pairs.pairs import Pair, normalise
from data.pairs.question import question_text
from data.pairs.question_matching import words_of
from data.quality.findings import Found, Rows, short

WORD = re.compile(r"\w+(?:[._]\w+)*")
FIXED = re.compile(r"[\d._]")  # in a word: a number or a technical name, which no slip explains
ALIKE = 0.8  # share of the words that two wordings of one answer have in common


def exact(rows: Rows) -> Iterator[Found]:
    """Pairs with the words of another one, apart from case, spaces and punctuation. The newest
    stays; a golden question always does."""
    for same in _clusters(rows, rows.groups, _same_words):
        yield from _others(same, "the same words as pair")


def near(rows: Rows) -> Iterator[Found]:
    """Pairs that ask and answer nearly the same as another one."""
    seen: set[int] = set()
    clusters = (
        *_clusters(rows, rows.groups, _alike),
        *_clusters(rows, rows.loose_groups, _same_answer),
    )
    for same in clusters:
        left = [one for one in same if not _same_words(one, same[0]) and one.id not in seen]
        if left:
            yield from _others([same[0], *left], "nearly the same as pair")
            seen.update(one.id for one in left)


def conflicts(rows: Rows) -> Iterator[Found]:
    """Older pairs whose question has another answer in a newer one. A run learns the newest. A pair
    that waits for review contradicts nothing yet."""
    for group in rows.groups:
        by_question: dict[tuple[str, ...], list[Pair]] = {}
        for at in group:
            pair = rows.pairs[at]
            words = tuple(sorted(words_of(question_text(pair)).matter))
            context = (normalise(pair.system), *(normalise(t.content) for t in pair.turns))
            by_question.setdefault((*context, "", *words), []).append(pair)
        for asked in by_question.values():
            approved = [pair for pair in asked if pair.status == "approved"]
            if not approved:
                continue
            newest = max(approved, key=lambda pair: (pair.split == "golden", pair.id))
            for pair in asked:
                newer = pair.status == "pending" and pair.id > newest.id
                if newer or pair is newest or pair.split == "golden":
                    continue
                if not _alike(pair, newest):
                    told = f"pair {newest.id} says: {short(newest.response)}"
                    yield Found(pair.id, told, newest.id)


def contamination(rows: Rows) -> Iterator[Found]:
    """Pairs that would be trained on although an evaluated pair asks the same."""
    approved = [pair for pair in rows.pairs if pair.status == "approved"]
    parts = datasets.split(approved, rows.around.validation_share)
    loose = _clusters(rows, rows.loose_groups, _same_answer)
    groups = [*([rows.pairs[at] for at in group] for group in rows.groups), *loose]
    seen: set[int] = set()
    for group in groups:
        members = [pair for pair in group if pair.id in parts and pair.id not in seen]
        measured = [pair for pair in members if parts[pair.id] != "train"]
        if not measured:
            continue
        for pair in members:
            if parts[pair.id] == "train":
                part = parts[measured[0].id]
                seen.add(pair.id)
                yield Found(pair.id, f"asks the same as pair {measured[0].id} ({part})")


def _clusters(
    rows: Rows, groups: Sequence[Sequence[int]], same: Callable[[Pair, Pair], bool]
) -> Iterator[list[Pair]]:
    """Pairs of one group that are the same; the one that stays comes first."""
    for group in groups:
        ordered = sorted((rows.pairs[at] for at in group), key=_stays)
        clusters: list[list[Pair]] = []
        for pair in ordered:
            home = next((c for c in clusters if same(pair, c[0])), None)
            if home is None:
                clusters.append([pair])
            else:
                home.append(pair)
        yield from (cluster for cluster in clusters if len(cluster) > 1)


def _stays(pair: Pair) -> tuple[bool, bool, int]:
    return (pair.split != "golden", pair.status != "approved", -pair.id)


def _others(same: Sequence[Pair], how: str) -> Iterator[Found]:
    kept, *others = same
    for pair in others:
        if pair.split != "golden":
            yield Found(pair.id, f"{how} {kept.id}: {short(kept.prompt)}", kept.id)


def _same_context(one: Pair, other: Pair) -> bool:
    return normalise(one.system) == normalise(other.system) and len(one.turns) == len(other.turns)


def _same_words(one: Pair, other: Pair) -> bool:
    return (
        _same_context(one, other)
        and words_of(question_text(one)).all == words_of(question_text(other)).all
        and _said(one.response) == _said(other.response)
    )


def _same_answer(one: Pair, other: Pair) -> bool:
    return _same_context(one, other) and _said(one.response) == _said(other.response)


def _said(response: str) -> str:
    """An answer as it is compared: symbols of code count, sentence punctuation does not."""
    return re.sub(r"[.,;:!?'\"]+(?=\s|$)", "", normalise(response))


def _alike(one: Pair, other: Pair) -> bool:
    if not _same_context(one, other):
        return False
    left, right = _said(one.response), _said(other.response)
    if left == right:
        return True
    a, b = Counter(WORD.findall(left)), Counter(WORD.findall(right))
    if any(FIXED.search(word) for word in (a - b) | (b - a)):
        return False
    return sum((a & b).values()) >= ALIKE * max(1, sum((a | b).values()))
