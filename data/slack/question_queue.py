"""Questions that wait for an answer in Slack: the queue that survives a crash.

A question enters in the transaction after which its delivery is acknowledged, and leaves when its
answer is shown. In between a worker holds it under a lease, which it renews while it is at work;
whoever finds the lease expired takes the question up again. Each claim has a new `generation`,
and what an attempt writes counts only while its generation is the present one, so an attempt that
lost its question can do no harm. A thread's questions are claimed one after another.

What was shown of an answer is remembered as soon as it is known (`begun`, then `shown_ts`), so
that the next attempt goes on with the same message. The text is removed at the end; the
conversation has it.

A question may also ask for an answer anew (`again_of`) or for the rest of one that was cut
(`continues`). Its `ts` names the answer, so each answer is asked for anew, or gone on with, once.
"""

from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import Row, changed, row, rows

OPEN = "state IN ('waiting', 'answering')"
FIRST = "again_of = '' AND continues = ''"  # no follow-up
CRASHED = "the service stopped during the answer"


@dataclass(frozen=True)
class QueuedQuestion:
    """Times in microseconds since the epoch."""

    id: int
    team: str
    channel: str
    ts: str  # of the message that asks; of a follow-up, which answer it is about
    thread_ts: str
    user: str
    text: str  # as Slack writes it; '' when it is done
    response_url: str  # of a command whose answer only the asker sees, else ''
    withdrawn: bool  # its message was deleted: what was shown of an answer has to go
    state: Literal["waiting", "answering", "done"]
    worker: str
    generation: int  # counts the claims, edits and withdrawals
    attempts: int  # counts the claims whose worker was lost
    reply_id: str  # of the latest attempt, '' before the first
    begun: bool  # something may be shown in Slack
    shown_ts: str  # the message that shows it, '' while that is not known
    created_at: int
    asked_ts: str = ""  # the message with the question
    again_of: str = ""  # the reply that is to be written anew
    continues: str = ""  # the reply that is to be gone on with


@dataclass(frozen=True)
class EarlierAttempt:
    """An answer that the engine had ended, but that Slack did not show to its end."""

    reply_id: str
    text: str
    finish_reason: str
    error: str
    adapter: str  # helpdesk@3, or base
    instead_of: str | None  # the adapter that should have answered and could not


