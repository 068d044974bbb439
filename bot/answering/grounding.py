"""What an answer rests on, and whether there is one: decided from the search alone.

- No approved pair is likely enough to answer the question: decline, in the domain's own words, with
  the nearest questions.
- A pair is likely enough, and an adapter can answer: generate the answer, with the pairs as
  references if the adapter was trained to read them.
- A pair is likely enough, but no adapter or engine can answer: quote the best pair's response word
  for word. The same goes for an adapter that does not read references and was trained before the
  pair was approved, so a correction counts at once (`bot/answering/writing.py`). In the mode
  `quote`, every answer is such a quotation.

Likely enough: `data/search/answerable.py`.

The bare base model never answers, except where somebody chose it: by its name, or as a variant of a
comparison. Because the adapter plays no part in whether the bot declines, every variant of a
comparison declines the same questions. Only if variants answer in different ways, grounded and
ungrounded, do refusals and quotations belong to a variant, and count for it.
"""

from dataclasses import dataclass
from typing import Literal

from bot.answering.routing import Target
from data.conversations.conversations import Outcome
from data.domains import Domain
from data.pairs.reply_sources import Source
from data.search import answerable
from data.search.domain_calibration import Thresholds
from data.search.search import Method, Reference, SearchResult

Decision = Literal["generate", "quote", "decline"]

# times the threshold: a pair that is less similar is not worth suggesting
NEAR: dict[Method, float] = {"encoder": 0.65, "words": 0.5}
SUGGESTIONS = 3  # nearest questions under a refusal
GREETING = 0.8  # a greeting is left to a pair that is at least so similar


def decide(
    found: SearchResult,
    decline_below: float,
    *,
    can_generate: bool,
    answer_from: float | None = None,
) -> Decision:
    """What to do with a question. `can_generate`: an adapter, or a chosen base, can answer.
    `answer_from`: the least confidence of an answer; without it, the similarity decides."""
    if not answerable.is_answerable(found, decline_below, answer_from):
        return "decline"
    return "generate" if can_generate else "quote"


@dataclass(frozen=True)
class Grounds:
    """What the search found for one question."""

    domain: Domain
    found: SearchResult
    sources: tuple[Source, ...]  # the references as people see them, in the same order
    decline_below: float
    small_talk: str = ""  # the reply to a greeting or thanks; '' for a question
    only_quote: bool = False  # the mode is `quote`: no model writes answers
    may_quote: bool = True  # False: a certain adapter was asked for, and no other answer will do
    may_decline: bool = True  # False: it continues an answer whose beginning has been shown
    thresholds: Thresholds | None = None  # of confidence; None: the similarity decides
    compared: Target | None = None
    """The variant whose answer this is, in a comparison whose variants answer in different ways."""

    @property
    def without_engine(self) -> Outcome | None:
        """The outcome that is certain before any engine is asked; None: an engine may answer."""
        if self.small_talk:
            return "small_talk"
        if not self.may_decline:
            return None
        decision = decide(
            self.found,
            self.decline_below,
            can_generate=not self.only_quote,
            answer_from=self.thresholds.answer_from if self.thresholds else None,
        )
        match decision:
            case "decline":
                return "declined"
            case "quote":
                return "quoted"
            case "generate":
                return None

    @property
    def uncertain(self) -> bool:
        """Whether an answer is marked as one that may well not be the right one."""
        known = self.found.confidence
        return (
            known is not None and self.thresholds is not None and known < self.thresholds.sure_from
        )

    @property
    def references(self) -> tuple[Reference, ...]:
        return self.found.references

    @property
    def nearest(self) -> tuple[Source, ...]:
        """The pairs whose questions are suggested under a refusal; may be empty."""
        least = NEAR[self.found.method] * self.decline_below
        return tuple(s for s in self.sources if s.similarity >= least)[:SUGGESTIONS]

    @property
    def suggestions(self) -> tuple[str, ...]:
        """The questions to suggest under a refusal: the nearest ones, or else the domain's own."""
        nearest = tuple(s.prompt for s in self.nearest)
        return nearest or self.domain.suggested_prompts[:SUGGESTIONS]

    def sources_of(self, outcome: Outcome) -> tuple[Source, ...]:
        """The pairs that an answer with this outcome rests on; for a refusal, the nearest ones."""
        match outcome:
            case "generated":
                return self.sources
            case "quoted":
                return self.sources[:1]
            case "declined":
                return self.nearest
            case "small_talk":
                return ()

    def text(self, outcome: Outcome) -> str:
        """The answer, for every outcome but `generated`."""
        match outcome:
            case "quoted":
                return self.references[0].response
            case "small_talk":
                return self.small_talk
            case _:
                return self.domain.refusal_text
