"""Rated answers from files: an answer to a question, and whether people liked it.

They come from preference data (`data/pair_files/preferences.py`). Preference tuning learns from
them as from the thumbs that people press (`preference_sets.py`). They are never pairs: a disliked
answer must not be imitated.
"""

from dataclasses import dataclass

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.pairs.pairs import Draft, Turn, check_words, fingerprint, marked_draft, turns_json
from data.store.clock import now_us
from data.store.db import Row, rows, value


@dataclass(frozen=True)
class JudgedDraft:
    """A rated answer that is not in the store yet."""

    prompt: str
    response: str
    liked: bool
    system: str = ""
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class JudgedAnswer:
    """A rated answer of a domain."""

    id: int
    prompt: str
    response: str
    liked: bool
    system: str
    turns: tuple[Turn, ...]
    source_ref: str  # file:line


# The id of an answer that was erased is not used again: a run may name it.
NEXT = (
    "(SELECT 1 + max((SELECT coalesce(max(id), 0) FROM judged_answers), "
    "(SELECT coalesce(max(max(answer_id, coalesce(chosen_id, 0))), 0) FROM run_judged_answers)))"
)
SELECT = """
SELECT id, prompt, response, liked, system, turns, source_ref FROM judged_answers
"""


def check(draft: JudgedDraft) -> None:
    """Raises Invalid with the reason if a draft cannot be a rated answer."""
    check_words(_words(draft))


def add(
    db: Database,
    domain: Domain,
    draft: JudgedDraft,
    *,
    source_ref: str,
    author: str,
    import_id: int,
) -> bool:
    """Add a rated answer, inside the caller's transaction. False: it was there already. A newer
    rating replaces the older one of the same answer. Raises Invalid."""
    check(draft)
    words = marked_draft(_words(draft))
    digest = fingerprint(words)
    cursor = db.execute(
        "INSERT INTO judged_answers (id, domain_id, import_id, prompt, response, system, turns, "
        "liked, fingerprint, source_ref, author, created_at) "
        f"VALUES ({NEXT}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (domain_id, fingerprint) DO UPDATE SET liked = excluded.liked, "
        "import_id = excluded.import_id, source_ref = excluded.source_ref, "
        "author = excluded.author WHERE liked <> excluded.liked",
        [
            domain.id, import_id, words.prompt, words.response, words.system, turns_json(words),
            int(draft.liked), digest, source_ref, author, now_us(),
        ],
    )  # fmt: skip
    return bool(cursor.rowcount)


def counts(db: Database, domain: Domain) -> tuple[int, int]:
    """The number of liked and of disliked answers."""
    sql = "SELECT count(*) FROM judged_answers WHERE domain_id = ? AND liked = ?"
    return int(value(db, sql, [domain.id, 1])), int(value(db, sql, [domain.id, 0]))


def list_answers(db: Database, domain: Domain, most: int) -> list[JudgedAnswer]:
    """The newest `most` rated answers of the domain, by id."""
    found = rows(db, f"{SELECT} WHERE domain_id = ? ORDER BY id DESC LIMIT ?", [domain.id, most])
    return [_answer(r) for r in reversed(found)]


def of_run(db: Database, run_id: int) -> list[JudgedAnswer]:
    """The rated answers that a run learns from, by id."""
    sql = f"{SELECT} WHERE id IN (SELECT answer_id FROM run_judged_answers WHERE run_id = ?)"
    return [_answer(r) for r in rows(db, f"{sql} ORDER BY id", [run_id])]


def freeze(db: Database, run_id: int, domain: Domain, most: int) -> None:
    """Record the newest `most` rated answers of the domain as those that the run learns from."""
    db.execute(
        "INSERT INTO run_judged_answers (run_id, answer_id) "
        "SELECT ?, id FROM judged_answers WHERE domain_id = ? ORDER BY id DESC LIMIT ?",
        [run_id, domain.id, most],
    )


def remove_import(db: Database, import_id: int) -> int:
    """Delete the rated answers of an import. Returns how many."""
    cursor = db.execute("DELETE FROM judged_answers WHERE import_id = ?", [import_id])
    return int(cursor.rowcount)


def _words(draft: JudgedDraft) -> Draft:
    return Draft(draft.prompt, draft.response, draft.system, draft.turns)


def _answer(found: Row) -> JudgedAnswer:
    turns = tuple(Turn(role, content) for role, content in orjson.loads(found["turns"]))
    return JudgedAnswer(**{**found, "turns": turns, "liked": bool(found["liked"])})
