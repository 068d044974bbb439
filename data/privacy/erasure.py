"""Erasure: removes a person's words from the store, in steps that can be resumed after a crash.

Removed: the person's questions and the answers to them, their comments on answers, their commands,
every pair that contains their words (as author, as asker, or in its earlier turns), and what
adapters keep of those words: the prompts of reference outputs and probes, and sample answers. The
sources of their answers go too, and so do the pairs themselves as sources of other answers. A
pair that a frozen dataset names stays as an empty row, which marks the gap in the dataset; other
pairs are deleted. A run that is training on their words is cancelled.

Kept: figures. Variant assignments, thumbs, quarantines and answer times stay under a pseudonym for
each domain, so that decisions based on them do not change afterwards; a person who comes back is
recognised by it (`data/people/figures.py`). Reviews stay under a random pseudonym that is stored
nowhere else. Actions as a reviewer or admin stay in the audit log, without details. An opt-out of
learning stays too, to protect the person.

Each step is one small transaction, so it delays nobody's answer. `begin` records the request;
`resume` continues a request that a crash interrupted. Deleted bytes are overwritten
(`secure_delete`, see `data/store/db.py`), and `scrub` removes them from the write-ahead log.
"""

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from sqlite_utils import Database

from data import domains
from data.pairs import review_status
from data.people import figures
from data.privacy import provenance
from data.retry import Backoff, retry
from data.runs import runs
from data.store import audit
from data.store.clock import now_us
from data.store.db import BUSY_TIMEOUT_MS, Store, changed, insert, row, rows, value
from data.store.errors import Conflict, NotFound, Unavailable

AT_ONCE = 500  # rows of one table in one transaction
SCRUB_ATTEMPTS = 40
SCRUB_WAIT_MS = 250
EMPTY = "(forgotten)"  # prompt and response of a removed pair that a dataset still names


class ErasureIncomplete(Unavailable):
    """The words are deleted, but their bytes could not be overwritten yet."""


