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


def test_the_chosen_query_says_what_comes_first_then_both_others_by_turns() -> None:
    found = [candidates(1, 2, 3), candidates(5, 1), candidates(4, 1, 5)]

    merged = follow_ups.merged(found, follow_ups.EVEN, said=())
    assert [c.pair_id for c in merged][:4] == [40, 10, 20, 30]
    assert len({c.pair_id for c in merged}) == len(merged) == 10

    assert [c.pair_id for c in follow_ups.merged(found, follow_ups.LIGHT, ())][:2] == [50, 10]


def test_what_was_said_comes_last() -> None:
    found = [candidates(1, 2, 3), candidates(1, 2), candidates(1, 3)]

    merged = follow_ups.merged(found, follow_ups.EVEN, said={1})

    assert [c.pair_id for c in merged] == [30, 20, 21, 31, 10, 11]


def test_a_single_question_keeps_its_order() -> None:
    assert follow_ups.merged([candidates(3, 1)], 0, ()) == candidates(3, 1)


def test_an_answer_was_said_however_it_was_introduced() -> None:
    earlier = [
        Message("assistant", "We open at 9."),
        Message("user", "And on Sundays?"),
        Message("assistant", "I am not sure:\n\nOn Sundays we open at 10."),
        Message("user", "Thanks!"),
        Message("assistant", "You are welcome."),
    ]
    answers = follow_ups.answers(earlier)

    assert len(answers) == 2
    assert follow_ups.was_said("On Sundays  we open at 10.", answers)
    assert not follow_ups.was_said("On Mondays we are closed.", answers)
    assert not follow_ups.was_said("We open at 9.", answers)  # two answers ago


def test_only_a_clear_question_asks_again() -> None:
    alone = candidates(2, 1)
    clear, vague = (
        np.float32([[0.8, 0.9, 0.9]] * 3),
        np.float32([[0.4, 0.9, 0.9], *[[0.9] * 3] * 2]),
    )

    assert follow_ups.asked_again(alone, {2: clear}) == {2}
    assert follow_ups.asked_again(alone, {2: vague}) == set()
    assert follow_ups.asked_again([], {}) == set()


def test_an_answer_is_cut_into_sentences() -> None:
    assert follow_ups.sentences(" It costs 2.50 euros. Come early! ") == [
        "It costs 2.50 euros.",
        "Come early!",
    ]
    assert follow_ups.sentences("On weekdays") == ["On weekdays"]
    assert len(follow_ups.sentences("Yes. " * 40)) == follow_ups.SENTENCES


def test_a_mixture_never_makes_a_question_more_similar_than_it_is_to_any_prompt() -> None:
    alone, together = np.float32([1, 0, 0]), np.float32([0, 1, 0])
    prompts = np.float32([[0, 1, 0], [0.2, 0, 0.98]])

    single = follow_ups.similarities(follow_ups.queries([alone]), prompts, 0.2)
    within = follow_ups.similarities(follow_ups.queries([alone, together]), prompts, 0.2)

    assert single == pytest.approx([0, 0.2])
    assert within == pytest.approx([0.2, 0.2])
