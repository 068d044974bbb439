"""SIGINT reaches commands that a script started with `&`: the shell has it ignored."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

IGNORED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
DEMO = """
import os, signal, sys
from bot.cli import main
from bot.demo import command
def stay(home, port, base):
    os.kill(os.getpid(), signal.SIGINT)
    print("goes on")
command._stay = stay
main(["demo", "--home", sys.argv[1]])
"""
TUNE = """
import os, signal
from bot.cli import interruption
with interruption.raised():
    os.kill(os.getpid(), signal.SIGINT)
    print("goes on")
"""


@pytest.mark.integration
@pytest.mark.parametrize("code", [DEMO, TUNE])
def test_sigint_is_heeded_where_the_shell_ignores_it(code: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", IGNORED, code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert "goes on" not in done.stdout
    assert done.returncode in (1, -signal.SIGINT)
