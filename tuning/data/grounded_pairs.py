"""Training with references: each pair with the references that its question finds, and refusals.

A pass over the training pairs shows, in proportions that the recipe sets,

- each pair with what the search finds without it. The reference that answers is always among them:
  if the search missed it, another phrasing of the fact takes its place, or else the pair itself;
- in a share of them (`missing_share`) that reference is left out, and the answer is
  `layout.UNKNOWN`;
- questions that the domain does not answer (`refusal_share`): off-topic ones, small talk, and
  questions of the shipped reading examples. Other domains' pairs are not used, so that an adapter
  holds the words of its own domain's pairs only;
- reading examples of other organisations (`reading_share`).

The passes depend on the seed, the pairs and the frozen references only.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from data.pairs.pairs import Pair
from data.pairs.question_matching import Index
from data.search import layout
from tuning.data import reading_examples, reading_set
from tuning.data.examples import Example, TooLong
from tuning.data.frozen_references import FrozenReferences, Question, answers_like, question_of
from tuning.recipe.recipe import LossTurns, Recipe

SHUFFLED = 0.5  # of the examples, so that the place of a reference says little about it
POOL = 400  # questions that the domain does not answer, to draw from
EncodePair = Callable[[Pair, LossTurns], Example]  # raises Invalid


@dataclass(frozen=True)
class _Unanswered:
    """A question that the domain does not answer, as a pair without its references."""

    pair: Pair
    question: Question


class GroundedPairs:
    """Makes the examples of each pass."""

    def __init__(self, found: FrozenReferences, recipe: Recipe, encode: EncodePair) -> None:
        self._found = found
        self._recipe = recipe
        self._encode = encode
        self._organisations = reading_examples.organisations()
        self._off_topic = reading_examples.off_topic()
        self._refused: list[_Unanswered] = []
        self._last: tuple[int, list[Example]] | None = None

    def prepare(self, train: Sequence[Pair]) -> str:
        """Find the references of all training questions; returns their digest."""
        self._refused = self._unanswered(train)
        questions = [self._found.question(pair) for pair in train]
        questions += [refused.question for refused in self._refused]
        digest = self._found.sha256(questions)
        self._found.keep()
        return digest

    def passes(self, order: Callable[[int], Sequence[Pair]]) -> Callable[[int], list[Example]]:
        """The examples of each pass over the pairs of `order`."""

        def epoch(number: int) -> list[Example]:
            if self._last is None or self._last[0] != number:
                self._last = number, self._pass(order(number), number)
            return self._last[1]

        return epoch

    def measured(self, pair: Pair) -> Example:
        """The pair as a question to be measured, as people would ask it if it were new."""
        shown = self._found.of(self._found.question(pair))[: self._recipe.references]
        return fitting(pair, shown, lambda made: self._encode(made, "last"))[1]

    def _pass(self, train: Sequence[Pair], number: int) -> list[Example]:
        recipe = self._recipe
        rng = random.Random(f"references {recipe.seed} {number}")  # noqa: S311 - no secret
        made = [self._taught(pair, rng) for pair in train]
        own = len(train) / (1 - recipe.refusal_share - recipe.reading_share)
        wanted = round(own * recipe.refusal_share)
        for refused in rng.choices(self._refused, k=wanted) if self._refused else ():
            made.append(self._refusal(refused.pair, self._found.of(refused.question), rng))
        return made + self._reading(round(own * recipe.reading_share), number)

    def _taught(self, pair: Pair, rng: random.Random) -> Example:
        found = self._found.of(self._found.question(pair))
        others = [other for other in found if not answers_like(other, pair)]
        if rng.random() < self._recipe.missing_share and others:
            return self._refusal(pair, others, rng)
        count = self._recipe.references
        right = next((other for other in found if answers_like(other, pair)), None)
        if right is None:
            siblings = self._found.siblings(pair)
            right = rng.choice(siblings) if siblings else pair
        place = found.index(right) if right in found else rng.randrange(count)
        shown = others[: count - 1]
        shown.insert(min(place, len(shown)), right)
        if rng.random() < SHUFFLED:
            rng.shuffle(shown)
        turns = self._recipe.loss_turns
        try:
            return self._encode(with_references(pair, shown), turns)
        except TooLong:
            rest = [one for one in shown if one is not right]
            return fitting(pair, [right, *rest], lambda p: self._encode(p, turns), least=1)[1]

    def _refusal(self, pair: Pair, found: Sequence[Pair], rng: random.Random) -> Example:
        shown = list(found[: self._recipe.references])
        if rng.random() < SHUFFLED:
            rng.shuffle(shown)
        unknown = replace(pair, response=layout.UNKNOWN)
        turns = self._recipe.loss_turns
        return fitting(unknown, shown, lambda made: self._encode(made, turns))[1]

    def _reading(self, wanted: int, number: int) -> list[Example]:
        recipe = self._recipe
        pairs = reading_set.reading_pairs(
            self._organisations,
            self._off_topic,
            references=recipe.references,
            missing_share=recipe.missing_share,
            refusal_share=recipe.refusal_share,
            seed=recipe.seed,
            number=number,
        )
        rng = random.Random(f"reading sample {recipe.seed} {number}")  # noqa: S311 - no secret
        made: list[Example] = []
        for pair in rng.sample(pairs, len(pairs)):
            if len(made) == wanted:
                break
            try:
                made.append(self._encode(pair, "last"))
            except TooLong:
                continue  # made for bases with room for references
        return made

    def _unanswered(self, train: Sequence[Pair]) -> list[_Unanswered]:
        """Questions that no pair answers: none of them is asked by a training pair."""
        texts = [question.question for question in self._off_topic]
        texts += [
            example.question
            for organisation in self._organisations
            for example in organisation.examples
            if example.kind in ("far", "near", "near_miss")
        ]
        asked: Index[int] = Index()
        for pair in train:
            asked.add(pair.id, pair.prompt)
        rng = random.Random(f"unanswered {self._recipe.seed}")  # noqa: S311 - no secret
        chosen = rng.sample(texts, min(POOL, len(texts)))
        pairs = [reading_set.pair_of(text, layout.UNKNOWN) for text in chosen]
        return [
            _Unanswered(pair, question_of(pair))
            for pair in pairs
            if asked.find(pair.prompt) is None
        ]


def fitting(
    pair: Pair,
    references: Sequence[Pair],
    encode: Callable[[Pair], Example],
    *,
    least: int = 0,
) -> tuple[Pair, Example]:
    """The pair with as many of the references, given best first, as fit, but at least `least`, and
    its example. Raises Invalid when it does not fit."""
    for count in range(len(references), least, -1):
        made = with_references(pair, references[:count])
        try:
            return made, encode(made)
        except TooLong:
            continue
    made = with_references(pair, references[:least])
    return made, encode(made)


def with_references(pair: Pair, references: Sequence[Pair]) -> Pair:
    """The pair with references, given best first, in its prompt."""
    return replace(pair, prompt=layout.with_references(pair.prompt, references))
