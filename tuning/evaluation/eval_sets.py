"""What an adapter is examined on: sets of questions with the answers they should get.

- `golden`: the domain's frozen questions, which no adapter is ever trained on.
- `validation`: facts that training never saw: what carries over to new ones.
- `probe`: single phrasings that training never saw, of facts that it did: what was understood.
- `new`: what was trained on and the live adapter had not seen: whether the run learned what it was
  made for.
- `replay`: a sample of what the live adapter was trained on and is still right: whether it was
  forgotten.

Which questions of a large set are taken depends on their words alone, so every adapter is asked
the same ones. The loss is measured on more of them than are answered, because it costs less.
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

Name = Literal["golden", "validation", "probe", "new", "replay"]
PARTS: tuple[Part, ...] = ("train", "validation", "probe", "golden")
ANSWERED: dict[Name, int] = {
    "golden": 96,
    "validation": 48,
    "probe": 48,
    "new": 32,
    "replay": 64,
}
MEASURED = 256  # questions of a set whose loss is measured


@dataclass(frozen=True)
class EvalQuestion:
    """One pair as a question."""

    example: Example
    messages: tuple[dict[str, str], ...]  # what an engine is sent
    text: str  # what is asked, without the turns before
    expected: str

    @property
    def prompt(self) -> tuple[int, ...]:
        """What the trainer is given: the ids that the engine makes of `messages`."""
        return self.example.prompt

    @property
    def expected_tokens(self) -> int:
        return len(self.example.ids) - len(self.example.prompt)

    @property
    def most_tokens(self) -> int:
        """How long an answer may become: longer than expected, so that it shows when it does not
        end by itself."""
        return self.expected_tokens + self.expected_tokens // 4 + 8


@dataclass(frozen=True)
class EvalSets:
    sets: Mapping[Name, Sequence[EvalQuestion]]  # none of them empty; at most `MEASURED` of each
    of: Mapping[Name, int]  # how many the domain has
    withheld: frozenset[int] = frozenset()  # pairs that the live adapter was taught, the run not

    def asked(self, name: Name) -> Sequence[EvalQuestion]:
        """Those of a set that are answered."""
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
    """The exam of the adapter that a run makes from `dataset`, on from `parent`, beside the `live`
    one."""
    parts = {part: datasets.pairs_of(db, dataset.id, part) for part in PARTS}
    today = replay.current([pair for part in PARTS for pair in parts[part]])
    part_of = {pair.id: part for part in PARTS for pair in parts[part]}
    known: set[int] = set()
    taught: set[int] = set()  # to those before it, too
    if live is not None and live.dataset_id is not None:
        known = {p.id for p in datasets.pairs_of(db, live.dataset_id, "train")}
        known -= set(today.reworded)
        taught = registry.taught(db, live) - set(today.reworded)
    chosen: dict[Name, list[Pair]] = {name: [] for name in ANSWERED}
    for pair in today.pairs:
        part = part_of[pair.id]
        seen = pair.id in (known if part == "train" else taught)
        name = _set_of(part, seen, live is not None)
        if name is not None:
            chosen[name].append(pair)
    sets: dict[Name, list[EvalQuestion]] = {}
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
    learned |= registry.taught(db, parent) if parent else set()
    withheld = frozenset(pair.id for pair in chosen["replay"]) - learned
    return EvalSets(filled, {name: len(chosen[name]) for name in filled}, withheld)


def fingerprint(asked: Sequence[EvalQuestion]) -> str:
    """Equal for two runs that asked the same questions and expected the same answers."""
    lines = (f"{q.prompt}\t{q.expected}" for q in asked)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _set_of(part: Part, known: bool, beside_live: bool) -> Name | None:
    if part in ("validation", "probe"):  # the live adapter may know them from before they were
        return "replay" if known else part
    if part == "golden":
        return "golden"
    if not beside_live:  # the bare base was taught nothing that could be new or forgotten
        return None
    return "replay" if known else "new"


def _order(pair: Pair) -> bytes:
    text = f"{pair.prompt}\n{pair.response}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
