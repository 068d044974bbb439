"""Reading examples: questions that are answered from references, for adapters that learn to read.

Each file in `data/examples/reading` holds one fictional organisation with its own system prompt,
its facts, and questions about them. An example shows two to four facts as references. If one of
them answers the question, its response is the answer, word for word; if none does, the answer is
the organisation's refusal. Most questions use other words than the fact
that answers them, because a model that only saw near wording refuses whatever is worded
differently. `off_topic.jsonl` holds questions that belong to no organisation. docs/reading.md
describes the format.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

import data
from data.pairs.pairs import Turn
from data.store.errors import Invalid

Kind = Literal["far", "near", "follow_up", "missing", "near_miss", "off_topic", "small_talk"]
REFUSED = ("missing", "near_miss", "off_topic")  # kinds that no reference answers
FOLDER = Path(data.__file__).parent / "examples" / "reading"
OFF_TOPIC = "off_topic.jsonl"


@dataclass(frozen=True)
class ReadingFact:
    """Something an organisation knows: one response and some of the prompts that it answers."""

    name: str
    prompts: tuple[str, ...]
    response: str

    def prompt(self, question: str) -> str:
        """The prompt under which the fact is shown to `question`: always the same, and spread
        evenly over the questions."""
        return self.prompts[zlib.crc32(question.encode()) % len(self.prompts)]


@dataclass(frozen=True)
class ReadingExample:
    """A question with the facts shown as references. Their order has no meaning.

    `answer_from` is the fact that answers, `None` where no reference does. `part` is the part of
    its response that was asked for, where that is not all of it. `hidden` are facts that answer but
    are not shown."""

    kind: Kind
    question: str
    turns: tuple[Turn, ...]
    references: tuple[ReadingFact, ...]
    answer: str
    answer_from: ReadingFact | None = None
    part: str = ""
    hidden: tuple[ReadingFact, ...] = ()


@dataclass(frozen=True)
class ReadingOrganisation:
    """A fictional organisation. `language` is an ISO 639-1 code."""

    name: str
    language: str
    system: str
    refusal: str
    facts: tuple[ReadingFact, ...]
    examples: tuple[ReadingExample, ...]

    def without_answer(self, example: ReadingExample) -> ReadingExample:
        """The same question with its answer taken out of the references: a refusal.

        Raises ValueError if no reference answers the example in the first place."""
        if example.answer_from is None:
            raise ValueError(f"No reference answers {example.question!r}.")
        return replace(
            example,
            kind="missing",
            references=tuple(f for f in example.references if f is not example.answer_from),
            answer=self.refusal,
            answer_from=None,
            part="",
            hidden=(example.answer_from,),
        )


@dataclass(frozen=True)
class OffTopicQuestion:
    """A question or a remark that belongs to no organisation."""

    question: str
    language: str
    kind: Kind  # off_topic or small_talk


def organisations(folder: Path = FOLDER) -> list[ReadingOrganisation]:
    """All organisations of the folder, by name. Raises what `read` raises."""
    return [read(path) for path in sorted(folder.glob("*.jsonl")) if path.name != OFF_TOPIC]


def read(path: Path) -> ReadingOrganisation:
    """One organisation. Raises Invalid with the line that is wrong."""
    lines = _lines(path)
    if not lines:
        raise Invalid(f"{path.name} is empty")
    (_, head), *rows = lines
    if unknown := {"language", "system", "refusal"} - head.keys():
        raise Invalid(f"{path.name}, line 1: {', '.join(sorted(unknown))} is missing")
    facts: dict[str, ReadingFact] = {}
    examples = []
    for number, row in rows:
        try:
            if "fact" in row:
                fact = _fact(row, facts)
                facts[fact.name] = fact
            else:
                examples.append(_example(row, facts, head["refusal"]))
        except (KeyError, ValueError) as error:
            raise Invalid(_where(path, number, error)) from error
    return ReadingOrganisation(
        name=path.stem,
        language=head["language"],
        system=head["system"],
        refusal=head["refusal"],
        facts=tuple(facts.values()),
        examples=tuple(examples),
    )


def off_topic(path: Path = FOLDER / OFF_TOPIC) -> list[OffTopicQuestion]:
    """The questions that belong to no organisation. Raises Invalid with the line that is wrong."""
    found = []
    for number, row in _lines(path):
        try:
            found.append(OffTopicQuestion(row["question"], row["language"], _kind(row)))
        except (KeyError, ValueError) as error:
            raise Invalid(_where(path, number, error)) from error
    return found


def _fact(row: dict[str, Any], known: dict[str, ReadingFact]) -> ReadingFact:
    if row["fact"] in known:
        raise ValueError(f"the fact {row['fact']} is there twice")
    return ReadingFact(row["fact"], tuple(row["prompts"]), row["response"])


def _example(row: dict[str, Any], facts: dict[str, ReadingFact], refusal: str) -> ReadingExample:
    kind = _kind(row)
    references = _named(row["references"], facts)
    hidden = _named(row.get("hidden", ()), facts)
    answers = _named([row["answer_from"]], facts)[0] if row["answer_from"] else None
    if kind in REFUSED and answers:
        raise ValueError(f"{kind} examples have no answer, but {answers.name} is named")
    if kind in ("far", "near") and answers is None:
        raise ValueError(f"the fact that answers a {kind} question is not named")
    if kind == "missing" and not hidden:
        raise ValueError("the fact that answers is not named as hidden")
    if shown := [fact.name for fact in hidden if fact in references]:
        raise ValueError(f"{', '.join(shown)} is hidden and yet among the references")
    if answers and answers not in references:
        raise ValueError(f"{answers.name} answers, but is not among the references")
    return ReadingExample(
        kind=kind,
        question=row["question"],
        turns=tuple(Turn(turn["role"], turn["content"]) for turn in row.get("turns", ())),
        references=references,
        answer=row.get("answer") or (answers.response if answers else refusal),
        answer_from=answers,
        part=row.get("part", ""),
        hidden=hidden,
    )


def _named(names: Iterable[str], facts: dict[str, ReadingFact]) -> tuple[ReadingFact, ...]:
    names = list(names)
    if unknown := [name for name in names if name not in facts]:
        raise ValueError(f"there is no fact {', '.join(unknown)} above this line")
    return tuple(facts[name] for name in names)


def _kind(row: dict[str, Any]) -> Kind:
    if row["kind"] not in get_args(Kind):
        raise ValueError(f"kind is {row['kind']!r}; it can be {', '.join(get_args(Kind))}")
    kind: Kind = row["kind"]
    return kind


def _where(path: Path, number: int, error: Exception) -> str:
    reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return f"{path.name}, line {number}: {reason}"


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The file's objects with their line numbers."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Invalid(_where(path, number, error)) from error
        if not isinstance(row, dict):
            raise Invalid(f"{path.name}, line {number} is not an object")
        found.append((number, row))
    return found
