"""Questions that are the same but for how they are written: what must not be both measured and
trained.

An adapter is measured on golden questions to see what it makes of words that it has not been
given. One that it was trained on, with a comma more, measures nothing. Paraphrases are another
matter: asking for a known fact in other words is what golden questions are for.

So two questions are the same when their words are (`exact`), or when nothing but a typing error,
word forms, word order and small words is between them (`near`): every word that matters has its
like on the other side. A short word, a number or a name of something technical has no like but
itself: "box 17" is not "box 18", nor is `str.find` `str.rfind`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Kind = Literal["exact", "near"]
K = TypeVar("K", bound=Hashable)

LONG = 5  # letters of a word in which a typing error is taken for one
SLIPS = 2  # words of a question that may be in another form or misspelt
ENDINGS = ("s", "es", "d", "ed", "ing")  # of English word forms
WORD = re.compile(r"\w+(?:[._]\w+)*")
NAME = re.compile(r"[\d._]|[^\W_][A-Z]")  # somewhere in a word: `max_length`, `os.path`, `OpenAI`
SMALL = frozenset(
    ("a", "an", "the", "this", "that", "these", "those", "my", "our", "your", "its", "please")
)
ONE_WORD = {"are": "is", "was": "is", "were": "is", "does": "do", "did": "do", "has": "have"}


@dataclass(frozen=True)
class Match(Generic[K]):
    key: K
    kind: Kind
    text: str


@dataclass(frozen=True)
class Words:
    """Of a question, in order and as they are compared."""

    all: tuple[str, ...]
    matter: tuple[str, ...]  # without small words, unless there are no others
    kinds: frozenset[str]  # those, each once
    names: frozenset[str]  # those that are numbers or technical names


class Index(Generic[K]):
    """Questions, to be searched for one that is the same as another."""

    def __init__(self) -> None:
        self._questions: list[tuple[K, str, Words]] = []
        self._exact: dict[tuple[str, ...], int] = {}
        self._having: dict[str, list[int]] = {}

    def add(self, key: K, text: str) -> None:
        words = _words(text)
        number = len(self._questions)
        self._questions.append((key, text, words))
        self._exact.setdefault(words.all, number)
        for word in words.kinds:
            self._having.setdefault(word, []).append(number)

    def find(self, text: str) -> Match[K] | None:
        """A question that is the same, if there is one; an exactly equal one first."""
        words = _words(text)
        if words.all in self._exact:
            key, found, _ = self._questions[self._exact[words.all]]
            return Match(key, "exact", found)
        for number in sorted(self._candidates(words)):
            key, found, others = self._questions[number]
            if _near(words, others):
                return Match(key, "near", found)
        return None

    def _candidates(self, words: Words) -> set[int]:
        """Whatever is near has at least one of the rarest words: not more than `SLIPS` differ."""
        having = [self._having.get(word, []) for word in words.kinds]
        return {number for some in sorted(having, key=len)[: SLIPS + 1] for number in some}


def _words(text: str) -> Words:
    found = WORD.findall(unicodedata.normalize("NFKC", text)) or [text.strip()]
    words = tuple(word.casefold() for word in found)
    names = frozenset(word.casefold() for word in found if NAME.search(word))
    matter = tuple(ONE_WORD.get(w, w) for w in words if w not in SMALL) or words
    return Words(words, matter, frozenset(matter), names)


def _near(one: Words, other: Words) -> bool:
    if len(one.matter) != len(other.matter) or len(one.kinds - other.kinds) > SLIPS:
        return False
    left = sorted((Counter(one.matter) - Counter(other.matter)).elements())
    right = sorted((Counter(other.matter) - Counter(one.matter)).elements())
    return (one.names | other.names).isdisjoint([*left, *right]) and _paired(left, right)


def _paired(left: list[str], right: list[str]) -> bool:
    """Whether each word on one side has its like on the other."""
    if len(left) > SLIPS:
        return False
    for word in left:
        like = next((other for other in right if _alike(word, other)), None)
        if like is None:
            return False
        right.remove(like)
    return True


def _alike(one: str, other: str) -> bool:
    """Whether two different words may be one: in another form, or misspelt."""
    return bool(_stems(one) & _stems(other)) or (
        min(len(one), len(other)) >= LONG and _one_slip(one, other)
    )


def _stems(word: str) -> set[str]:
    """What it may be a form of."""
    cut = {word.removesuffix(e) for e in ENDINGS if len(word) - len(e) >= LONG - 2}
    return {word, *cut}


def _one_slip(one: str, other: str) -> bool:
    """Whether one letter too many, too few, wrong, or two in the wrong order, is all between."""
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    swapped = short[at + 1 : at + 2] + short[at : at + 1]
    return short[at + 1 :] == long[at + 1 :] or (
        swapped == long[at : at + 2] and short[at + 2 :] == long[at + 2 :]
    )
