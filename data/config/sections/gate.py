"""`[gate]`: the checks that a new adapter must pass."""

from pydantic import Field

from data.config.sections.fields import Section


class GateSettings(Section):
    """The checks that a new adapter must pass before people can get it."""

    enforce: bool = Field(
        default=True,
        description="Reject adapters that fail the gate. `false`: the gate only reports, and the "
        "adapter becomes a candidate anyway.",
    )
    margin: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="The loss of quality that the gate allows: token F1 on golden and replayed "
        "questions, and the relative increase of the validation loss.",
    )
    chance: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Significance level of the gate. A loss of quality counts only if chance alone "
        "would cause it with a lower probability than this.",
    )
    parity: float = Field(
        default=0.99,
        ge=0,
        le=1,
        description="The share of the trainer's answer tokens that an engine must also find "
        "likeliest. Near ties do not count.",
    )
    right: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="The share of the golden questions that an adapter must answer right, word for "
        "word or with the same numbers, names, commands and negations. Fewer are accepted only if "
        "chance explains them.",
    )
    repeats: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="The share of its own training pairs that an adapter must repeat, word for "
        "word or in equivalent words.",
    )
    further_questions: int = Field(
        default=96,
        ge=0,
        le=2000,
        description="The number of questions that a new adapter is asked at most beside the golden "
        "and held-out ones: half of them its own pairs, the others old facts in other words, in "
        "conversations and repeated, the domain's suggested questions, and off-topic ones.",
    )
    search: bool = Field(
        default=False,
        description="Reject an adapter that answers golden questions right less often than the "
        "nearest approved answer does. `false`: the gate only reports it.",
    )
