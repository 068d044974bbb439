"""Further questions to a new adapter, beside the eval sets: how it treats what it should know.

- `own`: pairs that it was trained on, as people ask them. An adapter that cannot repeat its own
  pairs is damaged, or learned too little. With references, the pair itself is among them, as it is
  when people ask, so the question is whether the adapter reads it; without, whether it knows it.
- `reworded`: old facts, asked with a typing error and without punctuation. Phrasings of old facts
  that were held out are the set `probe`.
- `follow_up`: old facts, asked after the question and answer of another fact, or within the
  conversation of the pair.
- `repeated`: old facts, asked for the third time in one conversation, before with a typing error:
  the bot leaves out earlier exchanges with the very same question.
- `suggested`: the questions that the domain suggests. The expected answer is that of the approved
  pair that asks the same.
- `off_topic`: shipped questions that belong to no organisation. The search declines most of them;
  the adapter is asked the others.

Old facts are those that the live adapter was trained on, or all facts if none is live. Adapters do
not get more earlier turns here than people's questions bring (`[bot] history_turns`). `[gate]
further_questions` bounds the number of questions, and `SHARES` divides it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sqlite_utils import Database

from data.adapters import registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import current_answers, datasets
from data.pairs.datasets import Dataset
from data.pairs.pairs import Pair, Turn
from data.pairs.question_matching import Index
from data.search import answerable, domain_calibration, layout
from data.search.search import PairSearch
from data.store.errors import Invalid
from tuning.data import reading_examples, reading_set
from tuning.evaluation.eval_sets import PARTS, EvalQuestion, QuestionMaker, order, references_of

Kind = Literal["own", "reworded", "follow_up", "repeated", "suggested", "off_topic"]
SHARES: dict[Kind, float] = {
    "own": 0.5,
    "reworded": 0.14,
    "follow_up": 0.12,
    "repeated": 0.08,
    "suggested": 0.08,
    "off_topic": 0.08,
}
OLD_FACTS: tuple[Kind, ...] = ("reworded", "follow_up", "repeated")
OFF_TOPIC_SEARCHED = 40  # off-topic questions that are searched
REPEATS = 2  # times that a question was asked before
PLAIN_WORD = re.compile(r"(?<![\w`./-])[a-zà-ÿ]{6,}(?![\w`./-])")


@dataclass(frozen=True)
class Examination:
    """The further questions of one adapter."""

    questions: Mapping[Kind, Sequence[EvalQuestion]] = field(default_factory=dict)
    of_live: Mapping[Kind, Sequence[EvalQuestion]] = field(default_factory=dict)
    """Those about old facts, as the live adapter gets them; empty if none is live."""
    unknown: tuple[str, ...] = ()  # suggested questions that no approved pair asks
    off_topic: int = 0  # off-topic questions that were searched or asked
    declined: int = 0  # those of them that the search declines


def prepare(
    db: Database,
    settings: Settings,
    domain: Domain,
    dataset: Dataset,
    live: Adapter | None,
    maker: QuestionMaker,
    search: PairSearch,
    *,
    references: int = 0,
) -> Examination:
    """The further questions for the adapter that a run trains on `dataset` with so many
    `references`."""
    parts = {part: datasets.pairs_of(db, dataset.id, part) for part in PARTS}
    part_of = {pair.id: part for part in PARTS for pair in parts[part]}
    current = current_answers.current_pairs([pair for part in PARTS for pair in parts[part]])
    own = sorted((p for p in current.pairs if part_of[p.id] == "train"), key=order)
    learned = registry.pairs_learned(db, live) if live is not None else {p.id for p in own}
    old = _of_each_fact([pair for pair in own if pair.id in learned])
    turns = settings.bot.history_turns
    made: dict[Kind, list[Pair]] = {
        "own": own,
        "reworded": [reworded(pair) for pair in old if not pair.turns],
        "follow_up": follow_ups(own, old) if turns else [],
        "repeated": [repeated(pair, min(REPEATS, turns)) for pair in old if not pair.turns]
        if turns
        else [],
    }
    suggested, unknown = _suggested(domain, current.pairs)
    made["suggested"] = suggested
    off_topic = _off_topic()
    asked = off_topic
    if answerable.mode(domain, settings.answers) != "adapter":
        asked = [p for p in off_topic if _found(db, settings, domain, search, p.prompt)]
    made["off_topic"] = asked

    def questions(kind: Kind, count: int) -> list[EvalQuestion]:
        wanted = round(SHARES[kind] * settings.gate.further_questions)
        return _fitting(made[kind], wanted, lambda pair: maker.make(pair, count))

    chosen = {kind: questions(kind, references) for kind in SHARES}
    of_live: dict[Kind, Sequence[EvalQuestion]] = {}
    if live is not None:
        count = references_of(live)
        of_live = {
            kind: chosen[kind] if count == references else questions(kind, count)
            for kind in OLD_FACTS
        }
    declined = len(off_topic) - len(asked)
    return Examination(
        {kind: found for kind, found in chosen.items() if found},
        of_live,
        unknown,
        declined + len(chosen["off_topic"]),
        declined,
    )


def reworded(pair: Pair) -> Pair:
    """The pair, asked with two letters exchanged in its longest plain word, the first letter small,
    and no punctuation at its end."""
    text = pair.prompt.rstrip(" .?!")
    words = list(PLAIN_WORD.finditer(text))
    if words:
        longest = max(words, key=lambda word: len(word[0]))
        at = longest.start() + len(longest[0]) // 2
        text = text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :]
    if text[1:2].islower():
        text = text[:1].lower() + text[1:]
    return replace(pair, prompt=text or pair.prompt)


def follow_ups(own: Sequence[Pair], old: Sequence[Pair]) -> list[Pair]:
    """Old facts within a conversation: by turns pairs with earlier turns of their own, and old
    facts after the question and answer of another one."""
    alone = [pair for pair in old if not pair.turns]
    after = [
        replace(pair, turns=_turns(other))
        for pair, other in zip(alone, [*alone[1:], *alone[:1]], strict=True)
        if other.id != pair.id
    ]
    within = [pair for pair in own if pair.turns]
    mixed = [pair for both in zip(after, within, strict=False) for pair in both]
    return [*mixed, *after[len(within) :], *within[len(after) :]]


def repeated(pair: Pair, times: int) -> Pair:
    """The pair's question, asked in other writing and answered so many times before."""
    return replace(pair, turns=_turns(reworded(pair)) * times)


