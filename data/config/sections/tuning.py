"""`[tuning]`: how adapters are trained."""

from pydantic import Field

from data.config.sections.fields import Section


class TuningSettings(Section):
    """How adapters are trained, unless a recipe says otherwise."""

    auto_retrain_pairs: int = Field(
        default=0,
        ge=0,
        description="Queue a retrain of a domain when it has this many newly approved pairs. "
        "`0`: never.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="CPU threads of a tuning run. `0`: one for each core, and half as many while "
        "people ask questions.",
    )
    max_attempts: int = Field(
        default=2,
        ge=1,
        le=10,
        description="The number of attempts if the process of a run crashes. After the last "
        "one, the run has failed.",
    )