def add(
    db: Database,
    *,
    team: str,
    channel: str,
    ts: str,
    thread_ts: str,
    user: str,
    text: str,
    response_url: str = "",
) -> bool:
    """Put a question into the queue; False when its message was taken before."""
    sql = (
        "INSERT OR IGNORE INTO questions "
        "(team, channel, ts, asked_ts, thread_ts, user, text, response_url, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    given = [team, channel, ts, ts, thread_ts, user, text, response_url, now_us()]
    return changed(db, sql, given) > 0


def add_follow_up(
    db: Database,
    kind: Literal["again_of", "continues"],
    reply_id: str,
    *,
    team: str,
    channel: str,
    asked_ts: str,
    thread_ts: str,
    user: str,
    response_url: str = "",
) -> bool:
    """Ask for a reply anew, or for the rest of it; False when that was asked for before."""
    sql = (
        "INSERT OR IGNORE INTO questions (team, channel, ts, asked_ts, thread_ts, user, text, "
        f"response_url, created_at, {kind}) VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, ?)"
    )
    given = [team, channel, f"{kind}/{reply_id}", asked_ts, thread_ts, user, response_url]
    return changed(db, sql, [*given, now_us(), reply_id]) > 0


def waits_in(db: Database, team: str, channel: str, thread_ts: str) -> bool:
    """Whether a question of that thread is not answered yet."""
    sql = f"SELECT 1 FROM questions WHERE team = ? AND channel = ? AND thread_ts = ? AND {OPEN}"
    return row(db, sql, [team, channel, thread_ts]) is not None


def is_open(db: Database, team: str, channel: str, ts: str) -> bool:
    """Whether that message is a question with an answer on the way."""
    sql = f"SELECT 1 FROM questions WHERE team = ? AND channel = ? AND asked_ts = ? AND {OPEN}"
    return row(db, sql, [team, channel, ts]) is not None


def reply_in(db: Database, team: str, channel: str, ts: str) -> str | None:
    """The reply that is being shown in that message, or begins there; None when it is none, or was
    shown long ago."""
    sql = (
        "SELECT reply_id FROM questions WHERE team = ? AND channel = ? AND shown_ts = ? "
        "AND reply_id <> ''"
    )
    found = row(db, sql, [team, channel, ts])
    return None if found is None else str(found["reply_id"])


CLAIMABLE = f"""
SELECT q.id FROM questions q
WHERE (q.state = 'waiting' OR (q.state = 'answering' AND q.lease_until < :now))
AND q.not_before <= :now
AND NOT EXISTS (
    SELECT 1 FROM questions e WHERE e.team = q.team AND e.channel = q.channel
    AND e.thread_ts = q.thread_ts AND e.id < q.id AND e.{OPEN}
)
ORDER BY q.id LIMIT :most
"""


def claimable(db: Database) -> bool:
    """Whether there is something to claim now."""
    return row(db, CLAIMABLE, {"now": now_us(), "most": 1}) is not None


def claim(db: Database, worker: str, most: int, lease_us: int) -> list[QueuedQuestion]:
    """Take up to `most` questions for `worker`, the oldest first, at most one of a thread."""
    now = now_us()
    found = rows(
        db,
        "UPDATE questions SET attempts = attempts + (state = 'answering'), state = 'answering', "
        "worker = :worker, generation = generation + 1, lease_until = :until "
        f"WHERE id IN ({CLAIMABLE}) RETURNING id",
        {"worker": worker, "until": now + lease_us, "now": now, "most": most},
    )
    return sorted((_get(db, r["id"]) for r in found), key=lambda q: q.id)


def renew(db: Database, worker: str, lease_us: int) -> set[tuple[int, int]]:
    """The worker's sign of life; returns what it still holds, by id and generation."""
    found = rows(
        db,
        "UPDATE questions SET lease_until = ? WHERE worker = ? AND state = 'answering' "
        "RETURNING id, generation",
        [now_us() + lease_us, worker],
    )
    return {(r["id"], r["generation"]) for r in found}


def workers(db: Database) -> list[str]:
    """Who holds questions."""
    found = rows(db, "SELECT DISTINCT worker FROM questions WHERE state = 'answering'")
    return [r["worker"] for r in found]


def release(db: Database, worker: str) -> int:
    """What a worker held that is certainly gone may be claimed at once; returns how many."""
    sql = "UPDATE questions SET lease_until = 0 WHERE worker = ? AND state = 'answering'"
    return changed(db, sql, [worker])


EARLIER = """
SELECT r.id AS reply_id, m.text, r.finish_reason, r.error,
coalesce(d.name || '@' || a.version, 'base') AS adapter,
wd.name || '@' || w.version AS instead_of
FROM replies r JOIN messages m ON m.reply_id = r.id AND m.role = 'assistant'
LEFT JOIN adapters a ON a.id = r.adapter_id LEFT JOIN domains d ON d.id = a.domain_id
LEFT JOIN adapters w ON w.id = r.instead_of LEFT JOIN domains wd ON wd.id = w.domain_id
WHERE r.id = ? AND r.status IN ('done', 'partial')
"""


def begin(db: Database, question: QueuedQuestion, reply_id: str) -> EarlierAttempt | None:
    """Open an attempt. The answer of the one before, when only its showing was missing; otherwise
    that one's reply is closed as failed, and `reply_id` is the question's from now on."""
    before = earlier(db, question.reply_id)
    if before is not None:
        return before
    _close_reply(db, question.reply_id, CRASHED)
    db.execute(f"UPDATE questions SET reply_id = ? WHERE {_ours}", [reply_id, *_key(question)])
    return None


def earlier(db: Database, reply_id: str) -> EarlierAttempt | None:
    """An answer with words that the engine has ended; None when there is none."""
    found = row(db, EARLIER, [reply_id])
    return EarlierAttempt(**found) if found is not None and found["text"].strip() else None


def begin_showing(db: Database, question: QueuedQuestion) -> bool:
    """From now on something may be shown. False: the question is somebody else's by now."""
    return changed(db, f"UPDATE questions SET begun = 1 WHERE {_ours}", _key(question)) > 0


def shown(db: Database, question: QueuedQuestion, ts: str) -> bool:
    """The message that shows the answer is known. False: the question is somebody else's."""
    sql = f"UPDATE questions SET shown_ts = ? WHERE {_ours}"
    return changed(db, sql, [ts, *_key(question)]) > 0


def finish(db: Database, question: QueuedQuestion) -> bool:
    """The answer is shown, or will never be. False: the question is somebody else's."""
    sql = (
        "UPDATE questions SET state = 'done', text = '', response_url = '', finished_at = ? "
        f"WHERE {_ours}"
    )
    return changed(db, sql, [now_us(), *_key(question)]) > 0


def give_back(db: Database, question: QueuedQuestion, wait_us: int = 0) -> bool:
    """Let it be claimed again, after `wait_us`. False: the question is somebody else's."""
    sql = f"UPDATE questions SET state = 'waiting', worker = '', not_before = ? WHERE {_ours}"
    return changed(db, sql, [now_us() + wait_us, *_key(question)]) > 0


def edit(db: Database, team: str, channel: str, ts: str, text: str) -> bool:
    """A question that is not answered yet was changed: it is answered anew, where anything was
    shown in the same message. False when there is nothing to do."""
    return _start_over(db, [team, channel, ts], text, "the question was changed", withdrawn=False)


def withdraw(db: Database, team: str, channel: str, ts: str) -> bool:
    """A question that is not answered yet was deleted: its answer stops, and what was shown of it
    goes. False when there is nothing to do."""
    return _start_over(db, [team, channel, ts], "", "the question was deleted", withdrawn=True)


def end_all_of(db: Database, team: str) -> None:
    """A workspace is not answered any more: its questions end, whoever is at work on them."""
    for found in rows(
        db,
        "UPDATE questions SET state = 'done', text = '', response_url = '', finished_at = ?, "
        f"generation = generation + 1 WHERE team = ? AND {OPEN} RETURNING reply_id",
        [now_us(), team],
    ):
        _close_reply(db, found["reply_id"], "the workspace left")


def forget(db: Database, older_than_us: int) -> int:
    """Drop questions that ended before then; returns how many."""
    return changed(
        db, "DELETE FROM questions WHERE state = 'done' AND finished_at < ?", [older_than_us]
    )


def _start_over(db: Database, place: list[str], text: str, why: str, *, withdrawn: bool) -> bool:
    found = rows(
        db,
        "SELECT id, reply_id FROM questions WHERE team = ? AND channel = ? AND asked_ts = ? "
        f"AND {OPEN} AND withdrawn = 0 AND (? OR (text <> ? AND {FIRST}))",
        [*place, withdrawn, text],
    )
    for question in found:
        _close_reply(db, question["reply_id"], why)
        db.execute(
            "UPDATE questions SET state = 'waiting', worker = '', generation = generation + 1, "
            "not_before = 0, reply_id = '', text = ?, withdrawn = ? WHERE id = ?",
            [text, int(withdrawn), question["id"]],
        )
    return bool(found)


def _close_reply(db: Database, reply_id: str, why: str) -> None:
    """What an attempt left behind is no answer: history and feedback pass over it."""
    db.execute("UPDATE replies SET status = 'failed', error = ? WHERE id = ?", [why, reply_id])


def _get(db: Database, question_id: int) -> QueuedQuestion:
    columns = ", ".join(QueuedQuestion.__dataclass_fields__)
    return _question(rows(db, f"SELECT {columns} FROM questions WHERE id = ?", [question_id])[0])


def _question(found: Row) -> QueuedQuestion:
    flags = {name: bool(found[name]) for name in ("withdrawn", "begun")}
    return QueuedQuestion(**{**found, **flags})


_ours = "id = ? AND generation = ? AND state = 'answering'"


def _key(question: QueuedQuestion) -> list[int]:
    return [question.id, question.generation]
