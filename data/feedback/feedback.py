"""Feedback on answers. A person has one current entry per reply and kind; earlier entries are kept
as history.

The kinds are a thumb, a written reason, a better answer (correction), a preference between two
answers (pairwise), and a later report of whether the answer helped (follow-up). Feedback is
accepted once the answer has ended. `rating_totals.py` decides which ratings count and updates their
totals in the same transaction, so results never need a scan of all replies. A correction becomes a
pending pair that names the reply and the author.
"""

from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data import domains
from data.conversations import conversations, side_by_side
from data.conversations.conversations import Reply
from data.feedback import raters, rating_totals
from data.pairs import pairs, reply_sources, review_status
from data.pairs.question import fact_of_prompt
from data.people import consent, figures
from data.quality import private_words
from data.store.clock import now_us
from data.store.db import insert, row, rows, value
from data.store.errors import Conflict, Forbidden, Invalid
from data.visible_text import marked

Kind = Literal["thumb", "reason", "correction", "pairwise", "follow_up"]
Preferred = Literal["first", "second", "tie"]
PREFERENCES: dict[Preferred, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}
MAX_CHARS = 8_000
MAX_PENDING = {"web": 1_000, "http": 10_000}  # corrections of a domain by such people
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
    counts: bool  # see `rating_totals.py`; one that does not count is still stored and shown
    over_cap: bool  # given after the person had reached the daily cap
    created_at: int


def thumb(db: Database, reply_id: str, person: str, up: bool) -> Rating:
    """Rate an answer; a second thumb of the same person replaces the first.

    Raises NotFound, or Conflict if the answer is unfinished or failed."""
    reply = _rateable_reply(db, reply_id, person)
    before = live(db, reply_id, person, "thumb")
    now_value = 1.0 if up else 0.0
    if before is not None and before.value == now_value:
        return before
    if before is not None:
        _add_to_totals(db, reply, before, -1)
    after = _replace(db, before, reply, person, "thumb", value=now_value)
    _add_to_totals(db, reply, after, +1)
    if before is None and not after.over_cap:
        source = reply.adapter_id or 0, reply.variant_id or 0
        raters.check_rater(db, reply.domain_id, person, source)
    return live(db, reply_id, person, "thumb") or after


def follow_up(db: Database, reply_id: str, person: str, helped: bool) -> Rating:
    """Record, some time after an answer, whether it helped. Raises the same errors as `thumb`."""
    reply = _rateable_reply(db, reply_id, person)
    before = live(db, reply_id, person, "follow_up")
    now_value = 1.0 if helped else 0.0
    if before is not None and before.value == now_value:
        return before
    return _replace(db, before, reply, person, "follow_up", value=now_value)


def prefer(db: Database, reply_id: str, person: str, which: Preferred) -> Rating:
    """Record which of two answers to one question is better; `reply_id` is either of the two.

    Raises NotFound if the answer was shown alone, Forbidden unless `person` asked the question, and
    Conflict until both answers have ended."""
    pairing = side_by_side.of_reply(db, reply_id)
    if pairing.person != person:
        raise Forbidden("Only the person who asked can choose between these two answers.")
    first, _ = (_rateable_reply(db, r, person) for r in (pairing.first_reply, pairing.second_reply))
    before = live(db, first.id, person, "pairwise")
    now_value = PREFERENCES[which]
    if before is not None and before.value == now_value:
        return before
    rating = _replace(db, before, first, person, "pairwise", value=now_value)
    if before is None and not rating.over_cap:
        raters.check_position_bias(db, first.domain_id, person)
    return live(db, first.id, person, "pairwise") or rating


def reason(db: Database, reply_id: str, person: str, text: str) -> Rating:
    """Record a written reason: what was right or wrong about the answer."""
    reply = _rateable_reply(db, reply_id, person)
    text = _checked(text)
    before = live(db, reply_id, person, "reason")
    if before is not None and before.text == text:
        return before
    return _replace(db, before, reply, person, "reason", text=text)


def correction(db: Database, reply_id: str, person: str, text: str, learn: bool = True) -> Rating:
    """Record a better answer and add it to the reply's domain as a pending pair. Without `learn`,
    or if the author or the person who asked has opted out of learning, only the correction is
    stored and no pair is created. Raises the errors of `thumb`, and Conflict if there are no words
    of the question to make a pair of.

    The pair is always in the training split. If another pair asks the same question, the new pair
    shares its fact, so that a retrain gives the new answer to every phrasing of that fact. So does
    a correction of an approved answer that was quoted because its question was the same. Contact
    data and secrets are masked in the pair.
    """
    reply = _rateable_reply(db, reply_id, person)
    text = _checked(text)
    before = live(db, reply_id, person, "correction")
    learn = learn and consent.may_learn(db, person, reply.person)
    if before is not None and before.text == text and (before.pair_id is not None) == learn:
        return before
    if before is not None:
        _drop_pair(db, before, "replaced" if learn else "taken back")
    if not learn:
        return _replace(db, before, reply, person, "correction", text=text)
    question, _ = conversations.exchange(db, reply_id)
    if not question:
        raise Conflict("The question was not stored, so a correction can't become a pair.")
    domain = domains.by_id(db, reply.domain_id)
    _check_room(db, domain.id, person)
    fact = fact_of_prompt(db, domain, question) or reply_sources.quoted_fact(db, reply_id)
    draft = pairs.Draft(prompt=question, response=text, fact=fact, split="train")
    added = private_words.add_for_review(
        db, domain, draft, source="correction", source_ref=reply_id, author=person
    )
    pair_id = added.pair.id if added.pair else None
    return _replace(db, before, reply, person, "correction", text=text, pair_id=pair_id)


