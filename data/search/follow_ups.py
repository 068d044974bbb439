"""How a question within a conversation is searched.

"And on Sundays?" means nothing without the question before it, while a change of topic has nothing
to do with it, and no rule tells them apart in every language. So a question is searched three ways:
alone, and as two mixtures of its vector with the vector of the whole conversation's questions. The
light mixture says what comes first. Then come, by turns, what the question finds alone and what the
even mixture finds.

Measured on far wording (benchmarks/RESULTS.md): of 12 follow-ups, 9 have their pair among the first
four (alone: 6), and of 83 changes of topic 56 (alone: 60; with the conversation as one text: 32).
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, Protocol

from data.search.index import Candidate

if TYPE_CHECKING:
    import numpy as np

QUESTIONS = 3  # of the conversation, with the new one


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


def merged(found: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """The candidates that `queries` found, in the order described above, each once."""
    if len(found) == 1:
        return list(found[0])
    alone, light, even = found
    by_turns = zip_longest(_of_each_fact(alone), _of_each_fact(even))
    first = [*light[:1], *(c for turn in by_turns for c in turn if c is not None)]
    return _once([*first, *alone, *even], lambda c: c.pair_id)


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
