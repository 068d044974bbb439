"""Groups questions that ask the same, by meaning where there is an encoder, otherwise by words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from data.pairs.question_matching import Index

if TYPE_CHECKING:
    import numpy as np

SAME = 0.75  # the cosine from which two questions ask the same


def by_meaning(vectors: "np.ndarray") -> list[list[int]]:
    """The positions of the questions in groups, in order. `vectors` has the shape (questions,
    dimensions) and rows of length 1. A question joins the group whose first one is nearest, if
    that is near enough."""
    firsts: list[int] = []
    groups: list[list[int]] = []
    for n, vector in enumerate(vectors):
        near = vectors[firsts] @ vector if firsts else ()
        best = max(range(len(firsts)), key=lambda i: near[i], default=-1)
        if best >= 0 and near[best] >= SAME:
            groups[best].append(n)
        else:
            firsts.append(n)
            groups.append([n])
    return groups


def by_words(questions: Sequence[str]) -> list[list[int]]:
    """The same for questions that differ at most by typing errors, word forms and small words."""
    index: Index[int] = Index()
    groups: list[list[int]] = []
    for n, question in enumerate(questions):
        if (match := index.find(question)) is not None:
            groups[match.key].append(n)
            continue
        index.add(len(groups), question)
        groups.append([n])
    return groups
