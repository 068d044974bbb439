"""Pairs: a prompt and its response, with author, source and review status.

The words of a pair never change. An edit adds a new pair and rejects the old one, so a dataset that
names a pair always means the same words. Two pairs with the same fingerprint are the same pair. The
fingerprint covers the words exactly, with their case and their spacing: `cp -r` is not `cp -R`, and
indented YAML is not the same without its indentation.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.store.clock import now_us
from data.store.db import Row, changed, row, rows, value
from data.store.errors import Conflict, Invalid, NotFound
from data.visible_text import SHOWN, marked

Status = Literal["pending", "approved", "rejected", "quarantined"]
Split = Literal["auto", "train", "validation", "golden"]
STATUSES = ("pending", "approved", "rejected", "quarantined")
SPLITS = ("auto", "train", "validation", "golden")
MAX_CHARS = 32_000  # of a prompt or a response
LEADING_LINES = re.compile(r"^(?:[^\S\n]*\n)+")
INDENTED = ("  ", "\t")

SELECT = """
SELECT id, domain_id, prompt, response, system, turns, fact, split, source, source_ref, author,
       status, fingerprint, created_at, reviewed_by, review_reason, import_id
FROM pairs
"""


@dataclass(frozen=True)
class Turn:
    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True)
class Draft:
    """A pair that is not in the store yet. `fact` groups paraphrases, that is, different prompts
    for the same answer; '' takes the fact of an approved pair that asks the same, or else the
    response itself as the group."""

    prompt: str
    response: str
    system: str = ""
    turns: tuple[Turn, ...] = ()
    fact: str = ""
    split: Split = "auto"
    status: Status | None = None  # what its file says; None: what `add` is told


@dataclass(frozen=True)
class Pair:
    id: int
    domain_id: int
    prompt: str
    response: str
    system: str
    turns: tuple[Turn, ...]
    fact: str
    split: Split
    source: str
    source_ref: str
    author: str
    status: Status
    fingerprint: str
    created_at: int
    reviewed_by: str = ""
    review_reason: str = ""  # of a rejection, in the reviewer's words
    import_id: int | None = None  # None: it came alone


@dataclass
class PairsAdded:
    """The result of adding drafts: the ids of new pairs, and the pairs that were there already."""

    ids: list[int] = field(default_factory=list)
    known: list[tuple[int, Status, int | None]] = field(default_factory=list)
    """Id, status and import of each pair that was there already."""

    @property
    def duplicates(self) -> int:
        return len(self.known)


def normalise(text: str) -> str:
    """Text as it is compared: NFKC, case folded, runs of white space as one space."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def tidy(text: str) -> str:
    """A text without the blank lines around it. A first line that is indented stays so where more
    lines follow: the text may be code or YAML."""
    text = LEADING_LINES.sub("", text.rstrip())
    return text if "\n" in text and text.startswith(INDENTED) else text.lstrip()


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: white space and characters without any appearance."""
    return not text.strip() or (not text.isascii() and not SHOWN.sub("", text).strip())


def fingerprint(draft: Draft) -> str:
    """sha256 over the words of the pair, each part length-prefixed. The Unicode form (NFC) and
    white space around a part do not matter."""
    parts = [draft.system, *(f"{t.role}:{t.content}" for t in draft.turns)]
    digest = hashlib.sha256()
    for part in [*parts, draft.prompt, draft.response]:
        text = tidy(part) if part.isascii() else unicodedata.normalize("NFC", tidy(part))
        words = text.encode("utf-8", "surrogatepass")
        digest.update(len(words).to_bytes(8, "big") + words)
    return digest.hexdigest()


def check(draft: Draft) -> None:
    """Raises Invalid with the reason if a draft cannot be a pair."""
    check_words(draft)
    if draft.split not in SPLITS:
        raise Invalid(f"split is {draft.split!r}; it can be {', '.join(SPLITS)}")


def check_words(draft: Draft) -> None:
    """Raises Invalid with the reason if no question and answer can have these words."""
    for name, text in (("prompt", draft.prompt), ("response", draft.response)):
        if is_blank(text):
            raise Invalid(f"the {name} is empty")
        if len(text) > MAX_CHARS:
            raise Invalid(f"the {name} has {len(text):,} characters; at most {MAX_CHARS:,} fit")
    for text in (draft.prompt, draft.response, draft.system, *(t.content for t in draft.turns)):
        if "\x00" in text or not encodable(text):
            raise Invalid("the text has characters that are not valid Unicode text")


def add(
    db: Database,
    domain: Domain,
    drafts: list[Draft],
    *,
    source: str,
    source_ref: str = "",
    author: str = "",
    status: Status = "pending",
    import_id: int | None = None,
) -> PairsAdded:
    """Add the drafts that do not exist yet, inside the caller's transaction.

    A draft whose words already exist in the domain counts as a duplicate and changes nothing. The
    status is that of the draft, or else `status`.
    `import_id` marks pairs that came together; their drafts went through `naming_facts` already.
    Raises Invalid for the first draft that cannot be a pair."""
    result = PairsAdded()
    for each in drafts:
        check(each)
    stored = [marked_draft(each) for each in drafts]
    for draft in stored if import_id is not None else naming_facts(db, domain, stored):
        digest = fingerprint(draft)
        cursor = db.execute(
            "INSERT INTO pairs (domain_id, prompt, response, system, turns, fact, split, source, "
            "source_ref, author, status, fingerprint, created_at, import_id, prompt_digest) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (domain_id, fingerprint) DO NOTHING",
            [
                domain.id,
                draft.prompt,
                draft.response,
                draft.system,
                turns_json(draft),
                draft.fact or fact_of(draft.response),
                draft.split,
                source,
                source_ref,
                author,
                draft.status or status,
                digest,
                now_us(),
                import_id,
                prompt_digest(draft.prompt),
            ],
        )
        if cursor.rowcount == 1 and cursor.lastrowid is not None:
            result.ids.append(cursor.lastrowid)
        else:
            sql = "SELECT id, status, import_id FROM pairs WHERE domain_id = ? AND fingerprint = ?"
            result.known += db.execute(sql, [domain.id, digest]).fetchall()
    return result


def prompt_digest(prompt: str) -> int:
    """Equal for equal prompts: 64 bits, for an index."""
    words = normalise(prompt).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(words, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def record_word_owners(db: Database, pair_id: int, people: Iterable[str]) -> None:
    """Record another person whose words a pair contains: it is erased with that person's data."""
    for person in people:
        sql = "INSERT OR IGNORE INTO pair_words (person, pair_id) VALUES (?, ?)"
        db.execute(sql, [person, pair_id])


