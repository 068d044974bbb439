"""The durable queue of questions that wait for an answer in Slack.

A question is stored before its delivery is acknowledged, and is finished when its answer is shown.
In between, a worker holds it under a lease, which it renews while it works; when the lease expires,
another worker claims the question. Each claim increments `generation`, and writes of an older
generation change nothing, so an attempt that lost its question can do no harm. The questions of a
thread are claimed one at a time.

The Slack message that shows an answer is recorded as soon as it is known (`begun`, then
`shown_ts`), so that the next attempt continues in the same message. The question's text and the
names of its files are deleted at the end; the conversation has the text.

A question can also be a request to regenerate an answer (`again_of`) or to continue one that was
cut (`continues`). Its `ts` names the answer, so each answer is regenerated or continued only once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import orjson
from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import Row, changed, row, rows
from data.store.lease_clock import lease_us

OPEN = "state IN ('waiting', 'answering')"
FIRST = "again_of = '' AND continues = ''"  # not a follow-up
WITHOUT_WORDS = "text = '', response_url = '', files = '[]'"
CRASHED = "the service stopped during the answer"


@dataclass(frozen=True)
class AttachedFile:
    """A file that was sent with a question. Its content stays with Slack."""

    name: str
    kind: str  # its media type, such as text/plain
    size: int  # bytes
    url: str  # to download it with the bot's token; '' if Slack names none


@dataclass(frozen=True)
class QueuedQuestion:
    """Times in microseconds since the epoch."""

    id: int
    team: str
    channel: str
    ts: str  # of the message with the question; for a follow-up, names the answer
    thread_ts: str
    user: str
    text: str  # in Slack's markup; '' once it is done
    response_url: str  # of a command whose answer only the asker sees, else ''
    withdrawn: bool  # its message was deleted: the shown part of an answer must be deleted too
    state: Literal["waiting", "answering", "done"]
    worker: str
    generation: int  # the number of claims, edits and withdrawals
    attempts: int  # the number of claims whose worker was lost
    reply_id: str  # of the latest attempt, '' before the first
    begun: bool  # a message may be visible in Slack
    shown_ts: str  # the message that shows the answer, '' while unknown
    created_at: int
    asked_ts: str = ""  # the message with the question
    again_of: str = ""  # the reply to regenerate
    continues: str = ""  # the reply to continue
    files: tuple[AttachedFile, ...] = ()


@dataclass(frozen=True)
class EarlierAttempt:
    """An answer that the engine finished, but that was not completely shown in Slack."""

    reply_id: str
    text: str
    finish_reason: str
    error: str
    outcome: str  # generated, quoted, declined or small_talk
    layout: int  # of the references that were sent; 0: none
    adapter: str  # helpdesk@3, base, or '' if none wrote it
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
    asked_ts: str = "",
    files: Sequence[AttachedFile] = (),
) -> bool:
    """Add a question to the queue. Returns False if its message was added before. `asked_ts` is the
    message with the pressed button, for a question that was not typed."""
    sql = (
        "INSERT OR IGNORE INTO questions "
        "(team, channel, ts, asked_ts, thread_ts, user, text, response_url, files, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    listed = orjson.dumps(files).decode()
    given = [team, channel, ts, asked_ts or ts, thread_ts, user, text, response_url, listed]
    return changed(db, sql, [*given, now_us()]) > 0


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
    """Ask to regenerate or continue a reply. Returns False if that was asked before."""
    sql = (
        "INSERT OR IGNORE INTO questions (team, channel, ts, asked_ts, thread_ts, user, text, "
        f"response_url, created_at, {kind}) VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, ?)"
    )
    given = [team, channel, f"{kind}/{reply_id}", asked_ts, thread_ts, user, response_url]
    return changed(db, sql, [*given, now_us(), reply_id]) > 0


def waits_in(db: Database, team: str, channel: str, thread_ts: str) -> bool:
    """Whether a question of that thread is still open."""
    sql = f"SELECT 1 FROM questions WHERE team = ? AND channel = ? AND thread_ts = ? AND {OPEN}"
    return row(db, sql, [team, channel, thread_ts]) is not None


def is_open(db: Database, team: str, channel: str, ts: str) -> bool:
    """Whether that message is a question that is still open."""
    sql = f"SELECT 1 FROM questions WHERE team = ? AND channel = ? AND asked_ts = ? AND {OPEN}"
    return row(db, sql, [team, channel, ts]) is not None


def reply_in(db: Database, team: str, channel: str, ts: str) -> str | None:
    """The reply that is being shown in that message, or that starts there. None if there is none,
    or if it was shown long ago."""
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
    """Whether a question can be claimed now."""
    return row(db, CLAIMABLE, {"now": lease_us(db), "most": 1}) is not None


def claim(db: Database, worker: str, most: int, for_us: int) -> list[QueuedQuestion]:
    """Claim up to `most` questions for `worker`, oldest first, at most one for each thread."""
    now = lease_us(db)
    found = rows(
        db,
        "UPDATE questions SET attempts = attempts + (state = 'answering'), state = 'answering', "
        "worker = :worker, generation = generation + 1, lease_until = :until "
        f"WHERE id IN ({CLAIMABLE}) RETURNING id",
        {"worker": worker, "until": now + for_us, "now": now, "most": most},
    )
    return sorted((_get(db, r["id"]) for r in found), key=lambda q: q.id)


def renew(db: Database, worker: str, for_us: int) -> set[tuple[int, int]]:
    """Renew the worker's leases; returns the questions it still holds, generation by id."""
    found = rows(
        db,
        "UPDATE questions SET lease_until = ? WHERE worker = ? AND state = 'answering' "
        "RETURNING id, generation",
        [lease_us(db) + for_us, worker],
    )
    return {(r["id"], r["generation"]) for r in found}


