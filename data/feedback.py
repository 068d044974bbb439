"""Feedback: one live judgement per person, reply and kind; earlier ones stay as history.

A thumb also moves the person's ratings in the comparison that the reply belonged to, in the same
transaction, so that results are sums over people and never a scan of replies. A correction
becomes a pending pair that names the reply and the author.
"""

from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data import conversations, domains, pairs
from data.clock import now_us
from data.db import insert, row, rows, value
from data.errors import Conflict, Forbidden, Invalid

Kind = Literal["thumb", "reason", "correction"]
MAX_CHARS = 8_000
ANSWERED = ("done", "partial", "cancelled")
SUPERSEDED = "superseded by its author"
WITHDRAWN = "withdrawn by its author"


@dataclass(frozen=True)
class Judgement:
    id: int
    reply_id: str
    person: str
    kind: Kind
    value: float | None  # a thumb: 1 up, 0 down
    text: str
    pair_id: int | None
    created_at: int


def thumb(db: Database, reply_id: str, person: str, up: bool) -> Judgement:
    """Rate an answer; a second thumb of the same person replaces the first.

    Raises NotFound, or Conflict when the answer is not there yet or failed."""
    judged = _judged(db, reply_id)
    before = live(db, reply_id, person, "thumb")
    now_value = 1.0 if up else 0.0
    if before is not None and before.value == now_value:
        return before
    if before is not None:
        _rate(db, judged, before.value == 1, -1)
    _rate(db, judged, up, +1)
    return _replace(db, before, reply_id, person, "thumb", value=now_value)


def reason(db: Database, reply_id: str, person: str, text: str) -> Judgement:
    """Say what was wrong or right, in words."""
    _judged(db, reply_id)
    before = live(db, reply_id, person, "reason")
    return _replace(db, before, reply_id, person, "reason", text=_checked(text))


def correction(db: Database, reply_id: str, person: str, text: str) -> Judgement:
    """Give the better answer: it becomes a pending pair of the reply's domain.

    The pair is always for training, and it speaks of the same fact as the pair that asks the same
    question, if there is one: so a retrain gives the new answer to all of that fact's phrasings.
    """
    judged = _judged(db, reply_id)
    text = _checked(text)
    before = live(db, reply_id, person, "correction")
    if before is not None and before.text == text:
        return before
    if before is not None:
        _drop_pair(db, before, SUPERSEDED)
    question, _ = conversations.exchange(db, reply_id)
    domain = domains.by_id(db, judged.domain_id)
    fact = pairs.fact_asked(db, domain, question)
    draft = pairs.Draft(prompt=question, response=text, fact=fact, split="train")
    added = pairs.add(db, domain, [draft], source="correction", source_ref=reply_id, author=person)
    pair_id = added.ids[0] if added.ids else _known_pair(db, domain, draft)
    return _replace(db, before, reply_id, person, "correction", text=text, pair_id=pair_id)


def withdraw(db: Database, reply_id: str, person: str, kind: Kind) -> None:
    """Take one's own judgement back; nobody else's changes."""
    before = live(db, reply_id, person, kind)
    if before is None:
        return
    judged = conversations.reply(db, reply_id)
    if kind == "thumb":
        _rate(db, judged, before.value == 1, -1)
    if kind == "correction":
        _drop_pair(db, before, WITHDRAWN)
    _supersede(db, before)


def live(db: Database, reply_id: str, person: str, kind: Kind) -> Judgement | None:
    """The person's judgement that counts, or None."""
    found = row(
        db,
        "SELECT id, reply_id, person, kind, value, text, pair_id, created_at FROM feedback "
        "WHERE reply_id = ? AND person = ? AND kind = ? AND live = 1",
        [reply_id, person, kind],
    )
    return None if found is None else Judgement(**found)


