"""A question within a conversation is searched alone and with what the conversation is about."""

import numpy as np
import pytest

from data.conversations.conversations import Message
from data.search import follow_ups
from data.search.index import Candidate

ASKED = [
    Message("user", "first"),
    Message("assistant", "an answer"),
    Message("user", "second"),
    Message("assistant", "another"),
    Message("user", "third"),
]


def test_the_last_questions_are_part_of_the_conversation_and_answers_are_not() -> None:
    assert follow_ups.texts("now", []) == ["now"]
    assert follow_ups.texts("now", [Message("assistant", "Welcome!")]) == ["now"]
    assert follow_ups.texts("now", ASKED) == ["now", "second\nthird\nnow"]


def test_queries_have_length_one() -> None:
    alone, together = np.float32([1, 0]), np.float32([0, 1])

    assert follow_ups.queries([alone]).tolist() == [[1, 0]]
    found = follow_ups.queries([alone, together])
    assert found.shape == (3, 2)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found @ alone, [1, 2 / 5**0.5, 1 / 2**0.5], atol=1e-6)


def candidates(*facts: int) -> list[Candidate]:
    """Two pairs of each fact."""
    return [Candidate(10 * fact + n, fact, 1.0) for fact in facts for n in (0, 1)]


def test_the_light_mixture_comes_first_then_both_others_by_turns() -> None:
    merged = follow_ups.merged([candidates(1, 2, 3), candidates(5, 1), candidates(4, 1, 5)])

    assert [c.pair_id for c in merged][:5] == [50, 10, 40, 20, 30]
    assert len({c.pair_id for c in merged}) == len(merged) == 10


def test_a_single_question_keeps_its_order() -> None:
    assert follow_ups.merged([candidates(3, 1)]) == candidates(3, 1)


def test_a_mixture_never_makes_a_question_more_similar_than_it_is_to_any_prompt() -> None:
    alone, together = np.float32([1, 0, 0]), np.float32([0, 1, 0])
    prompts = np.float32([[0, 1, 0], [0.2, 0, 0.98]])

    single = follow_ups.similarities(follow_ups.queries([alone]), prompts, 0.2)
    within = follow_ups.similarities(follow_ups.queries([alone, together]), prompts, 0.2)

    assert single == pytest.approx([0, 0.2])
    assert within == pytest.approx([0.2, 0.2])
