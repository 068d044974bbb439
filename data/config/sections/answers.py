"""`[answers]`: where answers come from."""

from typing import Literal

from pydantic import Field

from data.config.sections.fields import Section


class AnswersSettings(Section):
    """Where answers come from: from approved pairs, or from the adapter alone."""

    mode: Literal["grounded", "quote", "adapter"] = Field(
        default="grounded",
        description='`"grounded"`: every question searches the approved pairs. An adapter answers '
        "from them, an approved answer is quoted where no adapter can answer, and a question that "
        'no pair answers is declined. `"quote"`: the nearest approved answer is given word for '
        'word, or the question is declined; no model writes answers. `"adapter"`: the adapter, or '
        "the bare base model, answers everything without a search.",
    )
    decline_below: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="The similarity between a question and its best pair below which the bot "
        "declines to answer, in place of the confidence. `0`: with the shipped encoder, the "
        "confidence decides, from a measured threshold on (`understudy domains calibrate`); with "
        "other encoders, a similarity of 0.62; by words, of 0.4.",
    )
    references: int = Field(
        default=4,
        ge=1,
        le=10,
        description="The number of approved pairs that an answer rests on at most.",
    )
    recalibrate_minutes: float = Field(
        default=15.0,
        ge=0,
        description="After pairs or golden questions have changed, the confidence from which on a "
        "domain answers is measured anew, if it was measured before: at most once in so many "
        "minutes. `0`: only by `understudy domains calibrate` and with each new adapter.",
    )
