"""Half a minute of `make chaos`: kills, pauses and floods over the whole system, and all holds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_what_must_hold_holds_through_kills_pauses_and_floods(tmp_path: Path) -> None:
    command = ["chaos.py", "--seconds", "30", "--seed", "2", "--cache", str(tmp_path / "words")]
    done = subprocess.run(
        [sys.executable, *command], cwd=BENCHMARKS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["violations"] == 0
    assert figures["kills"] + figures["pauses"] + figures["floods"] > 0
    assert figures["answered"] > 0
