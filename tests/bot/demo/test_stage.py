"""The demo's folder: made once, and respected afterwards."""

from pathlib import Path

import pytest
from rich.console import Console

from bot.demo import stage


def prepared(home: Path, port: int, engine_port: int) -> stage.DemoStage:
    set_up = stage.prepare(home, port, engine_port, Console(quiet=True))
    set_up.store.close()
    return set_up


def test_a_second_demo_keeps_the_settings_that_were_edited(tmp_path: Path) -> None:
    prepared(tmp_path, 8080, 9001)
    file = tmp_path / "understudy.toml"
    edited = file.read_text().replace('host = "127.0.0.1"', 'host = "127.0.0.1"\nmax_tokens = 99')
    file.write_text(edited)

    again = prepared(tmp_path, 8081, 9002)

    assert file.read_text() == edited
    assert again.settings.bot.max_tokens == 99
    assert (again.settings.bot.port, again.settings.serving.port) == (8081, 9002)
    assert again.supervisor.environ["UNDERSTUDY_SERVING_PORT"] == "9002"


def test_the_demo_stays_out_of_another_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path / "real"))

    assert prepared(tmp_path / "demo", 8080, 9001).settings.home == tmp_path / "demo"
    assert not (tmp_path / "real").exists()
