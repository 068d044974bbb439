"""The training set of a reading adapter: what is shown, and what is said to it."""

from collections.abc import Iterator

import pytest

from data.pairs.pairs import Pair
from data.search import layout
from tuning.data import reading_examples
from tuning.data.reading_examples import ReadingExample, ReadingOrganisation
from tuning.data.reading_set import reading_pairs

ORGANISATIONS = reading_examples.organisations()


def passes(missing_share: float) -> Iterator[tuple[ReadingOrganisation, ReadingExample, Pair]]:
    """Three passes without off-topic questions, each pair with its example."""
    for number in range(3):
        pairs = iter(
            reading_pairs(
                ORGANISATIONS,
                [],
                references=4,
                missing_share=missing_share,
                refusal_share=1,
                seed=1,
                number=number,
            )
        )
        for organisation in ORGANISATIONS:
            for example in organisation.examples:
                yield organisation, example, next(pairs)


def test_a_question_is_answered_with_the_response_that_it_is_shown() -> None:
    for organisation, example, pair in passes(missing_share=0.0):
        assert pair.prompt.endswith(example.question)
        assert pair.system == organisation.system
        if example.answer_from:
            assert pair.response == example.answer_from.response
            assert pair.response in pair.prompt


def test_a_fact_that_answers_is_never_shown_where_the_answer_is_unknown() -> None:
    for _, example, pair in passes(missing_share=1.0):
        answers = (example.answer_from, *example.hidden)
        if example.kind != "small_talk":
            assert pair.response == layout.UNKNOWN
        assert not any(fact.response in pair.prompt for fact in answers if fact)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
def test_refusals_are_left_out_until_they_are_the_share_that_was_asked_for(share: float) -> None:
    def made(refusal_share: float) -> list[Pair]:
        return reading_pairs(
            ORGANISATIONS,
            reading_examples.off_topic(),
            references=4,
            missing_share=0.1,
            refusal_share=refusal_share,
            seed=1,
            number=0,
        )

    few, every = made(share), made(1)
    refused = sum(pair.response == layout.UNKNOWN for pair in few)

    assert refused == pytest.approx(share * len(few), abs=1)
    assert [p for p in few if p.response != layout.UNKNOWN] == [
        p for p in every if p.response != layout.UNKNOWN
    ]
