"""`POST /v1/feedback`: ratings, reasons, corrections and preferences.

Each call is stored completely or not at all. A member's key may rate the replies to its own users;
a reviewer's key may rate any reply.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlite_utils import Database

from bot.api import auth
from bot.api.rate_bounds import bound_key_writes
from bot.service import Service
from data.conversations import conversations, side_by_side
from data.feedback import feedback, rating_totals, unanswered
from data.people.keys import Key
from data.people.roles import at_least
from data.store.errors import Forbidden

router = APIRouter(tags=["Feedback"])


class FeedbackRequest(BaseModel):
    """One person's feedback on one reply."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thumb: Literal["up", "down", "none"] | None = Field(
        default=None, description='A rating. `"none"` withdraws it.'
    )
    reason: Annotated[str, Field(max_length=feedback.MAX_CHARS)] | None = Field(
        default=None, description="Why the answer is good or bad."
    )
    correction: Annotated[str, Field(max_length=feedback.MAX_CHARS)] | None = Field(
        default=None, description="A better answer. It becomes a pending pair."
    )
    helped: Literal["yes", "no", "none"] | None = Field(
        default=None,
        description='Whether the answer helped, some time afterwards. `"none"` withdraws it.',
    )
    prefer: Literal["first", "second", "tie", "none"] | None = Field(
        default=None,
        description='Which of two answers shown together is better. `"none"` withdraws it.',
    )
    want_person: Literal[True] | None = Field(
        default=None,
        description="`true`: a person should answer this declined question. Only its asker may "
        "say so.",
    )
    learn: bool = Field(
        default=True, description="`false`: keep the correction, but do not make it a pair."
    )

    @model_validator(mode="after")
    def _has_feedback(self) -> "FeedbackRequest":
        ratings = (self.thumb, self.reason, self.correction, self.helped, self.prefer)
        given = (*ratings, self.want_person)
        if all(part is None for part in given):
            raise ValueError(
                "give at least one of 'thumb', 'reason', 'correction', 'helped', 'prefer' and "
                "'want_person'"
            )
        return self


class KeyFeedbackRequest(FeedbackRequest):
    """Feedback over the API, which names the reply by `reply_id` or by the completion's `id`."""

    reply_id: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, description="The `id` of the answer. Give either this or `id`."
    )
    id: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, description="The same as `reply_id`."
    )
    user: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="The person who rates. Default: the person who asked."
    )

    @model_validator(mode="after")
    def _names_a_reply(self) -> "KeyFeedbackRequest":
        if (self.reply_id is None) == (self.id is None):
            raise ValueError("name the reply with either 'reply_id' or 'id'")
        return self


@router.post(
    "/feedback",
    status_code=201,
    dependencies=[Depends(bound_key_writes)],
    response_description="The feedback as stored now: `reply_id`, `thumb`, `helped`, `prefer`, "
    "and `pair_id` of the pair that the correction became.",
    responses={
        403: {
            "description": "A member's key rated an answer that its people did not get, or "
            "`prefer` came from another person than the one who asked."
        },
        404: {"description": "There is no such answer, or `prefer` named an answer shown alone."},
        409: {"description": "The answer failed, or is still being written."},
        503: {"description": "The keys have stored as much as `[bot] key_storage_mib` allows."},
    },
)
async def give_feedback(
    request: Request, given: KeyFeedbackRequest, key: Annotated[Key, Depends(auth.member)]
) -> dict[str, Any]:
    """Give feedback on an answer: a rating, a reason, a correction, or a preference.

    Give at least one of them. All of a request is stored, or nothing. A member's key rates the
    answers that its own people got; a reviewer's key rates any answer."""
    service: Service = request.app.state.service
    await service.chat.storage.check(auth.person(key, given.user))
    reply_id = given.reply_id or given.id or ""

    def write(db: Database) -> dict[str, Any]:
        asked_by = conversations.reply(db, reply_id).person
        own = auth.speaks_for(key, asked_by)
        if not own and not at_least(key.role, "reviewer"):
            raise Forbidden("This answer was given to somebody else.")
        rater = asked_by if own and not given.user else auth.person(key, given.user)
        return store(db, reply_id, rater, given)

    return await service.store.submit(write)


def store(db: Database, reply_id: str, person: str, given: FeedbackRequest) -> dict[str, Any]:
    """Store feedback; returns the feedback that now counts, and the id of the pair made from the
    correction."""
    _store_ratings(db, reply_id, person, given)
    if given.want_person:
        unanswered.want_person(db, reply_id, person)
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


def _store_ratings(db: Database, reply_id: str, person: str, given: FeedbackRequest) -> None:
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
    """first, second or tie; None if the answer was shown alone or nothing has been chosen yet."""
    if not rating_totals.shown_side_by_side(db, reply_id):
        return None
    chosen = feedback.live(db, side_by_side.of_reply(db, reply_id).first_reply, person, "pairwise")
    names = {value: name for name, value in feedback.PREFERENCES.items()}
    return None if chosen is None or chosen.value is None else names[chosen.value]
