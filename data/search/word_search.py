"""Word search: the pairs that share words with a question, by FTS5 and BM25.

It answers where there is no encoder. Triggers on `pairs` keep the index `pair_search` in step with
the approved pairs, so a pair is found from the transaction on that approves it. The index holds
every three letters in a row (trigrams), so it needs no language's word forms, finds words inside
longer words, and works for scripts that put no spaces between words.
"""

import math
import re
import unicodedata
from dataclasses import dataclass

from sqlite_utils import Database

from data.domains import Domain
from data.store.db import Row, rows, value

SHORTEST = 3  # letters: the index knows nothing shorter
PROMPT_WEIGHT, RESPONSE_WEIGHT = 2.0, 1.0  # in BM25
MOST_TERMS = 64  # of a question, so that a pasted page stays a cheap query
WORD = re.compile(r"\w+")
UNSPACED = re.compile(
    # scripts without spaces between words: Thai to Khmer, kana, CJK and its extensions
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class WordHit:
    """A pair that shares words with the question."""

    pair_id: int
    prompt: str
    response: str
    fact: str
    score: float  # BM25, larger is better
    similarity: float  # the share of the question's weight that the prompt or response holds, 0..1


def folded(text: str) -> str:
    """Text as the index compares it: without case, accents and compatibility forms."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))


def terms(question: str) -> tuple[str, ...]:
    """The distinct words of a question that the index can find, in order. Of scripts without
    spaces: every three characters in a row."""
    found: dict[str, None] = {}
    for word in WORD.findall(unicodedata.normalize("NFC", question.casefold())):
        if UNSPACED.search(word):
            starts = range(max(len(word) - SHORTEST + 1, 1))
            found.update(dict.fromkeys(word[n : n + SHORTEST] for n in starts))
        else:
            found[word] = None
    return tuple(t for t in found if len(t) >= SHORTEST)[:MOST_TERMS]


def match(question: str) -> str:
    """The FTS5 query for any of the question's words; '' if the index can find none of them."""
    return " OR ".join(map(_quoted, terms(question)))


def find(db: Database, domain: Domain, question: str, limit: int = 40) -> list[WordHit]:
    """At most `limit` pairs of the domain, best first."""
    query = match(question)
    if not query:
        return []
    found = rows(
        db,
        "SELECT p.id, p.prompt, p.response, p.fact, "
        f"-bm25(pair_search, {PROMPT_WEIGHT}, {RESPONSE_WEIGHT}) AS score "
        "FROM pair_search JOIN pairs p ON p.id = pair_search.rowid "
        "WHERE pair_search MATCH ? AND p.domain_id = ? ORDER BY score DESC LIMIT ?",
        [query, domain.id, limit],
    )
    weights = _weights(db, terms(question))
    return [_hit(r, weights) for r in found]


def _hit(found: Row, weights: dict[str, float]) -> WordHit:
    text = folded(f"{found['prompt']}\n{found['response']}")
    held = sum(weight for term, weight in weights.items() if term in text)
    return WordHit(
        pair_id=found["id"],
        prompt=found["prompt"],
        response=found["response"],
        fact=found["fact"],
        score=found["score"],
        similarity=held / sum(weights.values()),
    )


def _weights(db: Database, wanted: tuple[str, ...]) -> dict[str, float]:
    """Each term, folded, with its inverse document frequency among the searchable pairs."""
    total = value(db, "SELECT count(*) FROM pair_search_docsize") or 0
    weights = {}
    for term in wanted:
        sql = "SELECT count(*) FROM pair_search WHERE pair_search MATCH ?"
        having = value(db, sql, [_quoted(term)]) or 0
        weights[folded(term)] = math.log(1 + (total - having + 0.5) / (having + 0.5))
    return weights


def _quoted(term: str) -> str:
    """A term as an FTS5 string."""
    return '"' + term.replace('"', '""') + '"'
