"""Licences of base models: found wherever they are stated, and confirmed if restrictive."""

from pathlib import Path

import pytest

from data.config.settings import BaseModelSettings, Settings
from data.domains import Domain
from data.runs import runs
from data.store.db import Store
from data.store.errors import Invalid
from tests.tuning.conftest import teach
from tuning.child_process import ExitCode
from tuning.model import licences
from tuning.worker.child import execute_run


def base(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / {"card": "README.md", "config": "config.json"}.get(name, name)).write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"card": "---\nlicense: apache-2.0\n---\n# A model\n"}, "apache-2.0"),
        ({"card": "---\nlicense:\n  - mit\n---\n"}, "mit"),
        ({"card": "---\nlicense: other\nlicense_name: qwen-research\n---\n"}, "qwen-research"),
        ({"card": "# license: to kill\n"}, ""),
        ({"config": '{"license": "gemma"}'}, "gemma"),
        (
            {"LICENSE": "                  Apache License\n   Version 2.0, January 2004"},
            "apache-2.0",
        ),
        ({"LICENSE": "Permission is hereby granted, free of charge, to any person"}, "mit"),
        ({"card": "---\nlicense: other\n---\n", "LICENSE": "LLAMA 2 COMMUNITY LICENSE"}, "llama2"),
        ({}, ""),
    ],
)
def test_a_licence_is_found_in_the_card_the_settings_or_its_own_file(
    tmp_path: Path, files: dict[str, str], name: str
) -> None:
    assert licences.licence_of(base(tmp_path, **files)) == name


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("cc-by-nc-4.0", "commercial"),
        ("cc-by-nc-sa-4.0", "commercial"),
        ("fair-noncommercial-research-license", "commercial"),
        ("qwen-research", "research only"),
        ("apple-amlr", "research only"),
        ("cc-by-nd-4.0", "changed versions"),
        ("apache-2.0", ""),
        ("mit", ""),
        ("llama3.1", ""),
        ("gemma", ""),
        ("bigscience-bloom-rail-1.0", ""),
        ("openrail", ""),
        ("tongyi-qianwen", ""),
    ],
)
def test_the_forbidden_use_is_known_from_the_licences_name(
    tmp_path: Path, name: str, meaning: str
) -> None:
    forbidden = licences.forbids(base(tmp_path), name)

    assert meaning in forbidden
    assert bool(forbidden) == bool(meaning)


def test_a_custom_licence_is_read(tmp_path: Path) -> None:
    text = "You may use the Model for non-commercial purposes only."
    path = base(tmp_path, card="---\nlicense: other\n---\n", LICENSE=text)

    assert "commercial" in licences.forbids(path, licences.licence_of(path))


def asked_of(folder: Path, accepted: str = "") -> Settings:
    (folder / "model").mkdir(exist_ok=True)
    path = base(folder / "model", card="---\nlicense: cc-by-nc-4.0\n---\n")
    return Settings(home=folder, base=BaseModelSettings(model=path, accept_licence=accepted))


def test_a_restrictive_licence_has_to_be_confirmed_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refused:
        licences.check(asked_of(tmp_path), {"accept_licence": "mit"})

    assert "(cc-by-nc-4.0) first: it does not allow commercial use" in str(refused.value)
    assert "--accept-licence cc-by-nc-4.0" in str(refused.value)
    assert licences.check(asked_of(tmp_path), {"accept_licence": "CC-BY-NC-4.0"}) == "cc-by-nc-4.0"
    assert licences.check(asked_of(tmp_path, "cc-by-nc-4.0"), {}) == "cc-by-nc-4.0"


def test_a_run_with_an_unconfirmed_licence_fails_before_it_loads_the_base(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    teach(store, domain, 4)
    with store.write() as db:
        runs.request(db, domain, "ann")
        run = runs.claim(db, "worker")
    assert run is not None

    code = execute_run(store, asked_of(tmp_path), run)

    assert code == ExitCode.FAILED
    assert "cc-by-nc-4.0" in runs.get(store.db, run.id).error
