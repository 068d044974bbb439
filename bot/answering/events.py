"""What the flow of an answer yields: one `Started`, any number of `Delta`, and one `Ended`."""

from dataclasses import dataclass
from typing import Any

from bot.answering.routing import BASE
from data.conversations.conversations import Outcome
from data.pairs.reply_sources import Source
from serving.client import ToolCall


@dataclass(frozen=True)
class Started:
    """The answer begins; the question and the adapter that answers it are recorded."""

    reply_id: str
    adapter: str  # helpdesk@3, base, or '' if no engine writes the answer
    variant: str | None  # its label
    precision: str = ""  # of the base model's weights: bfloat16, nf4, ...; '' if unknown
    instead_of: str | None = None  # the adapter that should have answered and could not
    outcome: Outcome = "generated"
    layout: int = 0  # of the sources in the prompt; 0: the model did not get them
    sources: tuple[Source, ...] = ()  # what the answer rests on, the best first
    suggestions: tuple[str, ...] = ()  # questions to ask instead, under a refusal
    confidence: float | None = None  # that the first source answers, 0..1; None: not known
    uncertain: bool = False  # the answer is given, and may well not be the one
    history_dropped: int = 0  # earlier messages that did not fit into the prompt
    task: bool = False  # it is for a chat program itself, and is not recorded


@dataclass(frozen=True)
class Delta:
    """The next piece of the answer. It has no text only if it has log probabilities."""

    text: str
    logprobs: tuple[dict[str, Any], ...] = ()  # of its tokens, if the caller wants them


@dataclass(frozen=True)
class Ended:
    """The answer is complete and recorded."""

    finish_reason: str  # stop, length; stop if no engine wrote the answer
    prompt_tokens: int
    completion_tokens: int
    without_quoted: bool = False  # what the question quotes did not fit and was left out
    logprobs: tuple[dict[str, Any], ...] = ()  # of the whole answer; only from `complete`
    tool_calls: tuple[ToolCall, ...] = ()


Event = Started | Delta | Ended


def fallback_note(adapter: str, instead_of: str | None) -> str:
    """The note shown below an answer that a fallback wrote; '' for any other answer."""
    if instead_of is None:
        return ""
    if not adapter:
        return f"{instead_of} could not answer; this is the nearest approved answer."
    intended = "The bare base" if instead_of == BASE else instead_of
    return f"{intended} could not answer; {'the bare base' if adapter == BASE else adapter} did."
