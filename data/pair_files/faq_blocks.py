"""Questions and answers of a document: from its headings, or from its marks `Q:` and `A:`.

A document (Markdown, HTML, Word) is read as blocks: headings, questions that are marked as such,
and text. What asks is a question, and the text below it, up to the next question or section, is its
answer. A heading that asks nothing, beside others that do, may be a topic: its pair waits for
review. Text that belongs to no question is left out and counted.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from data.pair_files.reading import Reading, Unrecognised
from data.pair_files.rows import read_row
from data.pair_files.verdicts import BadRow, LeftOut, NumberedRow

Kind = Literal["heading", "question", "answer", "text", "end"]
LARGEST = 32 * 1024**2  # bytes of a document, which is read whole
QUESTION_MARKS = ("?", "？", "؟", "\u037e")
ASKING = re.compile(
    r"(?:how|what|whats|what's|when|where|who|whom|why|which|can|could|do|does|did|is|are|should|"
    r"wie|was|wann|wo|wohin|woher|wer|wem|warum|wieso|welche[rsnm]?|kann|können|darf|muss|gibt|"
    r"comment|quand|où|pourquoi|quel|quelle|quels|quelles|combien|puis-je|est-ce|"
    r"cómo|qué|cuándo|dónde|quién|cuál|cuánto|puedo|como|quando|onde|porque|"
    r"come|cosa|dove|perché|chi|quale|quanto|posso|hoe|wat|wanneer|waar|waarom|kan)"
    r"\s+\S+\s+\S",
    re.IGNORECASE,
)
# Marks of questions and answers in a text; a document uses one of these styles.
STYLES = (
    (
        "q|question|frage|pregunta|domanda|vraag|pergunta|pytanie|вопрос|问|問|质问",
        "a|r|answer|antwort|réponse|reponse|respuesta|risposta|antwoord|resposta|odpowiedź|ответ|答",
    ),
    ("f", "a"),
    ("p", "r"),
    ("d", "r"),
)
CONTENTS = re.compile(r"(?:\s*(?:[-*+]|\d+[.)])\s+\[[^\]]*\]\(#[^)]*\))+\s*")  # links to headings
EMPHASIS = r"[*_]{0,3}"


@dataclass(frozen=True)
class Block:
    """A part of a document. `end` closes a marked question with its answer."""

    kind: Kind
    text: str = ""
    line: int = 0
    level: int = 0  # of a heading, from 1
    shares: bool = False  # a question that may have one answer with the question before it
    source: str = ""  # of a heading: how it is written inside an answer


@dataclass
class _Pair:
    """A question and what is known of its answer."""

    questions: list[Block]
    answer: list[str]
    pending: bool = False
    answered: bool = False  # the answer is marked, too


class Marks:
    """The marks `Q:` and `A:` of a document."""

    def __init__(self, text: str) -> None:
        self._question: re.Pattern[str] | None = None
        self._answer: re.Pattern[str] | None = None
        for asked, answered in STYLES:
            question, answer = _mark(asked), _mark(answered)
            if question.search(text) and answer.search(text):
                self._question, self._answer = question, answer
                break

    def __bool__(self) -> bool:
        return self._question is not None

    def of(self, line: str) -> tuple[Kind, str] | None:
        """What a line is marked as, and its text without the mark; None without a mark."""
        if self._question is None or self._answer is None:
            return None
        for kind, mark in (("question", self._question), ("answer", self._answer)):
            if found := mark.match(line):
                rest = line[found.end() :]
                if found[1] and rest.rstrip().endswith(found[1]):  # **Q: all of it**
                    rest = rest.rstrip().removesuffix(found[1])
                return kind, rest.strip()  # type: ignore[return-value] # one of two kinds
        return None


def _mark(words: str) -> re.Pattern[str]:
    """`Q:`, `**Q:**`, `- Q1:`, `Frage 3:` at the beginning of a line."""
    return re.compile(
        rf"^[ \t]*(?:[-*>][ \t]+)?({EMPHASIS})(?:{words})[ \t]?\d*{EMPHASIS}[ \t]?[:：]{EMPHASIS}"
        r"(?=[ \t]|\S|$)",
        re.IGNORECASE | re.MULTILINE,
    )


def asks(text: str) -> bool:
    """Whether a heading is a question."""
    bare = text.strip(" *_\"'”»")
    return bare.endswith(QUESTION_MARKS) or bool(ASKING.match(bare.lstrip("¿¡ ")))


def faq_rows(blocks: Sequence[Block], reading: Reading) -> Iterator[NumberedRow]:
    """The pairs of a document. Raises Unrecognised if it has none."""
    left_out: Counter[str] = Counter()
    marked = sum(block.kind == "question" for block in blocks)
    asking = sum(block.kind == "heading" and asks(block.text) for block in blocks)
    some = False
    topics = 0
    found = _marked(blocks, left_out) if marked and marked >= asking else _headed(blocks, left_out)
    for pair in found:
        some = True
        answer = "\n\n".join(part.strip("\n") for part in pair.answer if part.strip()).strip()
        if pair.pending and CONTENTS.fullmatch(answer):
            left_out["table of contents"] += 1
            continue
        topics += pair.pending
        for question in pair.questions:
            if not answer:
                yield NumberedRow(
                    question.line, BadRow(question.line, f"no answer to “{question.text[:80]}”")
                )
                continue
            row = {**reading.row_marks, "prompt": question.text, "response": answer}
            if pair.pending:
                row["status"] = "pending"
            yield from read_row(row, question.line, reading.columns)
    if not some:
        raise Unrecognised(
            f"{reading.path} has no questions: a heading or a line `Q:` states one, and the text "
            "below it is the answer."
        )
    if topics:
        reading.notes.append(
            f"Headings of {reading.path.name} that ask nothing: {topics:,}. They may be topics, so "
            "their pairs wait for review."
        )
    for reason, count in left_out.items():
        for _ in range(count):
            yield NumberedRow(0, LeftOut(0, reason))


def _marked(blocks: Iterable[Block], left_out: Counter[str]) -> Iterator[_Pair]:
    """The pairs of a document that marks its questions."""
    open_pair: _Pair | None = None
    for block in blocks:
        if block.kind == "question":
            if open_pair and not open_pair.answer and block.shares:
                open_pair.questions.append(block)
                continue
            if open_pair:
                yield open_pair
            open_pair = _Pair([block], [])
        elif block.kind in ("heading", "end"):
            if open_pair:
                yield open_pair
            open_pair = None
        elif open_pair:
            if block.kind == "answer" and not open_pair.answered:  # what came before asked on
                last = open_pair.questions[-1]
                text = "\n".join(filter(None, (last.text, *open_pair.answer)))
                open_pair.questions[-1] = replace(last, text=text)
                open_pair.answer, open_pair.answered = [], True
            open_pair.answer.append(block.text)
        elif block.text.strip():
            left_out["text that belongs to no question"] += 1
    if open_pair:
        yield open_pair


def _headed(blocks: Sequence[Block], left_out: Counter[str]) -> Iterator[_Pair]:
    """The pairs of a document whose headings ask."""
    topics = _topic_levels(blocks)
    open_pair: _Pair | None = None
    level = 0
    for block in blocks:
        if block.kind in ("heading", "question"):
            asked = block.kind == "question" or asks(block.text)
            if open_pair and not asked and block.level > level and not open_pair.pending:
                open_pair.answer.append(block.source or block.text)  # a part of the answer
                continue
            if open_pair and (open_pair.answer or not open_pair.pending):
                yield open_pair
            open_pair, level = None, block.level
            if asked or block.level in topics:
                open_pair = _Pair([block], [], pending=not asked)
        elif block.kind == "end" or not block.text.strip():
            continue
        elif open_pair:
            open_pair.answer.append(block.text)
        else:
            left_out["text that belongs to no question"] += 1
    if open_pair and (open_pair.answer or not open_pair.pending):
        yield open_pair


def _topic_levels(blocks: Sequence[Block]) -> set[int]:
    """The levels at which a heading that asks nothing may be a topic: those of headings that ask,
    or, without any, the level of most headings that have text below them."""
    asking = {block.level for block in blocks if block.kind == "heading" and asks(block.text)}
    if asking:
        return asking
    with_text = Counter(
        block.level
        for block, after in itertools.pairwise(blocks)
        if block.kind == "heading" and after.kind == "text"
    )
    most = max(with_text.values(), default=0)
    return {max(level for level, count in with_text.items() if count == most)} if most else set()
