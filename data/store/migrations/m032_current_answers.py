"""Newer answers of a fact, and the prompts that corrections answer, found by an index."""

import hashlib
import unicodedata

from sqlite_utils import Database

NAMED = """
    SELECT o.fact FROM pairs o
    WHERE o.domain_id = pairs.domain_id AND o.prompt_digest = pairs.prompt_digest
        AND o.turns = pairs.turns AND o.id < pairs.id AND o.status = 'approved'
        AND o.fact <> understudy_fact_of(o.response)
    ORDER BY o.id DESC LIMIT 1
"""
STATEMENTS = (
    # the first pair of the import that brought it (NULL: it came alone)
    "ALTER TABLE pairs ADD COLUMN import_id INTEGER",
    # 64 bits of the prompt's words; 0 for an erased pair
    "ALTER TABLE pairs ADD COLUMN prompt_digest INTEGER NOT NULL DEFAULT 0",
    # a file of the same name counts as one import: nothing says when each pair of it came
    """
    UPDATE pairs SET import_id = first.id FROM (
        SELECT domain_id, rtrim(source_ref, '0123456789') AS file, min(id) AS id
        FROM pairs WHERE source = 'import' GROUP BY 1, 2
    ) AS first
    WHERE source = 'import' AND pairs.domain_id = first.domain_id
        AND rtrim(source_ref, '0123456789') = first.file
    """,
    """
    UPDATE pairs SET prompt_digest = understudy_prompt_digest(prompt) WHERE forgotten_at IS NULL
    """,
    "CREATE INDEX pairs_by_fact ON pairs (domain_id, fact, status)",
    "CREATE INDEX pairs_by_prompt ON pairs (domain_id, prompt_digest, status)",
    # a pair without a fact of its own states that of the pair that asks the same
    f"UPDATE pairs SET fact = ({NAMED}) WHERE forgotten_at IS NULL "
    f"AND fact = understudy_fact_of(response) AND EXISTS ({NAMED})",
)


def upgrade(db: Database) -> None:
    """Import and digest of each pair, and the indexes by fact and by prompt."""
    db.register_function(_digest, name="understudy_prompt_digest", deterministic=True)
    db.register_function(_fact_of, name="understudy_fact_of", deterministic=True)
    for statement in STATEMENTS:
        db.execute(statement)


def _digest(prompt: str) -> int:
    """As `prompt_digest` in `data/pairs/pairs.py`."""
    digest = hashlib.blake2b(_words(prompt), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _fact_of(response: str) -> str:
    """As `fact_of` there."""
    return hashlib.sha256(_words(response)).hexdigest()[:16]


def _words(text: str) -> bytes:
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return words.encode("utf-8", "surrogatepass")
