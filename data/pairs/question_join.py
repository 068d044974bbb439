"""Finds all questions that ask the same among many, in one pass.

`same_questions` groups them for a report; `joined` also joins what is alike through others, so that
a dataset can keep all of them on one side.

`question_matching.Index` finds a match of one question. Asking it for each of 50,000 questions
takes minutes. Here every word is replaced by the representative of all words that it may be a
misspelling or a form of. Questions that match then have the same representatives, so only those
are compared.
"""

import re
from collections.abc import Sequence

from data.pairs.question_matching import (
    LONG,
    NAME,
    Words,
    alike,
    matches,
    one_slip,
    stems,
    words_of,
)

MOST_COMPARED = 500  # wordings that are compared one by one; of more, all count as matching
SYMBOL = re.compile(r"[+#*%<>=&|^~@$\\]")  # tells `C++` from `C#`; punctuation tells nothing


def same_questions(texts: Sequence[str], *, loose: bool = False) -> list[list[int]]:
    """Groups of at least two texts, as positions in order, in which every text matches the first
    one as `question_matching` defines it. `loose`: any number of words may be misspelt, and shorter
    ones, too; that says something only of pairs whose answers are the same."""
    words = [words_of(text) for text in texts]
    root = _representatives({word for one in words for word in one.matter}, loose=loose)
    buckets: dict[int, list[int]] = {}
    for at, one in enumerate(words):
        # two keys that are equal by chance only cost a comparison
        key = hash((tuple(sorted(root.get(word, word) for word in one.matter)), one.names))
        buckets.setdefault(key, []).append(at)
    found: list[list[int]] = []
    for bucket in buckets.values():
        if len(bucket) > 1:
            groups = _groups(bucket, texts, words, loose=loose)
            found += [group for group in groups if len(group) > 1]
    return sorted(found)


def joined(texts: Sequence[str]) -> list[int]:
    """For each text the number of its set. Texts that match, as `question_matching.Index` finds
    it, are in one set, also where only others between them match."""
    words = [words_of(text) for text in texts]
    root = _representatives({word for one in words for word in one.matter}, loose=False)
    first_with: dict[tuple[str, ...], int] = {}
    leader = [first_with.setdefault(one.all, at) for at, one in enumerate(words)]
    buckets: dict[int, list[int]] = {}
    for at in first_with.values():
        key = hash(tuple(sorted(root.get(word, word) for word in words[at].matter)))
        buckets.setdefault(key, []).append(at)

    def find(at: int) -> int:
        while leader[at] != at:
            leader[at] = leader[leader[at]]
            at = leader[at]
        return at

    for bucket in buckets.values():
        for place, one in enumerate(bucket):
            others = bucket[:place] if len(bucket) <= MOST_COMPARED else bucket[:1]
            for other in others:
                low, high = sorted((find(one), find(other)))
                if low != high and (
                    len(bucket) > MOST_COMPARED or matches(words[one], words[other])
                ):
                    leader[high] = low
    return [find(at) for at in range(len(texts))]


def _groups(
    bucket: list[int], texts: Sequence[str], words: Sequence[Words], *, loose: bool
) -> list[list[int]]:
    groups: list[list[int]] = []
    for at in bucket:
        for group in groups:
            first = group[0]
            same = loose or matches(words[at], words[first])
            if same and _symbols(texts[at]) == _symbols(texts[first]):
                group.append(at)
                break
        else:
            groups.append([at])
    return groups


def _symbols(text: str) -> list[str]:
    return sorted(SYMBOL.findall(text))


def _representatives(vocabulary: set[str], *, loose: bool) -> dict[str, str]:
    """Word -> one word of all that are alike, directly or through others."""
    leader: dict[str, str] = {}

    def find(word: str) -> str:
        while leader.setdefault(word, word) != word:
            leader[word] = leader[leader[word]]
            word = leader[word]
        return word

    def join(one: str, other: str) -> None:
        low, high = sorted((find(one), find(other)))
        leader[high] = low

    by_stem: dict[str, str] = {}
    by_rest: dict[str, list[str]] = {}
    for word in sorted(vocabulary):
        if NAME.search(word):
            continue
        for stem in stems(word):
            join(word, by_stem.setdefault(stem, word))
        if len(word) < (LONG - 1 if loose else LONG):
            continue
        # words that differ by one slip are equal after at most one letter is left out of each
        for rest in {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}:
            others = by_rest.setdefault(rest, [])
            for other in others:
                if find(other) != find(word) and (
                    one_slip(word, other) if loose else alike(word, other)
                ):
                    join(word, other)
            others.append(word)
    return {word: find(word) for word in leader}
