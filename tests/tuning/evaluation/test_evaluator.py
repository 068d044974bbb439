"""Losses are measured in the background while an engine answers."""

import threading
from collections.abc import Callable

import pytest

from tuning.evaluation.evaluator import _Ended, _InBackground


def test_the_result_comes_from_another_thread() -> None:
    measured = _InBackground(lambda beat: threading.current_thread().name)

    assert measured.result() != threading.current_thread().name
    measured.end()


def test_what_fails_in_the_background_is_raised_where_the_result_is_needed() -> None:
    def work(beat: Callable[[], None]) -> None:
        raise MemoryError("no memory is left")

    measured = _InBackground(work)

    with pytest.raises(MemoryError, match="no memory is left"):
        measured.result()
    measured.end()


def test_an_evaluation_that_is_given_up_does_not_wait_for_all_losses() -> None:
    begun = threading.Event()

    def work(beat: Callable[[], None]) -> None:
        while True:  # ends only by a beat
            begun.set()
            beat()

    measured = _InBackground(work)
    assert begun.wait(60)
    measured.end()  # returns when the thread has ended

    with pytest.raises(_Ended):
        measured.result()
