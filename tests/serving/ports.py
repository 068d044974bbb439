"""Consecutive free ports of loopback."""

import contextlib
import random
import socket


def free_ports(count: int) -> int:
    """The first of so many."""
    while True:
        first = random.randrange(20_000, 32_000)
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + count):
                    probe = held.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
