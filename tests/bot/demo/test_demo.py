"""The whole loop for real: tuning, vLLM, HTTP, feedback, retrain, comparison, roll-back."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def demo(home: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "bot", "demo", "--once", "--home", str(home), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def left_over(home: Path) -> list[str]:
    """Processes that still work in the demo's folder."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            environ = (folder / "environ").read_bytes() if folder.name.isdigit() else b""
        except OSError:
            continue
        if f"UNDERSTUDY_CONFIG={home}".encode() in environ:
            found.append(folder.name)
    return found


@pytest.mark.timeout(900)
def test_the_whole_loop(tmp_path: Path) -> None:
    process = demo(tmp_path / "home")
    output, errors = process.communicate()

    last = json.loads(output.splitlines()[-1])
    assert process.returncode == 0, (last, errors[-3000:])
    assert last["ok"] is True
    assert last["first_quoted_s"] < last["first_answer_s"]
    assert last["adapter_score"] > last["base_score"] + 0.4
    assert last["streams_during_load"] > 0
    assert set(last["compared"]) == {"helpdesk@1", "helpdesk@2"}
    assert left_over(tmp_path / "home") == []


@pytest.mark.timeout(300)
def test_a_stopped_demo_leaves_nothing_running(tmp_path: Path) -> None:
    process = demo(tmp_path / "home")
    time.sleep(15)  # tuning has begun and vLLM is starting

    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=200)  # each part may take its 40 s to finish

    last = json.loads(output.splitlines()[-1])
    assert (process.returncode, last["ok"], last["error"]) == (1, False, "interrupted")
    assert left_over(tmp_path / "home") == []
