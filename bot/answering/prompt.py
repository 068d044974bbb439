"""A question, and what the model is sent for it: system prompt, earlier turns, sampling.

A prompt that turns out too long is made to fit step by step: an answer longer than usual is given
up first, then the oldest turns, then the usual length of the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from data.config.settings import BotSettings
from data.conversations import conversations
from data.conversations.conversations import Message
from data.domains import Domain
from data.experiments.experiments import Variant
from data.store.errors import Invalid
from serving.client import Sampling

LEAST_ANSWER = 32  # tokens; a question that leaves less room is too long
HISTORY_BUDGET = 4  # times `max_prompt_chars`: more earlier text than this is never sent


@dataclass(frozen=True)
class Ask:
    """A question, and all that decides how it is answered."""

    person: str  # slack:T1/U2, http:KEY/USER, web:SESSION, cli:USER
    thread: str  # the conversation's key in the store
    text: str
    domain: Domain
    pinned: str | None = None  # helpdesk@3, helpdesk@base: not routed, in no comparison
    beside: str | None = None  # label of the variant that answers beside the person's own
    history: tuple[Message, ...] | None = None  # None: earlier turns come from the store
    system: str | None = None  # instead of the variant's and the domain's system prompt
    sampling: Mapping[str, Any] = field(default_factory=dict)  # fields of `Sampling`
    external_id: str = ""  # the front end's own id of the question, Slack's ts
    again_of: str | None = None  # the reply in whose place this answer is written
    continues: str | None = None  # the reply whose rest is asked for
    begun: str = ""  # its text so far: only what comes after it is written
    reply_id: str = field(default_factory=conversations.new_reply_id)


def check(ask: Ask, most: int) -> None:
    """Raises Invalid for what is no question, or has a text of more than `most` characters."""
    if not ask.text.strip():
        raise Invalid("The question is empty.")
    for name, text in (("question", ask.text), ("system message", ask.system or "")):
        if len(text) > most:
            raise Invalid(f"The {name} has {len(text):,} characters; at most {most:,} fit.")
    earlier = (m.text for m in ask.history or ())
    for text in (ask.text, ask.system or "", ask.person, ask.thread, *earlier):
        if "\x00" in text or not _encodable(text):
            raise Invalid("The text has characters that are not valid Unicode text.")


@dataclass(frozen=True)
class Prompt:
    """What one request to an engine says."""

    system: str
    history: tuple[Message, ...]
    question: str
    sampling: Sampling
    usual_tokens: int  # of an answer

    @property
    def messages(self) -> list[dict[str, str]]:
        """As chat messages."""
        begin = [{"role": "system", "content": self.system}] if self.system else []
        turns = [{"role": m.role, "content": m.text} for m in self.history]
        return [*begin, *turns, {"role": "user", "content": self.question}]

    def shorter(self) -> "Prompt | None":
        """The next thing to try when it does not fit; None: the question alone is too long."""
        tokens = self.sampling.max_tokens
        if tokens > self.usual_tokens:
            return self._briefer(self.usual_tokens)
        if self.history:
            return replace(self, history=_without_the_oldest(self.history))
        return self._briefer(LEAST_ANSWER) if tokens > LEAST_ANSWER else None

    def _briefer(self, least: int) -> "Prompt":
        """With half of the tokens for the answer, but at least `least`."""
        half = max(least, self.sampling.max_tokens // 2)
        return replace(self, sampling=replace(self.sampling, max_tokens=half))


def build_prompt(
    ask: Ask,
    domain: Domain,
    variant: Variant | None,
    history: Sequence[Message],
    bot: BotSettings,
) -> Prompt:
    """The prompt for one who answers. The caller's wishes go before the variant's, and these
    before the domain's and the deployment's."""
    system, own = domain.system_prompt, variant.system_prompt if variant is not None else None
    system = next(s for s in (ask.system, own, system) if s is not None)
    wanted: dict[str, Any] = {"max_tokens": bot.max_tokens, "temperature": bot.temperature}
    if variant is not None:
        wanted |= variant.sampling
    sampling = Sampling(**(wanted | dict(ask.sampling)))
    kept = _newest(history, HISTORY_BUDGET * bot.max_prompt_chars)
    return Prompt(system, kept, ask.text, sampling, bot.max_tokens)


def _newest(history: Sequence[Message], budget: int) -> tuple[Message, ...]:
    """The newest messages that have at most `budget` characters together."""
    kept: list[Message] = []
    for message in reversed(history):
        budget -= len(message.text)
        if budget < 0:
            return _from_a_question(kept[::-1])
        kept.append(message)
    return tuple(kept[::-1])


def _without_the_oldest(history: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without the oldest turn, or the oldest quarter of many."""
    return _from_a_question(history[max(1, len(history) // 4) :])


def _from_a_question(history: Sequence[Message]) -> tuple[Message, ...]:
    """Without the answers at its beginning, whose question is gone."""
    begin = 0
    while begin < len(history) and history[begin].role == "assistant":
        begin += 1
    return tuple(history[begin:])


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
