"""Contamination: finds questions that are the same apart from how they are written.

Golden questions measure how an adapter handles wording that it was not trained on. A golden
question that was trained on with an extra comma measures nothing. Paraphrases are fine: asking for
a known fact in other words is the purpose of golden questions.

Two questions match if their words are equal (`exact`), or if they differ only by a typing error,
word forms, word order and small words (`near`): every important word has a counterpart in the other
question. A short word, a number or a technical name matches only itself: "box 17" is not "box 18",
and `str.find` is not `str.rfind`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Kind = Literal["exact", "near"]
K = TypeVar("K", bound=Hashable)

LONG = 5  # letters; typing errors are recognised in words of at least this length
SLIPS = 2  # words of a question that may be misspelt or in another form
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
    """The words of a question, in order and in the form in which they are compared."""

    all: tuple[str, ...]
    matter: tuple[str, ...]  # without small words, unless there are no others
    kinds: frozenset[str]  # the distinct words of `matter`
    names: frozenset[str]  # the numbers and technical names among them


class Index(Generic[K]):
    """An index of questions that finds a matching one."""

    def __init__(self) -> None:
        self._questions: list[tuple[K, str, Words]] = []
        self._exact: dict[tuple[str, ...], int] = {}
        self._having: dict[str, list[int]] = {}

    def add(self, key: K, text: str) -> None:
        words = words_of(text)
        number = len(self._questions)
        self._questions.append((key, text, words))
        self._exact.setdefault(words.all, number)
        for word in words.kinds:
            self._having.setdefault(word, []).append(number)

    def find(self, text: str) -> Match[K] | None:
        """A matching question, or None. An exact match is preferred."""
        words = words_of(text)
        if words.all in self._exact:
            key, found, _ = self._questions[self._exact[words.all]]
            return Match(key, "exact", found)
        for number in sorted(self._candidates(words)):
            key, found, others = self._questions[number]
            if _near(words, others):
                return Match(key, "near", found)
        return None

    def _candidates(self, words: Words) -> set[int]:
        """Near matches share at least one of the rarest words, as at most `SLIPS` words differ."""
        having = [self._having.get(word, []) for word in words.kinds]
        return {number for some in sorted(having, key=len)[: SLIPS + 1] for number in some}


def words_of(text: str) -> Words:
    """The words of a question as they are compared."""
    found = WORD.findall(unicodedata.normalize("NFKC", text)) or [text.strip()]
    words = tuple(word.casefold() for word in found)
    names = frozenset(word.casefold() for word in found if NAME.search(word))
    matter = tuple(ONE_WORD.get(w, w) for w in words if w not in SMALL) or words
    return Words(words, matter, frozenset(matter), names)


def matches(one: Words, other: Words) -> bool:
    """Whether two questions match, exactly or nearly."""
    return one.all == other.all or _near(one, other)


def _near(one: Words, other: Words) -> bool:
    if len(one.matter) != len(other.matter) or len(one.kinds - other.kinds) > SLIPS:
        return False
    left = sorted((Counter(one.matter) - Counter(other.matter)).elements())
    right = sorted((Counter(other.matter) - Counter(one.matter)).elements())
    return (one.names | other.names).isdisjoint([*left, *right]) and _paired(left, right)


def _paired(left: list[str], right: list[str]) -> bool:
    """Whether each word on one side has a counterpart on the other."""
    if len(left) > SLIPS:
        return False
    for word in left:
        like = next((other for other in right if alike(word, other)), None)
        if like is None:
            return False
        right.remove(like)
    return True


def alike(one: str, other: str) -> bool:
    """Whether two different words may be the same word, misspelt or in another form."""
    return bool(stems(one) & stems(other)) or (
        min(len(one), len(other)) >= LONG and one_slip(one, other)
    )


def stems(word: str) -> set[str]:
    """The words that it may be a form of."""
    cut = {word.removesuffix(e) for e in ENDINGS if len(word) - len(e) >= LONG - 2}
    return {word, *cut}


def one_slip(one: str, other: str) -> bool:
    """Whether the words differ by one extra, missing or wrong letter, or by two swapped letters."""
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
