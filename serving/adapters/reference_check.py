"""Whether an engine serves an adapter as it was trained: the questions recorded at training, asked
again.

The engine goes on greedily from each canary's prompt and is compared with the recorded answer
token by token. Where it says another token, it is asked again from the recorded one on (teacher
forcing), so that one early slip does not make the rest look wrong. It answers by the very path
that people's questions take. vLLM's `prompt_logprobs` would need no second request, but with
adapters it ends the engine of the CPU build (0.32, any base) and leaves layers out on others
(https://github.com/vllm-project/vllm/issues/29955 and /issues/51594).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from data.adapters.registry import Canary
from serving.engine.management_api import EngineRefused, ask


@dataclass(frozen=True)
class Limits:
    rounds: int  # requests at most; what is still open after them counts as disagreement
    timeout_s: float  # of each
    likeliest: int = 0  # tokens whose probability the engine tells, at each place


CANARIES = Limits(4, 30.0)
PROBES = Limits(16, 300.0, 5)  # many long answers, in which an early slip is no wonder
TOKEN = "token_id:"  # noqa: S105 - how vLLM writes a token's number


@dataclass(frozen=True)
class EngineOutput:
    """What an engine went on with, and how likely it found it and its rivals."""

    tokens: Sequence[int]
    likely: Sequence[dict[int, float]]  # log probabilities at each place, where it told them


@dataclass(frozen=True)
class Compared:
    agreement: float  # share of the tokens, 0 to 1
    leads: tuple[float | None, ...]
    """Where the engine said another token: by how many nats it found that likelier than the
    recorded one; None: the recorded one is not among its likeliest, or it did not tell."""


@dataclass
class _Asked:
    """How far one canary has come."""

    canary: Canary
    compared: int = 0  # tokens of its answer
    agreed: int = 0
    leads: list[float | None] = field(default_factory=list)

    @property
    def prompt(self) -> list[int]:
        return [*self.canary.prompt, *self.canary.answer[: self.compared]]

    @property
    def left(self) -> int:
        return len(self.canary.answer) - self.compared

    def compare(self, said: EngineOutput) -> None:
        """Take what the engine said next into account, up to its first other token."""
        left = self.canary.answer[self.compared :]
        for at, (expected, token) in enumerate(zip(left, said.tokens, strict=False)):
            self.compared += 1
            if token != expected:
                likely = said.likely[at] if at < len(said.likely) else {}
                both = token in likely and expected in likely
                self.leads.append(likely[token] - likely[expected] if both else None)
                return
            self.agreed += 1


def agreement(
    url: str, served_name: str, canaries: Sequence[Canary], limits: Limits = CANARIES
) -> float | None:
    """The share of the canaries' answer tokens that the engine at `url` finds likeliest under
    `served_name`, 0 to 1; None when there are no canaries. An engine that agrees on all is asked
    once, another as often as `limits` say. Raises EngineRefused when it does not answer, or not as
    `served_name`."""
    found = compare(url, served_name, canaries, limits)
    return None if found is None else found.agreement


def compare(
    url: str, served_name: str, canaries: Sequence[Canary], limits: Limits
) -> Compared | None:
    """As `agreement`, with what the engine told where it said another token."""
    open_ones = asked = [_Asked(canary) for canary in canaries if canary.answer]
    if not asked:
        return None
    salt = secrets.token_hex(16)  # no cached prefix: it may come from an earlier load
    for _ in range(limits.rounds):
        answers = _continued(url, served_name, open_ones, salt, limits)
        for one, said in zip(open_ones, answers, strict=True):
            one.compare(said)
        open_ones = [one for one in open_ones if one.left]
        if not open_ones:
            break
    tokens = sum(len(one.canary.answer) for one in asked)
    leads = tuple(lead for one in asked for lead in one.leads)
    return Compared(sum(one.agreed for one in asked) / tokens, leads)


def _continued(
    url: str, served_name: str, asked: Sequence[_Asked], salt: str, limits: Limits
) -> list[EngineOutput]:
    """What the engine goes on with from each, in order; at least one token each."""
    body: dict[str, Any] = {
        "model": served_name,
        "prompt": [one.prompt for one in asked],
        "max_tokens": max(one.left for one in asked),
        "temperature": 0,
        "ignore_eos": True,  # an answer that ends too early is compared like any other
        "return_token_ids": True,
        "cache_salt": salt,
    }
    if limits.likeliest:
        body |= {"logprobs": limits.likeliest, "return_tokens_as_token_ids": True}
    answer = ask(f"{url}/v1/completions", body, limits.timeout_s)
    try:
        model, said = answer["model"], _said(answer["choices"])
    except (KeyError, TypeError, ValueError) as error:
        raise EngineRefused(
            "The engine does not say which tokens it answers, so the adapter cannot be checked. "
            "It has to be vLLM 0.10.2 or later."
        ) from error
    if model != served_name:
        raise EngineRefused(f"The engine was asked as {served_name} and answered as {model}.")
    if len(said) != len(asked) or not all(one.tokens for one in said):
        raise EngineRefused(f"The engine left canary questions to {served_name} unanswered.")
    return said


def _said(choices: Any) -> list[EngineOutput]:
    ordered = sorted(choices, key=lambda choice: choice["index"])
    return [
        EngineOutput(
            [int(token) for token in choice["token_ids"]],
            [_likely(place) for place in (choice.get("logprobs") or {}).get("top_logprobs") or ()],
        )
        for choice in ordered
    ]


def _likely(place: Any) -> dict[int, float]:
    return {int(name.removeprefix(TOKEN)): float(p) for name, p in (place or {}).items()}
