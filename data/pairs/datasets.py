"""Datasets: frozen, content-addressed selections of a domain's approved pairs.

Deterministic rules assign each pair to one of four splits:

- `golden`: pairs that are marked as golden. They are never trained on; every adapter is evaluated
  on them. They may ask for a known fact in other words, which is what the bot must be able to
  answer.
- `validation`: whole facts with all their phrasings, which training never sees, chosen by a hash of
  the fact. It measures generalisation to new facts.
- `probe`: one phrasing of some facts whose other phrasings are trained on. It measures how well the
  facts themselves were learned, and selects the best checkpoint.
- `train`: all other pairs.

A question that differs only by a typing error, a word form or punctuation is the same question
(`question_matching.py`): all its pairs are on one side, as those with equal questions are.

A dataset is content-addressed: its digest covers the fingerprint, fact and split of each pair, so
freezing the same content again gives the same dataset. The digest is the dataset's name and does
not change when pairs are erased with a person's data; `count_erased` counts the erased pairs.
"""

import hashlib
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from sqlite_utils import Database

from data.domains import Domain
from data.pairs.pairs import SELECT, Pair, _pair, list_pairs
from data.pairs.question import question_key, question_text
from data.pairs.question_join import joined
from data.store.clock import now_us
from data.store.db import Store, changed, insert, row, rows, value
from data.store.errors import Invalid, NotFound

Part = Literal["train", "validation", "probe", "golden"]
VALIDATION_FACTS = 50  # with fewer facts, none is held out: too few to measure, none to spare
VALIDATION_MOST = 1000  # facts; holding out more would cost training and measure no better
PROBE_PHRASINGS = 4  # a fact with at least this many phrasings can spare one
PROBE_SHARE = 0.25  # of those facts
PROBE_LIMIT = 64  # pairs


TOGETHER = 200  # pairs in one transaction; it takes some milliseconds
UNFINISHED = "unfinished"  # in place of the digest
UNFINISHED_S = 3600  # seconds after which nobody is still freezing it


class EmptyDataset(Invalid):
    """There are no pairs to train on."""


@dataclass(frozen=True)
class Dataset:
    id: int
    domain_id: int
    sha256: str
    train: int  # pairs in each split
    validation: int
    probe: int
    golden: int
    created_at: int


def freeze(db: Database, domain: Domain, *, hold_out: bool = True) -> Dataset:
    """Freeze the domain's currently approved pairs, or return the equal dataset that exists.
    Without `hold_out`, all pairs except golden ones are trained on.

    Raises EmptyDataset if there is nothing to train on."""
    parts, sha256 = _chosen(db, domain, hold_out=hold_out)
    if found := _equal(db, domain, sha256):
        return found
    dataset_id = _begin(db, domain, sha256, parts)
    _put(db, dataset_id, sorted(parts.items()))
    return by_id(db, dataset_id)


def freeze_in(store: Store, domain: Domain, *, hold_out: bool = True) -> Dataset:
    """The same in short transactions, so that others can write while hundreds of thousands of pairs
    are frozen. The dataset has no digest until it is complete; one that was interrupted is removed
    by the next call."""
    _remove_unfinished(store, domain)
    while True:
        parts, sha256 = _chosen(store.db, domain, hold_out=hold_out)
        if found := _equal(store.db, domain, sha256):
            return found
        with store.write() as db:
            dataset_id = _begin(db, domain, f"{UNFINISHED} {uuid.uuid4().hex}", parts)
        left, put = iter(sorted(parts.items())), 0
        while some := list(islice(left, TOGETHER)):
            with store.write() as db:
                put += _put(db, dataset_id, some)
        with store.write() as db:
            equal = _equal(db, domain, sha256)
            if equal is None and put == len(parts):
                db.execute("UPDATE datasets SET sha256 = ? WHERE id = ?", [sha256, dataset_id])
                return by_id(db, dataset_id)
        _remove(store, dataset_id)  # another one was as fast, or a pair was erased meanwhile


