"""The home folder is for its user alone, also one that an earlier version left readable."""

import logging
import os
import stat
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli import main
from data import private_files
from data.config.settings import ServingSettings, Settings
from data.store.db import Store


@pytest.fixture(autouse=True)
def umask() -> object:
    """As most systems set it, and as it was afterwards."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def readable(home: Path) -> list[str]:
    """What other users can read, write or enter."""
    return sorted(str(p.relative_to(home)) for p in [home, *home.rglob("*")] if mode(p) & 0o077)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder of an earlier version."""
    folder = tmp_path / "home"
    Store(folder / "understudy.db").close()
    (folder / "understudy.toml").write_text("")
    for name in ("logs/bot.log", "runs/1/report.html"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("words")
    return folder


def test_what_others_could_read_is_mended_with_one_line(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert "logs/bot.log" in readable(home)
    with Store(home / "understudy.db") as store:
        store.db.execute("SELECT 1")
        changed = private_files.protect(Settings(home=home))
        assert readable(home) == []
    assert (mode(home), mode(home / "logs/bot.log")) == (0o700, 0o600)
    assert home in changed
    (line,) = caplog.messages
    assert "Other users could read home, " in line
    assert private_files.protect(Settings(home=home)) == []


def test_an_engine_of_another_user_still_reaches_the_adapters(home: Path) -> None:
    adapter = home / "adapters" / "helpdesk-1"
    adapter.mkdir(parents=True)
    private_files.protect(Settings(home=home, serving=ServingSettings(url=("http://a:1",))))
    assert (mode(home), mode(adapter), mode(home / "understudy.db")) == (0o711, 0o755, 0o600)


def test_everything_that_commands_write_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNDERSTUDY_CONFIG", raising=False)
    home = tmp_path / "new"
    tmp_path.chmod(0o700)
    run = CliRunner().invoke
    assert run(main, ["init", str(home)]).exit_code == 0
    config = ["--config", str(home / "understudy.toml")]
    assert run(main, [*config, "domains", "add", "helpdesk"]).exit_code == 0
    backup = home / "backup.tar"
    assert run(main, [*config, "backup", str(backup)]).exit_code == 0
    assert run(main, [*config, "pairs", "export", "helpdesk", str(home / "a.csv")]).exit_code == 0
    assert readable(home) == []
    with tarfile.open(backup) as tar:
        assert tar.getnames() == ["understudy.db"]
