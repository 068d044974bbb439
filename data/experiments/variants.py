"""The specification of a variant, before it belongs to an experiment.

A variant has an adapter. It can also have a system prompt that replaces the domain's, sampling
settings that replace the deployment's, and an answer mode that replaces both: `grounded` in
approved pairs, or `ungrounded`, by the adapter alone. Settings in an API request take precedence
over all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from data.adapters.registry import Adapter
from data.store.errors import Invalid

MAX_PROMPT_CHARS = 32_000
VariantMode = Literal["", "grounded", "adapter"]  # '': as the domain answers
MODES: dict[str, VariantMode] = {"grounded": "grounded", "ungrounded": "adapter"}  # as people say

# name -> type, minimum, maximum
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
    answer_mode: VariantMode = ""

    @property
    def key(self) -> tuple[int | None, str | None, bytes, str]:
        """Identifies the variant: two specifications with the same key are identical."""
        settings = orjson.dumps(dict(self.sampling), option=orjson.OPT_SORT_KEYS)
        adapter_id = self.adapter.id if self.adapter else None
        return adapter_id, self.system_prompt, settings, self.answer_mode


def check_spec(spec: VariantSpec) -> None:
    """Raises Invalid if the prompt or a setting is not valid."""
    if spec.system_prompt is not None and len(spec.system_prompt) > MAX_PROMPT_CHARS:
        raise Invalid(f"A system prompt has at most {MAX_PROMPT_CHARS:,} characters.")
    for name, setting in spec.sampling.items():
        _check_name(name)
        kind, least, most = SAMPLING[name]
        whole = isinstance(setting, int) and not isinstance(setting, bool)
        if not (whole or (kind is float and isinstance(setting, float))):
            raise Invalid(f"{name} must be a {'whole ' if kind is int else ''}number.")
        if not least <= setting <= most:
            raise Invalid(f"{name} must lie between {least:g} and {most:g}.")


def mode_named(name: str) -> VariantMode:
    """Read `grounded` or `ungrounded`. Raises Invalid."""
    if name not in MODES:
        raise Invalid(f"{name!r} is no way to answer (choose from: {', '.join(MODES)}).")
    return MODES[name]


def _check_name(name: str) -> None:
    if name not in SAMPLING:
        known = ", ".join(SAMPLING)
        raise Invalid(f"{name!r} is not a sampling setting (choose from: {known}).")


def setting(text: str) -> tuple[str, float]:
    """Read `temperature=0.2` as name and value. Raises Invalid."""
    name, _, number = text.partition("=")
    _check_name(name)
    try:
        return name, SAMPLING[name][0](number)
    except ValueError:
        raise Invalid(f"{number!r} is not a valid value for {name}.") from None
