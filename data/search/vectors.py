"""The stored vectors of pairs: what an encoder made of a pair's words.

A pair has three vectors, of its prompt, of its prompt with its response, and of its response, kept
as 16-bit floats under the digest of the encoder. Pairs that an earlier version encoded have the
first two, which are used until all three are made. Triggers delete them with the words that they
were made of (see `data/store/migrations/m025_search.py`), because words can be guessed from
vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.search.encoder import SentenceEncoder
from data.store.db import Row, changed, rows

if TYPE_CHECKING:
    import numpy as np

VECTORS = 3  # of a pair
PROMPT, BOTH, RESPONSE = range(VECTORS)
BYTES = 2  # of a number

SELECT = "SELECT p.id, p.prompt, p.response, p.turns FROM searchable_pairs p "


@dataclass(frozen=True)
class PairWords:
    """The words of a pair that vectors are made of."""

    pair_id: int
    prompt: str
    response: str
    turns: str  # as stored: JSON

    @property
    def question(self) -> str:
        """The prompt, after the questions before it in the pair's conversation."""
        asked = [content for role, content in orjson.loads(self.turns) if role == "user"]
        return "\n".join([*asked, self.prompt])


def without_vectors(
    db: Database, domain: Domain, encoder: SentenceEncoder, after: int, limit: int
) -> list[PairWords]:
    """Searchable pairs that lack some of this encoder's vectors, by id, above `after`."""
    found = rows(
        db,
        SELECT + "WHERE p.domain_id = ? AND p.id > ? AND NOT EXISTS (SELECT 1 FROM pair_vectors v "
        "WHERE v.pair_id = p.id AND v.encoder = ? AND length(v.vectors) = ?) ORDER BY p.id LIMIT ?",
        [domain.id, after, encoder.digest, VECTORS * BYTES * encoder.dimensions, limit],
    )
    return [_words(r) for r in found]


def words_of(db: Database, pair_ids: Sequence[int]) -> list[PairWords]:
    """The words of those pairs that are searchable."""
    marks = ", ".join("?" * len(pair_ids))
    return [_words(r) for r in rows(db, SELECT + f"WHERE p.id IN ({marks})", list(pair_ids))]


def encode(encoder: SentenceEncoder, some: Sequence[PairWords]) -> "np.ndarray":
    """Float16, shape (pairs, 3, dimensions): the prompt, the prompt with the response, and the
    response. A response that several of the pairs have is encoded once."""
    import numpy as np

    texts = [w.question for w in some] + [f"{w.question}\n{w.response}" for w in some]
    responses = list(dict.fromkeys(w.response for w in some))
    made = encoder.encode([*texts, *responses])
    row_of = {text: len(texts) + n for n, text in enumerate(responses)}
    rows_of = [*range(len(texts)), *(row_of[w.response] for w in some)]
    found = made[rows_of].reshape(VECTORS, len(some), encoder.dimensions)
    return found.transpose(1, 0, 2).astype(np.float16)


def save(db: Database, encoder: str, some: Sequence[PairWords], vectors: "np.ndarray") -> list[int]:
    """Store vectors of pairs that still have the words that they were made of. Returns the ids of
    these pairs."""
    return [
        words.pair_id
        for words, both in zip(some, vectors, strict=True)
        if changed(
            db,
            "INSERT OR REPLACE INTO pair_vectors (pair_id, encoder, vectors) "
            "SELECT id, ?, ? FROM searchable_pairs "
            "WHERE id = ? AND prompt = ? AND response = ? AND turns = ?",
            [
                encoder,
                both.tobytes(),
                words.pair_id,
                words.prompt,
                words.response,
                words.turns,
            ],
        )
    ]


def loaded(blob: bytes, dimensions: int) -> "np.ndarray":
    """A stored value as float32, shape (3, dimensions). Without a vector of the response, the
    prompt's stands for it."""
    import numpy as np

    found = np.frombuffer(blob, np.float16).reshape(-1, dimensions).astype(np.float32)
    return found if len(found) == VECTORS else found[[0, 1, 0]]


def _words(found: Row) -> PairWords:
    return PairWords(found["id"], found["prompt"], found["response"], found["turns"])
