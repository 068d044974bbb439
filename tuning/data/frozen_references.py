"""The references of a run, found once and frozen with its dataset.

What a search finds changes with every approved pair, so a run that is resumed could see other
references than before it was killed. Therefore they are found once and kept in the run's folder, as
ids of pairs and digests of questions; the words come from the frozen dataset, so erased pairs are
gone from here, too. Only pairs of the dataset that are valid now are references, and golden ones
never are.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlite_utils import Database

from data.config.settings import Settings
from data.domains import Domain
from data.pairs import current_answers, datasets
from data.pairs.pairs import Pair
from data.pairs.question import question_key
from data.search.search import PairSearch
from data.store.errors import Invalid
from tuning.data.run_inputs import RunInputs

FILE = "references.json"
PARTS: tuple[datasets.Part, ...] = ("train", "validation", "probe", "golden")
SPARE = 4  # references beyond those that are shown, for when some of them are left out


def of_run(
    db: Database, search: PairSearch, settings: Settings, inputs: RunInputs, count: int
) -> "FrozenReferences":
    """The references of a run's questions, `count` for each."""
    parts = {part: datasets.pairs_of(db, inputs.dataset.id, part) for part in PARTS}
    golden = {pair.id for pair in parts["golden"]}
    current = current_answers.current_pairs([pair for part in PARTS for pair in parts[part]])
    searchable = [pair for pair in current.pairs if pair.id not in golden]
    file = settings.checkpoints_path(inputs.run.id).parent / FILE
    return FrozenReferences(
        search, inputs.domain, searchable, file, count=count, dataset=inputs.dataset.sha256
    )


@dataclass(frozen=True)
class EarlierTurn:
    """A turn of a pair, as the search takes it."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class Question:
    """A question with the conversation before it."""

    text: str
    turns: tuple[EarlierTurn, ...] = ()
    without: frozenset[int] = frozenset()  # ids of pairs that are no reference for it

    @property
    def digest(self) -> str:
        said = [*(f"{turn.role}: {turn.text}" for turn in self.turns), self.text]
        text = json.dumps([said, sorted(self.without)])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class FrozenReferences:
    """Finds the references of questions, each once for a run."""

    def __init__(
        self,
        search: PairSearch,
        domain: Domain,
        searchable: Sequence[Pair],
        file: Path,
        *,
        count: int,
        dataset: str,
    ) -> None:
        """`searchable`: the pairs of the dataset that can be references. `dataset`: its digest.
        `file` keeps what was found. Raises Invalid when it cannot be read."""
        self.count = count
        self._search = search
        self._domain = domain
        self._pairs = {pair.id: pair for pair in searchable}
        self._file = file
        self._of = f"{dataset} {count}"
        self._alike: dict[str, set[int]] = {}
        for pair in searchable:
            self._alike.setdefault(question_key(pair), set()).add(pair.id)
        self._found: dict[str, list[int]] = self._load()
        self._begun_with = len(self._found)
        self._complete = False

    def question(self, pair: Pair) -> Question:
        """The pair as a question that neither itself nor a pair with the same prompt answers."""
        return question_of(pair, {pair.id} | self._same_prompt(pair))

    def of(self, question: Question) -> list[Pair]:
        """The references of a question, best first: `count` and a few to spare."""
        digest = question.digest
        if digest not in self._found:
            if not self._complete:
                self._search.complete(self._domain)  # every pair can be found
                self._complete = True
            found = self._search.find(
                self._domain,
                question.text,
                question.turns,
                limit=self.count + SPARE,
                without=question.without,
            )
            self._found[digest] = [r.pair_id for r in found.references if r.pair_id in self._pairs]
        known = self._found[digest]
        return [self._pairs[i] for i in known if i in self._pairs and i not in question.without]

    def keep(self) -> None:
        """Write what was found since the last time. Raises OSError."""
        if len(self._found) == self._begun_with:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".making")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump({"of": self._of, "found": self._found}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._file)
        self._begun_with = len(self._found)

    def sha256(self, questions: Iterable[Question]) -> str:
        """A digest of the references of these questions."""
        found = [(q.digest, [pair.id for pair in self.of(q)]) for q in questions]
        return hashlib.sha256(json.dumps([self._of, sorted(found)]).encode()).hexdigest()

    def siblings(self, pair: Pair) -> list[Pair]:
        """Other searchable pairs that answer like the pair, with other prompts, by id."""
        same = self._same_prompt(pair)
        return [
            other
            for other in self._pairs.values()
            if answers_like(other, pair) and other.id != pair.id and other.id not in same
        ]

    def _same_prompt(self, pair: Pair) -> set[int]:
        return self._alike.get(question_key(pair), set())

    def _load(self) -> dict[str, list[int]]:
        try:
            kept = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise Invalid(
                f"{self._file} is damaged. Delete it and request the run again."
            ) from error
        return dict(kept["found"]) if kept["of"] == self._of else {}


def question_of(pair: Pair, without: Iterable[int] = ()) -> Question:
    """The question of a pair."""
    turns = tuple(EarlierTurn(turn.role, turn.content) for turn in pair.turns)
    return Question(pair.prompt, turns, frozenset(without))


def answers_like(one: Pair, other: Pair) -> bool:
    """Whether two pairs state the same fact or give the same answer."""
    return one.fact == other.fact or one.response == other.response
