"""Whether an answer is right: word for word, or by a rule that any two people can follow.

An answer in other words is right (`equivalent`) if all of this is true:

- Every number, name and command of the expected answer is in it. A number counts with the word
  behind it: "6 hours" is not "6 days".
- It denies and limits what the expected answer denies and limits: both have a negation, or neither;
  the same for "only", "until" and such words.
- It has no other number, name or command, except those of the question: these would be another
  fact's, or invented.
- It has most of the other words of the expected answer that matter, and few that are neither there
  nor in the question.

An answer that declines is `refused`, unless the expected answer declines, too; every other answer
is `wrong`. `tests/tuning/evaluation` holds 200 answers that were written to try the rule, and 431
of tuned adapters, all labelled by hand; the tests measure the rule on them (benchmarks/RESULTS.md).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from tuning.evaluation import metrics

Judgement = Literal["exact", "equivalent", "refused", "wrong"]
RIGHT: tuple[Judgement, ...] = ("exact", "equivalent")

MOST_WORDS = 0.6  # of the expected answer's other words, weighed by their length
STRANGE_WORDS = 0.4  # of the answer's words that may be in neither it nor the question
CODE = re.compile(r"`([^`]+)`")
COMMAND = re.compile(
    r"(?<![\w`])(?:--?[a-z][\w-]*|/[a-z][\w/-]+|\w+(?:[._/@:=-]\w+)*[_/@=]\w[\w./-]*)"
)
QUANTITY = re.compile(r"(\d+(?:[.,:]\d+)*)[ -]?([a-zà-ÿ]+|[%€$£°])?(?: ([a-zà-ÿ]+))?")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
UP_TO_TWENTY = """
zero . two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty
"""  # not "one": "the red one"
TENS = {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "ninety": "90"}
COUNTS = {word: str(number) for number, word in enumerate(UP_TO_TWENTY.split())} | TENS
DENY = """
not no never none nobody nothing nor neither without cannot nicht kein keine keinen nie niemals ohne
pas jamais sans sin nunca senza mai
"""
NEGATIONS = frozenset(DENY.split())
LIMITS = (  # words of one line mean the same
    frozenset(("only", "nur", "unless", "except", "außer")),
    frozenset(("before", "vor")),
    frozenset(("after", "nach")),
)
LITTLE = """
a an the of to in on at by for from with and or is are was be it its this that there here as until
you your we our us they their i my he she his her them do does did has have had can may will would
should must so then yes please just also up out per each any all der die das ein eine und oder ist
sind von zu im am le la les un une de du et est el los las y es
"""
SMALL = frozenset(LITTLE.split())
UNITS = {
    "€": "euro", "$": "dollar", "£": "pound", "%": "percent", "°": "degre", "hrs": "hour",
    "hr": "hour", "h": "hour", "mins": "minut", "min": "minut",
}  # fmt: skip
STEMS = """
second minut hour day week month year euro franc dollar pound percent degre metr kilometr kilo gram
litr tag stund woch monat jahr
"""
MEASURES = frozenset(STEMS.split())


def judge(answer: str, expected: str, question: str = "") -> Judgement:
    """Whether `answer` is right, where `expected` is."""
    if metrics.exact(answer, expected):
        return "exact"
    declines = metrics.refuses(answer)
    if declines != metrics.refuses(expected):
        return "refused" if declines else "wrong"
    if declines:
        return "equivalent"
    return "equivalent" if _equivalent(answer, expected, question) else "wrong"


def shares(judged: Sequence[Judgement]) -> dict[str, float]:
    """The share of right answers, wrong ones and needless refusals. At least one answer."""
    found = Counter(judged)
    n = len(judged)
    right = sum(found[name] for name in RIGHT)
    return {"right": right / n, "wrong": found["wrong"] / n, "needless": found["refused"] / n}


def summary(judged: Sequence[Judgement], asked: str) -> str:
    """Such as "10 of 11 unseen phrasings are answered wrong, 1 is answered right." """
    found, n = Counter(judged), len(judged)
    right = sum(found[name] for name in RIGHT)
    if right == n:
        return f"{n} of {n} {asked} are answered right."
    parts = [
        f"{_are(found['wrong'])} answered wrong" if found["wrong"] else "",
        f"{_are(found['refused'])} declined" if found["refused"] else "",
        f"{_are(right)} answered right" if right else "",
    ]
    first, *others = [part for part in parts if part]
    number, rest = first.split(" ", 1)
    return ", ".join([f"{number} of {n} {asked} {rest}", *others]) + "."


def _are(count: int) -> str:
    return f"{count} is" if count == 1 else f"{count} are"


def _equivalent(answer: str, expected: str, question: str) -> bool:
    known = f"{expected}\n{question}"
    if not _commands_in(expected, answer) or not _commands_in(answer, known):
        return False
    given, wanted = _particulars(answer), _particulars(expected)
    if wanted - given or given - wanted - _particulars(question):
        return False
    said, asked = _words(answer), _words(expected)
    if any(_has(said, kind) != _has(asked, kind) for kind in (NEGATIONS, *LIMITS)):
        return False
    return (
        _share(asked, [*said, *(_words(question) if wanted else ())]) >= MOST_WORDS
        and _share(said, _words(known)) >= 1 - STRANGE_WORDS
    )


def _share(words: Iterable[str], among: Iterable[str]) -> float:
    """The share of the words that matter which are `among` others, weighed by their length."""
    matter = {_stem(word) for word in words if word not in SMALL and not word.isdigit()}
    found = matter & {_stem(word) for word in among}
    return sum(map(len, found)) / sum(map(len, matter)) if matter else 1.0


def _commands_in(text: str, other: str) -> bool:
    """Whether every command in a text is in the other one, with or without code marks."""
    commands = [*CODE.findall(text), *(c.rstrip(".") for c in COMMAND.findall(_unmarked(text)))]
    where = f" {_unmarked(other)} "
    return all(
        re.search(rf"(?<![\w-]){re.escape(_unmarked(command))}(?![\w-])", where)
        for command in commands
    )


def _unmarked(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).replace("`", "").casefold().split())


def _particulars(text: str) -> set[str]:
    """The numbers with their units, and the names."""
    plain = COMMAND.sub(" ", CODE.sub(" ", unicodedata.normalize("NFKC", text)))
    return _numbers(plain) | _names(plain)


def _numbers(text: str) -> set[str]:
    """Each with its unit: the word behind it, or the second one where only that is a measure, as in
    "3 working days"."""
    plain = WORD.sub(lambda word: COUNTS.get(word[0].casefold(), word[0]), text)
    found = set()
    for number, *after in QUANTITY.findall(plain):
        stems = [UNITS.get(word, _stem(word)) for word in after if word and word not in SMALL]
        unit = next((stem for stem in stems if stem in MEASURES), "")
        if not unit and stems and after[0] not in SMALL and not _limits(after[0]):
            unit = stems[0]
        found.add(f"{re.sub(r'[.:]00$', '', number.replace(',', '.'))} {unit}".strip())
    return found


def _limits(word: str) -> bool:
    return any(word in kind for kind in LIMITS)


def _names(text: str) -> set[str]:
    """Capitalised words within a sentence, and words with a capital or a digit inside."""
    found = set()
    for sentence in re.split(r"(?<=[.!?:])\s+|\n", text):
        for place, word in enumerate(WORD.findall(sentence)):
            inside = any(c.isupper() for c in word[1:])
            mixed = any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
            if inside or mixed or (place and word[:1].isupper() and len(word) > 1):
                found.add(_stem(word.casefold().removesuffix("'s").removesuffix("’s")))
    return found


def _words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return [COUNTS.get(word, word) for word in WORD.findall(text)]


def _has(words: Iterable[str], kind: frozenset[str]) -> bool:
    denied = kind is NEGATIONS
    return any(word in kind or (denied and word.endswith("n't")) for word in words)


def _stem(word: str) -> str:
    """Without the endings of English word forms."""
    for ending in ("ing", "ies", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