def fact_of(response: str) -> str:
    """The fact of a pair that names none: pairs with the same answer state the same fact."""
    return hashlib.sha256(normalise(response).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def naming_facts(db: Database, domain: Domain, drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts; one without a fact gets the named fact of the newest approved pair that asks the
    same, if there is one."""
    unnamed = [prompt_digest(draft.prompt) for draft in drafts if not draft.fact]
    if not unnamed:
        return list(drafts)
    known: dict[tuple[str, str], str] = {}
    for prompt, response, turns, fact in db.execute(
        "SELECT prompt, response, turns, fact FROM pairs WHERE domain_id = ? "
        "AND status = 'approved' AND prompt_digest IN (SELECT value FROM json_each(?)) ORDER BY id",
        [domain.id, orjson.dumps(unnamed).decode()],
    ):
        if fact != fact_of(response):
            known[normalise(prompt), turns] = fact
    if not known:
        return list(drafts)

    def fact_named(draft: Draft) -> str:
        return draft.fact or known.get((normalise(draft.prompt), turns_json(draft)), "")

    return [replace(draft, fact=fact_named(draft)) for draft in drafts]


def turns_json(draft: Draft) -> str:
    return orjson.dumps([[t.role, t.content] for t in draft.turns]).decode()


def get(db: Database, pair_id: int) -> Pair:
    """Raises NotFound."""
    found = row(db, SELECT + "WHERE id = ? AND forgotten_at IS NULL", [pair_id])
    if found is None:
        raise NotFound(f"There is no pair {pair_id}.")
    return _pair(found)


def list_pairs(
    db: Database,
    domain: Domain,
    status: Status | None = None,
    limit: int | None = None,
    source: str | None = None,
    import_id: int | None = None,
) -> list[Pair]:
    """The domain's pairs by id (age)."""
    sql, params = SELECT + "WHERE domain_id = ? AND forgotten_at IS NULL", [domain.id]
    given: list[Any] = [*params]
    if status is not None:
        sql, given = sql + " AND status = ?", [*given, status]
    if source is not None:
        sql, given = sql + " AND source = ?", [*given, source]
    if import_id is not None:
        sql, given = sql + " AND import_id = ?", [*given, import_id]
    return [_pair(r) for r in rows(db, sql + " ORDER BY id LIMIT ?", [*given, limit or -1])]


def iterate_pairs(
    db: Database, domain: Domain, status: Status | None = None, together: int = 500
) -> Iterator[Pair]:
    """The domain's pairs by id, read a few at a time, however many there are."""
    only = "" if status is None else "AND status = :status"
    sql = (
        f"{SELECT} WHERE domain_id = :domain AND id > :after {only} AND forgotten_at IS NULL "
        "ORDER BY id LIMIT :together"
    )
    after = 0
    while found := rows(
        db,
        sql,
        {"domain": domain.id, "status": status, "after": after, "together": together},
    ):
        for one in found:
            yield _pair(one)
        after = found[-1]["id"]


def counts(db: Database, domain: Domain) -> dict[str, int]:
    """The number of pairs by status; every status is present."""
    sql = "SELECT status, count(*) AS n FROM pairs WHERE domain_id = ? {} GROUP BY status"
    found = {r["status"]: r["n"] for r in rows(db, sql.format(""), [domain.id])}
    for hole in rows(db, sql.format("AND forgotten_at IS NOT NULL"), [domain.id]):
        found[hole["status"]] -= hole["n"]  # both queries read only an index
    return dict.fromkeys(STATUSES, 0) | found


def marked_draft(draft: Draft) -> Draft:
    """The draft as it is stored: control characters cannot change what a reviewer sees."""
    turns = tuple(replace(turn, content=marked(turn.content)) for turn in draft.turns)
    words = (draft.prompt, draft.response, draft.system)
    prompt, response, system = (tidy(marked(text)) for text in words)
    return replace(draft, prompt=prompt, response=response, system=system, turns=turns)


def fingerprint_stored(draft: Draft) -> str:
    """The fingerprint of the pair that a draft becomes."""
    return fingerprint(marked_draft(draft))


def find_fingerprints(db: Database, domain: Domain, digests: Iterable[str]) -> dict[str, Status]:
    """The pairs of a domain that have these fingerprints: fingerprint -> status."""
    found = db.execute(
        "SELECT fingerprint, status FROM pairs WHERE domain_id = ? "
        "AND fingerprint IN (SELECT value FROM json_each(?))",
        [domain.id, orjson.dumps(list(digests)).decode()],
    )
    return dict(found.fetchall())


def find_same_words(db: Database, domain_id: int, draft: Draft) -> Pair | None:
    """The pair of the domain with the same words, or None."""
    draft = marked_draft(draft)
    sql = SELECT + "WHERE domain_id = ? AND fingerprint = ?"
    found = row(db, sql, [domain_id, fingerprint(draft)])
    return None if found is None else _pair(found)


def replace_words(db: Database, pair_id: int, draft: Draft) -> None:
    """Give a pending pair that is in no dataset other words. Raises Conflict otherwise."""
    check(draft)
    draft = marked_draft(draft)
    sql = (
        "UPDATE pairs SET prompt = ?, response = ?, turns = ?, fact = ?, fingerprint = ?, "
        "prompt_digest = ? WHERE id = ? AND status = 'pending' "
        "AND NOT EXISTS (SELECT 1 FROM dataset_pairs WHERE pair_id = pairs.id)"
    )
    prompt, response = draft.prompt, draft.response
    given: list[Any] = [prompt, response, turns_json(draft), draft.fact or fact_of(response)]
    given += [fingerprint(draft), prompt_digest(prompt), pair_id]
    if not changed(db, sql, given):
        raise Conflict(f"Pair {pair_id} does not wait for review any more.")


def new_since(db: Database, domain: Domain, dataset_id: int | None) -> int:
    """The number of approved, trainable pairs that are not in the dataset."""
    return int(
        value(
            db,
            "SELECT count(*) FROM pairs p WHERE p.domain_id = ? AND p.status = 'approved' "
            "AND p.split <> 'golden' AND NOT EXISTS (SELECT 1 FROM dataset_pairs dp "
            "WHERE dp.dataset_id = ? AND dp.pair_id = p.id)",
            [domain.id, dataset_id or 0],
        )
    )


def encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _pair(found: Row) -> Pair:
    turns = tuple(Turn(role, content) for role, content in orjson.loads(found["turns"]))
    return Pair(**{**found, "turns": turns})
