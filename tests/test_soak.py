"""The judge of the soak finds what it is there for, and a small soak finds nothing."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
load: Any = importlib.import_module("load")

NOW = 1_000.0  # seconds on some clock: the same one for the answers asked and the register


@pytest.fixture
def register() -> Any:
    """desk@1 (red) was live until a second ago; desk@2 (blue) is since."""
    made = load.Register()
    made.says |= {"desk@1": "red and red", "desk@2": "blue and blue", "desk@3": "grey and grey"}
    made.base_says["Why?"] = {"I do not know."}
    made._may["desk"] = [
        (NOW - 60, frozenset({"desk@1"})),
        (NOW - 1, frozenset({"desk@2"})),
    ]
    return made


def asked(adapter: str, text: str, model: str = "desk", ago: float = 0.5, **more: Any) -> Any:
    given = {"status": 200, "adapter": adapter, "text": text, **more}
    return load.Asked("desk", model, "Why?", NOW - ago, NOW, **given)


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (asked("desk@2", "blue and blue"), "right"),
        (asked("desk@1", "red and red", ago=5), "right"),  # it was live when the question came
        (asked("desk@1", "red and red", ago=0.1), "misrouted"),
        (asked("desk@3", "grey and grey"), "misrouted"),
        (asked("desk@1", "red and red", model="desk@1"), "right"),
        (asked("desk@2", "blue and blue", model="desk@1"), "misrouted"),
        (asked("base", "I do not know.", model="desk@base"), "right"),
        (asked("base", "I do not know."), "misrouted"),
        (asked("desk@2", "red and red"), "wrong adapter"),
        (asked("desk@2", "I do not know."), "wrong adapter"),
        (asked("base", "blue and blue", model="desk@base"), "wrong adapter"),
        (asked("desk@2", "blue and red"), "mixed"),
        (asked("desk@2", "blue and"), "wrong adapter"),
        (asked("desk@1", "red and red", instead_of="desk@2"), "fallback"),
        (asked("desk@1", "blue and blue", instead_of="desk@2"), "wrong adapter"),
        (asked("desk@2", "blue and blue", error="it broke off"), "failed"),
    ],
)
def test_the_judge(register: Any, one: Any, found: str) -> None:
    assert load.verdict(one, register) == found


@pytest.mark.slow
def test_no_answer_is_another_adapters_while_they_are_swapped(tmp_path: Path) -> None:
    command = ["soak.py", "--requests", "600", "--swaps", "15", "--cache", str(tmp_path / "words")]
    done = subprocess.run(
        [sys.executable, *command], cwd=BENCHMARKS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["requests"], figures["swaps"]) == (600, 15)
    assert figures["failed"] + figures["wrong_adapter"] + figures["mixed"] == 0