def _chosen(db: Database, domain: Domain, *, hold_out: bool) -> tuple[dict[int, Part], str]:
    """The approved pairs with their splits, and the digest. Raises EmptyDataset."""
    approved = list_pairs(db, domain, "approved")
    parts = split(approved, domain.validation_share, hold_out=hold_out)
    if not any(part == "train" for part in parts.values()):
        raise EmptyDataset(
            f"{domain.name} has no approved pairs to train on. Import some "
            f"(`understudy pairs import {domain.name} FILE`) or approve pending ones."
        )
    return parts, _digest(domain, approved, parts)


def _equal(db: Database, domain: Domain, sha256: str) -> Dataset | None:
    sql = "SELECT * FROM datasets WHERE domain_id = ? AND sha256 = ?"
    found = row(db, sql, [domain.id, sha256])
    return None if found is None else Dataset(**found)


def _begin(db: Database, domain: Domain, sha256: str, parts: Mapping[int, Part]) -> int:
    """Add a dataset without pairs; returns its id."""
    sizes = dict.fromkeys(("train", "validation", "probe", "golden"), 0)
    for part in parts.values():
        sizes[part] += 1
    return insert(db, "datasets", domain_id=domain.id, sha256=sha256, created_at=now_us(), **sizes)


def _put(db: Database, dataset_id: int, some: Sequence[tuple[int, Part]]) -> int:
    """Put those pairs into the dataset that have not been erased; returns how many."""
    cursor = db.conn.executemany(
        "INSERT INTO dataset_pairs (dataset_id, pair_id, split) SELECT ?, id, ? FROM pairs "
        "WHERE id = ? AND forgotten_at IS NULL",
        [(dataset_id, part, pair_id) for pair_id, part in some],
    )
    return int(cursor.rowcount)


def _remove_unfinished(store: Store, domain: Domain) -> None:
    sql = "SELECT id FROM datasets WHERE domain_id = ? AND sha256 LIKE ? AND created_at < ?"
    old = now_us() - UNFINISHED_S * 1_000_000
    for found in rows(store.db, sql, [domain.id, f"{UNFINISHED} %", old]):
        _remove(store, found["id"])


def _remove(store: Store, dataset_id: int) -> None:
    """Remove a dataset that nothing refers to, in short transactions."""
    sql = (
        "DELETE FROM dataset_pairs WHERE dataset_id = ? AND pair_id IN "
        "(SELECT pair_id FROM dataset_pairs WHERE dataset_id = ? LIMIT ?)"
    )
    left = 1
    while left:
        with store.write() as db:
            left = changed(db, sql, [dataset_id, dataset_id, TOGETHER])
    with store.write() as db:
        db.execute("DELETE FROM datasets WHERE id = ?", [dataset_id])


def by_id(db: Database, dataset_id: int) -> Dataset:
    """Raises NotFound."""
    found = row(db, "SELECT * FROM datasets WHERE id = ?", [dataset_id])
    if found is None:
        raise NotFound(f"There is no dataset {dataset_id}.")
    return Dataset(**found)


def pairs_of(db: Database, dataset_id: int, part: Part) -> list[Pair]:
    """The pairs of one split, by id."""
    sql = SELECT + (
        "WHERE id IN (SELECT pair_id FROM dataset_pairs WHERE dataset_id = ? AND split = ?) "
        "AND forgotten_at IS NULL ORDER BY id"
    )
    return [_pair(r) for r in rows(db, sql, [dataset_id, part])]


def count_erased(db: Database, dataset_id: int) -> int:
    """The number of its pairs that were erased with a person's data
    (`data/privacy/erasure.py`)."""
    sql = (
        "SELECT count(*) FROM dataset_pairs dp JOIN pairs p ON p.id = dp.pair_id "
        "WHERE dp.dataset_id = ? AND p.forgotten_at IS NOT NULL"
    )
    return int(value(db, sql, [dataset_id]))


