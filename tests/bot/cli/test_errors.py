"""Every error is one sentence with the right exit code, never a traceback."""

import contextlib
import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli import main
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


@pytest.mark.parametrize("arguments", [["caf\udce9"], ["search", "travel", "caf\udce9"]])
def test_an_argument_that_is_not_utf8_is_named(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert (
        "Error: The argument 'caf\N{REPLACEMENT CHARACTER}' is not text in UTF-8." in result.output
    )


@pytest.mark.parametrize("arguments", [["--help"], ["domains", "list"], ["status", "--json"]])
def test_output_that_cannot_be_written_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        error = io.StringIO()
        monkeypatch.setattr("sys.stdout", full)
        monkeypatch.setattr("sys.stderr", error)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()

    assert ended.value.code == 1
    assert error.getvalue() == "Error: The output could not be written: No space left on device.\n"


def test_a_file_that_the_system_refuses_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/srv/pairs.jsonl")

    monkeypatch.setattr("data.domains.list_domains", refused)

    result = run("domains", "list")

    assert result.exit_code == 1
    assert "Error: /srv/pairs.jsonl could not be used: Permission denied." in result.output


def test_a_terminal_without_the_characters_gets_escapes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr("sys.stdout", out)
    with pytest.raises(SystemExit):
        main(["doctor"])
    monkeypatch.undo()
    out.flush()

    assert out.buffer.getvalue().startswith(b"\\u2713 Python: ")  # type: ignore[attr-defined]


def test_a_home_folder_whose_name_is_not_utf8_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    monkeypatch.chdir(folder)

    result = CliRunner().invoke(main, ["init"])

    assert result.exit_code == 2
    assert "is not text in UTF-8. Rename it." in result.output
    assert list(folder.iterdir()) == []
