"""Every error is one sentence with the right exit code, never a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bot.cli.conftest import Run


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["domains", "add", "Not A Name"], 2, "not a valid domain name"),
        (["tune", "nobody"], 1, "There is no domain 'nobody'"),
        (["adapters", "show", "x@1"], 1, "There is no adapter 'x@1'"),
        (["runs", "show", "7"], 1, "There is no run 7"),
        (["keys", "revoke", "3"], 1, "There is no key 3"),
        (["ab", "status"], 1, "There is no domain yet"),
        (["chat"], 1, "There is no domain yet"),
        (["runs", "show", "9" * 25], 2, "That number is too large"),
        (["runs", "cancel", "9" * 25], 2, "That number is too large"),
        (["pairs", "approve", "9" * 25], 2, "That number is too large"),
        (["keys", "revoke", "9" * 25], 2, "That number is too large"),
        (["ab", "explain", "9" * 25], 2, "That number is too large"),
        (["audit", "--limit", "9" * 25], 2, "That number is too large"),
        (["init", "/proc/nowhere"], 1, "cannot be written: No such file or directory."),
        (
            ["backup", "/proc/x.tar"],
            1,
            "/proc/x.tar could not be written: No such file or directory.",
        ),
    ],
)
def test_an_error_is_one_sentence(run: Run, arguments: list[str], code: int, sentence: str) -> None:
    result = run(*arguments)

    assert (result.exit_code, sentence in result.output) == (code, True), result.output


@pytest.mark.integration
def test_outside_a_home_folder_the_error_names_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "bot", "runs", "list"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "Create one with `understudy init`" in done.stderr
    assert "Traceback" not in done.stderr


def test_invalid_settings_are_named(run: Run, home: Path) -> None:
    (home / "understudy.toml").write_text("[bot]\nport = 'many'\ncolour = 'red'\n")

    result = run("runs", "list")

    assert result.exit_code == 2
    assert "[bot] port" in result.output
    assert "[bot] colour" in result.output
