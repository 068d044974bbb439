"""The program that `engine.py` starts: vLLM's API server, in a process that cannot be orphaned.

It is run by its path and never imported. The kernel kills this process when its parent dies,
however it dies. The same holds for the engine core that vLLM starts: this module runs again in
every spawned process, and a hook covers forked ones.

vLLM's CPU build spawns the engine core, which then repeats six seconds of imports. With
UNDERSTUDY_FORK_CORE=1 the core is forked instead. That is safe because no other thread has run by
then, and `command.py` switches off the binding of OpenMP threads, which spawning is meant for.
"""

import multiprocessing
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

PROCESSES = Path(__file__).parents[2] / "data" / "processes.py"
die_with_parent = runpy.run_path(str(PROCESSES))["die_with_parent"]

die_with_parent(signal.SIGKILL)

if __name__ == "__main__":
    supervisor = os.environ.pop("UNDERSTUDY_PARENT", None)
    if supervisor is not None and not die_with_parent(signal.SIGKILL, int(supervisor)):
        sys.exit("The supervising process has gone.")
    os.register_at_fork(after_in_child=lambda: die_with_parent(signal.SIGKILL))
    if os.environ.pop("UNDERSTUDY_FORK_CORE", "") == "1":
        get_context: Any = multiprocessing.get_context
        vars(multiprocessing)["get_context"] = lambda method=None: get_context(
            "fork" if method == "spawn" else method
        )

    from vllm.entrypoints.launchers.api_server.entry import main

    main()