def withdraw(db: Database, reply_id: str, person: str, kind: Kind) -> None:
    """Withdraw the person's own feedback of this kind; other people's feedback stays."""
    if kind == "pairwise":
        reply_id = side_by_side.of_reply(db, reply_id).first_reply
    before = live(db, reply_id, person, kind)
    if before is None:
        return
    _add_to_totals(db, conversations.reply(db, reply_id), before, -1)
    if kind == "correction":
        _drop_pair(db, before, "taken back")
    _supersede(db, before)


COLUMNS = "id, reply_id, person, kind, value, text, pair_id, counts, over_cap, created_at"


def live(db: Database, reply_id: str, person: str, kind: Kind) -> Rating | None:
    """The person's current feedback of this kind, or None."""
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
    """Numbers of current thumbs up, thumbs down and corrections in a domain, for display."""
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


def require_asker(db: Database, reply_id: str, person: str) -> None:
    """Raise Forbidden unless `person` asked the question (people rate only their own answers)."""
    if conversations.reply(db, reply_id).person != person:
        raise Forbidden("That answer was given to somebody else.")


def _rateable_reply(db: Database, reply_id: str, person: str) -> Reply:
    """The reply, if it can be rated. Raises Conflict while it is being written, and for one that
    failed: an outage says nothing about the quality of answers. A person who comes back after an
    erasure is recognised first, so that this is not their first rating again."""
    found = conversations.reply(db, reply_id)
    if figures.recognise(db, found.domain_id, person):
        found = conversations.reply(db, reply_id)
    if found.status == "failed":
        raise Conflict("That answer failed on our side; it can't be rated.")
    if found.status not in ANSWERED:
        raise Conflict("That answer is still being written; rate it when it is complete.")
    return found


def _check_room(db: Database, domain_id: int, person: str) -> None:
    """Raise Conflict if too many corrections by people of this kind wait for review, so that nobody
    can bury the others' in invented people's."""
    prefix = person.partition(":")[0]
    if prefix not in MAX_PENDING:
        return
    sql = (
        "SELECT count(*) FROM pairs WHERE domain_id = ? AND status = 'pending' "
        "AND source = 'correction' AND author >= ? AND author < ?"
    )
    pending = int(value(db, sql, [domain_id, f"{prefix}:", f"{prefix};"]))
    if pending >= MAX_PENDING[prefix]:
        raise Conflict(
            "Too many corrections are waiting for review, so yours was not stored. Please try "
            "again when the reviewers have worked through them."
        )


def _checked(text: str) -> str:
    text = marked(text.strip()) if "\x00" not in text else text
    if not text:
        raise Invalid("The text is empty.")
    if "\x00" in text or not pairs.encodable(text):
        raise Invalid("The text has characters that are not valid Unicode text.")
    if len(text) > MAX_CHARS:
        raise Invalid(f"The text has {len(text):,} characters; the limit is {MAX_CHARS:,}.")
    return text


def _add_to_totals(db: Database, reply: Reply, rating: Rating, change: int) -> None:
    """Add a thumb to the totals (`change` +1), or remove it (-1)."""
    if rating.kind != "thumb" or rating.over_cap:
        return
    rating_totals.add_to_tallies(db, reply, rating.person, rating.value == 1, change)
    if rating.counts:
        rating_totals.add_to_ratings(db, reply, rating.person, rating.value == 1, change)


def _replace(
    db: Database,
    before: Rating | None,
    reply: Reply,
    person: str,
    kind: Kind,
    value: float | None = None,
    text: str = "",
    pair_id: int | None = None,
) -> Rating:
    """Store new feedback in place of `before`. A replacement does not count towards the daily cap
    again."""
    now = now_us()
    over = (
        before.over_cap
        if before
        else rating_totals.over_cap(db, reply.domain_id, person, kind, now)
    )
    informative = rating_totals.is_informative(db, reply, kind)
    if before is not None:
        _supersede(db, before)
    insert(
        db,
        "feedback",
        reply_id=reply.id,
        person=person,
        kind=kind,
        value=value,
        text=text,
        pair_id=pair_id,
        counts=int(
            informative and not over and not raters.quarantined(db, reply.domain_id, person)
        ),
        over_cap=int(over),
        created_at=now,
    )
    found = live(db, reply.id, person, kind)
    if found is None:
        raise Conflict("This feedback was changed at the same moment; try again.")
    return found


def _supersede(db: Database, before: Rating) -> None:
    sql = "UPDATE feedback SET live = 0, superseded_at = ? WHERE id = ?"
    db.execute(sql, [now_us(), before.id])


def _drop_pair(db: Database, before: Rating, why: review_status.Reason) -> None:
    """Reject the pair of a correction that was replaced or withdrawn, if the pair is still pending
    and nobody else gave the same correction."""
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
