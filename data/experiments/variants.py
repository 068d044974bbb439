"""Arms: what the sides of a comparison may differ in, before they are variants of one.

An adapter, a system prompt instead of the domain's, and sampling settings instead of the
deployment's. What a caller of the API asks for goes before all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from data.adapters.registry import Adapter
from data.store.errors import Invalid

MAX_PROMPT_CHARS = 32_000

# name -> how to read it from text, and what it must be
SAMPLING: dict[str, tuple[Callable[[str], float], float, float]] = {
    "temperature": (float, 0.0, 2.0),
    "top_p": (float, 0.01, 1.0),
    "max_tokens": (int, 1, 100_000),
    "presence_penalty": (float, -2.0, 2.0),
    "frequency_penalty": (float, -2.0, 2.0),
}


@dataclass(frozen=True)
class VariantSpec:
    adapter: Adapter | None  # None: the bare base
    system_prompt: str | None = None  # None: the domain's own
    sampling: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int | None, str | None, bytes]:
        """What it differs in."""
        settings = orjson.dumps(dict(self.sampling), option=orjson.OPT_SORT_KEYS)
        return self.adapter.id if self.adapter else None, self.system_prompt, settings


def check(arm: VariantSpec) -> None:
    """Raises Invalid for a prompt or settings that can't be."""
    if arm.system_prompt is not None and len(arm.system_prompt) > MAX_PROMPT_CHARS:
        raise Invalid(f"A system prompt has at most {MAX_PROMPT_CHARS:,} characters.")
    for name, setting in arm.sampling.items():
        if name not in SAMPLING:
            raise Invalid(f"{name!r} is no sampling setting (there are: {', '.join(SAMPLING)}).")
        kind, least, most = SAMPLING[name]
        whole = isinstance(setting, int) and not isinstance(setting, bool)
        if not (whole or (kind is float and isinstance(setting, float))):
            raise Invalid(f"{name} must be a {'whole ' if kind is int else ''}number.")
        if not least <= setting <= most:
            raise Invalid(f"{name} must lie between {least:g} and {most:g}.")


def setting(text: str) -> tuple[str, float]:
    """`temperature=0.2` as name and value. Raises Invalid."""
    name, _, number = text.partition("=")
    if name not in SAMPLING:
        raise Invalid(f"{name!r} is no sampling setting (there are: {', '.join(SAMPLING)}).")
    try:
        return name, SAMPLING[name][0](number)
    except ValueError:
        raise Invalid(f"{number!r} is no value for {name}.") from None
