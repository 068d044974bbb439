"""Checks whether an encoder suits the language of a domain's pairs, on the pairs themselves.

A sample of questions is searched, once by the encoder and once by words. What is to be found is
another phrasing of the same fact, and the question's own response. On English pairs, the shipped
encoder finds more than words in every domain that was tried. On German, French, Italian and Spanish
ones it finds about as much or less (benchmarks/RESULTS.md), and its similarities mean little.

The check reads at most `FACTS` facts and takes half a second of one core.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlite_utils import Database

from data.domains import Domain
from data.search import word_search
from data.search.encoder import SentenceEncoder
from data.store.db import rows, sqlite3, value

if TYPE_CHECKING:
    import numpy as np

FACTS = 60  # in the sample
FEWEST = 15  # facts with which the check says something
GOOD_ENOUGH = 0.9  # found: then words may find a little more


@dataclass(frozen=True)
class LanguageCheck:
    """How often the encoder and the words find what belongs to a question."""

    encoder: str  # its name
    questions: int
    by_encoder: float  # share found, 0..1
    by_words: float

    @property
    def suits(self) -> bool:
        """Whether the encoder finds more than words do, or nearly everything."""
        return self.by_encoder > self.by_words or self.by_encoder >= GOOD_ENOUGH

    def sentence(self, domain: Domain) -> str:
        """What was found, and what to do if the encoder does not suit."""
        found = (
            f"For {self.questions} questions of {domain.name}, the encoder {self.encoder} finds "
            f"what belongs to them in {self.by_encoder:.0%}, words in {self.by_words:.0%}."
        )
        if self.suits:
            return found
        return (
            f"{found} It does not seem to know their language, so {domain.name} is searched by "
            "words. To search by meaning, set [search] encoder to a model of that language "
            "(docs/search.md)."
        )


def enough(db: Database, domain: Domain) -> bool:
    """Whether the domain has enough facts for the check."""
    sql = "SELECT count(DISTINCT fact) FROM searchable_pairs WHERE domain_id = ? AND turns = '[]'"
    return int(value(db, sql, [domain.id])) >= FEWEST


def check(db: Database, domain: Domain, encoder: SentenceEncoder) -> LanguageCheck | None:
    """None: the domain has too few facts. Raises EncoderFailed."""
    if not enough(db, domain):
        return None
    answered = _answered(db, domain)
    searched = [([a for a, _ in answered], [b for _, b in answered])]
    siblings = _siblings(db, domain)
    if len(siblings) >= FEWEST:
        ones, others = [a for a, _ in siblings], [b for _, b in siblings]
        searched.append(([*ones, *others], [*others, *ones]))
    count = sum(len(questions) for questions, _ in searched)
    by_encoder = sum(_found_by_encoder(encoder, *some) for some in searched)
    by_words = sum(_found_by_words(*some) for some in searched)
    return LanguageCheck(encoder.name, count, by_encoder / count, by_words / count)


def _found_by_encoder(
    encoder: SentenceEncoder, questions: Sequence[str], wanted: Sequence[str]
) -> int:
    """How many questions find their text first: the one of the same number in `wanted`."""
    scores = encoder.encode(questions, questions=True) @ encoder.encode(wanted).T
    _hide_themselves(scores, questions, wanted)
    return sum(int(n) == row for row, n in enumerate(scores.argmax(1)))


def _hide_themselves(scores: "np.ndarray", questions: Sequence[str], wanted: Sequence[str]) -> None:
    """A question may be among the texts: it is not what is to be found."""
    for row, question in enumerate(questions):
        for column, text in enumerate(wanted):
            if text == question:
                scores[row, column] = -1


def _found_by_words(questions: Sequence[str], wanted: Sequence[str]) -> int:
    """The same by FTS5 over the texts."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(
            "CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = 'trigram remove_diacritics 1')"
        )
        connection.executemany(
            "INSERT INTO texts (rowid, text) VALUES (?, ?)", list(enumerate(wanted))
        )
        found = 0
        for number, question in enumerate(questions):
            if query := word_search.match(question):
                sql = "SELECT rowid FROM texts WHERE texts MATCH ? AND text <> ? ORDER BY rank"
                first = connection.execute(f"{sql} LIMIT 1", [query, question]).fetchone()
                found += first is not None and first[0] == number
        return found
    finally:
        connection.close()


def _siblings(db: Database, domain: Domain) -> list[tuple[str, str]]:
    """Two phrasings of each of some facts, the same facts each time."""
    found = rows(
        db,
        "SELECT min(prompt) AS one, max(prompt) AS other FROM searchable_pairs "
        "WHERE domain_id = ? AND turns = '[]' GROUP BY fact HAVING one <> other "
        "ORDER BY min(id) * 2654435761 % 4294967296 LIMIT ?",
        [domain.id, FACTS],
    )
    return [(r["one"], r["other"]) for r in found]


def _answered(db: Database, domain: Domain) -> list[tuple[str, str]]:
    """A question and its response of each of some facts."""
    found = rows(
        db,
        "SELECT min(prompt) AS one, response FROM searchable_pairs "
        "WHERE domain_id = ? AND turns = '[]' GROUP BY fact "
        "ORDER BY min(id) * 2654435761 % 4294967296 LIMIT ?",
        [domain.id, FACTS],
    )
    return [(r["one"], r["response"]) for r in found]
