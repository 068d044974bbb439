"""Imports, rated answers from files, and fingerprints of the exact words of pairs."""

import hashlib
import re
import unicodedata

import orjson
from sqlite_utils import Database

from data.store.migrations.script import run

LEADING_LINES = re.compile(r"^(?:[^\S\n]*\n)+")
INDENTED = ("  ", "\t")


def upgrade(db: Database) -> None:
    run(
        db,
        """
        CREATE TABLE imports (
            id INTEGER PRIMARY KEY,                         -- pairs.import_id
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            file TEXT NOT NULL,
            author TEXT NOT NULL DEFAULT '',
            created_at INTEGER NOT NULL,
            undone_at INTEGER,
            undone_by TEXT NOT NULL DEFAULT ''
        ) STRICT;
        CREATE INDEX imports_by_domain ON imports (domain_id, id);
        CREATE INDEX pairs_by_import ON pairs (import_id, id) WHERE import_id IS NOT NULL;
        INSERT INTO imports (id, domain_id, name, file, author, created_at)
            SELECT import_id, min(domain_id), rtrim(rtrim(min(source_ref), '0123456789'), ':'),
                rtrim(rtrim(min(source_ref), '0123456789'), ':'), min(author), min(created_at)
            FROM pairs WHERE import_id IS NOT NULL AND forgotten_at IS NULL GROUP BY import_id;

        CREATE TABLE judged_answers (
            id INTEGER PRIMARY KEY,                         -- never used again, see below
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            import_id INTEGER NOT NULL,
            prompt TEXT NOT NULL,
            response TEXT NOT NULL,
            system TEXT NOT NULL,
            turns TEXT NOT NULL,                            -- as pairs.turns
            liked INTEGER NOT NULL,
            fingerprint TEXT NOT NULL,
            source_ref TEXT NOT NULL,                       -- file:line
            author TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            UNIQUE (domain_id, fingerprint)
        ) STRICT;
        CREATE INDEX judged_answers_by_domain ON judged_answers (domain_id, liked);
        CREATE INDEX judged_answers_by_import ON judged_answers (import_id);
        CREATE INDEX judged_answers_by_author ON judged_answers (author);
        CREATE TABLE run_judged_answers (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            answer_id INTEGER NOT NULL,                     -- stays when its author is erased
            PRIMARY KEY (run_id, answer_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX run_judged_answers_by_answer ON run_judged_answers (answer_id)
        """,
    )
    db.register_function(_fingerprint, name="understudy_fingerprint", deterministic=True)
    db.execute(
        "UPDATE pairs SET fingerprint = understudy_fingerprint(prompt, response, system, turns) "
        "WHERE forgotten_at IS NULL"
    )


def _fingerprint(prompt: str, response: str, system: str, turns: str) -> str:
    """As `fingerprint` in `data/pairs/pairs.py`."""
    digest = hashlib.sha256()
    said = [f"{role}:{content}" for role, content in orjson.loads(turns)]
    for part in [system, *said, prompt, response]:
        words = unicodedata.normalize("NFC", _tidy(part)).encode("utf-8", "surrogatepass")
        digest.update(len(words).to_bytes(8, "big") + words)
    return digest.hexdigest()


def _tidy(text: str) -> str:
    text = LEADING_LINES.sub("", text.rstrip())
    return text if "\n" in text and text.startswith(INDENTED) else text.lstrip()