def split(pairs: list[Pair], validation_share: float, *, hold_out: bool = True) -> dict[int, Part]:
    """Pair id -> split. Depends only on the pairs' words, facts and marks, not on order or ids.
    Without `hold_out`, all pairs except golden ones are trained on.

    Facts that share a question, exactly or nearly, are treated as one fact, so that a question
    cannot be both trained on and evaluated. A golden prompt is never trained on, whatever other
    pairs say."""
    parts: dict[int, Part] = {p.id: "golden" for p in pairs if p.split == "golden"}
    golden_prompts = {question_key(p) for p in pairs if p.split == "golden"}
    facts: dict[str, list[Pair]] = {}
    others = [p for p in pairs if p.split != "golden"]
    questions = question_numbers(others)
    groups = _groups(others, questions)
    for pair in others:
        if question_key(pair) in golden_prompts:
            parts[pair.id] = "golden"
        else:
            facts.setdefault(groups[pair.id], []).append(pair)
    spare: list[tuple[str, Pair]] = []
    share = min(validation_share, VALIDATION_MOST / max(1, len(facts)))
    share = share if len(facts) >= VALIDATION_FACTS else 0.0
    for fact, members in facts.items():
        part = _part_of(fact, members, share)
        parts.update({p.id: part for p in members})
        if (
            part == "train"
            and len(members) >= PROBE_PHRASINGS
            and hash_share(fact, "p") < PROBE_SHARE
        ):
            asked = Counter(questions[p.id] for p in members)
            free = [p for p in members if p.split == "auto" and asked[questions[p.id]] == 1]
            if free:
                spare.append((fact, min(free, key=lambda p: p.fingerprint)))
    for _, pair in sorted(spare, key=lambda item: hash_share(item[0], "probe"))[:PROBE_LIMIT]:
        parts[pair.id] = "probe"
    if not hold_out:
        return {i: "golden" if part == "golden" else "train" for i, part in parts.items()}
    return parts


def _part_of(fact: str, members: list[Pair], validation_share: float) -> Part:
    marks = {p.split for p in members}
    if "validation" in marks:  # a mark on one phrasing applies to all of them
        return "validation"
    if "train" in marks:
        return "train"
    return "validation" if hash_share(fact, "validation") < validation_share else "train"


def question_numbers(pairs: Sequence[Pair]) -> dict[int, int]:
    """Pair id -> the number of its question, the same for questions that match."""
    numbers = joined([question_text(pair) for pair in pairs])
    return {pair.id: number for pair, number in zip(pairs, numbers, strict=True)}


def asked_by(pairs: Sequence[Pair], known: Collection[int]) -> set[int]:
    """The ids of the pairs whose question one of the `known` pairs asks, exactly or nearly."""
    numbers = question_numbers(pairs)
    seen = {numbers[pair_id] for pair_id in known if pair_id in numbers}
    return {pair_id for pair_id, number in numbers.items() if number in seen}


def fact_groups(pairs: Sequence[Pair]) -> dict[int, str]:
    """Pair id -> its fact, or the first of several facts that share a question. Pairs of one group
    belong on one side of every split."""
    return _groups(pairs, question_numbers(pairs))


def _groups(pairs: Sequence[Pair], questions: Mapping[int, int]) -> dict[int, str]:
    """The same for questions that are numbered already (union-find)."""
    leader: dict[str, str] = {}

    def find(fact: str) -> str:
        while leader.setdefault(fact, fact) != fact:
            leader[fact] = leader[leader[fact]]
            fact = leader[fact]
        return fact

    asked: dict[int, str] = {}
    for pair in pairs:
        other = asked.setdefault(questions[pair.id], pair.fact)
        low, high = sorted((find(pair.fact), find(other)))
        leader[high] = low
    return {pair.id: find(pair.fact) for pair in pairs}


def hash_share(text: str, salt: str) -> float:
    """A number in [0, 1) that depends only on the text."""
    digest = hashlib.sha256(f"{salt}:{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _digest(domain: Domain, pairs: list[Pair], parts: dict[int, Part]) -> str:
    lines = sorted(f"{p.fingerprint} {p.fact} {parts[p.id]}" for p in pairs)
    text = "\n".join([domain.system_prompt, *lines])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
