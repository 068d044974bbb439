"""The training set of a reading adapter: reading examples as pairs, with references in the prompt.

Each pass shows an example with other distractors, another order and other phrasings of the facts,
so that a model learns to read and not to repeat. The answer is always the whole response of the
fact that answers, word for word, or `layout.UNKNOWN`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from data.pairs.pairs import Pair, Turn
from data.search import layout
from tuning.data.reading_examples import (
    OffTopicQuestion,
    ReadingExample,
    ReadingFact,
    ReadingOrganisation,
)

BEST_LAST = 0.5  # the share of examples whose answer stands where a search puts its first hit
OFF_TOPIC = 0.1  # off-topic questions for each example of an organisation


@dataclass(frozen=True)
class ShownReference:
    """A reference as an example shows it."""

    prompt: str
    response: str


def reading_pairs(
    organisations: Sequence[ReadingOrganisation],
    off_topic: Sequence[OffTopicQuestion],
    *,
    references: int,
    missing_share: float,
    refusal_share: float,
    seed: int,
    number: int,
) -> list[Pair]:
    """The pairs of pass `number`: each answerable example once, and at most `refusal_share` of
    questions that no reference answers. Of the answerable ones, `missing_share` become such
    questions, because the reference that answers is left out."""
    rng = random.Random(f"reading {seed} {number}")  # noqa: S311 - a sample, not a secret
    made = []
    for organisation in organisations:
        examples = list(organisation.examples)
        asked = rng.sample(off_topic, min(len(off_topic), round(OFF_TOPIC * len(examples))))
        for example in examples:
            if rng.random() < missing_share and example.answer_from is not None:
                example = organisation.without_answer(example)
            made.append(_pair(organisation, example, references, rng))
        for question in asked:
            facts = tuple(rng.sample(organisation.facts, min(references, len(organisation.facts))))
            example = ReadingExample("off_topic", question.question, (), facts, "")
            made.append(_pair(organisation, example, references, rng))
    return _with_few_refusals(made, refusal_share, rng)


def _with_few_refusals(pairs: Sequence[Pair], share: float, rng: random.Random) -> list[Pair]:
    """The pairs in their order, with as many refusals as make up `share` of them, or all."""
    if share >= 1:
        return list(pairs)
    refused = [i for i, pair in enumerate(pairs) if pair.response == layout.UNKNOWN]
    wanted = round((len(pairs) - len(refused)) * share / (1 - share))
    out = set(rng.sample(refused, len(refused) - wanted)) if wanted < len(refused) else set()
    return [pair for i, pair in enumerate(pairs) if i not in out]


def _pair(
    organisation: ReadingOrganisation,
    example: ReadingExample,
    most: int,
    rng: random.Random,
) -> Pair:
    """The example as a pair with two to `most` references."""
    count = rng.randint(min(2, most), most)  # how many there are says nothing about the answer
    shown = [
        ShownReference(rng.choice(fact.prompts), fact.response)
        for fact in _facts(organisation, example, count, rng)
    ]
    if example.kind == "small_talk":
        response = example.answer
    else:
        response = example.answer_from.response if example.answer_from else layout.UNKNOWN
    prompt = layout.with_references(example.question, shown)
    return pair_of(prompt, response, system=organisation.system, turns=example.turns)


def _facts(
    organisation: ReadingOrganisation,
    example: ReadingExample,
    count: int,
    rng: random.Random,
) -> list[ReadingFact]:
    """The facts to show, best first: the answer, the example's own distractors, and others."""
    right = example.answer_from
    others = [fact for fact in example.references if fact is not right]
    out = (*example.references, *example.hidden)
    more = [fact for fact in organisation.facts if fact not in out]
    rng.shuffle(others)
    wanted = count - (right is not None)
    others = others[:wanted] + rng.sample(more, min(len(more), max(0, wanted - len(others))))
    if right is None:
        return others
    if rng.random() < BEST_LAST:
        return [right, *others]
    others.insert(rng.randrange(len(others) + 1), right)
    return others


def pair_of(
    prompt: str, response: str, *, system: str = "", turns: tuple[Turn, ...] = (), id: int = 0
) -> Pair:
    """A pair that is in no store."""
    return Pair(
        id=id,
        domain_id=0,
        prompt=prompt,
        response=response,
        system=system,
        turns=turns,
        fact="",
        split="train",
        source="reading",
        source_ref="",
        author="",
        status="approved",
        fingerprint="",
        created_at=0,
    )
