"""Conversations: their messages, and the replies that record which adapter wrote each answer.

A reply is opened before the engine is asked, and closed when the answer ends, in whatever way. So
every answer that anyone saw can be traced to the adapter that wrote it. The table `replies` is
narrow, because it is counted; the words are in `messages`.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import Row, changed, insert, row, rows, value
from data.store.errors import NotFound
from data.store.lease_clock import lease_us
from data.visible_text import marked

Status = Literal["streaming", "done", "partial", "cancelled", "failed"]
# An engine wrote it; an approved answer word for word; "I don't know"; a greeting or thanks.
Outcome = Literal["generated", "quoted", "declined", "small_talk"]
ABANDONED = "the service stopped during the answer"


@dataclass(frozen=True)
class Conversation:
    id: int
    domain_id: int
    thread: str  # `slack:T1/C1/171…`, `web:SESSION/…`, `http:KEY/…`
    person: str  # who began it


@dataclass(frozen=True)
class Message:
    role: Literal["user", "assistant"]
    text: str
    calls: tuple[dict[str, Any], ...] = ()  # of tools, as in OpenAI's API
    call_id: str = ""  # the call whose result this is; a tool says it then


@dataclass(frozen=True)
class Reply:
    id: str
    conversation_id: int
    domain_id: int
    person: str  # who asked
    adapter_id: int | None  # None: the bare base
    variant_id: int | None
    status: Status
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    first_token_us: int | None
    latency_us: int | None
    error: str
    created_at: int
    replica: str = ""  # the replica that answered
    precision: str = ""  # of its base model's weights
    instead_of: int | None = None  # the adapter that should have answered but could not
    again_of: str | None = None  # the reply that this one regenerates
    continues: str | None = None  # the reply that this one continues
    outcome: Outcome = "generated"
    similarity: float | None = None  # of the question and the best pair; None: no search
    confidence: float | None = None  # that the best pair answers, 0..1; None: not known
    uncertain: bool = False  # the answer was given, and may well not be the one
    layout: int = 0  # of the references in the prompt; 0: none were sent
    opened_at: int = 0  # by the clock of leases
    constrained: bool = False  # not plain: its words were constrained, or it is one of several


def new_reply_id() -> str:
    """`chatcmpl-` and 24 hex digits: sorts by time, can't be guessed. Also the OpenAI answer id."""
    return f"chatcmpl-{now_us():014x}{secrets.token_hex(8)}"


def open_thread(db: Database, thread: str, domain_id: int, person: str) -> Conversation:
    """The conversation of a thread, created if there is none. It keeps its first domain."""
    found = find(db, thread)
    if found is not None:
        return found
    insert(
        db,
        "conversations",
        domain_id=domain_id,
        thread=thread,
        person=person,
        created_at=now_us(),
    )
    begun = find(db, thread)
    if begun is None:
        raise NotFound(f"The conversation {thread} is gone.")
    return begun


def find(db: Database, thread: str) -> Conversation | None:
    """The conversation of a thread, or None."""
    found = row(
        db, "SELECT id, domain_id, thread, person FROM conversations WHERE thread = ?", [thread]
    )
    return None if found is None else Conversation(**found)


def has_asked(db: Database, person: str) -> bool:
    """Whether anything is stored that this person asked."""
    sql = "SELECT 1 FROM messages WHERE person = ? AND person <> '' LIMIT 1"
    return row(db, sql, [person]) is not None


def history(
    db: Database, conversation_id: int, turns: int, before: int | None = None
) -> list[Message]:
    """The last `turns` questions with their answers, oldest first. Questions without an answer are
    left out. `before` is a message id: only earlier messages are returned."""
    found = rows(
        db,
        "SELECT m.role, m.text, m.reply_id, r.status, r.again_of, r.continues "
        "FROM messages m LEFT JOIN replies r ON r.id = m.reply_id "
        "WHERE m.conversation_id = ? AND m.id < ? ORDER BY m.id DESC LIMIT ?",
        [conversation_id, before or 2**62, 8 * turns + 8],
    )
    return _newest_turns(found, turns)[::-1]


