"""A child process ends with its parent, however the parent ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")

PARENT = """
import os, subprocess, sys
child = "import os, sys, time; sys.path.insert(0, os.getcwd()); "
child += "from data.processes import die_with_parent; "
child += f"print(os.getpid(), die_with_parent(parent={os.getpid()}), flush=True); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", child]).wait()
"""


@pytest.mark.integration
def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid, still_there = parent.stdout.readline().split()
    assert still_there == "True"

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline, "the child goes on without its parent"
        time.sleep(0.02)


@pytest.mark.integration
def test_a_parent_that_has_already_died_is_noticed() -> None:
    code = (
        "import os, time; from data.processes import die_with_parent\n"
        "parent = os.getpid()\n"
        "if os.fork(): os._exit(0)\n"
        "while os.getppid() == parent: time.sleep(0.01)\n"
        "print(die_with_parent(parent=parent))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "False\n"


@pytest.mark.integration
def test_the_module_imports_only_the_standard_library() -> None:
    """The engine's process runs it by its path, in isolated mode."""
    code = f"import runpy; print(sorted(runpy.run_path({str(ROOT / 'data' / 'processes.py')!r})))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert "die_with_parent" in done.stdout
