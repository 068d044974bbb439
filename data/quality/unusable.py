"""Pairs that no run can learn: too long for the base, with its control tokens in the answer, or
refused by its chat template. One of them makes a run fail.

Counting the tokens of every pair takes too long for an import and for a plan. A text has at most as
many tokens as bytes, so only the tokens of long pairs are counted.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from data.domains import Domain
from data.pairs.pairs import Draft, Pair, is_blank
from data.quality import checker
from data.quality.findings import Policy, Surroundings, TokenCount, short

SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’»)\]]*(?=\s|$)|\n")
REASONS = {
    "too-long": "too long for the base model",
    "control-tokens": "a control token of the base model in the answer",
    "refused-by-template": "refused by the chat template of the base model",
}


@dataclass(frozen=True)
class Unusable:
    """A pair that no run can learn."""

    pair_id: int
    check: str  # its name, a key of `REASONS`
    detail: str
    became: str = ""  # of a row of a file: what became of it

    @property
    def sentence(self) -> str:
        return f"{REASONS[self.check]} ({self.detail})"


@dataclass(frozen=True)
class UnusableDraft:
    """A draft that no run can learn, and what is stored instead: the draft in quarantine, or with a
    shorter answer. None: nothing."""

    fault: Unusable
    instead: Draft | None


def find(pairs: Sequence[Pair], around: Surroundings) -> list[Unusable]:
    """The pairs that a run would refuse; none where the base is not on this machine."""
    if around.count_tokens is None:
        return []
    suspect = suspicion(around)
    suspects = [pair for pair in pairs if suspect(pair)]
    counted = around.count_tokens(suspects)
    found = (_fault(pair, n, around) for pair, n in zip(suspects, counted, strict=True))
    return [one for one in found if one is not None]


def suspicion(around: Surroundings) -> Callable[[Pair | Draft], bool]:
    """A quick test: whether a pair has to be looked at more closely."""
    control = _pattern(around.control_tokens)
    most, limit = around.most_tokens, around.max_tokens

    def suspect(pair: Pair | Draft) -> bool:
        odd = any(turn.role != ("user", "assistant")[i % 2] for i, turn in enumerate(pair.turns))
        return (
            odd
            or len(pair.turns) % 2 == 1
            or (control is not None and control.search(pair.response) is not None)
            or (most is not None and limit > 0 and most(pair) > limit)
        )

    return suspect


class UnusableDrafts:
    """Finds unusable drafts while a file is imported, and says what becomes of each."""

    def __init__(self, domain: Domain, around: Surroundings, policy: Policy) -> None:
        self._domain = domain
        self._around = around
        self._policy = policy
        self._suspect = suspicion(around)

    def judge(self, draft: Draft) -> UnusableDraft | None:
        """None: a run can learn it, or will not, or nobody knows here."""
        if draft.status in ("rejected", "quarantined") or not self._suspect(draft):
            return None
        pair = checker.as_pair(0, draft, self._domain)
        found = find([pair], self._around)
        if not found:
            return None
        if self._policy == "refuse":
            return UnusableDraft(found[0], None)
        answer = shortened(pair, self._around) if self._policy == "truncate" else ""
        if answer and found[0].check == "too-long":
            cut = replace(found[0], became="shortened")
            return UnusableDraft(cut, replace(draft, response=answer))
        kept = replace(found[0], became="put in quarantine")
        return UnusableDraft(kept, replace(draft, status="quarantined"))


def shortened(pair: Pair, around: Surroundings) -> str:
    """The longest start of the answer, up to the end of a sentence, with which the pair fits; ''
    if there is none."""
    count = around.count_tokens
    if count is None:
        return ""
    starts = [pair.response[: end.end()].rstrip() for end in SENTENCE_END.finditer(pair.response)]
    starts = [one for one in starts if not is_blank(one) and one.count("```") % 2 == 0]
    low, high = 0, len(starts)
    while low < high:  # the first `low` starts fit, those from `high` on do not
        middle = (low + high) // 2
        (tokens,) = count([replace(pair, response=starts[middle])])
        if tokens.total <= around.max_tokens:
            low = middle + 1
        else:
            high = middle
    return starts[low - 1] if low else ""


def _fault(pair: Pair, tokens: TokenCount, around: Surroundings) -> Unusable | None:
    control = _pattern(around.control_tokens)
    if control is not None and (spelled := control.search(pair.response)):
        return Unusable(pair.id, "control-tokens", spelled.group())
    if tokens.refused:
        return Unusable(pair.id, "refused-by-template", short(tokens.refused))
    if 0 < around.max_tokens < tokens.total:
        fits = f"{tokens.total:,} tokens, and at most {around.max_tokens:,} fit"
        return Unusable(pair.id, "too-long", fits)
    return None


def _pattern(tokens: frozenset[str]) -> re.Pattern[str] | None:
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first))) if tokens else None
