"""The pairs of a domain in memory, ready to be compared with a question.

The score of a pair is max(cos(question, prompt), cos(question, response)) + 0.5 cos(question,
prompt and response): somebody may ask in the words of the prompt, or in those of the answer. All
terms are scalar products, so a pair is two rows, question · (prompt + 0.5 both) and question ·
(response + 0.5 both), and one matrix product scores all pairs.

With many pairs, that product takes longest, so the rows are projected onto the directions in which
the domain's own rows differ most (principal components). So 50,000 pairs take 51 MB. That finds
candidates, whose exact scores the caller computes (`pair_score`). Among 2,580 pairs, 64 candidates
hold 99.9% of the eight best ones, and always the first (benchmarks/RESULTS.md).

The table `search_changes` says which pairs changed since the index last looked, in this process or
in another. An index belongs to one thread.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlite_utils import Database

from data.domains import Domain
from data.search import vectors
from data.store.db import value

if TYPE_CHECKING:
    import numpy as np

BOTH_WEIGHT = 0.5  # of the vector of prompt and response together
WHOLE = 4_000  # pairs up to which no direction is left out
DIRECTIONS = 128  # that are kept beyond
SAMPLE = 2_000  # pairs that the directions are computed from
PAIRS_OF_A_FACT = 8  # that are looked at for its similarity
AT_ONCE = 500  # rows of one query

LOAD = """
SELECT p.id, p.fact, v.vectors FROM searchable_pairs p
LEFT JOIN pair_vectors v ON v.pair_id = p.id AND v.encoder = ?
"""


@dataclass(frozen=True)
class Candidate:
    pair_id: int
    fact: int  # its number
    score: float


class DomainIndex:
    """The searchable pairs of one domain, encoded by one encoder."""

    def __init__(self, domain: Domain, encoder: str, dimensions: int) -> None:
        import numpy as np

        self._domain = domain
        self._encoder = encoder
        self._dimensions = dimensions
        self._revision = 0
        self._size = 0
        self._directions: np.ndarray | None = None  # shape (dimensions, DIRECTIONS); None: all
        self._matrix = np.zeros((0, 2, dimensions), np.float32)
        self._ids = np.zeros(0, np.int64)
        self._facts = np.zeros(0, np.int64)
        self._row_of: dict[int, int] = {}
        self.pending: set[int] = set()  # searchable, but without vectors
        self.unsaved: dict[int, np.ndarray] = {}  # vectors that are not in the store yet

    def __len__(self) -> int:
        """The number of pairs with vectors."""
        return self._size

    @property
    def width(self) -> int:
        """The numbers in a row."""
        return int(self._matrix.shape[2])

    def refresh(self, db: Database) -> None:
        """Catch up with what changed in the store."""
        sql = "SELECT max(revision) FROM search_changes WHERE domain_id = ?"
        newest = int(value(db, sql, [self._domain.id]) or 0)
        grown = self._size > WHOLE and self._directions is None and self._dimensions > DIRECTIONS
        if newest == self._revision and not grown:
            return
        if self._revision == 0 or grown:
            self._load(db)
        else:
            sql = "SELECT pair_id FROM search_changes WHERE domain_id = ? AND revision > ?"
            known = [int(r[0]) for r in db.execute(sql, [self._domain.id, self._revision])]
            self.reread(db, known)
        self._revision = newest

    def reread(self, db: Database, pair_ids: Collection[int]) -> None:
        """Read these pairs anew: they changed, or were encoded."""
        ids = list(pair_ids)
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            sql = LOAD + f"WHERE p.domain_id = ? AND p.id IN ({', '.join('?' * len(some))})"
            gone = set(some)
            for pair_id, fact, blob in db.execute(sql, [self._encoder, self._domain.id, *some]):
                gone.discard(pair_id)
                self._put(pair_id, fact, blob)
            for pair_id in gone:
                self._remove(pair_id)
                self.pending.discard(pair_id)

    def put(self, pair_id: int, fact: str, made: "np.ndarray") -> None:
        """Add a pair with its vectors, or replace its vectors: shape (3, dimensions)."""
        row = self._row_of.get(pair_id)
        if row is None:
            row = self._size
            self._reserve(row + 1)
            self._size += 1
            self._row_of[pair_id] = row
            self._ids[row] = pair_id
        self._facts[row] = fact_number(fact)
        self._matrix[row] = self._rows(made[None])[0]
        self.pending.discard(pair_id)

    def best(
        self, queries: "np.ndarray", facts: int, without: Collection[int] = ()
    ) -> list[list[Candidate]]:
        """For each query, shape (queries, dimensions): pairs of the `facts` best facts, best
        first, with several pairs of a fact. With many pairs, scores are approximate."""
        import numpy as np

        if not self._size:
            return [[] for _ in queries]
        kept = queries if self._directions is None else queries @ self._directions
        rows = self._matrix[: self._size].reshape(2 * self._size, -1)
        scores = (kept @ rows.T).reshape(len(queries), self._size, 2).max(axis=2)
        left_out = [self._row_of[n] for n in without if n in self._row_of]
        scores[:, left_out] = -np.inf
        return [self._best(some, facts, self._size - len(left_out)) for some in scores]

    def _best(self, scores: "np.ndarray", facts: int, count: int) -> list[Candidate]:
        import numpy as np

        most = min(64 * facts, count)
        if not most:
            return []
        top = np.argpartition(scores, len(scores) - most)[-most:]
        top = top[np.argsort(-scores[top], kind="stable")]
        chosen: list[Candidate] = []
        pairs_of: dict[int, int] = {}
        for row in top.tolist():
            fact = int(self._facts[row])
            if fact not in pairs_of and len(pairs_of) == facts:
                continue
            pairs_of[fact] = pairs_of.get(fact, 0) + 1
            if pairs_of[fact] <= PAIRS_OF_A_FACT:
                chosen.append(Candidate(int(self._ids[row]), fact, float(scores[row])))
        return chosen

    def _load(self, db: Database) -> None:
        """Everything, in the store's order, in place of pairs that were put before."""
        import numpy as np

        self._size = 0
        self._row_of.clear()
        sql = "SELECT count(*) FROM searchable_pairs WHERE domain_id = ?"
        count = int(value(db, sql, [self._domain.id]) or 0)
        self._directions = self._main_directions(db, count)
        width = self._dimensions if self._directions is None else DIRECTIONS
        self._matrix = np.zeros((0, 2, width), np.float32)
        self._ids, self._facts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._reserve(count)
        cursor = db.execute(LOAD + "WHERE p.domain_id = ?", [self._encoder, self._domain.id])
        while some := cursor.fetchmany(AT_ONCE):
            self.pending.update(pair_id for pair_id, _, blob in some if blob is None)
            known = [row for row in some if row[2] is not None]
            first, last = self._size, self._size + len(known)
            self._reserve(last)
            if known:
                made = np.stack([vectors.loaded(blob, self._dimensions) for _, _, blob in known])
                self._matrix[first:last] = self._rows(made)
            self._ids[first:last] = [pair_id for pair_id, _, _ in known]
            self._facts[first:last] = [fact_number(fact) for _, fact, _ in known]
            self._row_of.update((row[0], first + n) for n, row in enumerate(known))
            self._size = last

    def _main_directions(self, db: Database, count: int) -> "np.ndarray | None":
        """Those in which a sample of the domain's rows differs most, shape (dimensions,
        DIRECTIONS); None where all are kept."""
        import numpy as np

        if count <= WHOLE or self._dimensions <= DIRECTIONS:
            return None
        sql = (
            "SELECT v.rowid FROM pair_vectors v JOIN searchable_pairs p ON p.id = v.pair_id "
            "WHERE p.domain_id = ? AND v.encoder = ?"
        )
        encoded = [int(r[0]) for r in db.execute(sql, [self._domain.id, self._encoder])]
        if len(encoded) <= WHOLE:
            return None
        some = encoded[:: max(len(encoded) // SAMPLE, 1)]
        blobs = db.execute(
            f"SELECT vectors FROM pair_vectors WHERE rowid IN ({', '.join(map(str, some))})"
        )
        # One array for all: thousands of small ones would leave holes in the memory.
        rows = np.zeros((len(some), 2, self._dimensions), np.float32)
        for row, (blob,) in zip(rows, blobs, strict=False):
            row[:] = both_rows(vectors.loaded(blob, self._dimensions)[None])[0]
        flat = rows.reshape(-1, self._dimensions)
        _, directions = np.linalg.eigh(flat.T @ flat)
        return np.ascontiguousarray(directions[:, : -DIRECTIONS - 1 : -1])

    def _rows(self, made: "np.ndarray") -> "np.ndarray":
        """Shapes (pairs, 3, dimensions) to (pairs, 2, width of the matrix)."""
        rows = both_rows(made)
        return rows if self._directions is None else rows @ self._directions

    def _put(self, pair_id: int, fact: str, blob: bytes | None) -> None:
        if blob is None:
            self._remove(pair_id)
            self.pending.add(pair_id)
        else:
            self.put(pair_id, fact, vectors.loaded(blob, self._dimensions))
            self.unsaved.pop(pair_id, None)

    def _remove(self, pair_id: int) -> None:
        """The last row takes the place of the removed one, whose numbers are overwritten."""
        self.unsaved.pop(pair_id, None)
        row = self._row_of.pop(pair_id, None)
        if row is None:
            return
        last = self._size - 1
        if row != last:
            moved = int(self._ids[last])
            self._row_of[moved] = row
            for column in (self._ids, self._facts, self._matrix):
                column[row] = column[last]
        self._matrix[last] = 0
        self._size = last

    def _reserve(self, rows: int) -> None:
        import numpy as np

        if rows <= len(self._ids):
            return
        rows += rows // 4 + 64  # what is not used yet takes no memory: zeros are not written
        for name in ("_matrix", "_ids", "_facts"):
            old = getattr(self, name)
            new = np.zeros((rows, *old.shape[1:]), old.dtype)
            new[: self._size] = old[: self._size]
            setattr(self, name, new)


def both_rows(made: "np.ndarray") -> "np.ndarray":
    """What a question is multiplied with: shapes (pairs, 3, dimensions) to (pairs, 2, …)."""
    return made[:, ::2] + BOTH_WEIGHT * made[:, 1:2]


def pair_score(prompt: float, both: float, response: float) -> float:
    """The score of a pair, from the cosines of a question and the pair's vectors."""
    return max(prompt, response) + BOTH_WEIGHT * both


def fact_number(fact: str) -> int:
    """A fact as 64 bits, which take less memory than its name."""
    digest = hashlib.blake2b(fact.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
