"""A question, and the prompt that the engine gets for it: system prompt, earlier turns, sampling.

A prompt that exceeds the context is shortened step by step: first an answer limit above the
default, then the references from the last to the second, then the oldest turns, then what is
quoted, then the best reference, then the default answer limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bot.answering import tool_use
from bot.answering.tool_use import Tools
from data.config.settings import BotSettings
from data.conversations import conversations
from data.conversations.conversations import Message
from data.domains import Domain
from data.experiments.experiments import Variant
from data.pairs.question_matching import Index
from data.search import layout
from data.search.search import Reference
from data.store.errors import Invalid
from serving.client import Sampling

MIN_ANSWER_TOKENS = 32  # a question that leaves room for fewer is too long
WHOLE_QUESTION = 4  # words from which on a question means something by itself
CONSTRAINTS = ("response_format", "logit_bias", "tools")  # fields of `Sampling`
HISTORY_BUDGET = 4  # times `max_prompt_chars`: the longest history that is ever sent
TaskKind = Literal["title", "tags", "follow_ups", "queries", "other"]


@dataclass(frozen=True)
class Quoted:
    """What a question refers to, such as a thread or a file. It stands before the question in the
    prompt and is searched with, but is never stored."""

    text: str = ""
    note: str = ""  # what was not read, or not wholly, to be shown under the answer
    read: str = ""  # what was read, to be shown there as well

    @property
    def notes(self) -> str:
        return " ".join(part for part in (self.read, self.note) if part)


@dataclass(frozen=True)
class ChatTask:
    """What a chat program asks by itself, for its own pages, and no person does."""

    kind: TaskKind
    said: tuple[Message, ...] = ()  # the conversation that it is about, as far as it can be read
    as_json: bool = False  # the answer is a JSON object with the kind as its key

    @property
    def questions(self) -> tuple[str, ...]:
        """What the person said in it."""
        return tuple(m.text for m in self.said if m.role == "user" and m.text.strip())


@dataclass(frozen=True)
class Ask:
    """A question, with everything that determines its answer."""

    person: str  # slack:T1/U2, http:KEY/USER, web:SESSION, ... (`identities.py`)
    thread: str  # the conversation's key in the store
    text: str
    domain: Domain
    pinned: str | None = None  # helpdesk@3 or helpdesk@base: not routed, in no comparison
    second_variant: str | None = None  # label of the variant that gives the second blinded answer
    history: tuple[Message, ...] | None = None  # None: take the earlier turns from the store
    repetitions: bool = False  # True: leave earlier exchanges with the same question in the history
    system: str | None = None  # overrides the system prompt of the variant and the domain
    sampling: Mapping[str, Any] = field(default_factory=dict)  # fields of `Sampling`
    external_id: str = ""  # the front end's own id of the question, such as Slack's ts
    regenerates: str | None = None  # the reply that this answer replaces
    continues: str | None = None  # the incomplete reply that this answer continues
    prefix: str = ""  # the text of that reply; the engine writes only the rest
    references: bool = True  # False: no search, so nothing is quoted or declined either
    store: bool = True  # False: keep figures, but neither the question nor the answer
    quoted: Quoted = Quoted()
    tools: Tools | None = None  # what the model may call, or must
    after: tuple[Message, ...] = ()  # calls of tools for this question, and what they returned
    one_of_several: bool = False  # the caller gets other answers to the same question as well
    task: ChatTask | None = None  # it is no person's question, and is not recorded
    address: str = ""  # the IP address of a browser; only its keyed digest is stored
    reply_id: str = field(default_factory=conversations.new_reply_id)

    @property
    def constrained(self) -> bool:
        """Whether the caller constrains the words of the answer, or has given a tool's result for
        it. Then it is written or declined, never quoted."""
        return bool(self.after) or any(self.sampling.get(name) for name in CONSTRAINTS)

    @property
    def rests_on_tools(self) -> bool:
        """Whether the caller's tools decide the answer, and not the approved pairs."""
        return bool(self.after) or (self.tools is not None and self.tools.demanded)

    @property
    def plain(self) -> bool:
        """Whether it is one answer in free words. No other one belongs to a comparison, and tuning
        learns from no other one."""
        return not self.constrained and not self.one_of_several


class TextTooLong(Invalid):
    """A question or a system message has too many characters."""


def check(ask: Ask, max_chars: int) -> None:
    """Raises TextTooLong for a text of more than `max_chars` characters, and Invalid for an empty
    question or characters that cannot be stored."""
    if not ask.text.strip():
        raise Invalid("The question is empty.")
    for name, text in (("question", ask.text), ("system message", ask.system or "")):
        if len(text) > max_chars:
            raise TextTooLong(
                f"The {name} has {len(text):,} characters; the limit is {max_chars:,}."
            )
    said = (*(ask.history or ()), *ask.after)
    earlier = (text for m in said for text in (m.text, *(str(call) for call in m.calls)))
    for text in (ask.text, ask.system or "", ask.person, ask.thread, ask.quoted.text, *earlier):
        if "\x00" in text or not _encodable(text):
            raise Invalid("The text contains characters that are not valid Unicode text.")


