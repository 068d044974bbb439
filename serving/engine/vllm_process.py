"""The program that `engine.py` starts: vLLM's API server, in a process that cannot be orphaned.

Run by its path, never imported by us. The kernel is asked to kill this process when its parent
dies, however it dies; the engine core that vLLM starts from here gets the same, because this
module is run again in every process that is spawned, and a hook covers those that are forked.

vLLM's CPU build insists on spawning the engine core, which then repeats six seconds of imports.
With UNDERSTUDY_FORK_CORE=1 the core is forked instead: nothing has run on more threads by then,
and what spawning is for, binding OpenMP threads to cores, is switched off by `engine.py`.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
from typing import Any

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


die_with_parent()

if __name__ == "__main__":
    parent = os.environ.pop("UNDERSTUDY_PARENT", None)
    if parent is not None and os.getppid() != int(parent):
        sys.exit("The supervising process has gone.")
    os.register_at_fork(after_in_child=die_with_parent)
    if os.environ.pop("UNDERSTUDY_FORK_CORE", "") == "1":
        get_context: Any = multiprocessing.get_context
        vars(multiprocessing)["get_context"] = lambda method=None: get_context(
            "fork" if method == "spawn" else method
        )

    from vllm.entrypoints.launchers.api_server.entry import main

    main()
