"""Eval sets: the sets of questions that an adapter is evaluated on, with expected answers.

- `golden`: the domain's frozen questions, which no adapter is trained on.
- `validation`: facts that training did not see: generalisation to new facts.
- `probe`: phrasings that training did not see, of facts that it did: understanding.
- `new`: training pairs that are new to the live adapter: whether the run learned them.
- `replay`: a sample of the live adapter's training pairs that are still valid: forgetting.

The selection from a large set depends only on the text of the questions, so every adapter gets the
same ones. The loss is measured on more questions than are answered, because it costs less.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlite_utils import Database

from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.pairs import datasets
from data.pairs.datasets import Dataset, Part
from data.pairs.pairs import Pair
from tuning.data import replay
from tuning.data.examples import Example, encode_all, messages

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

    def answered(self, name: SetName) -> Sequence[EvalQuestion]:
        """The questions of a set that are answered."""
        return self.sets.get(name, ())[: ANSWERED[name]]


def prepare_eval_sets(
    db: Database,
    domain: Domain,
    dataset: Dataset,
    live: Adapter | None,
    tokenizer: Any,
    stops: frozenset[int],
    max_length: int,
    parent: Adapter | None = None,
) -> EvalSets:
    """The eval sets for the adapter that a run trains on `dataset` from `parent`, compared with the
    `live` one."""
    parts = {part: datasets.pairs_of(db, dataset.id, part) for part in PARTS}
    current = replay.current_pairs([pair for part in PARTS for pair in parts[part]])
    part_of = {pair.id: part for part in PARTS for pair in parts[part]}
    known: set[int] = set()
    taught: set[int] = set()  # also to the adapters before it
    if live is not None and live.dataset_id is not None:
        known = {p.id for p in datasets.pairs_of(db, live.dataset_id, "train")}
        known -= set(current.reworded)
        taught = registry.pairs_learned(db, live) - set(current.reworded)
    chosen: dict[SetName, list[Pair]] = {name: [] for name in ANSWERED}
    for pair in current.pairs:
        part = part_of[pair.id]
        seen = pair.id in (known if part == "train" else taught)
        name = _set_of(part, seen, live is not None)
        if name is not None:
            chosen[name].append(pair)
    sets: dict[SetName, list[EvalQuestion]] = {}
    for name, found in chosen.items():
        some = sorted(found, key=_order)[:MEASURED]
        examples = encode_all(
            some,
            tokenizer,
            system_prompt=domain.system_prompt,
            stops=stops,
            max_length=max_length,
        )
        sets[name] = [
            EvalQuestion(example, tuple(messages(p, domain.system_prompt)), p.prompt, p.response)
            for p, example in zip(some, examples, strict=True)
        ]
    filled = {name: questions for name, questions in sets.items() if questions}
    learned = {pair_id for pair_id, part in part_of.items() if part == "train"}
    learned |= registry.pairs_learned(db, parent) if parent else set()
    withheld = frozenset(pair.id for pair in chosen["replay"]) - learned
    return EvalSets(filled, {name: len(chosen[name]) for name in filled}, withheld)


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


def _order(pair: Pair) -> bytes:
    text = f"{pair.prompt}\n{pair.response}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