@dataclass(frozen=True)
class ErasureReceipt:
    """The result of an erasure. It names nobody."""

    receipt: str
    messages: int  # questions and answers
    judgements: int  # thumbs, reasons, corrections
    pairs: int  # pairs that contained their words
    holes: int  # those of them that a dataset still names
    adapters: tuple[str, ...]  # trained on such pairs, or continued from such an adapter
    runs: tuple[int, ...]  # cancelled, because they were training on such pairs
    retrains: tuple[int, ...] = ()  # runs that were queued to replace such adapters

    @property
    def figures(self) -> str:
        """`2 messages, 1 rating and 3 pairs`."""
        return (
            f"{_many(self.messages, 'message')}, {_many(self.judgements, 'rating')} "
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
    retrain: bool


def preview(db: Database, person: str) -> ErasureReceipt:
    """What `erase_person` would do now. Changes nothing."""
    found = _pairs(db, person, limit=-1)
    from_thumbs = provenance.preference_runs_of(db, person)
    return ErasureReceipt(
        receipt="",
        messages=_count(db, f"SELECT count(*) FROM messages m WHERE {MESSAGES}", person),
        judgements=_count(db, "SELECT count(*) FROM feedback WHERE person = :person", person),
        pairs=len(found),
        holes=sum(_learned(db, pair_id) for pair_id in found),
        adapters=provenance.adapter_names(
            db, sorted(provenance.trained_on(db, found, from_thumbs))
        ),
        runs=tuple(provenance.open_runs_on(db, found, from_thumbs)),
    )


async def erase_person(
    store: Store,
    home: Path,
    person: str,
    actor: str,
    attempts: int = SCRUB_ATTEMPTS,
    *,
    retrain: bool = False,
) -> ErasureReceipt:
    """Erase `person`. Returns once their words are gone from the files of the store and of the
    adapters in `home`. With `retrain`, full runs are then queued to replace adapters in use that
    learned these words.

    The audit entry names `actor`, unless that is the person. Raises ErasureIncomplete if other
    processes read the store without a pause, another Unavailable if the store cannot be written,
    and OSError if an adapter's card cannot be written. `resume` does the rest later."""
    receipt = await store.submit(lambda db: begin(db, person, actor, retrain=retrain))
    while not await store.submit(lambda db: step(db, receipt)):
        pass
    await store.read(lambda db: provenance.clean_cards(db, home))
    if not await store.read(lambda db: scrub(db, attempts)):
        raise ErasureIncomplete(
            "Every word is deleted, but another process, such as a backup, keeps reading the "
            "store, so the bytes are not overwritten yet. The bot will do that as soon as it can."
        )
    result = await store.submit(lambda db: finish(db, receipt))
    await store.read(lambda db: scrub(db, attempts=1))  # overwrite the request, which names them
    return result


async def resume(store: Store, home: Path) -> list[ErasureReceipt]:
    """Finish erasures that were interrupted."""
    found = await store.read(lambda db: rows(db, "SELECT person, actor FROM forgettings"))
    return [await erase_person(store, home, r["person"], r["actor"]) for r in found]


def begin(db: Database, person: str, actor: str, *, retrain: bool = False) -> str:
    """Record the request; returns its receipt. A second request returns the same receipt."""
    known = value(db, "SELECT receipt FROM forgettings WHERE person = ?", [person])
    if known is not None:
        if retrain:
            db.execute("UPDATE forgettings SET retrain = 1 WHERE receipt = ?", [known])
        return str(known)
    receipt = secrets.token_hex(6)
    insert(
        db,
        "forgettings",
        receipt=receipt,
        person=person,
        pseudonym=f"forgotten:{secrets.token_hex(8)}",
        actor="themselves" if actor == person else actor,
        retrain=int(retrain),
        asked_at=now_us(),
    )
    return receipt


def step(db: Database, receipt: str, most: int = AT_ONCE) -> bool:
    """Do the next part, at most `most` rows of one table. Returns False while there is more."""
    order = _order(db, receipt)
    if order is None:
        return True
    parts = (_thumbs, _messages, _questions, _pairs_of, _rated_answers, _judgements)
    for part in (*parts, _reviews, _replies, _conversations):
        if part(db, order, most):
            _keep(db, order)
            return False
    _figures(db, order)
    _audit(db, order)
    return True


def scrub(db: Database, attempts: int = SCRUB_ATTEMPTS) -> bool:
    """Remove deleted words from the files: copy the write-ahead log into the store and truncate
    it. A store that was created without `secure_delete` is rewritten once. Returns False if other
    readers never paused.

    Nobody can write while this waits for readers, so it waits for short periods."""
    if value(db, "PRAGMA user_version") == 0:
        db.execute("VACUUM")
        db.execute("PRAGMA user_version = 1")
    db.execute(f"PRAGMA busy_timeout = {SCRUB_WAIT_MS}")
    try:
        backoff = Backoff(attempts, first_s=SCRUB_WAIT_MS / 1000, growth=1.0)
        retry(lambda _: _truncate_log(db), backoff, on=ErasureIncomplete)
    except ErasureIncomplete:
        return False
    finally:
        db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return True


def _truncate_log(db: Database) -> None:
    """Raises ErasureIncomplete while a reader needs the write-ahead log."""
    if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] != 0:
        raise ErasureIncomplete("Other connections are reading the store.")


# -- the parts, in order: each returns the number of rows it handled ---------------------------


MESSAGES = "(m.person = :person OR m.reply_id IN (SELECT id FROM replies WHERE person = :person))"


def _thumbs(db: Database, order: _Order, most: int) -> int:
    """Adapters trained on rated answers. Runs first, while the asker and rater are still known."""
    if "thumbs" in order.counts:
        return 0
    order.counts["thumbs"] = 1
    found = provenance.preference_runs_of(db, order.person)
    _note_learners(db, order, (), found)
    provenance.remove_run_outputs(db, found)
    return 1


def _messages(db: Database, order: _Order, most: int) -> int:
    """Questions and answers. An answer that is being streamed is closed first, so that nothing
    can be stored for it later."""
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
    db.execute(
        "DELETE FROM reply_sources WHERE reply_id IN (SELECT id FROM replies WHERE person = ?)",
        [order.person],
    )
    db.execute(
        "DELETE FROM unanswered WHERE reply_id IN (SELECT id FROM replies WHERE person = ?)",
        [order.person],
    )
    order.counts["messages"] = order.counts.get("messages", 0) + count
    return count


def _questions(db: Database, order: _Order, most: int) -> int:
    """Questions waiting for an answer in Slack, and queued commands of every front end."""
    front, _, rest = order.person.partition(":")
    team, _, user = rest.partition("/") if front == "slack" else (front, "", rest)
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
    kept = {p for p in found if _learned(db, p)}
    provenance.remove_words(db, found)
    for pair_id in found:
        _remove_pair(db, pair_id, hollow=pair_id in kept)
    order.counts["pairs"] = order.counts.get("pairs", 0) + len(found)
    order.counts["holes"] = order.counts.get("holes", 0) + len(kept)
    return len(found)