def _newest_turns(newest_first: list[Row], turns: int) -> list[Message]:
    """A regenerated answer takes the place of the first one; a continuation follows the answer
    that it continues."""
    taken: list[Message] = []
    answers: dict[str, str] = {}  # by reply: answers to simultaneous questions may overlap
    anew: dict[str, str] = {}  # by the reply that it replaces
    rest: dict[str, str] = {}  # by the reply that it continues
    for r in newest_first:
        if len(taken) >= 2 * turns:
            break
        if r["role"] == "assistant":
            if r["status"] in ("done", "partial", "cancelled"):
                answers[r["reply_id"]] = r["text"]
            continue
        own = answers.get(r["reply_id"], "") + rest.get(r["reply_id"], "")
        answer = anew.get(r["reply_id"], own)
        if not answer.strip():
            continue
        if r["again_of"] or r["continues"]:
            (anew if r["again_of"] else rest).setdefault(r["again_of"] or r["continues"], answer)
            continue
        taken += [Message("assistant", answer), Message("user", r["text"])]
    return taken


def ask(
    db: Database,
    *,
    reply_id: str,
    conversation: Conversation,
    person: str,
    text: str | None,
    adapter_id: int | None,
    variant_id: int | None,
    external_id: str = "",
    replica: str = "",
    precision: str = "",
    instead_of: int | None = None,
    again_of: str | None = None,
    continues: str | None = None,
    outcome: Outcome = "generated",
    similarity: float | None = None,
    confidence: float | None = None,
    uncertain: bool = False,
    constrained: bool = False,
) -> None:
    """Record a question and open its reply, in state `streaming`. `text`: None to keep only the
    reply, without the words."""
    now = now_us()
    insert(
        db,
        "replies",
        id=reply_id,
        conversation_id=conversation.id,
        domain_id=conversation.domain_id,
        person=person,
        adapter_id=adapter_id,
        variant_id=variant_id,
        replica=replica,
        precision=precision,
        instead_of=instead_of,
        again_of=again_of,
        continues=continues,
        outcome=outcome,
        similarity=similarity,
        confidence=confidence,
        uncertain=int(uncertain),
        constrained=int(constrained),
        status="streaming",
        created_at=now,
        opened_at=lease_us(db),
    )
    if text is None:
        return
    insert(
        db,
        "messages",
        conversation_id=conversation.id,
        role="user",
        text=marked(text),
        person=person,
        reply_id=reply_id,
        external_id=external_id,
        created_at=now,
    )


def record_new_target(
    db: Database,
    reply_id: str,
    *,
    adapter_id: int | None,
    variant_id: int | None,
    replica: str,
    precision: str,
    instead_of: int | None,
) -> None:
    """Record that another replica or adapter answers than the one the reply was opened for."""
    db.execute(
        "UPDATE replies SET adapter_id = ?, variant_id = ?, replica = ?, precision = ?, "
        "instead_of = ? WHERE id = ? AND status = 'streaming'",
        [adapter_id, variant_id, replica, precision, instead_of, reply_id],
    )


def not_generated(db: Database, reply_id: str, outcome: Outcome, instead_of: int | None) -> None:
    """Record that no engine writes this reply after all: it belongs to no adapter and no variant.
    `instead_of` is the adapter that could not answer."""
    db.execute(
        "UPDATE replies SET outcome = ?, adapter_id = NULL, variant_id = NULL, replica = '', "
        "precision = '', instead_of = ? WHERE id = ? AND status = 'streaming'",
        [outcome, instead_of, reply_id],
    )


def set_outcome(db: Database, reply_id: str, outcome: Outcome) -> None:
    """Change how a reply came about; it stays with its adapter and its variant."""
    db.execute("UPDATE replies SET outcome = ? WHERE id = ?", [outcome, reply_id])


def finish_reply(
    db: Database,
    reply_id: str,
    text: str | None,
    *,
    status: Status,
    finish_reason: str = "",
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    first_token_us: int | None = None,
    latency_us: int | None = None,
    error: str = "",
    layout: int = 0,
) -> bool:
    """Close a reply with the text that was shown, complete or not; None to keep no text. Returns
    False, and changes nothing, if it was closed before; `close_abandoned` may have been wrong, and
    does not count."""
    count = changed(
        db,
        "UPDATE replies SET status = ?, finish_reason = ?, prompt_tokens = ?, "
        "completion_tokens = ?, first_token_us = ?, latency_us = ?, error = ?, layout = ? "
        "WHERE id = ? AND (status = 'streaming' OR (status = 'failed' AND error = ?))",
        [
            status,
            finish_reason,
            prompt_tokens,
            completion_tokens,
            first_token_us,
            latency_us,
            error,
            layout,
            reply_id,
            ABANDONED,
        ],
    )
    if count and text is not None:
        db.execute(
            "INSERT INTO messages (conversation_id, role, text, reply_id, created_at) "
            "SELECT conversation_id, 'assistant', ?, id, ? FROM replies WHERE id = ?",
            [text, now_us(), reply_id],
        )
    return count > 0


