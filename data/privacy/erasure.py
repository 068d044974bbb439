"""Forgetting a person: their words leave the store, in steps that can be taken up again.

What goes: their questions and the answers to them, what they wrote about answers, what they typed
as commands, every pair that holds words of theirs (as its author, as who asked, in its earlier
turns), and what adapters keep of what they learned: canary and probe prompts, sample answers. A
pair that a frozen dataset names stays as an empty row, so that the dataset says where its hole is;
other pairs are deleted. A run that is learning from their words is cancelled.

What stays: figures. Who was on which side of a comparison, thumbs, and how long answers took stay
under a random name that is written down nowhere else, because a decision that was made on them
should not change afterwards. What somebody did as a reviewer or admin stays in the audit log,
without its details. Being left out of learning stays too: it is kept for the person's sake.

Each step is one small transaction, so nobody's answer waits long. `begin` writes down that somebody
is to be forgotten; what a crash interrupts goes on with `resume`. Deleted bytes are overwritten
(`secure_delete`, see `data/store/db.py`), and `scrub` takes them out of the write-ahead log.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from sqlite_utils import Database

from data.privacy import provenance
from data.runs import runs
from data.store import audit
from data.store.clock import now_us
from data.store.db import BUSY_TIMEOUT_MS, Store, changed, insert, row, rows, value
from data.store.errors import NotFound, Unavailable

AT_ONCE = 500  # rows of one table in one transaction
SCRUB_ATTEMPTS = 40
SCRUB_WAIT_MS = 250
EMPTY = "(forgotten)"  # the prompt and the response of a dataset's hole


class StillThere(Unavailable):
    """The words are deleted, but their bytes could not be overwritten yet."""


@dataclass(frozen=True)
class ErasureReceipt:
    """What was done. It names nobody."""

    receipt: str
    messages: int  # questions and answers
    judgements: int  # thumbs, reasons, corrections
    pairs: int  # that held words of theirs
    holes: int  # of these, still named by a dataset
    adapters: tuple[str, ...]  # trained on such pairs, or on from one that was
    runs: tuple[int, ...]  # that were learning from such pairs, and were cancelled

    @property
    def figures(self) -> str:
        """`2 messages, 1 judgement and 3 pairs`."""
        return (
            f"{_many(self.messages, 'message')}, {_many(self.judgements, 'judgement')} "
            f"and {_many(self.pairs, 'pair')}"
        )


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@dataclass(frozen=True)
class _Order:
    receipt: str
    person: str
    pseudonym: str
    actor: str
    counts: dict[str, int]
    adapters: list[int]


def preview(db: Database, person: str) -> ErasureReceipt:
    """What `forget` would do now; nothing is changed."""
    found = _pairs(db, person, limit=-1)
    from_thumbs = provenance.runs_on_thumbs(db, person)
    return ErasureReceipt(
        receipt="",
        messages=_count(db, f"SELECT count(*) FROM messages m WHERE {MESSAGES}", person),
        judgements=_count(db, "SELECT count(*) FROM feedback WHERE person = :person", person),
        pairs=len(found),
        holes=sum(_in_dataset(db, pair_id) for pair_id in found),
        adapters=provenance.names(db, sorted(provenance.trained_on(db, found, from_thumbs))),
        runs=tuple(provenance.learning_from(db, found, from_thumbs)),
    )


async def erase_person(
    store: Store, home: Path, person: str, actor: str, attempts: int = SCRUB_ATTEMPTS
) -> ErasureReceipt:
    """Forget `person`, whoever asks for it. Ends when their words are out of the files of the
    store and of the adapters in `home`.

    `actor` stands in the audit entry, unless it is the person. Raises StillThere when others read
    the store all the time, another Unavailable when it can't be written, OSError when an adapter's
    card can't: what is left is done by `resume`."""
    receipt = await store.submit(lambda db: begin(db, person, actor))
    while not await store.submit(lambda db: step(db, receipt)):
        pass
    await store.read(lambda db: provenance.clean_cards(db, home))
    if not await store.read(lambda db: scrub(db, attempts)):
        raise StillThere(
            "Every word is deleted, but something reads the store all the time, a backup say, so "
            "the bytes are not overwritten yet. The bot does that as soon as it can."
        )
    result = await store.submit(lambda db: finish(db, receipt))
    await store.read(lambda db: scrub(db, attempts=1))  # the note of who it was
    return result


