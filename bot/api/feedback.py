"""`POST /v1/feedback`: a thumb, a reason, a better answer, for one reply.

All that one call says is stored together or not at all. A member's key judges the replies that
its own people asked for; a reviewer's judges any.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlite_utils import Database

from bot import auth
from bot.service import Service
from data import conversations, feedback
from data.errors import Forbidden
from data.keys import Key

router = APIRouter()


class Judgement(BaseModel):
    """What one person says about one reply."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thumb: Literal["up", "down", "none"] | None = None  # none: take it back
    reason: Annotated[str, Field(max_length=feedback.MAX_CHARS)] | None = None
    correction: Annotated[str, Field(max_length=feedback.MAX_CHARS)] | None = None
    learn: bool = True  # false: the correction is kept, and nothing is learned from it

    @model_validator(mode="after")
    def _says_something(self) -> "Judgement":
        if self.thumb is None and self.reason is None and self.correction is None:
            raise ValueError("give a thumb, a reason or a correction")
        return self


class ApiJudgement(Judgement):
    """As it comes over the API, where `id` of the completion is the reply's id."""

    reply_id: Annotated[str, Field(max_length=100)] | None = None
    id: Annotated[str, Field(max_length=100)] | None = None
    user: Annotated[str, Field(max_length=256)] | None = None  # who judges; else who asked

    @model_validator(mode="after")
    def _names_a_reply(self) -> "ApiJudgement":
        if (self.reply_id is None) == (self.id is None):
            raise ValueError("name the reply, by 'reply_id' or by 'id'")
        return self


@router.post("/feedback", status_code=201)
async def judge(
    request: Request, given: ApiJudgement, key: Annotated[Key, Depends(auth.member)]
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


def store(db: Database, reply_id: str, person: str, given: Judgement) -> dict[str, Any]:
    """Store a judgement; returns what counts now, with the pair that a correction became."""
    if given.thumb == "none":
        feedback.withdraw(db, reply_id, person, "thumb")
    elif given.thumb is not None:
        feedback.thumb(db, reply_id, person, given.thumb == "up")
    if given.reason is not None:
        feedback.reason(db, reply_id, person, given.reason)
    if given.correction is not None:
        feedback.correction(db, reply_id, person, given.correction, given.learn)
    thumb = feedback.live(db, reply_id, person, "thumb")
    correction = feedback.live(db, reply_id, person, "correction")
    return {
        "reply_id": reply_id,
        "thumb": None if thumb is None else "up" if thumb.value == 1 else "down",
        "pair_id": None if correction is None else correction.pair_id,
    }
