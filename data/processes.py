"""Child processes that do not outlive their parent.

Only the standard library is imported here: `serving/engine/vllm_process.py` runs this file by its
path, in an interpreter that may not find this project's packages.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(number: int = signal.SIGTERM, parent: int | None = None) -> bool:
    """Have the kernel send this process the signal `number` when its parent dies, however it dies.
    Linux only; elsewhere nothing is set up. The setting is lost on fork, not on exec.

    Returns whether the process `parent` is still the parent: it may have died before the kernel was
    asked, and then no signal will come."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    return parent is None or os.getppid() == parent