@dataclass(frozen=True)
class Prompt:
    """The content of one request to an engine."""

    system: str
    history: tuple[Message, ...]
    question: str
    sampling: Sampling
    default_tokens: int  # the default limit for an answer
    references: tuple[Reference, ...] = ()  # the best first; they stand before the question
    control_tokens: frozenset[str] = frozenset()  # of the base; no message may spell them
    quoted: str = ""  # what the question refers to
    history_dropped: int = 0  # earlier messages that were left out because they did not fit
    after: tuple[Message, ...] = ()  # what tools returned for the question

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The prompt as chat messages, the same as in training."""
        question = f"{self.quoted}\n\n{self.question}" if self.quoted else self.question
        if self.references:
            question = layout.with_references(question, self.references)
        system = [{"role": "system", "content": self._harmless(self.system)}] if self.system else []
        asked = Message("user", question)
        turns = [self._turn(m) for m in (*self.history, asked, *self.after)]
        return [*system, *turns]

    def _turn(self, message: Message) -> dict[str, Any]:
        role = "tool" if message.call_id else message.role
        turn: dict[str, Any] = {"role": role, "content": self._harmless(message.text)}
        if message.calls:
            turn["tool_calls"] = [self._harmless_call(call) for call in message.calls]
        if message.call_id:
            turn["tool_call_id"] = message.call_id
        return turn

    def _harmless_call(self, call: dict[str, Any]) -> dict[str, Any]:
        function = call["function"]
        return call | {"function": function | {"arguments": self._harmless(function["arguments"])}}

    def _harmless(self, text: str) -> str:
        return layout.harmless(text, self.control_tokens)

    def shorter(self) -> "Prompt | None":
        """The next shorter prompt to try; None: the question alone is too long."""
        tokens = self.sampling.max_tokens
        if tokens > self.default_tokens:
            return self._with_shorter_answer(self.default_tokens)
        if len(self.references) > 1:
            return replace(self, references=self.references[:-1])
        if self.history:
            kept = _without_oldest(self.history)
            dropped = self.history_dropped + len(self.history) - len(kept)
            return replace(self, history=kept, history_dropped=dropped)
        if self.quoted:
            return replace(self, quoted="")
        if self.references:
            return replace(self, references=())
        if tokens > MIN_ANSWER_TOKENS:
            return self._with_shorter_answer(MIN_ANSWER_TOKENS)
        return None

    def _with_shorter_answer(self, least: int) -> "Prompt":
        """The prompt with half of the answer's tokens, but at least `least`."""
        half = max(least, self.sampling.max_tokens // 2)
        return replace(self, sampling=replace(self.sampling, max_tokens=half))


def build_prompt(
    ask: Ask,
    domain: Domain,
    variant: Variant | None,
    history: Sequence[Message],
    bot: BotSettings,
    references: Sequence[Reference] = (),
    control_tokens: frozenset[str] = frozenset(),
) -> Prompt:
    """The prompt for a variant, or for the domain without one. The caller's settings take
    precedence over the variant's, and these over those of the domain and the deployment."""
    of_variant = variant.system_prompt if variant is not None else None
    system = next(s for s in (ask.system, of_variant, domain.system_prompt) if s is not None)
    settings: dict[str, Any] = {"max_tokens": bot.max_tokens, "temperature": bot.temperature}
    if variant is not None:
        settings |= variant.sampling
    sampling = Sampling(**(settings | dict(ask.sampling)))
    if sampling.tools:  # they stand in the prompt as well
        tools = [tool_use.harmless(tool, control_tokens) for tool in sampling.tools]
        sampling = replace(sampling, tools=tools)
    turns = history if ask.repetitions else without_repetitions(history, ask.text)
    kept = _newest(turns, HISTORY_BUDGET * bot.max_prompt_chars)
    return Prompt(
        system,
        kept,
        ask.text,
        sampling,
        bot.max_tokens,
        tuple(references),
        control_tokens,
        ask.quoted.text,
        len(turns) - len(kept),
        ask.after,
    )


def without_repetitions(history: Sequence[Message], question: str) -> tuple[Message, ...]:
    """The history without earlier exchanges that asked the same question. A small model that sees
    the same question answered twice tends to change the answer the third time. Questions of few
    words, such as "why?", stay: each may be about the answer before it."""
    if len(question.split()) < WHOLE_QUESTION:
        return tuple(history)
    asked: Index[int] = Index()
    asked.add(0, question)
    kept: list[Message] = []
    repeated = False
    for message in history:
        if message.role == "user":
            match = asked.find(message.text)
            repeated = match is not None and match.kind == "exact"
        if not repeated:
            kept.append(message)
    return tuple(kept)


def is_small(ask: Ask, limit: int) -> bool:
    """Whether what the caller sent certainly takes no more than half of a context of `limit`
    tokens. A token has at least one byte."""
    tools = (str(tool) for tool in ask.tools.definitions) if ask.tools else ()
    sent = (ask.text, ask.system or "", ask.prefix, *(m.text for m in ask.after), *tools)
    return 2 * sum(len(text.encode()) for text in sent) <= limit


def _newest(history: Sequence[Message], budget: int) -> tuple[Message, ...]:
    """The newest messages, with at most `budget` characters in total."""
    kept: list[Message] = []
    for message in reversed(history):
        budget -= len(message.text)
        if budget < 0:
            return _from_first_question(kept[::-1])
        kept.append(message)
    return tuple(kept[::-1])


def _without_oldest(history: tuple[Message, ...]) -> tuple[Message, ...]:
    """The history without its oldest quarter, or at least without its oldest turn."""
    return _from_first_question(history[max(1, len(history) // 4) :])


def _from_first_question(history: Sequence[Message]) -> tuple[Message, ...]:
    """The history without leading answers whose question has been dropped."""
    start = 0
    while start < len(history) and history[start].role == "assistant":
        start += 1
    return tuple(history[start:])


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
