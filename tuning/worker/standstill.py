"""Notices a process that hangs: one that runs, and neither computes nor says anything any more.

A training that makes progress, however slowly, uses a processor, and so does one that waits for an
engine and asks again and again. Linux only; elsewhere nothing is noticed.
"""

import contextlib
import os
import time
from pathlib import Path

LONGEST_GAP_S = 5.0  # after a longer one between two looks, this process itself had been stopped


class Standstill:
    """Watches a process, and all that it has started in its process group. Call `seconds` often."""

    def __init__(self, pid: int, log_file: Path) -> None:
        self._group = pid
        self._log_file = log_file
        self._signs: tuple[int, int] | None = None
        self._still_s = 0.0
        self._looked = time.monotonic()

    def seconds(self) -> float:
        """For how long it has used no processor time and written nothing to its log."""
        now, signs = time.monotonic(), self._read()
        gap, self._looked = now - self._looked, now
        if signs is None or signs != self._signs:
            self._still_s = 0.0
        elif gap <= LONGEST_GAP_S:
            self._still_s += gap
        self._signs = signs
        return self._still_s

    def _read(self) -> tuple[int, int] | None:
        """Processor time in clock ticks, and the size of the log; None where there is no /proc."""
        ticks, found = 0, False
        for entry in os.scandir("/proc") if os.path.isdir("/proc/self") else ():
            if not entry.name.isdecimal():
                continue
            with contextlib.suppress(OSError):
                fields = Path(entry.path, "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[2]) == self._group:
                    found, ticks = True, ticks + sum(map(int, fields[11:15]))
        with contextlib.suppress(OSError):
            return (ticks, self._log_file.stat().st_size) if found else None
        return None
