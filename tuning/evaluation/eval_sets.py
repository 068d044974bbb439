"""Eval sets: the sets of questions that an adapter is evaluated on, with expected answers.

- `golden`: the domain's frozen questions, which no adapter is trained on.
- `validation`: facts that training did not see: generalisation to new facts.
- `probe`: phrasings that training did not see, of facts that it did: understanding.
- `new`: training pairs that are new to the live adapter: whether the run learned them.
- `replay`: a sample of the live adapter's training pairs that are still valid: forgetting.

Besides these sets, a few training pairs are measured (`EvalSets.training`): a run that diverged
knows them no better than the bare base, also where nothing is held out.

Golden questions are also answered by the search alone (`EvalSets.nearest`): whoever wants to read
an approved answer needs no adapter.

The selection from a large set depends only on the text of the questions, so every adapter gets the
same ones. The loss is measured on more questions than are answered, because it costs less.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlite_utils import Database

from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.pairs import current_answers, datasets
from data.pairs.datasets import Dataset, Part
from data.pairs.pairs import Pair
from data.search import layout
from tuning.data.examples import Example, encode, messages
from tuning.data.frozen_references import FrozenReferences, question_of
from tuning.data.grounded_pairs import fitting
from tuning.model import chat_template

SetName = Literal["golden", "validation", "probe", "new", "replay"]
PARTS: tuple[Part, ...] = ("train", "validation", "probe", "golden")
ANSWERED: dict[SetName, int] = {
    "golden": 96,
    "validation": 48,
    "probe": 48,
    "new": 32,
    "replay": 64,
}
MEASURED = 256  # questions of each set whose loss is measured
TRAINING_MEASURED = 64  # training pairs


@dataclass(frozen=True)
class EvalQuestion:
    """One pair as a question."""

    example: Example
    messages: tuple[dict[str, str], ...]  # as an engine gets them
    text: str  # the question, without earlier messages
    expected: str

    @property
    def prompt(self) -> tuple[int, ...]:
        """The ids that the engine makes of `messages`."""
        return self.example.prompt

    @property
    def expected_tokens(self) -> int:
        return len(self.example.ids) - len(self.example.prompt)

    @property
    def most_tokens(self) -> int:
        """The maximum length of an answer: more than expected, to notice answers that do not
        stop."""
        return self.expected_tokens + self.expected_tokens // 4 + 8


@dataclass(frozen=True)
class EvalSets:
    sets: Mapping[SetName, Sequence[EvalQuestion]]  # none of them empty; at most `MEASURED` of each
    of: Mapping[SetName, int]  # the number of such questions in the domain
    withheld: frozenset[int] = frozenset()  # replay pairs that this run was not trained on
    of_live: Mapping[SetName, Sequence[EvalQuestion]] = field(default_factory=dict)
    """The same questions as the live adapter gets them, where it was trained with other references
    than the new one."""
    training: Sequence[EvalQuestion] = ()  # a sample of the pairs that it was trained on
    characters: frozenset[str] = frozenset()  # of all pairs
    nearest: Sequence[str] = ()
    """The approved answer that the search finds first, for each golden question that is answered;
    "" where it finds none. Empty if nothing was searched."""

    def asked(self, name: SetName, *, live: bool = False) -> Sequence[EvalQuestion]:
        """The questions of a set, as the live adapter or the other models get them."""
        found = self.of_live if live and self.of_live else self.sets
        return found.get(name, ())

    def answered(self, name: SetName, *, live: bool = False) -> Sequence[EvalQuestion]:
        """Those of them that are answered."""
        return self.asked(name, live=live)[: ANSWERED[name]]


@dataclass(frozen=True)
class QuestionMaker:
    """Makes questions of pairs, as an engine gets them."""

    tokenizer: Any
    system_prompt: str
    stops: frozenset[int]
    max_length: int  # tokens
    found: FrozenReferences | None = None

    def make(self, pair: Pair, references: int = 0, *, as_new: bool = False) -> EvalQuestion:
        """The pair as a question with at most so many references. `as_new`: neither it nor a pair
        with the same prompt is a reference. Raises Invalid when it does not fit."""
        if references and self.found is not None:
            asked = self.found.question(pair) if as_new else question_of(pair)
            made, example = fitting(pair, self.found.of(asked)[:references], self._encode)
        else:
            made, example = pair, self._encode(pair)
        control = chat_template.control_tokens(self.tokenizer)
        said = tuple(messages(made, self.system_prompt, control))
        return EvalQuestion(example, said, pair.prompt, pair.response)

    def _encode(self, pair: Pair) -> Example:
        return encode(
            pair,
            self.tokenizer,
            system_prompt=self.system_prompt,
            stops=self.stops,
            max_length=self.max_length,
        )


def prepare_eval_sets(
    db: Database,
    domain: Domain,
    dataset: Dataset,
    live: Adapter | None,
    tokenizer: Any,
    stops: frozenset[int],
    max_length: int,
    parent: Adapter | None = None,
    *,
    references: int = 0,
    found: FrozenReferences | None = None,
) -> EvalSets:
    """The eval sets for the adapter that a run trains on `dataset` from `parent`, compared with the
    `live` one. Adapters that were trained with references, the new one with `references` of them,
    are asked with those that people would get (`found`, which also answers the golden questions by
    the search alone). A pair that people can find is asked as if
    it were new, without being its own reference."""
    parts = {part: datasets.pairs_of(db, dataset.id, part) for part in PARTS}
    current = current_answers.current_pairs([pair for part in PARTS for pair in parts[part]])
    part_of = {pair.id: part for part in PARTS for pair in parts[part]}
    known: set[int] = set()
    taught: set[int] = set()  # also to the adapters before it
    if live is not None and live.dataset_id is not None:
        known = {p.id for p in datasets.pairs_of(db, live.dataset_id, "train")}
        taught = registry.pairs_learned(db, live)
        known -= current.reworded_since(taught)
        taught -= current.reworded_since(taught)
    asked = datasets.asked_by([pair for part in PARTS for pair in parts[part]], taught)
    chosen: dict[SetName, list[Pair]] = {name: [] for name in ANSWERED}
    for pair in current.pairs:
        part = part_of[pair.id]
        seen = pair.id in (known if part == "train" else asked)
        name = _set_of(part, seen, live is not None)
        if name is not None:
            chosen[name].append(pair)
    maker = QuestionMaker(tokenizer, domain.system_prompt, stops, max_length, found)

    def question(pair: Pair, name: SetName, count: int) -> EvalQuestion:
        return maker.make(pair, count, as_new=name != "golden")

    def first_found(pair: Pair, among: FrozenReferences) -> str:
        return next((p.response for p in among.of(question_of(pair))), "")

    some = {name: sorted(pairs, key=order)[:MEASURED] for name, pairs in chosen.items() if pairs}
    filled = {name: [question(p, name, references) for p in ps] for name, ps in some.items()}
    of_live: dict[SetName, list[EvalQuestion]] = {}
    if live is not None and (count := references_of(live)) != references:
        of_live = {name: [question(p, name, count) for p in ps] for name, ps in some.items()}
    learned = {pair_id for pair_id, part in part_of.items() if part == "train"}
    learned |= registry.pairs_learned(db, parent) if parent else set()
    withheld = frozenset(pair.id for pair in chosen["replay"]) - learned
    trained = [pair for pair in current.pairs if part_of[pair.id] == "train"]
    some_trained = sorted(trained, key=order)[:TRAINING_MEASURED]
    training = [question(pair, "replay", references) for pair in some_trained]
    of = {name: len(chosen[name]) for name in filled}
    golden = some.get("golden", [])[: ANSWERED["golden"]]
    nearest = [first_found(pair, found) for pair in golden] if found is not None else []
    return EvalSets(filled, of, withheld, of_live, training, _characters(current.pairs), nearest)


def references_of(adapter: Adapter | None) -> int:
    """How many references the adapter was trained with; 0 for none, or for no adapter."""
    return layout.references_of(adapter.recipe) if adapter is not None else 0


def fingerprint(asked: Sequence[EvalQuestion]) -> str:
    """Equal for two runs with the same questions and expected answers."""
    lines = (f"{q.prompt}\t{q.expected}" for q in asked)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _set_of(part: Part, known: bool, has_live: bool) -> SetName | None:
    if part in ("validation", "probe"):  # the live adapter may have been trained on them before
        return "replay" if known else part
    if part == "golden":
        return "golden"
    if not has_live:  # the bare base was trained on no pairs
        return None
    return "replay" if known else "new"


def _characters(pairs: Sequence[Pair]) -> frozenset[str]:
    texts = (text for p in pairs for text in (p.prompt, p.response, *(t.content for t in p.turns)))
    return frozenset().union(*texts)


def order(pair: Pair) -> bytes:
    """A sort key that depends on the words only."""
    text = f"{pair.prompt}\n{pair.response}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