async def resume(store: Store, home: Path) -> list[ErasureReceipt]:
    """Finish what was begun and interrupted."""
    found = await store.read(lambda db: rows(db, "SELECT person, actor FROM forgettings"))
    return [await erase_person(store, home, r["person"], r["actor"]) for r in found]


def begin(db: Database, person: str, actor: str) -> str:
    """Write down that they are to be forgotten; returns the receipt. Asking twice is once."""
    known = value(db, "SELECT receipt FROM forgettings WHERE person = ?", [person])
    if known is not None:
        return str(known)
    receipt = secrets.token_hex(6)
    insert(
        db,
        "forgettings",
        receipt=receipt,
        person=person,
        pseudonym=f"forgotten:{secrets.token_hex(8)}",
        actor="themselves" if actor == person else actor,
        asked_at=now_us(),
    )
    return receipt


def step(db: Database, receipt: str, most: int = AT_ONCE) -> bool:
    """Do a part of it: at most so many rows of one table. False while there is more to do."""
    order = _order(db, receipt)
    if order is None:
        return True
    for part in (_thumbs, _messages, _questions, _pairs_of, _judgements, _replies, _conversations):
        if part(db, order, most):
            _keep(db, order)
            return False
    _figures(db, order)
    _audit(db, order)
    return True


def scrub(db: Database, attempts: int = SCRUB_ATTEMPTS) -> bool:
    """Take deleted words out of the files: the write-ahead log is copied into the store and
    emptied. A store from before deleted bytes were overwritten is rewritten, once. False when
    other readers left no moment for it.

    Nobody can write while it waits for readers, so it waits a moment at a time."""
    if value(db, "PRAGMA user_version") == 0:
        db.execute("VACUUM")
        db.execute("PRAGMA user_version = 1")
    db.execute(f"PRAGMA busy_timeout = {SCRUB_WAIT_MS}")
    try:
        for _ in range(attempts):
            if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0:
                return True
            time.sleep(SCRUB_WAIT_MS / 1000)
    finally:
        db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return False


# -- the parts, in order: each returns how many rows it took ----------------------------------


MESSAGES = "(m.person = :person OR m.reply_id IN (SELECT id FROM replies WHERE person = :person))"


def _thumbs(db: Database, order: _Order, most: int) -> int:
    """What was learned from rated answers: once, while it is still known who asked and rated."""
    if "thumbs" in order.counts:
        return 0
    order.counts["thumbs"] = 1
    found = provenance.runs_on_thumbs(db, order.person)
    _note_learners(db, order, (), found)
    provenance.take_out_of_runs(db, found)
    return 1


def _messages(db: Database, order: _Order, most: int) -> int:
    """Questions and answers. An answer that is being written is closed first: what comes of it
    later finds no reply to belong to."""
    db.execute(
        "UPDATE replies SET status = 'failed', error = 'forgotten' "
        "WHERE person = ? AND status = 'streaming'",
        [order.person],
    )
    count = changed(
        db,
        f"DELETE FROM messages WHERE id IN (SELECT m.id FROM messages m WHERE {MESSAGES} "
        "LIMIT :most)",
        {"person": order.person, "most": most},
    )
    order.counts["messages"] = order.counts.get("messages", 0) + count
    return count


