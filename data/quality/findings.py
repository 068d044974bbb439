"""What a check looks at, and what it reports."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

from data.pairs.pairs import Draft, Pair

FixKind = Literal["mask", "quarantine", "merge"]
Policy = Literal["refuse", "quarantine", "truncate"]  # for pairs that no run can learn
POLICIES: tuple[Policy, ...] = get_args(Policy)
CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
SHOWN = 5  # examples of a finding
SHORT = 120  # characters of an example


@dataclass(frozen=True)
class Found:
    """One pair with a fault."""

    pair_id: int
    detail: str  # what exactly, in a few words
    kept: int | None = None  # of a duplicate: the pair that stays


@dataclass(frozen=True)
class FaultExample:
    """A pair as a report quotes it. Words of private kinds (secrets, contact data) are masked."""

    pair_id: int
    prompt: str
    detail: str


@dataclass(frozen=True)
class QualityFinding:
    """What one check found."""

    check: str  # its name
    title: str
    count: int  # pairs, or facts where `unit` says so
    unit: str
    examples: tuple[FaultExample, ...]
    fix: FixKind | None
    fix_says: str  # what `--fix` does, or why it does nothing
    not_checked: str = ""  # why the check could not run; '' if it did
    pair_ids: tuple[int, ...] = ()
    kept_ids: tuple[int, ...] = ()  # of duplicates: for each of `pair_ids` the pair that stays

    @property
    def counted(self) -> str:
        """The number of pairs or facts: `1 fact`, `1,200 pairs`."""
        return f"{self.count:,} {self.unit if self.count != 1 else self.unit.removesuffix('s')}"


@dataclass(frozen=True)
class Distribution:
    """How many pairs there are of each kind, the largest first; or of each range, in order."""

    title: str
    bars: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class QualityReport:
    """The result of all checks. `not stored` rows have the number of their line as id."""

    domain: str
    pairs: int
    findings: tuple[QualityFinding, ...]
    distributions: tuple[Distribution, ...]
    seconds: float

    @property
    def found(self) -> tuple[QualityFinding, ...]:
        """The findings that name at least one pair."""
        return tuple(one for one in self.findings if one.count)

    @property
    def not_checked(self) -> tuple[QualityFinding, ...]:
        return tuple(one for one in self.findings if one.not_checked)


def not_installed(package: str) -> str:
    return f"{package} is not installed: `pip install 'understudy[quality]'` installs it"


class NotChecked(Exception):
    """A check cannot run here; the message says why, and what to do."""


@dataclass(frozen=True)
class Surroundings:
    """What the checks know besides the pairs."""

    system_prompt: str = ""
    allowed: frozenset[str] = frozenset()  # contact data that may stay, as `contact_data.key`
    validation_share: float = 0.1
    control_tokens: frozenset[str] = frozenset()
    count_tokens: Callable[[Sequence[Pair]], list["TokenCount"]] | None = None
    no_tokens: str = "the tokenizer of the base model is not on this machine"
    max_tokens: int = 0  # of a question and its answer; 0: no limit is known
    most_tokens: Callable[["Pair | Draft"], int] | None = None  # a bound that costs no counting


@dataclass(frozen=True)
class TokenCount:
    """The tokens of a pair as a run sees them."""

    prompt: int  # with the system prompt, the earlier turns and the template's own tokens
    response: int  # with the token that ends it: these are learned
    refused: str = ""  # why the chat template refuses the pair; then the counts are 0

    @property
    def total(self) -> int:
        return self.prompt + self.response


@dataclass
class Rows:
    """The pairs under check. Texts that several checks need are made once."""

    pairs: Sequence[Pair]
    around: Surroundings = field(default_factory=Surroundings)

    @cached_property
    def texts(self) -> list[str]:
        """The whole words of each pair."""
        return [whole(pair) for pair in self.pairs]

    @cached_property
    def prose(self) -> list[str]:
        """The same without code."""
        return [CODE.sub(" ", text) if "`" in text else text for text in self.texts]

    @cached_property
    def tokens(self) -> list[TokenCount]:
        """Raises NotChecked."""
        if self.around.count_tokens is None:
            raise NotChecked(self.around.no_tokens)
        return self.around.count_tokens(self.pairs)

    @cached_property
    def groups(self) -> list[list[int]]:
        """Positions of the pairs that ask the same (`data/pairs/question_join.py`)."""
        from data.pairs.question import question_text
        from data.pairs.question_join import same_questions

        return same_questions([question_text(pair) for pair in self.pairs])

    @cached_property
    def loose_groups(self) -> list[list[int]]:
        """Pairs that perhaps ask the same: it counts only where they answer the same."""
        from data.pairs.question import question_text
        from data.pairs.question_join import same_questions

        return same_questions([question_text(pair) for pair in self.pairs], loose=True)

    def by_id(self) -> Mapping[int, Pair]:
        return {pair.id: pair for pair in self.pairs}


Find = Callable[[Rows], Iterable[Found]]


def whole(pair: Pair | Draft) -> str:
    """Everything a pair says."""
    return "\n".join([pair.system, *(t.content for t in pair.turns), pair.prompt, pair.response])


def short(text: str, most: int = SHORT) -> str:
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else line[: most - 1] + "…"
