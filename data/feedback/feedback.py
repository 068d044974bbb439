"""Feedback: one live judgement per person, reply and kind; earlier ones stay as history.

Kinds: a thumb, a reason in words, a better answer (correction), which of two answers is better
(pairwise), and whether it helped in the end (follow-up). A judgement is accepted from the moment
the answer has ended. What counts, and the sums that are kept of it in the same transaction, is in
`rating_totals.py`; so results are sums over people and never a scan of replies. A correction
becomes a pending pair that names the reply and the author.
"""

from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data import domains
from data.conversations import conversations, side_by_side
from data.conversations.conversations import Reply
from data.feedback import raters, rating_totals
from data.pairs import pairs, review_status
from data.pairs.question import fact_of_prompt
from data.people import consent
from data.store.clock import now_us
from data.store.db import insert, row, rows, value
from data.store.errors import Conflict, Forbidden, Invalid

Kind = Literal["thumb", "reason", "correction", "pairwise", "follow_up"]
Preferred = Literal["first", "second", "tie"]
PREFERENCES: dict[Preferred, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}
MAX_CHARS = 8_000
ANSWERED = ("done", "partial", "cancelled")


@dataclass(frozen=True)
class Rating:
    id: int
    reply_id: str
    person: str
    kind: Kind
    value: float | None  # thumb: 1 up, 0 down; follow-up: 1 it helped; pairwise: PREFERENCES
    text: str
    pair_id: int | None
    counts: bool  # in comparisons; it is stored and shown in any case
    over_cap: bool  # beyond the person's share of the day
    created_at: int


def thumb(db: Database, reply_id: str, person: str, up: bool) -> Rating:
    """Rate an answer; a second thumb of the same person replaces the first.

    Raises NotFound, or Conflict when the answer is not there yet or failed."""
    judged = _judged(db, reply_id)
    before = live(db, reply_id, person, "thumb")
    now_value = 1.0 if up else 0.0
    if before is not None and before.value == now_value:
        return before
    if before is not None:
        _sum_up(db, judged, before, -1)
    after = _replace(db, before, judged, person, "thumb", value=now_value)
    _sum_up(db, judged, after, +1)
    if before is None and not after.over_cap:
        raters.check_rater(db, judged.domain_id, person)
    return live(db, reply_id, person, "thumb") or after


def follow_up(db: Database, reply_id: str, person: str, helped: bool) -> Rating:
    """Say, some time after an answer, whether it helped. Raises as `thumb` does."""
    judged = _judged(db, reply_id)
    before = live(db, reply_id, person, "follow_up")
    now_value = 1.0 if helped else 0.0
    if before is not None and before.value == now_value:
        return before
    return _replace(db, before, judged, person, "follow_up", value=now_value)


def prefer(db: Database, reply_id: str, person: str, which: Preferred) -> Rating:
    """Say which of two answers to one question is better; `reply_id` is either of the two.

    Raises NotFound when that answer was shown alone, Forbidden for others than who asked, Conflict
    until both have ended."""
    pairing = side_by_side.of_reply(db, reply_id)
    if pairing.person != person:
        raise Forbidden("Only who asked can choose between these two answers.")
    first, _ = (_judged(db, r) for r in (pairing.first_reply, pairing.second_reply))
    before = live(db, first.id, person, "pairwise")
    now_value = PREFERENCES[which]
    if before is not None and before.value == now_value:
        return before
    judged = _replace(db, before, first, person, "pairwise", value=now_value)
    if before is None and not judged.over_cap:
        raters.check_button_sides(db, first.domain_id, person)
    return live(db, first.id, person, "pairwise") or judged


def reason(db: Database, reply_id: str, person: str, text: str) -> Rating:
    """Say what was wrong or right, in words."""
    judged = _judged(db, reply_id)
    before = live(db, reply_id, person, "reason")
    return _replace(db, before, judged, person, "reason", text=_checked(text))


def correction(db: Database, reply_id: str, person: str, text: str, learn: bool = True) -> Rating:
    """Give the better answer: it becomes a pending pair of the reply's domain. Without `learn`, or
    when its author or who asked has opted out of learning, it is kept, and no pair is made.

    The pair is always for training, and it speaks of the same fact as the pair that asks the same
    question, if there is one: so a retrain gives the new answer to all of that fact's phrasings.
    """
    judged = _judged(db, reply_id)
    text = _checked(text)
    before = live(db, reply_id, person, "correction")
    learn = learn and consent.may_learn(db, person, judged.person)
    if before is not None and before.text == text and (before.pair_id is not None) == learn:
        return before
    if before is not None:
        _drop_pair(db, before, "replaced" if learn else "taken back")
    if not learn:
        return _replace(db, before, judged, person, "correction", text=text)
    question, _ = conversations.exchange(db, reply_id)
    domain = domains.by_id(db, judged.domain_id)
    fact = fact_of_prompt(db, domain, question)
    draft = pairs.Draft(prompt=question, response=text, fact=fact, split="train")
    added = pairs.add(db, domain, [draft], source="correction", source_ref=reply_id, author=person)
    known = None if added.ids else review_status.given_again(db, domain.id, draft)
    pair_id = added.ids[0] if added.ids else known.id if known else None
    return _replace(db, before, judged, person, "correction", text=text, pair_id=pair_id)