def counts(db: Database, domain_id: int) -> dict[str, int]:
    """Live judgements of a domain: thumbs up, thumbs down, corrections."""
    found = rows(
        db,
        "SELECT f.kind, f.value, count(*) AS n FROM feedback f JOIN replies r ON r.id = f.reply_id "
        "WHERE r.domain_id = ? AND f.live = 1 GROUP BY f.kind, f.value",
        [domain_id],
    )
    by_key = {(r["kind"], r["value"]): r["n"] for r in found}
    return {
        "up": by_key.get(("thumb", 1.0), 0),
        "down": by_key.get(("thumb", 0.0), 0),
        "corrections": by_key.get(("correction", None), 0),
    }


def _judged(db: Database, reply_id: str) -> conversations.Reply:
    """The reply, if it can be judged: an outage is nobody's bad answer."""
    found = conversations.reply(db, reply_id)
    if found.status == "failed":
        raise Conflict("That answer failed on our side; it can't be rated.")
    if found.status not in ANSWERED:
        raise Conflict("That answer is still being written; rate it when it has ended.")
    return found


def own(db: Database, reply_id: str, person: str) -> None:
    """Raise Forbidden unless `person` asked for that reply (HTTP callers may judge only theirs)."""
    if conversations.reply(db, reply_id).person != person:
        raise Forbidden("That answer was given to somebody else.")


def _checked(text: str) -> str:
    text = text.strip()
    if not text:
        raise Invalid("The text is empty.")
    if "\x00" in text or not pairs.encodable(text):
        raise Invalid("The text has characters that are not valid Unicode text.")
    if len(text) > MAX_CHARS:
        raise Invalid(f"The text has {len(text):,} characters; at most {MAX_CHARS:,} fit.")
    return text


def _replace(
    db: Database,
    before: Judgement | None,
    reply_id: str,
    person: str,
    kind: Kind,
    value: float | None = None,
    text: str = "",
    pair_id: int | None = None,
) -> Judgement:
    if before is not None:
        _supersede(db, before)
    insert(
        db,
        "feedback",
        reply_id=reply_id,
        person=person,
        kind=kind,
        value=value,
        text=text,
        pair_id=pair_id,
        created_at=now_us(),
    )
    found = live(db, reply_id, person, kind)
    if found is None:
        raise Conflict("The judgement was changed at the same moment; try again.")
    return found


def _supersede(db: Database, before: Judgement) -> None:
    sql = "UPDATE feedback SET live = 0, superseded_at = ? WHERE id = ?"
    db.execute(sql, [now_us(), before.id])


def _rate(db: Database, judged: conversations.Reply, up: bool, change: int) -> None:
    """Move a person's ratings in a comparison. The unit is who asked, whoever pressed. An answer
    that the engine broke off is no evidence about its variant."""
    if judged.variant_id is None or judged.status == "partial":
        return
    column = "up" if up else "down"
    db.execute(
        f"INSERT INTO ratings (variant_id, person, {column}) VALUES (?, ?, ?) "
        f"ON CONFLICT (variant_id, person) DO UPDATE SET {column} = {column} + excluded.{column}",
        [judged.variant_id, judged.person, change],
    )


def _drop_pair(db: Database, before: Judgement, why: str) -> None:
    """Reject the pair of a correction that counts no more, if it waits and no one else's is it."""
    if before.pair_id is None:
        return
    pair = pairs.get(db, before.pair_id)
    others = value(
        db,
        "SELECT count(*) FROM feedback WHERE pair_id = ? AND live = 1 AND id <> ?",
        [pair.id, before.id],
    )
    if pair.status == "pending" and pair.source == "correction" and not others:
        pairs.review(db, pair.id, "rejected", why)


def _known_pair(db: Database, domain: domains.Domain, draft: pairs.Draft) -> int | None:
    """The pair that says the same already. One that its author took back waits for review again."""
    found = row(
        db,
        "SELECT id, status, reviewed_by FROM pairs WHERE domain_id = ? AND fingerprint = ?",
        [domain.id, pairs.fingerprint(draft)],
    )
    if found is None:
        return None
    if found["status"] == "rejected" and found["reviewed_by"] in (SUPERSEDED, WITHDRAWN):
        pairs.review(db, found["id"], "pending", "")
    return int(found["id"])
