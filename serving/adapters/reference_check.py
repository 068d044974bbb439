"""Whether an engine serves an adapter as it was trained: compares its outputs with the reference
outputs that were recorded in training.

The engine continues each reference prompt greedily, and its tokens are compared with the recorded
ones. After a different token it continues from the recorded one (teacher forcing), so that one
early difference does not make the rest look wrong. Requests take the same path as people's
questions. vLLM's `prompt_logprobs` would need no second request, but with adapters it crashes the
engine of the CPU build (0.32, any base) and leaves layers out on others
(https://github.com/vllm-project/vllm/issues/29955 and /issues/51594).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from data.adapters.registry import ReferenceOutput
from serving.engine.management_api import EngineRefused, ask


@dataclass(frozen=True)
class Limits:
    rounds: int  # requests at most; tokens still open after them count as disagreement
    timeout_s: float  # of each
    likeliest: int = 0  # tokens whose probability the engine reports, at each position


REFERENCE_OUTPUTS = Limits(4, 30.0)
PROBES = Limits(16, 300.0, 5)  # many long answers, where early differences are normal
TOKEN = "token_id:"  # noqa: S105 - vLLM's prefix of a token id


@dataclass(frozen=True)
class EngineOutput:
    """The tokens that an engine generated, and their probabilities."""

    tokens: Sequence[int]
    likely: Sequence[dict[int, float]]  # log probabilities at each position, if reported


@dataclass(frozen=True)
class Compared:
    agreement: float  # share of the tokens, 0 to 1
    leads: tuple[float | None, ...]
    """For each different token: by how many nats the engine found it likelier than the recorded
    one; None: the recorded one is not among its likeliest, or it reported none."""


@dataclass
class _Comparison:
    """The comparison of one reference output."""

    reference: ReferenceOutput
    compared: int = 0  # tokens so far
    agreed: int = 0
    leads: list[float | None] = field(default_factory=list)

    @property
    def prompt(self) -> list[int]:
        return [*self.reference.prompt, *self.reference.answer[: self.compared]]

    @property
    def left(self) -> int:
        return len(self.reference.answer) - self.compared

    def compare(self, output: EngineOutput) -> None:
        """Compare the next tokens of the engine, up to the first different one."""
        left = self.reference.answer[self.compared :]
        for at, (expected, token) in enumerate(zip(left, output.tokens, strict=False)):
            self.compared += 1
            if token != expected:
                likely = output.likely[at] if at < len(output.likely) else {}
                both = token in likely and expected in likely
                self.leads.append(likely[token] - likely[expected] if both else None)
                return
            self.agreed += 1


def agreement(
    url: str,
    served_name: str,
    references: Sequence[ReferenceOutput],
    limits: Limits = REFERENCE_OUTPUTS,
) -> float | None:
    """The share of the reference tokens that the engine at `url` finds likeliest under
    `served_name`, 0 to 1; None when there are no references. An engine that agrees on all is asked
    once, others up to the number of rounds in `limits`. Raises EngineRefused when the engine does
    not answer, or answers under another name."""
    found = compare(url, served_name, references, limits)
    return None if found is None else found.agreement


def compare(
    url: str, served_name: str, references: Sequence[ReferenceOutput], limits: Limits
) -> Compared | None:
    """As `agreement`, with details about the different tokens."""
    unfinished = all_of_them = [_Comparison(one) for one in references if one.answer]
    if not all_of_them:
        return None
    salt = secrets.token_hex(16)  # no cached prefix, which may come from an earlier load
    for _ in range(limits.rounds):
        outputs = _continued(url, served_name, unfinished, salt, limits)
        for one, output in zip(unfinished, outputs, strict=True):
            one.compare(output)
        unfinished = [one for one in unfinished if one.left]
        if not unfinished:
            break
    tokens = sum(len(one.reference.answer) for one in all_of_them)
    leads = tuple(lead for one in all_of_them for lead in one.leads)
    return Compared(sum(one.agreed for one in all_of_them) / tokens, leads)


def _continued(
    url: str, served_name: str, comparisons: Sequence[_Comparison], salt: str, limits: Limits
) -> list[EngineOutput]:
    """The engine's continuation of each comparison, in order; at least one token each."""
    body: dict[str, Any] = {
        "model": served_name,
        "prompt": [one.prompt for one in comparisons],
        "max_tokens": max(one.left for one in comparisons),
        "temperature": 0,
        "ignore_eos": True,  # an output that ends too early is compared like any other
        "return_token_ids": True,
        "cache_salt": salt,
    }
    if limits.likeliest:
        body |= {"logprobs": limits.likeliest, "return_tokens_as_token_ids": True}
    answer = ask(f"{url}/v1/completions", body, limits.timeout_s)
    try:
        model, outputs = answer["model"], _outputs(answer["choices"])
    except (KeyError, TypeError, ValueError) as error:
        raise EngineRefused(
            "The engine does not return token ids, so the adapter cannot be checked. It must be "
            "vLLM 0.10.2 or later."
        ) from error
    if model != served_name:
        raise EngineRefused(f"The engine was asked for {served_name} and answered as {model}.")
    if len(outputs) != len(comparisons) or not all(one.tokens for one in outputs):
        raise EngineRefused(f"The engine did not continue all reference prompts of {served_name}.")
    return outputs


def _outputs(choices: Any) -> list[EngineOutput]:
    ordered = sorted(choices, key=lambda choice: choice["index"])
    return [
        EngineOutput(
            [int(token) for token in choice["token_ids"]],
            [
                _likely(position)
                for position in (choice.get("logprobs") or {}).get("top_logprobs") or ()
            ],
        )
        for choice in ordered
    ]


def _likely(position: Any) -> dict[int, float]:
    return {int(name.removeprefix(TOKEN)): float(p) for name, p in (position or {}).items()}
