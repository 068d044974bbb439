"""Links a pending pair to a fact: a reviewer confirms that it answers what other pairs answer.

A correction in words of its own names no fact. Once it is linked, its answer counts for all
phrasings of the fact (`current_answers.py`). `data/search/fact_proposals.py` proposes the fact.
"""

from sqlite_utils import Database

from data.pairs import pairs
from data.pairs.pairs import Pair, fact_of
from data.store.db import row
from data.store.errors import Conflict, NotFound


def is_open(pair: Pair) -> bool:
    """Whether it may be linked: it waits for review and names no fact."""
    return pair.status == "pending" and pair.fact == fact_of(pair.response)


def link(db: Database, pair_id: int, fact: str) -> Pair:
    """Give a pending pair the fact of approved pairs. Raises NotFound for a fact that no approved
    pair of the domain names, and Conflict for a pair that was decided or names a fact."""
    pair = pairs.get(db, pair_id)
    if pair.fact == fact:
        return pair
    if not is_open(pair):
        raise Conflict(f"Pair {pair_id} was decided already, or names its fact.")
    sql = "SELECT response FROM pairs WHERE domain_id = ? AND fact = ? AND status = 'approved'"
    known = row(db, f"{sql} LIMIT 1", [pair.domain_id, fact])
    if known is None or fact_of(known["response"]) == fact:
        raise NotFound(f"No approved pair names the fact {fact!r}.")
    db.execute("UPDATE pairs SET fact = ? WHERE id = ?", [fact, pair_id])
    return pairs.get(db, pair_id)


def unlink(db: Database, pair: Pair) -> None:
    """Take the fact of a pair away: it names none, as before it was linked."""
    db.execute("UPDATE pairs SET fact = ? WHERE id = ?", [fact_of(pair.response), pair.id])
