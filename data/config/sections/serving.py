"""`[serving]`: the engines."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from data.config.sections.fields import LAST_PORT, Section, TextList, is_address
from data.lora_limits import COMMON_RANKS, MAX_RANK

LEAST_MINUTES = 10  # the shortest sleep hours
HOURS = r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$"


def _rank(value: int) -> int:
    """Check a rank limit for engines; 0 stands for the largest rank needed."""
    if value not in (0, *COMMON_RANKS):
        *others, last = COMMON_RANKS
        raise ValueError(f"it must be 0, {', '.join(map(str, others))} or {last}")
    return value


Rank = Annotated[int, AfterValidator(_rank)]


class ServingSettings(Section):
    """The vLLM engines: started here, or, with `url`, run by you."""

    url: TextList = Field(
        default=(),
        description="Addresses of engines that you run yourself, such as "
        '`["http://10.0.0.5:8000"]`. The settings about starting an engine then have no effect.',
    )
    replicas: int = Field(
        default=1,
        ge=1,
        le=16,
        description="The number of engines to start, on consecutive ports from `port` on. With two "
        "or more, a crash or a restart does not interrupt answers.",
    )
    port: int = Field(
        default=8100,
        ge=1,
        le=LAST_PORT,
        description="The port of the first engine. Engines listen on loopback only, because vLLM's "
        "own API has no access control.",
    )
    max_model_len: int = Field(
        default=1024,
        ge=128,
        description="The length limit in tokens of a question with its history, references and "
        "answer. The default holds six earlier questions with answers of 25 words, the references "
        "and an answer. Raise it for longer answers: without room, the last references and the "
        "oldest turns are left out. On a GPU, twice the length takes memory from a run beside it.",
    )
    max_loras: int = Field(
        default=0,
        ge=0,
        le=256,
        description="The number of adapters in one batch. `0`: as many as there are to serve.",
    )
    max_lora_rank: Rank = Field(
        default=0,
        description="The largest adapter rank that engines accept: one of "
        f"{', '.join(f'`{rank}`' for rank in COMMON_RANKS)}. `0`: the largest rank among the "
        "adapters to serve.",
    )
    quantization: Literal["none", "bitsandbytes"] = Field(
        default="none",
        description='`"bitsandbytes"` serves the base model in NF4 (QLoRA), which takes less '
        'memory; `"none"` as its files are. Runs train on the base in the same format. For engines '
        "that you run yourself, say here how they serve it.",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="bfloat16", description="The precision of the base model's weights."
    )
    tool_call_parser: str = Field(
        default="",
        pattern=r"^[a-zA-Z0-9_.-]*$",
        description="vLLM's parser for the calls of tools that this base writes, such as "
        '`"hermes"` (`vllm serve --help` lists them). With it, callers may leave it to the model '
        'whether to call a tool (`tool_choice: "auto"`); calls that they demand need none. For '
        "engines that you run yourself, say here which one they use.",
    )
    canary_agreement: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="The share of an adapter's reference outputs (the first tokens of a few "
        "answers, recorded by training) that an engine must reproduce before people get the "
        "adapter.",
    )
    gpu_memory_fraction: float = Field(
        default=0.85,
        gt=0,
        le=1,
        description="The share of the GPU's memory that the engine may use.",
    )
    gpu_sharing: Literal["off", "split", "sleep"] = Field(
        default="off",
        description='How serving and tuning share one GPU. `"split"`: both hold memory at the same '
        'time. `"sleep"`: the engine sleeps while a run tunes.',
    )
    sleep_hours: str = Field(
        default="",
        description='With `gpu_sharing = "sleep"`: the hours, in local time, when the engine may '
        'sleep for a run, such as `"22:00-06:00"`. At least ten minutes. `""`: at any time.',
    )
    kv_cache_gib: int = Field(
        default=1,
        ge=1,
        description="GiB of memory for the KV cache of each engine. CPU engines only.",
    )
    lora_operations: Literal["grouped", "stock"] = Field(
        default="grouped",
        description='How CPU engines compute adapters. `"grouped"`: grouped by adapter, which is '
        "about four times as fast; vLLM's own operations are used when a check at the start fails, "
        'or when its version is unknown. `"stock"`: with vLLM\'s own operations.',
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="CPU threads of all engines together. CPU engines only. `0`: half of the "
        "cores.",
    )
    start_timeout_s: int = Field(
        default=300, ge=10, description="Seconds that an engine may take to start."
    )
    probe_after_s: int = Field(
        default=10,
        ge=0,
        description="An engine from which nothing came for so many seconds is asked for one token, "
        "to see whether it hangs. `0`: never.",
    )
    probe_timeout_s: int = Field(
        default=30,
        ge=1,
        description="Seconds that this token may take while nothing else comes from the engine "
        "either. Then the engine gets no questions; if Understudy has started it, it is started "
        "again. Set more where reading a long question takes longer, as on slow CPUs.",
    )

    @field_validator("url")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        """Check the addresses and remove a slash at the end. Host and port name the engine."""
        for url in urls:
            if not is_address(url):
                raise ValueError(f"{url!r} is not an address such as http://10.0.0.5:8000")
        names = [urlsplit(url).netloc for url in urls]
        duplicate = next((name for name in names if names.count(name) > 1), None)
        if duplicate is not None:
            raise ValueError(f"{duplicate} is listed twice")
        return tuple(url.rstrip("/") for url in urls)

    @field_validator("sleep_hours")
    @classmethod
    def _hours(cls, text: str) -> str:
        if not re.fullmatch(HOURS, text):
            raise ValueError('it must be hours such as "22:00-06:00", or "" for any time')
        minutes = [int(at[:2]) * 60 + int(at[3:]) for at in text.split("-") if at]
        if minutes and 0 < (minutes[-1] - minutes[0]) % (24 * 60) < LEAST_MINUTES:
            raise ValueError(
                f"it must be at least {LEAST_MINUTES} minutes, because an engine wakes before the "
                "end"
            )
        return text

    @property
    def rank_limit(self) -> int:
        """The largest adapter rank that can be served."""
        return self.max_lora_rank or MAX_RANK