def withdraw(db: Database, reply_id: str, person: str, kind: Kind) -> None:
    """Take one's own judgement back; nobody else's changes."""
    if kind == "pairwise":
        reply_id = side_by_side.of_reply(db, reply_id).first_reply
    before = live(db, reply_id, person, kind)
    if before is None:
        return
    _sum_up(db, conversations.reply(db, reply_id), before, -1)
    if kind == "correction":
        _drop_pair(db, before, "taken back")
    _supersede(db, before)


COLUMNS = "id, reply_id, person, kind, value, text, pair_id, counts, over_cap, created_at"


def live(db: Database, reply_id: str, person: str, kind: Kind) -> Rating | None:
    """The person's judgement that stands, or None."""
    found = row(
        db,
        f"SELECT {COLUMNS} FROM feedback "
        "WHERE reply_id = ? AND person = ? AND kind = ? AND live = 1",
        [reply_id, person, kind],
    )
    if found is None:
        return None
    flags = {name: bool(found[name]) for name in ("counts", "over_cap")}
    return Rating(**{**found, **flags})


def counts(db: Database, domain_id: int) -> dict[str, int]:
    """Live judgements of a domain, as they are shown: thumbs up, thumbs down, corrections."""
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


def own(db: Database, reply_id: str, person: str) -> None:
    """Raise Forbidden unless `person` asked for that reply (HTTP callers may judge only theirs)."""
    if conversations.reply(db, reply_id).person != person:
        raise Forbidden("That answer was given to somebody else.")


def _judged(db: Database, reply_id: str) -> Reply:
    """The reply, if it can be judged: an outage is nobody's bad answer."""
    found = conversations.reply(db, reply_id)
    if found.status == "failed":
        raise Conflict("That answer failed on our side; it can't be rated.")
    if found.status not in ANSWERED:
        raise Conflict("That answer is still being written; rate it when it has ended.")
    return found


def _checked(text: str) -> str:
    text = text.strip()
    if not text:
        raise Invalid("The text is empty.")
    if "\x00" in text or not pairs.encodable(text):
        raise Invalid("The text has characters that are not valid Unicode text.")
    if len(text) > MAX_CHARS:
        raise Invalid(f"The text has {len(text):,} characters; at most {MAX_CHARS:,} fit.")
    return text


def _sum_up(db: Database, judged: Reply, judgement: Rating, change: int) -> None:
    """Add a thumb to what is kept of it, or take it out."""
    if judgement.kind != "thumb" or judgement.over_cap:
        return
    rating_totals.tally(db, judged, judgement.person, judgement.value == 1, change)
    if judgement.counts:
        rating_totals.rate(db, judged, judgement.value == 1, change)


def _replace(
    db: Database,
    before: Rating | None,
    judged: Reply,
    person: str,
    kind: Kind,
    value: float | None = None,
    text: str = "",
    pair_id: int | None = None,
) -> Rating:
    """Let a new judgement stand in the place of `before`. A changed mind takes no other share of
    the day than the judgement it replaces."""
    now = now_us()
    over = (
        before.over_cap
        if before
        else rating_totals.over_cap(db, judged.domain_id, person, kind, now)
    )
    sound = rating_totals.says_something(db, judged, kind)
    if before is not None:
        _supersede(db, before)
    insert(
        db,
        "feedback",
        reply_id=judged.id,
        person=person,
        kind=kind,
        value=value,
        text=text,
        pair_id=pair_id,
        counts=int(sound and not over and not raters.quarantined(db, judged.domain_id, person)),
        over_cap=int(over),
        created_at=now,
    )
    found = live(db, judged.id, person, kind)
    if found is None:
        raise Conflict("The judgement was changed at the same moment; try again.")
    return found


def _supersede(db: Database, before: Rating) -> None:
    sql = "UPDATE feedback SET live = 0, superseded_at = ? WHERE id = ?"
    db.execute(sql, [now_us(), before.id])


def _drop_pair(db: Database, before: Rating, why: review_status.Reason) -> None:
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
        review_status.withdraw(db, pair.id, why)