def _rated_answers(db: Database, order: _Order, most: int) -> int:
    """Rated answers that they imported, and their name on imports. The names of their files go,
    too: they may hold the names of people."""
    db.execute(
        "UPDATE imports SET author = ?, name = 'erased', file = 'erased' WHERE author = ?",
        [order.pseudonym, order.person],
    )
    db.execute(
        "UPDATE imports SET undone_by = ? WHERE undone_by = ?", [order.pseudonym, order.person]
    )
    sql = "DELETE FROM judged_answers WHERE id IN (SELECT id FROM judged_answers WHERE author = ? "
    return changed(db, f"{sql} LIMIT ?)", [order.person, most])


def _judgements(db: Database, order: _Order, most: int) -> int:
    count = 0
    for domain_id in _domains(db, JUDGED_DOMAINS, order.person):
        hidden = figures.pseudonym(db, domain_id, order.person)
        db.execute(  # of two current ones of an answer, the one that was given first stays
            "UPDATE feedback AS again SET live = 0 WHERE person = ? AND live = 1 AND EXISTS "
            "(SELECT 1 FROM feedback f WHERE f.reply_id = again.reply_id AND f.kind = again.kind "
            "AND f.person = ? AND f.live = 1)",
            [order.person, hidden],
        )
        count += changed(
            db,
            "UPDATE feedback SET person = ?, text = '', pair_id = NULL WHERE id IN "
            "(SELECT f.id FROM feedback f JOIN replies r ON r.id = f.reply_id "
            "WHERE f.person = ? AND r.domain_id = ? LIMIT ?)",
            [hidden, order.person, domain_id, most - count],
        )
        figures.make_recognisable(db, domain_id, order.person)
    order.counts["judgements"] = order.counts.get("judgements", 0) + count
    return count


def _reviews(db: Database, order: _Order, most: int) -> int:
    """Who approved a pair stands under the answers that rest on it."""
    return review_status.forget_reviewer(db, order.person, order.pseudonym, most)


def _replies(db: Database, order: _Order, most: int) -> int:
    """The rows that figures are computed from."""
    count = 0
    for domain_id in _domains(db, ANSWERED_DOMAINS, order.person):
        count += changed(
            db,
            "UPDATE replies SET person = ? WHERE id IN "
            "(SELECT id FROM replies WHERE person = ? AND domain_id = ? LIMIT ?)",
            [figures.pseudonym(db, domain_id, order.person), order.person, domain_id, most - count],
        )
        figures.make_recognisable(db, domain_id, order.person)
    return count


def _conversations(db: Database, order: _Order, most: int) -> int:
    """Make conversations that only they took part in untraceable; keep those with other people."""
    return changed(
        db,
        "UPDATE conversations SET person = :pseudonym, thread = CASE WHEN EXISTS "
        "(SELECT 1 FROM messages m WHERE m.conversation_id = conversations.id) THEN thread "
        "ELSE 'forgotten:' || lower(hex(randomblob(12))) END WHERE id IN "
        "(SELECT id FROM conversations WHERE person = :person LIMIT :most)",
        {"pseudonym": order.pseudonym, "person": order.person, "most": most},
    )


JUDGED_DOMAINS = """SELECT DISTINCT r.domain_id FROM feedback f JOIN replies r ON r.id = f.reply_id
    WHERE f.person = ?"""
ANSWERED_DOMAINS = "SELECT DISTINCT domain_id FROM replies WHERE person = ?"
CHOICES = ("domain_choices", "marks", "pair_words", "sign_in_links", "console_sessions")


def _domains(db: Database, sql: str, person: str) -> list[int]:
    return [int(r["domain_id"]) for r in rows(db, sql, [person])]


def _figures(db: Database, order: _Order) -> None:
    """One row for each comparison or adapter, so never many."""
    for domain in rows(db, "SELECT id FROM domains"):
        figures.erase(db, domain["id"], order.person)
    for table in CHOICES:
        db.execute(f"DELETE FROM {table} WHERE person = ?", [order.person])


def _audit(db: Database, order: _Order) -> None:
    """Keep their audit entries without details, and what was done to them without their name."""
    db.execute("UPDATE audit SET detail = '{}' WHERE actor = ?", [order.person])
    renamed = "UPDATE audit SET subject = ?, detail = '{}' WHERE subject = ?"
    db.execute(renamed, [order.pseudonym, order.person])