def _questions(db: Database, order: _Order, most: int) -> int:
    """What waits for an answer in Slack, and what was typed as commands."""
    front, _, rest = order.person.partition(":")
    team, _, user = rest.partition("/")
    if front != "slack":
        return 0
    return sum(
        changed(
            db,
            f"DELETE FROM {table} WHERE id IN "
            f"(SELECT id FROM {table} WHERE team = ? AND user = ? LIMIT ?)",
            [team, user, most],
        )
        for table in ("questions", "deeds")
    )


def _pairs_of(db: Database, order: _Order, most: int) -> int:
    found = _pairs(db, order.person, most)
    if not found:
        return 0
    _note_learners(db, order, found)
    kept = {p for p in found if _in_dataset(db, p)}
    provenance.take_out(db, found)
    for pair_id in found:
        _remove_pair(db, pair_id, hollow=pair_id in kept)
    order.counts["pairs"] = order.counts.get("pairs", 0) + len(found)
    order.counts["holes"] = order.counts.get("holes", 0) + len(kept)
    return len(found)


def _judgements(db: Database, order: _Order, most: int) -> int:
    count = changed(
        db,
        "UPDATE feedback SET person = ?, text = '', pair_id = NULL WHERE id IN "
        "(SELECT id FROM feedback WHERE person = ? LIMIT ?)",
        [order.pseudonym, order.person, most],
    )
    order.counts["judgements"] = order.counts.get("judgements", 0) + count
    return count


def _replies(db: Database, order: _Order, most: int) -> int:
    """The narrow rows that figures are made of."""
    return changed(
        db,
        "UPDATE replies SET person = ? WHERE id IN "
        "(SELECT id FROM replies WHERE person = ? LIMIT ?)",
        [order.pseudonym, order.person, most],
    )


def _conversations(db: Database, order: _Order, most: int) -> int:
    """A conversation of theirs alone can't be found again; one with others goes on."""
    return changed(
        db,
        "UPDATE conversations SET person = :pseudonym, thread = CASE WHEN EXISTS "
        "(SELECT 1 FROM messages m WHERE m.conversation_id = conversations.id) THEN thread "
        "ELSE 'forgotten:' || lower(hex(randomblob(12))) END WHERE id IN "
        "(SELECT id FROM conversations WHERE person = :person LIMIT :most)",
        {"pseudonym": order.pseudonym, "person": order.person, "most": most},
    )


FIGURES = ("assignments", "ratings", "tallies", "testers", "pairings")
CHOICES = ("domain_choices", "marks", "voters", "pair_words")


def _figures(db: Database, order: _Order) -> None:
    """One row for each comparison or adapter, so never many."""
    for table in FIGURES:
        sql = f"UPDATE {table} SET person = ? WHERE person = ?"
        db.execute(sql, [order.pseudonym, order.person])
    for table in CHOICES:
        db.execute(f"DELETE FROM {table} WHERE person = ?", [order.person])


def _audit(db: Database, order: _Order) -> None:
    """What they did stays, without its details; so do decisions on pairs, without reasons."""
    db.execute("UPDATE audit SET detail = '{}' WHERE actor = ?", [order.person])
    sql = "UPDATE pairs SET review_reason = '' WHERE reviewed_by = ? AND review_reason <> ''"
    db.execute(sql, [order.person])


def finish(db: Database, receipt: str) -> ErasureReceipt:
    """Write into the audit log what was done, and drop the note of who was to be forgotten. When
    somebody else did so at the same time, what they wrote."""
    order = _order(db, receipt)
    if order is None:
        return done(db, receipt)
    counts = order.counts
    result = ErasureReceipt(
        receipt=order.receipt,
        messages=counts.get("messages", 0),
        judgements=counts.get("judgements", 0),
        pairs=counts.get("pairs", 0),
        holes=counts.get("holes", 0),
        adapters=provenance.names(db, order.adapters),
        runs=tuple(sorted(int(name[4:]) for name in counts if name.startswith("run "))),
    )
    figures = {k: v for k, v in asdict(result).items() if k != "receipt"}
    audit.record(db, order.actor, "forget", f"receipt {order.receipt}", **figures)
    db.execute("DELETE FROM forgettings WHERE receipt = ?", [order.receipt])
    return result


