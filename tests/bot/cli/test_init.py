"""`understudy init`."""

from pathlib import Path

from click.testing import CliRunner

from bot.cli import main
from data.config import settings


def test_the_written_settings_are_the_defaults(home: Path) -> None:
    written = settings.load(home / "understudy.toml", {})

    assert written == settings.Settings(home=home.resolve())


def test_init_never_overwrites(home: Path) -> None:
    (home / "understudy.toml").write_text("# mine\n")

    result = CliRunner().invoke(main, ["init"])

    assert result.exit_code == 1
    assert "nothing was changed" in result.output
    assert (home / "understudy.toml").read_text() == "# mine\n"
