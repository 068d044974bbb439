"""Added base models are found by name and listed with their licence; missing ones are explained."""

import os
import re
from pathlib import Path

import pytest

from data.bases import catalogue, folders
from data.bases.folders import BaseRecord
from data.config.settings import POCKET, BaseModelSettings, Settings, load
from data.store.errors import Invalid


@pytest.fixture
def added(tmp_path: Path) -> Path:
    folder = tmp_path / "bases" / "mine"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 1000)
    record = BaseRecord("mine.gguf", "ab" * 32, "apache-2.0", "GGUF (F32)", 5, ("a note",))
    folders.write_record(folder, record)
    return folder


def test_a_name_stands_for_the_folder_in_the_home_folder(added: Path, tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text('[base]\nmodel = "mine"\n')

    settings = load(tmp_path / "understudy.toml", {})

    assert (settings.base.model, settings.base.path) == ("mine", str(added))
    again = Settings.model_validate_json(settings.model_dump_json())  # as a run's process reads it
    assert (again.base.model, again.base.path) == ("mine", str(added))
    assert "_added" not in settings.model_dump_json()


def test_a_name_that_was_not_added_stays_a_name(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, base=BaseModelSettings(model="mine"))

    assert settings.base.path == "mine"


def test_a_name_with_path_separators_never_leaves_the_folder(added: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, base=BaseModelSettings(model="../bases/mine"))

    assert settings.base.path == "../bases/mine"


def test_two_homes_do_not_share_their_bases(added: Path, tmp_path: Path) -> None:
    here, there = Settings(home=tmp_path), Settings(home=tmp_path / "other")

    assert here.base.named("mine").path == str(added)
    assert there.base.named("mine").path == "mine"


def test_a_folder_is_named_by_its_path(added: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    assert settings.base.named(os.path.relpath(added)).model == str(added)
    assert settings.base.named("pocket").path == str(POCKET)


def test_the_list_has_the_pocket_base_the_added_ones_and_those_to_be_added(
    added: Path, tmp_path: Path
) -> None:
    (tmp_path / "bases" / ".making-other-1").mkdir()
    found = folders.list_bases(Settings(home=tmp_path, base=BaseModelSettings(model="mine")))

    assert [(b.name, b.folder, b.licence, b.in_use) for b in found] == [
        ("pocket", POCKET, "mit", False),
        ("mine", added, "apache-2.0", True),
        ("smollm2-135m", None, "apache-2.0", False),
    ]
    assert found[1].size_bytes > 1000


def test_the_record_is_read_back(added: Path, tmp_path: Path) -> None:
    record = folders.record_of(added)

    assert record == BaseRecord("mine.gguf", "ab" * 32, "apache-2.0", "GGUF (F32)", 5, ("a note",))
    assert folders.record_of(tmp_path) is None


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("smollm2-135m", "understudy base add smollm2-135m"),
        ("/there/x.gguf", "understudy base add /there/x.gguf"),
        ("/nowhere", "There is no folder /nowhere"),
        ("Qwen/Qwen3-0.6B", ""),
        ("gpt2", ""),
    ],
)
def test_a_base_that_is_not_there_is_explained(model: str, said: str) -> None:
    problem = folders.not_usable(model, model)

    assert said in problem
    assert bool(said) == bool(problem)


@pytest.mark.parametrize("name", ["pocket", "A", "../x", "", "-x", "x" * 65, ".making-x"])
def test_some_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be the name"):
        folders.folder_of(tmp_path, name)


def test_every_base_of_the_catalogue_is_pinned_by_its_checksum() -> None:
    for name, base in catalogue.CATALOGUE.items():
        assert base.name == name == folders.folder_of(Path(), name).name
        assert len(base.wheel.sha256) == len(base.member_sha256) == 64
        assert base.wheel.version in base.wheel.file
        assert catalogue.by_wheel(base.wheel.sha256) == base
    assert catalogue.by_wheel("0" * 64) is None


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("model-q4.gguf", "has only a GGUF file.*base add .*model-q4.gguf"),
        ("pytorch_model.bin", "in pytorch_model.bin, which can carry code.*Save the model as safe"),
    ],
)
def test_a_folder_with_weights_in_another_format_says_what_to_do(
    tmp_path: Path, file: str, words: str
) -> None:
    (tmp_path / file).touch()
    assert re.search(words, folders.not_usable(str(tmp_path), str(tmp_path)))

    (tmp_path / "model.safetensors").touch()
    assert folders.not_usable(str(tmp_path), str(tmp_path)) == ""
