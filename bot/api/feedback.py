"""`POST /v1/feedback`: a thumb, a reason, a better answer, whether it helped, which of two is best.

All that one call says is stored together or not at all. A member's key judges the replies that
its own people asked for; a reviewer's judges any.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlite_utils import Database

from bot.api import auth
from bot.service import Service
from data.conversations import conversations, side_by_side
from data.feedback import feedback, rating_totals
from data.people.keys import Key
from data.store.errors import Forbidden

router = APIRouter()


class FeedbackRequest(BaseModel):
    """What one person says about one reply."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thumb: Literal["up", "down", "none"] | None = None  # none: take it back
    reason: Annotated[str, Field(max_length=feedback.MAX_CHARS)] | None = None
    correction: Annotated[str, Field(max_length=feedback.MAX_CHARS)] | None = None
    helped: Literal["yes", "no", "none"] | None = None  # some time after the answer
    prefer: Literal["first", "second", "tie", "none"] | None = None  # of two shown together
    learn: bool = True  # false: the correction is kept, and nothing is learned from it

    @model_validator(mode="after")
    def _says_something(self) -> "FeedbackRequest":
        given = (self.thumb, self.reason, self.correction, self.helped, self.prefer)
        if all(part is None for part in given):
            raise ValueError("give a thumb, a reason or a correction, 'helped' or 'prefer'")
        return self


class KeyFeedbackRequest(FeedbackRequest):
    """As it comes over the API, where `id` of the completion is the reply's id."""

    reply_id: Annotated[str, Field(max_length=100)] | None = None
    id: Annotated[str, Field(max_length=100)] | None = None
    user: Annotated[str, Field(max_length=256)] | None = None  # who judges; else who asked

    @model_validator(mode="after")
    def _names_a_reply(self) -> "KeyFeedbackRequest":
        if (self.reply_id is None) == (self.id is None):
            raise ValueError("name the reply, by 'reply_id' or by 'id'")
        return self


@router.post("/feedback", status_code=201)
async def judge(
    request: Request, given: KeyFeedbackRequest, key: Annotated[Key, Depends(auth.member)]
) -> dict[str, Any]:
    service: Service = request.app.state.service
    reply_id = given.reply_id or given.id or ""

    def write(db: Database) -> dict[str, Any]:
        asked_by = conversations.reply(db, reply_id).person
        own = auth.speaks_for(key, asked_by)
        if not own and not auth.allows(key, "reviewer"):
            raise Forbidden("That answer was given to somebody else.")
        judge = asked_by if own and not given.user else auth.person(key, given.user)
        return store(db, reply_id, judge, given)

    return await service.store.submit(write)


def store(db: Database, reply_id: str, person: str, given: FeedbackRequest) -> dict[str, Any]:
    """Store a judgement; returns what stands now, with the pair that a correction became."""
    _store_votes(db, reply_id, person, given)
    if given.reason is not None:
        feedback.reason(db, reply_id, person, given.reason)
    if given.correction is not None:
        feedback.correction(db, reply_id, person, given.correction, given.learn)
    thumb = feedback.live(db, reply_id, person, "thumb")
    helped = feedback.live(db, reply_id, person, "follow_up")
    correction = feedback.live(db, reply_id, person, "correction")
    return {
        "reply_id": reply_id,
        "thumb": None if thumb is None else "up" if thumb.value == 1 else "down",
        "helped": None if helped is None else "yes" if helped.value == 1 else "no",
        "prefer": _preferred(db, reply_id, person),
        "pair_id": None if correction is None else correction.pair_id,
    }


def _store_votes(db: Database, reply_id: str, person: str, given: FeedbackRequest) -> None:
    if given.thumb == "none":
        feedback.withdraw(db, reply_id, person, "thumb")
    elif given.thumb is not None:
        feedback.thumb(db, reply_id, person, given.thumb == "up")
    if given.helped == "none":
        feedback.withdraw(db, reply_id, person, "follow_up")
    elif given.helped is not None:
        feedback.follow_up(db, reply_id, person, given.helped == "yes")
    if given.prefer == "none":
        feedback.withdraw(db, reply_id, person, "pairwise")
    elif given.prefer is not None:
        feedback.prefer(db, reply_id, person, given.prefer)


def _preferred(db: Database, reply_id: str, person: str) -> str | None:
    """first, second, tie; None: shown alone, or not chosen yet."""
    if not rating_totals.in_a_pairing(db, reply_id):
        return None
    chosen = feedback.live(db, side_by_side.of_reply(db, reply_id).first_reply, person, "pairwise")
    names = {value: name for name, value in feedback.PREFERENCES.items()}
    return None if chosen is None or chosen.value is None else names[chosen.value]
