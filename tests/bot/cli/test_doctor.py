"""`understudy doctor` finds what is missing and says how to get it."""

from pathlib import Path

from bot.cli.doctor import examine
from data.config import load
from tests.bot.cli.conftest import Run


def findings(home: Path, toml: str) -> dict[str, tuple[str, str]]:
    (home / "understudy.toml").write_text(toml)
    return {f.found: (f.state, f.remedy) for f in examine(load(home / "understudy.toml", {}))}


def test_a_working_installation_lacks_nothing(run: Run) -> None:
    result = run("doctor")

    assert result.exit_code == 0, result.output


def test_missing_tokens_are_named_with_their_variable(home: Path) -> None:
    found = findings(home, '[slack]\nmode = "socket"\n')

    assert found["no bot_token"][0] == "missing"
    assert "UNDERSTUDY_SLACK_BOT_TOKEN_FILE" in found["no bot_token"][1]
    assert found["no app_token"][0] == "missing"


def test_a_folder_that_is_no_model_is_found(home: Path) -> None:
    (home / "empty").mkdir()

    found = findings(home, '[base]\nmodel = "./empty"\n')

    assert found[f"{(home / 'empty').resolve()} is not a model"][0] == "missing"


def test_an_open_web_chat_is_noted(home: Path) -> None:
    found = findings(home, '[bot]\nhost = "0.0.0.0"\n')

    assert found["anyone who reaches this port can ask"][0] == "note"
