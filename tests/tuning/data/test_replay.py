"""Incremental runs replay old pairs."""

from tuning.data.examples import Example
from tuning.data.replay import mixed


def example(pair_id: int) -> Example:
    return Example(pair_id, (5, 6, 2), (-100, 6, 2))


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