def remove(db: Database, reply_id: str) -> Reply | None:
    """Remove a reply with its messages, and its conversation if nothing else is in it. Returns what
    was removed; None if there is no such reply any more."""
    try:
        found = reply(db, reply_id)
    except NotFound:
        return None
    db.execute("DELETE FROM replies WHERE id = ?", [reply_id])
    db.execute(
        "DELETE FROM conversations WHERE id = :id "
        "AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation_id = :id) "
        "AND NOT EXISTS (SELECT 1 FROM replies WHERE conversation_id = :id)",
        {"id": found.conversation_id},
    )
    return found


def count_streaming(
    db: Database, replica: str, within_s: float, adapter_id: int | None = None
) -> int:
    """The number of answers that a replica is streaming, for one adapter or for all, and that began
    in the last `within_s` seconds. Older ones belong to a bot that crashed."""
    sql = (
        "SELECT count(*) FROM replies WHERE status = 'streaming' AND replica = ? AND opened_at > ?"
    )
    params: list[str | int] = [replica, lease_us(db) - round(within_s * 1e6)]
    if adapter_id is not None:
        sql += " AND adapter_id = ?"
        params.append(adapter_id)
    return int(value(db, sql, params))


def recently_asked(db: Database, within_s: float) -> bool:
    """Whether anyone asked within the last `within_s` seconds."""
    latest = value(db, "SELECT created_at FROM replies ORDER BY id DESC LIMIT 1")  # ids are by time
    return latest is not None and now_us() - int(latest) < within_s * 1_000_000


def close_abandoned(db: Database, after_s: float) -> int:
    """Mark replies that a dead process left `streaming` more than `after_s` seconds ago as
    `failed`; returns the number."""
    return changed(
        db,
        "UPDATE replies SET status = 'failed', error = ? "
        "WHERE status = 'streaming' AND opened_at < ?",
        [ABANDONED, lease_us(db) - round(after_s * 1e6)],
    )


def reply(db: Database, reply_id: str) -> Reply:
    """Raises NotFound."""
    found = row(db, "SELECT * FROM replies WHERE id = ?", [reply_id])
    if found is None:
        raise NotFound(f"There is no reply {reply_id!r}.")
    return Reply(**found)


def exchange(db: Database, reply_id: str) -> tuple[str, str]:
    """The question and the answer of a reply. Raises NotFound."""
    reply(db, reply_id)
    found = rows(db, "SELECT role, text FROM messages WHERE reply_id = ? ORDER BY id", [reply_id])
    texts = {r["role"]: r["text"] for r in found}
    return texts.get("user", ""), texts.get("assistant", "")


@dataclass(frozen=True)
class ReplyWithQuestion:
    """A reply with its question: all that is needed to regenerate or continue it."""

    reply: Reply
    thread: str
    question: str
    asked_at: str  # the external id of the message that asked
    message_id: int  # of the question; earlier messages have smaller ids
    text: str  # the answer so far, from its beginning


def reply_with_question(db: Database, reply_id: str) -> ReplyWithQuestion:
    """Raises NotFound."""
    found = first = reply(db, reply_id)
    texts = [exchange(db, first.id)[1]]
    while first.continues is not None:
        first = reply(db, first.continues)
        texts.append(exchange(db, first.id)[1])
    while first.again_of is not None:
        first = reply(db, first.again_of)
    asked = row(
        db,
        "SELECT m.id, m.text, m.external_id, c.thread FROM messages m "
        "JOIN conversations c ON c.id = m.conversation_id WHERE m.reply_id = ? AND m.role = 'user'",
        [first.id],
    )
    if asked is None:
        raise NotFound("The question for that answer no longer exists.")
    text = "".join(reversed(texts))
    return ReplyWithQuestion(
        found, asked["thread"], asked["text"], asked["external_id"], asked["id"], text
    )


def record_shown_at(
    db: Database, reply_id: str, external_id: str, earlier_parts: Sequence[str] = ()
) -> None:
    """Record where a front end shows an answer (in Slack: team/channel/ts). A long one is shown in
    several messages; `external_id` is the last."""
    db.execute(
        "UPDATE messages SET external_id = ? WHERE reply_id = ? AND role = 'assistant'",
        [external_id, reply_id],
    )
    for part in earlier_parts:
        db.execute("INSERT OR REPLACE INTO reply_parts VALUES (?, ?)", [part, reply_id])


def reply_shown_at(db: Database, external_id: str) -> str | None:
    """The id of the reply that is shown at that place, or None."""
    found = row(
        db,
        "SELECT reply_id FROM messages WHERE external_id = :id AND role = 'assistant' "
        "UNION ALL SELECT reply_id FROM reply_parts WHERE external_id = :id",
        {"id": external_id},
    )
    return None if found is None else str(found["reply_id"])


