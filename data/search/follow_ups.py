"""How a question within a conversation is searched.

"And on Sundays?" means nothing without the question before it, while a change of topic has nothing
to do with it, and no rule tells them apart in every language. So a question is searched three ways:
alone, and as two mixtures of its vector with the vector of the whole conversation's questions. What
comes first is what the question alone or the even mixture finds, whichever is surer. The mixture
counts for a little less, because it also makes near misses sure. Then come, by turns, what both
find.

A follow-up mostly asks for something else than what was just said. So a fact whose answer stands
in the conversation comes last, unless the question by itself clearly asks for it again, or the even
mixture finds it first and one sentence of the answer is similar to the question by itself. "How
many of us would there be?" is answered by the last words of "It costs 25 euros and has room for
eight people", though the whole answer is about a course.

Measured on the follow-ups of the reading examples (benchmarks/RESULTS.md): of 24 that the encoder
and the confidence did not learn from, 16 are right and 4 wrong. Changes of topic are found nearly
as often as by the question alone.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, Protocol

from data.pairs.pairs import normalise
from data.search.index import Candidate
from data.search.vectors import PROMPT

if TYPE_CHECKING:
    import numpy as np

QUESTIONS = 3  # of the conversation, with the new one
ALONE, LIGHT, EVEN = range(3)  # the rows of `queries` within a conversation
CHOOSING = (ALONE, EVEN)
MIXED_COUNTS_LESS = 0.05  # of the confidence in what the even mixture finds
AGAIN = 0.5  # the similarity from which on a question asks again for what was said
SENTENCE_ANSWERS = 0.52  # the same for a sentence of what was said
SENTENCES = 8  # of an answer that are compared, at most
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?…。！？])\s+")


class EarlierMessage(Protocol):
    """A message of the conversation before the question, such as a `Message`."""

    @property
    def role(self) -> Literal["user", "assistant"]: ...
    @property
    def text(self) -> str: ...


def texts(question: str, earlier: Sequence[EarlierMessage]) -> list[str]:
    """What has to be encoded: the question, and within a conversation its questions as one text."""
    asked = [message.text for message in earlier if message.role == "user"]
    asked = asked[-(QUESTIONS - 1) :]
    return [question, "\n".join([*asked, question])] if asked else [question]


def queries(encoded: "Sequence[np.ndarray]") -> "np.ndarray":
    """The vectors to search with, of length 1, made of those of `texts`: the question alone, and
    within a conversation the light and the even mixture."""
    import numpy as np

    if len(encoded) == 1:
        return np.stack(encoded)
    alone, together = encoded
    mixed = np.stack([alone, 2 * alone + together, alone + together])
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return mixed


def answers(earlier: Sequence[EarlierMessage]) -> list[str]:
    """The last answers of the conversation."""
    given = [normalise(message.text) for message in earlier if message.role == "assistant"]
    return given[-(QUESTIONS - 1) :]


def was_said(response: str, answers: Sequence[str]) -> bool:
    """Whether one of the `answers` gave this response."""
    words = normalise(response)
    return any(words in answer for answer in answers)


def asked_again(alone: Sequence[Candidate], similar: "Mapping[int, np.ndarray]") -> set[int]:
    """The fact that the question by itself asks for, if it does so clearly: its answer counts, even
    if it was just given. `similar` holds the best cosines of each fact's pairs, shape
    (3, queries)."""
    if alone and similar[alone[0].fact][PROMPT, ALONE] >= AGAIN:
        return {alone[0].fact}
    return set()


def sentences(response: str) -> list[str]:
    """The first sentences of an answer."""
    return _BETWEEN_SENTENCES.split(response.strip())[:SENTENCES]


def merged(
    found: Sequence[Sequence[Candidate]], query: int, said: Collection[int]
) -> list[Candidate]:
    """The candidates that `queries` found, each once: the first of the chosen query, those that the
    question alone and the even mixture found by turns, and at the end the facts that were said."""
    if len(found) == 1:
        return list(found[0])
    fresh = [[c for c in some if c.fact not in said] for some in found]
    by_turns = zip_longest(_of_each_fact(fresh[ALONE]), _of_each_fact(fresh[EVEN]))
    first = [*fresh[query][:1], *(c for turn in by_turns for c in turn if c is not None)]
    return _once([*first, *fresh[ALONE], *fresh[EVEN], *all_of(found)], lambda c: c.pair_id)


def all_of(found: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """The candidates of all queries, each once."""
    return _once([c for some in found for c in some], lambda c: c.pair_id)


def _of_each_fact(candidates: Sequence[Candidate]) -> list[Candidate]:
    return _once(candidates, lambda c: c.fact)


def _once(candidates: Sequence[Candidate], key: Callable[[Candidate], int]) -> list[Candidate]:
    """The first candidate with each key."""
    first: dict[int, Candidate] = {}
    for candidate in candidates:
        first.setdefault(key(candidate), candidate)
    return list(first.values())


def similarities(queries: "np.ndarray", prompts: "np.ndarray", best_alone: float) -> "list[float]":
    """The similarity of the question and each prompt. Within a conversation, an even mixture may
    count instead, but never for more than `best_alone`, the best that the question reaches with any
    prompt by itself: whether a question belongs to the domain is told by the question alone."""
    import numpy as np

    alone: np.ndarray = prompts @ queries[0]
    if len(queries) == 1:
        return [float(x) for x in alone]
    mixed = np.minimum(prompts @ queries[2], best_alone)
    return [float(x) for x in np.maximum(alone, mixed)]