def _turns(pair: Pair) -> tuple[Turn, ...]:
    return Turn("user", pair.prompt), Turn("assistant", pair.response)


def _of_each_fact(pairs: Sequence[Pair]) -> list[Pair]:
    """The first pair of each fact."""
    first: dict[str, Pair] = {}
    for pair in pairs:
        first.setdefault(pair.fact, pair)
    return list(first.values())


def _suggested(domain: Domain, approved: Sequence[Pair]) -> tuple[list[Pair], tuple[str, ...]]:
    """The suggested questions with the answers of the pairs that ask them, and those without."""
    index: Index[int] = Index()
    by_id = {pair.id: pair for pair in approved if not pair.turns}
    for pair in by_id.values():
        index.add(pair.id, pair.prompt)
    known, unknown = [], []
    for text in domain.suggested_prompts:
        match = index.find(text)
        if match is None:
            unknown.append(text)
        else:
            known.append(replace(by_id[match.key], prompt=text))
    return known, tuple(unknown)


def _off_topic() -> list[Pair]:
    """Shipped off-topic questions, whose right answer is that it is not known."""
    found = [q for q in reading_examples.off_topic() if q.kind == "off_topic"]
    pairs = [reading_set.pair_of(q.question, layout.UNKNOWN) for q in found]
    return sorted(pairs, key=order)[:OFF_TOPIC_SEARCHED]


def _found(
    db: Database, settings: Settings, domain: Domain, search: PairSearch, question: str
) -> bool:
    """Whether the search finds enough, so that the adapter is asked."""
    found = search.find(domain, question, limit=settings.answers.references)
    least = answerable.least_similarity(found.method, domain, settings.answers)
    known = None
    if not answerable.overridden(domain, settings.answers):
        known = domain_calibration.thresholds(db, domain, found.encoder)
    return answerable.is_answerable(found, least, known.answer_from if known else None)


def _fitting(
    pairs: Sequence[Pair], wanted: int, make: Callable[[Pair], EvalQuestion]
) -> list[EvalQuestion]:
    """The first questions that fit into the context."""
    made: list[EvalQuestion] = []
    for pair in pairs:
        if len(made) == wanted:
            break
        try:
            made.append(make(pair))
        except Invalid:
            continue
    return made