def finish(db: Database, receipt: str) -> ErasureReceipt:
    """Record the result in the audit log and delete the request. If another process finished it
    first, return the result that it recorded."""
    order = _order(db, receipt)
    if order is None:
        return result_of(db, receipt)
    counts = order.counts
    result = ErasureReceipt(
        receipt=order.receipt,
        messages=counts.get("messages", 0),
        judgements=counts.get("judgements", 0),
        pairs=counts.get("pairs", 0),
        holes=counts.get("holes", 0),
        adapters=provenance.adapter_names(db, order.adapters),
        runs=tuple(sorted(int(name[4:]) for name in counts if name.startswith("run "))),
        retrains=_queue_retrains(db, order) if order.retrain else (),
    )
    figures = {k: v for k, v in asdict(result).items() if k != "receipt"}
    audit.record(db, order.actor, "forget", f"receipt {order.receipt}", **figures)
    db.execute("DELETE FROM forgettings WHERE receipt = ?", [order.receipt])
    return result


def _queue_retrains(db: Database, order: _Order) -> tuple[int, ...]:
    """Queue a full run in each domain with an adapter in use that learned the words. A run that is
    open, or a domain without any pair left, is passed over: alerts go on naming its adapter."""
    queued = []
    for name in provenance.domains_to_retrain(db, order.adapters):
        with contextlib.suppress(Conflict), db.atomic():
            requested_by = f"forget {order.receipt}"
            queued.append(runs.request(db, domains.get(db, name), requested_by, full=True).id)
    return tuple(queued)


def result_of(db: Database, receipt: str) -> ErasureReceipt:
    """The result for a receipt. Raises NotFound, also while the erasure is not finished."""
    sql = "SELECT detail FROM audit WHERE subject = ? AND action = 'forget'"
    found = value(db, sql, [f"receipt {receipt}"])
    if found is None:
        raise NotFound(f"There is no receipt {receipt}, or its erasure is not finished.")
    detail = orjson.loads(found)
    lists = {name: tuple(detail.get(name, ())) for name in ("adapters", "runs", "retrains")}
    return ErasureReceipt(receipt=receipt, **{**detail, **lists})


# -- pairs ---------------------------------------------------------------------------------------


def _pairs(db: Database, person: str, limit: int) -> list[int]:
    """The pairs that contain the person's words."""
    found = rows(
        db,
        "SELECT id FROM pairs WHERE forgotten_at IS NULL AND (author = :person "
        "OR source_ref IN (SELECT id FROM replies WHERE person = :person) "
        "OR id IN (SELECT pair_id FROM pair_words WHERE person = :person)) ORDER BY id LIMIT :most",
        {"person": person, "most": limit},
    )
    return [int(r["id"]) for r in found]


def _learned(db: Database, pair_id: int) -> bool:
    """Whether a run learned it, as a pair or as a preferred answer."""
    sql = (
        "SELECT 1 FROM dataset_pairs WHERE pair_id = :pair "
        "UNION ALL SELECT 1 FROM run_judgements WHERE pair_id = :pair "
        "UNION ALL SELECT 1 FROM run_judged_answers WHERE pair_id = :pair LIMIT 1"
    )
    return row(db, sql, {"pair": pair_id}) is not None


def _remove_pair(db: Database, pair_id: int, *, hollow: bool) -> None:
    """Delete a pair, or leave an empty row. The digests of its words go too: they would confirm a
    guess of the words."""
    db.execute("UPDATE feedback SET text = '', pair_id = NULL WHERE pair_id = ?", [pair_id])
    db.execute("UPDATE audit SET detail = '{}' WHERE subject = ?", [f"pair {pair_id}"])
    db.execute("DELETE FROM pair_words WHERE pair_id = ?", [pair_id])
    db.execute("DELETE FROM masked_words WHERE pair_id = ?", [pair_id])
    db.execute("DELETE FROM reply_sources WHERE pair_id = ?", [pair_id])
    db.execute("UPDATE unanswered SET pair_id = NULL WHERE pair_id = ?", [pair_id])
    if not hollow:
        db.execute("DELETE FROM pairs WHERE id = ?", [pair_id])
        return
    nobody = f"forgotten {secrets.token_hex(16)}"
    db.execute(
        "UPDATE pairs SET prompt = ?, response = ?, system = '', turns = '[]', fact = ?, "
        "source_ref = '', author = '', status = 'rejected', fingerprint = ?, review_reason = '', "
        "prompt_digest = 0, forgotten_at = ? WHERE id = ?",
        [EMPTY, EMPTY, nobody, nobody, now_us(), pair_id],
    )


def _note_learners(
    db: Database, order: _Order, pair_ids: Sequence[int], run_ids: Sequence[int] = ()
) -> None:
    """Record the adapters trained on these, and cancel the runs that would train on them."""
    order.adapters[:] = sorted({*order.adapters, *provenance.trained_on(db, pair_ids, run_ids)})
    for run_id in provenance.open_runs_on(db, pair_ids, run_ids):
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
        retrain=bool(found["retrain"]),
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