def workers(db: Database) -> list[str]:
    """The workers that hold questions."""
    found = rows(db, "SELECT DISTINCT worker FROM questions WHERE state = 'answering'")
    return [r["worker"] for r in found]


def release(db: Database, worker: str) -> int:
    """Release the questions of a worker that is certainly gone; returns the number."""
    sql = "UPDATE questions SET lease_until = 0 WHERE worker = ? AND state = 'answering'"
    return changed(db, sql, [worker])


EARLIER = """
SELECT r.id AS reply_id, m.text, r.finish_reason, r.error,
r.outcome, r.layout,
coalesce(d.name || '@' || a.version, CASE r.outcome WHEN 'generated' THEN 'base' ELSE '' END)
AS adapter,
wd.name || '@' || w.version AS instead_of
FROM replies r JOIN messages m ON m.reply_id = r.id AND m.role = 'assistant'
LEFT JOIN adapters a ON a.id = r.adapter_id LEFT JOIN domains d ON d.id = a.domain_id
LEFT JOIN adapters w ON w.id = r.instead_of LEFT JOIN domains wd ON wd.id = w.domain_id
WHERE r.id = ? AND r.status IN ('done', 'partial')
"""


def begin(db: Database, question: QueuedQuestion, reply_id: str) -> EarlierAttempt | None:
    """Start an attempt. Returns the previous attempt's answer if it was complete but not completely
    shown. Otherwise closes that attempt's reply as failed and makes `reply_id` the question's."""
    before = earlier(db, question.reply_id)
    if before is not None:
        return before
    _close_reply(db, question.reply_id, CRASHED)
    db.execute(f"UPDATE questions SET reply_id = ? WHERE {_ours}", [reply_id, *_key(question)])
    return None


def earlier(db: Database, reply_id: str) -> EarlierAttempt | None:
    """The answer of an earlier attempt that the engine finished, or None."""
    found = row(db, EARLIER, [reply_id])
    return EarlierAttempt(**found) if found is not None and found["text"].strip() else None


def begin_showing(db: Database, question: QueuedQuestion) -> bool:
    """Record that a message may be visible from now on. False: another worker has the question."""
    return changed(db, f"UPDATE questions SET begun = 1 WHERE {_ours}", _key(question)) > 0


def shown(db: Database, question: QueuedQuestion, ts: str) -> bool:
    """Record the message that shows the answer. False: another worker has the question."""
    sql = f"UPDATE questions SET shown_ts = ? WHERE {_ours}"
    return changed(db, sql, [ts, *_key(question)]) > 0


def finish(db: Database, question: QueuedQuestion) -> bool:
    """The answer was shown, or never will be. False: another worker has the question."""
    sql = f"UPDATE questions SET state = 'done', {WITHOUT_WORDS}, finished_at = ? WHERE {_ours}"
    return changed(db, sql, [now_us(), *_key(question)]) > 0


def give_back(db: Database, question: QueuedQuestion, wait_us: int = 0) -> bool:
    """Let it be claimed again after `wait_us`. False: another worker has the question."""
    sql = f"UPDATE questions SET state = 'waiting', worker = '', not_before = ? WHERE {_ours}"
    return changed(db, sql, [lease_us(db) + wait_us, *_key(question)]) > 0


def edit(db: Database, team: str, channel: str, ts: str, text: str) -> bool:
    """An open question was edited: answer it again, in the same message if one was shown. Returns
    False if there is nothing to do."""
    return _start_over(db, [team, channel, ts], text, "the question was changed", withdrawn=False)


def withdraw(db: Database, team: str, channel: str, ts: str) -> bool:
    """An open question was deleted: stop its answer and remove the part that was shown. Returns
    False if there is nothing to do."""
    return _start_over(db, [team, channel, ts], "", "the question was deleted", withdrawn=True)


def end_all_of(db: Database, team: str) -> None:
    """End all questions of a workspace that removed the bot, whichever worker holds them."""
    for found in rows(
        db,
        f"UPDATE questions SET state = 'done', {WITHOUT_WORDS}, finished_at = ?, "
        f"generation = generation + 1 WHERE team = ? AND {OPEN} RETURNING reply_id",
        [now_us(), team],
    ):
        _close_reply(db, found["reply_id"], "the workspace left")


def forget(db: Database, older_than_us: int) -> int:
    """Delete questions that ended before that time; returns the number."""
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
    """Close an unfinished attempt as failed, so that history and feedback ignore it."""
    db.execute("UPDATE replies SET status = 'failed', error = ? WHERE id = ?", [why, reply_id])


def _get(db: Database, question_id: int) -> QueuedQuestion:
    columns = ", ".join(QueuedQuestion.__dataclass_fields__)
    return _question(rows(db, f"SELECT {columns} FROM questions WHERE id = ?", [question_id])[0])


def _question(found: Row) -> QueuedQuestion:
    flags = {name: bool(found[name]) for name in ("withdrawn", "begun")}
    files = tuple(AttachedFile(**file) for file in orjson.loads(found["files"]))
    return QueuedQuestion(**{**found, **flags, "files": files})


_ours = "id = ? AND generation = ? AND state = 'answering'"


def _key(question: QueuedQuestion) -> list[int]:
    return [question.id, question.generation]
