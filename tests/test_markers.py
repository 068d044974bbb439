"""`make unit` stays quick, and no test is skipped for a reason that CONTRIBUTING.md lacks."""

import ast
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPING = ("skipif", "skip", "importorskip")


def test_a_unit_test_that_starts_a_process_fails() -> None:
    with pytest.raises(RuntimeError, match=r"mark it with @pytest\.mark\.integration"):
        subprocess.run(["true"])
    with pytest.raises(RuntimeError, match=r"test_a_unit_test_that_starts_a_process_fails"):
        os.fork()


@pytest.mark.integration
def test_an_integration_test_may_start_a_process() -> None:
    assert subprocess.run(["true"], check=True).returncode == 0


def test_a_long_test_is_slow(request: pytest.FixtureRequest) -> None:
    """Otherwise `make test` would run it among the quick ones."""
    found = [item for item in request.session.items if item.get_closest_marker("long")]
    assert [item.nodeid for item in found if not item.get_closest_marker("slow")] == []


def skips(source: str) -> list[tuple[int, str]]:
    """Line and reason of everything that can skip a test; "": a reason that is not written out."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = ast.unparse(node.func)
        if node.func.attr in SKIPPING and called.startswith("pytest."):
            given = [k.value for k in node.keywords if k.arg == "reason"]
            given += node.args[:1] if called == "pytest.skip" else []
            reason = given[0] if given else None
            found.append((node.lineno, reason.value if isinstance(reason, ast.Constant) else ""))
    return found


def test_every_reason_to_skip_a_test_is_written_down() -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = {file: file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py")}
    found = {
        f"{file.relative_to(ROOT)}:{line}": reason
        for file, source in files.items()
        if "skip" in source
        for line, reason in skips(source)
    }
    assert len(found) >= 10
    assert {w: r for w, r in found.items() if not r or f"| {r} |" not in told} == {}


def test_a_skip_without_a_reason_is_found() -> None:
    assert skips("pytest.importorskip('torch')\npytest.skip(why)") == [(1, ""), (2, "")]
    assert skips("@pytest.mark.skipif(X, reason='no X')\ndef test(): ...") == [(1, "no X")]
