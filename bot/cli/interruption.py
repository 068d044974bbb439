"""Ctrl-C, and the signals that are treated like it: SIGTERM, and SIGHUP from a closed terminal."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

LIKE_CTRL_C = (signal.SIGTERM, signal.SIGHUP)


class EndedBySignal(KeyboardInterrupt):
    """A signal that is treated like Ctrl-C; `number` is that signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def heed_ctrl_c() -> None:
    """Take SIGINT also where a script started the command with `&`: the shell has it ignored
    then, and whoever sends it means this process."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise EndedBySignal for the signals that are treated like Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise EndedBySignal(number)

    heed_ctrl_c()
    before = {number: signal.signal(number, interrupt) for number in LIKE_CTRL_C}
    try:
        yield
    except KeyboardInterrupt:
        for number in LIKE_CTRL_C:  # the second one leaves at once
            signal.signal(number, signal.default_int_handler)
        raise
    else:
        for number, handler in before.items():
            signal.signal(number, handler)


class Stop:
    """Whether Ctrl-C was pressed, or a signal like it arrived, for work that ends at its next
    step. The second one leaves at once."""

    def __init__(self) -> None:
        self.number = 0  # of the signal

    def __bool__(self) -> bool:
        return self.number != 0

    @property
    def exit_code(self) -> int:
        return 128 + self.number


@contextlib.contextmanager
def noticed() -> Iterator[Stop]:
    """Notice signals instead of raising an error in the middle of a step."""
    stop = Stop()

    def notice(number: int, frame: FrameType | None) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.number = number

    before = {n: signal.signal(n, notice) for n in (signal.SIGINT, *LIKE_CTRL_C)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
