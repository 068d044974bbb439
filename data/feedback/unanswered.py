"""Questions that the bot declined, until a reviewer answers or dismisses them.

The table names replies; the words are those of the reply's question, so erasing the question takes
it out of the list. Answering a question adds an approved pair, which counts from the next question
on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft, Pair
from data.people import consent
from data.store import audit
from data.store.clock import now_us
from data.store.db import changed, insert, row, rows
from data.store.errors import Conflict, Forbidden, NotFound

State = Literal["open", "answered", "dismissed"]
MOST = 1_000  # questions that a list is made of, the newest ones


@dataclass(frozen=True)
class Unanswered:
    """A question that the bot declined."""

    reply_id: str
    domain_id: int
    question: str
    person: str  # who asked
    state: State
    pair_id: int | None  # the pair that answers it
    person_asked_at: int | None  # when the asker wanted a person to answer
    created_at: int


SELECT = """
SELECT u.reply_id, u.domain_id, m.text AS question, r.person, u.state, u.pair_id,
       u.person_asked_at, u.created_at
FROM unanswered u JOIN replies r ON r.id = u.reply_id
JOIN messages m ON m.reply_id = u.reply_id AND m.role = 'user'
"""


def add(db: Database, reply_id: str, domain: Domain) -> None:
    """Add the question of a declined reply."""
    insert(
        db,
        "unanswered",
        reply_id=reply_id,
        domain_id=domain.id,
        state="open",
        created_at=now_us(),
    )


def get(db: Database, reply_id: str) -> Unanswered:
    """Raises NotFound if the question of that reply was not declined, or was erased."""
    found = row(db, f"{SELECT} WHERE u.reply_id = ?", [reply_id])
    if found is None:
        raise NotFound(f"There is no unanswered question {reply_id!r}.")
    return Unanswered(**found)


def open_questions(db: Database, domain: Domain, most: int = MOST) -> list[Unanswered]:
    """The newest open questions of a domain, oldest first."""
    sql = f"{SELECT} WHERE u.domain_id = ? AND u.state = 'open' ORDER BY u.created_at DESC LIMIT ?"
    return [Unanswered(**r) for r in rows(db, sql, [domain.id, most])][::-1]


def count_open(db: Database, domain: Domain | None = None) -> int:
    """The number of open questions, of one domain or of all."""
    where, params = ("AND domain_id = ?", [domain.id]) if domain is not None else ("", [])
    sql = f"SELECT count(*) AS n FROM unanswered WHERE state = 'open' {where}"
    return int(rows(db, sql, params)[0]["n"])


def want_person(db: Database, reply_id: str, person: str) -> Unanswered:
    """Record that the asker wants a person to answer. Raises NotFound, Forbidden for anybody but
    the asker, and Conflict if the question is no longer open."""
    found = get(db, reply_id)
    if found.person != person:
        raise Forbidden("That answer was given to somebody else.")
    if found.state != "open":
        raise Conflict("This question has been answered or dismissed meanwhile. Ask it again.")
    sql = "UPDATE unanswered SET person_asked_at = coalesce(person_asked_at, ?) WHERE reply_id = ?"
    db.execute(sql, [now_us(), reply_id])
    return get(db, reply_id)


def answer(
    db: Database,
    domain: Domain,
    reply_ids: Sequence[str],
    response: str,
    actor: str,
    question: str = "",
) -> Pair:
    """Make an approved pair of a question and `response`, and close the question and those that ask
    the same. `question` are better words for it; without them, those of the first one are used.

    Raises Conflict for a person's own words if that person opted out of learning, and if the
    question was answered before; NotFound; Invalid; and contamination.Leak."""
    asked = [_open_question(db, domain, reply_id) for reply_id in reply_ids]
    if not asked:
        raise NotFound("Name at least one question.")
    first = asked[0]
    if not question.strip() and not consent.may_learn(db, first.person):
        raise Conflict(
            "The person who asked does not want the bot to learn from their words. Give the "
            "question in your own words."
        )
    words = question.strip() or first.question
    draft = Draft(words, response, fact=_fact(db, domain, response), split="train")
    added = pairs.add(db, domain, [draft], source="unanswered", source_ref="", author=actor)
    known = pairs.find_same_words(db, domain.id, draft)
    assert known is not None, "the pair was just added"
    if not question.strip():
        pairs.record_word_owners(db, known.id, [first.person])
    if added.ids or known.status != "approved":
        known = review_status.set_status(db, known.id, "approved", actor)
    _close(db, [a.reply_id for a in asked], "answered", actor, known.id)
    audit.record(db, actor, "unanswered answer", f"pair {known.id}", questions=len(asked))
    return known


def dismiss(db: Database, domain: Domain, reply_ids: Sequence[str], actor: str) -> int:
    """Close questions that need no answer; returns the number. Raises NotFound and Conflict."""
    asked = [_open_question(db, domain, reply_id) for reply_id in reply_ids]
    count = _close(db, [a.reply_id for a in asked], "dismissed", actor)
    audit.record(db, actor, "unanswered dismiss", domain.name, questions=count)
    return count


def _fact(db: Database, domain: Domain, response: str) -> str:
    """The fact of an approved pair with this answer, or ''."""
    sql = (
        "SELECT fact FROM pairs WHERE domain_id = ? AND status = 'approved' AND response = ? "
        "ORDER BY id DESC LIMIT 1"
    )
    found = row(db, sql, [domain.id, response.strip()])
    return "" if found is None else str(found["fact"])


def _open_question(db: Database, domain: Domain, reply_id: str) -> Unanswered:
    found = get(db, reply_id)
    if found.domain_id != domain.id:
        raise NotFound(f"{domain.name} has no unanswered question {reply_id!r}.")
    if found.state != "open":
        raise Conflict(f"“{found.question}” has been {found.state} already.")
    return found


def _close(
    db: Database, reply_ids: Sequence[str], state: State, actor: str, pair_id: int | None = None
) -> int:
    return changed(
        db,
        "UPDATE unanswered SET state = ?, pair_id = ?, closed_by = ?, closed_at = ? "
        "WHERE reply_id IN (SELECT value FROM json_each(?)) AND state = 'open'",
        [state, pair_id, actor, now_us(), orjson.dumps(list(reply_ids)).decode()],
    )