def reply_to_question_at(db: Database, external_id: str) -> str | None:
    """The id of the reply to the question at that place, or None."""
    found = row(
        db,
        "SELECT reply_id FROM messages WHERE external_id = ? AND role = 'user' ORDER BY id DESC",
        [external_id],
    )
    return None if found is None or found["reply_id"] is None else str(found["reply_id"])


# with `r` the reply, `a` its adapter and `d` the adapter's domain: helpdesk@3, base, or ''
ADAPTER = (
    "coalesce(d.name || '@' || a.version, CASE r.outcome WHEN 'generated' THEN 'base' ELSE '' END)"
)


def transcript(db: Database, thread: str, person: str, limit: int = 200) -> list[Row]:
    """The last messages of a thread that `person` started, oldest first, with role, text, reply_id,
    status, outcome, layout, uncertain, adapter ('' if none wrote it), the adapter that it replaced
    as a fallback, and the person's own thumb (1 up, 0 down, None)."""
    found = rows(
        db,
        "SELECT m.role, m.text, m.reply_id, r.status, r.outcome, r.layout, r.uncertain, "
        f"f.value AS thumb, {ADAPTER} AS adapter, "
        "other.name || '@' || absent.version AS instead_of "
        "FROM conversations c JOIN messages m ON m.conversation_id = c.id "
        "JOIN replies r ON r.id = m.reply_id LEFT JOIN adapters a ON a.id = r.adapter_id "
        "LEFT JOIN domains d ON d.id = a.domain_id "
        "LEFT JOIN adapters absent ON absent.id = r.instead_of "
        "LEFT JOIN domains other ON other.id = absent.domain_id "
        "LEFT JOIN feedback f ON f.reply_id = r.id AND f.person = c.person "
        "AND f.kind = 'thumb' AND f.live = 1 "
        "WHERE c.thread = ? AND c.person = ? ORDER BY m.id DESC LIMIT ?",
        [thread, person, limit],
    )
    return found[::-1]


def question_at(db: Database, external_id: str) -> str:
    """The text of the latest question at that place; '' if there is none."""
    found = row(
        db,
        "SELECT text FROM messages WHERE external_id = ? AND role = 'user' ORDER BY id DESC",
        [external_id],
    )
    return "" if found is None else str(found["text"])


def began_at(db: Database, thread: str, external_id: str) -> bool:
    """Whether the conversation began with the question at that place, or has not begun."""
    found = row(
        db,
        "SELECT m.external_id FROM conversations c JOIN messages m ON m.conversation_id = c.id "
        "WHERE c.thread = ? AND m.role = 'user' ORDER BY m.id LIMIT 1",
        [thread],
    )
    return found is None or found["external_id"] == external_id


@dataclass(frozen=True)
class ChatSummary:
    """A conversation in a list."""

    thread: str
    question: str  # the first one
    at: int  # of the first question, in microseconds since the epoch


def of_person(db: Database, person: str, limit: int) -> list[ChatSummary]:
    """The latest conversations that `person` started, the latest first."""
    found = rows(
        db,
        "SELECT c.thread, m.text AS question, m.created_at AS at FROM conversations c "
        "JOIN messages m ON m.id = (SELECT min(id) FROM messages WHERE conversation_id = c.id "
        "AND role = 'user') WHERE c.person = ? ORDER BY c.id DESC LIMIT ?",
        [person, limit],
    )
    return [ChatSummary(**r) for r in found]


def seen_before(db: Database, source: str, key: str) -> bool:
    """Return True if (source, key) was delivered before; otherwise record it and return False."""
    sql = "INSERT OR IGNORE INTO deliveries (source, key, at) VALUES (?, ?, ?)"
    return changed(db, sql, [source, key, now_us()]) == 0


def is_newest(db: Database, source: str, key: str, at: int) -> bool:
    """Return False if an event for (source, key) at time `at` (microseconds since the epoch) or
    later was seen before; otherwise record `at` and return True."""
    sql = (
        "INSERT INTO deliveries (source, key, at) VALUES (?, ?, ?) "
        "ON CONFLICT (source, key) DO UPDATE SET at = excluded.at WHERE excluded.at > at"
    )
    return changed(db, sql, [source, key, at]) == 1


def forget_deliveries(db: Database, older_than_us: int) -> int:
    """Delete records of deliveries that cannot be repeated any more; returns the number."""
    return changed(db, "DELETE FROM deliveries WHERE at < ?", [older_than_us])