def done(db: Database, receipt: str) -> ErasureReceipt:
    """What was done under a receipt. Raises NotFound, also while it is not finished."""
    sql = "SELECT detail FROM audit WHERE subject = ? AND action = 'forget'"
    found = value(db, sql, [f"receipt {receipt}"])
    if found is None:
        raise NotFound(f"There is no receipt {receipt}, or what it stands for is not finished.")
    detail = orjson.loads(found)
    lists = {name: tuple(detail[name]) for name in ("adapters", "runs")}
    return ErasureReceipt(receipt=receipt, **{**detail, **lists})


# -- pairs ---------------------------------------------------------------------------------------


def _pairs(db: Database, person: str, limit: int) -> list[int]:
    """The pairs that hold words of theirs."""
    found = rows(
        db,
        "SELECT id FROM pairs WHERE forgotten_at IS NULL AND (author = :person "
        "OR source_ref IN (SELECT id FROM replies WHERE person = :person) "
        "OR id IN (SELECT pair_id FROM pair_words WHERE person = :person)) ORDER BY id LIMIT :most",
        {"person": person, "most": limit},
    )
    return [int(r["id"]) for r in found]


def _in_dataset(db: Database, pair_id: int) -> bool:
    return row(db, "SELECT 1 FROM dataset_pairs WHERE pair_id = ? LIMIT 1", [pair_id]) is not None


def _remove_pair(db: Database, pair_id: int, *, hollow: bool) -> None:
    """Delete a pair, or leave an empty row. The fingerprint goes as well: whoever guesses the
    words could check them by it."""
    db.execute("UPDATE feedback SET text = '', pair_id = NULL WHERE pair_id = ?", [pair_id])
    db.execute("UPDATE audit SET detail = '{}' WHERE subject = ?", [f"pair {pair_id}"])
    db.execute("DELETE FROM pair_words WHERE pair_id = ?", [pair_id])
    if not hollow:
        db.execute("DELETE FROM pairs WHERE id = ?", [pair_id])
        return
    nobody = f"forgotten {secrets.token_hex(16)}"
    db.execute(
        "UPDATE pairs SET prompt = ?, response = ?, system = '', turns = '[]', fact = ?, "
        "source_ref = '', author = '', status = 'rejected', fingerprint = ?, review_reason = '', "
        "forgotten_at = ? WHERE id = ?",
        [EMPTY, EMPTY, nobody, nobody, now_us(), pair_id],
    )


def _note_learners(
    db: Database, order: _Order, pair_ids: Sequence[int], run_ids: Sequence[int] = ()
) -> None:
    """Remember the adapters that learned from these, and cancel the runs that are about to."""
    order.adapters[:] = sorted({*order.adapters, *provenance.trained_on(db, pair_ids, run_ids)})
    for run_id in provenance.learning_from(db, pair_ids, run_ids):
        runs.cancel(db, run_id, f"forget {order.receipt}")
        order.counts[f"run {run_id}"] = 1


def _order(db: Database, receipt: str) -> _Order | None:
    """None: somebody else has finished it."""
    found = row(db, "SELECT * FROM forgettings WHERE receipt = ?", [receipt])
    if found is None:
        return None
    return _Order(
        receipt=receipt,
        person=found["person"],
        pseudonym=found["pseudonym"],
        actor=found["actor"],
        counts=orjson.loads(found["counts"]),
        adapters=orjson.loads(found["adapters"]),
    )


def _keep(db: Database, order: _Order) -> None:
    db.execute(
        "UPDATE forgettings SET counts = ?, adapters = ? WHERE receipt = ?",
        [
            orjson.dumps(order.counts).decode(),
            orjson.dumps(order.adapters).decode(),
            order.receipt,
        ],
    )


def _count(db: Database, sql: str, person: str) -> int:
    return int(value(db, sql, {"person": person}))
