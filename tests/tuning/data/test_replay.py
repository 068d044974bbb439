"""Newer answers replace older ones, and incremental runs replay old pairs."""

from collections.abc import Callable

from data.pairs.pairs import Pair
from tuning.data.examples import Example
from tuning.data.replay import current_pairs, mixed

MakePair = Callable[..., Pair]


def example(pair_id: int) -> Example:
    return Example(pair_id, (5, 6, 2), (-100, 6, 2))


def test_the_newest_answer_of_a_question_counts(pair: MakePair) -> None:
    old = pair("Where is it?", "Upstairs.", id=1)
    other = pair("Who has it?", "Ann.", id=2)
    new = pair("where is  it?", "Downstairs.", id=3)

    today = current_pairs([new, old, other])

    assert today.pairs == [other, new]
    assert today.superseded == [old]


def test_a_correction_reaches_the_other_phrasings_of_its_fact(pair: MakePair) -> None:
    asked = [
        pair(f"Where {word}?", "Upstairs.", id=i, fact="place") for i, word in enumerate("abc")
    ]
    correction = pair("Where b?", "Downstairs.", id=9)

    today = current_pairs([*asked, correction])

    assert {p.id: p.response for p in today.pairs} == {
        0: "Downstairs.",
        2: "Downstairs.",
        9: "Downstairs.",
    }
    assert today.reworded == [0, 2]


def test_questions_that_merely_share_an_answer_are_not_one_fact(pair: MakePair) -> None:
    """Pairs imported without a fact are grouped by their answer, and "Yes." answers much."""
    one, two = pair("May I park here?", "Yes.", id=1), pair("May I smoke here?", "Yes.", id=2)
    correction = pair("May I park here?", "Only on Sundays.", id=3)

    today = current_pairs([one, two, correction])

    assert {p.id: p.response for p in today.pairs} == {2: "Yes.", 3: "Only on Sundays."}


def test_phrasings_added_after_a_correction_keep_their_own_answer(pair: MakePair) -> None:
    first = pair("Where a?", "Upstairs.", id=1, fact="place")
    correction = pair("Where a?", "Downstairs.", id=2)
    later = pair("Where z?", "In the yard.", id=3, fact="place")

    assert current_pairs([first, correction, later]).pairs == [correction, later]


def test_equal_questions_in_different_conversations_are_different_questions(pair: MakePair) -> None:
    one = pair("And then?", "Left.", id=1, turns=[("user", "To the inn"), ("assistant", "Go")])
    two = pair("And then?", "Right.", id=2, turns=[("user", "To the sea"), ("assistant", "Go")])

    assert current_pairs([one, two]).superseded == []


def test_an_epoch_has_all_new_pairs_and_the_requested_share_of_old_ones() -> None:
    new, old = [example(i) for i in range(4)], [example(i) for i in range(100, 200)]

    epoch = mixed(new, old, replay_share=0.75, seed=0)

    first, second = epoch(0), epoch(1)
    assert len(first) == len(second) == 16
    assert first[:4] == second[:4] == new
    assert {e.pair_id for e in first[4:]} != {e.pair_id for e in second[4:]}
    assert epoch(0) == first


def test_few_old_pairs_are_all_replayed_and_none_is_allowed() -> None:
    new = [example(i) for i in range(4)]

    assert len(mixed(new, [example(9)], 0.75, 0)(0)) == 5
    assert mixed(new, [], 0.75, 0)(0) == new


def test_one_new_pair_is_repeated_until_a_batch_is_full() -> None:
    new, old = [example(1)], [example(i) for i in range(100, 200)]

    epoch = mixed(new, old, replay_share=0.75, seed=0, batch_size=16)(0)

    assert epoch.count(example(1)) == 4
    assert len(epoch) == 16
