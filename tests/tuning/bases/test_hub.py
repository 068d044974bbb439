"""A base model by its name on a hub: downloaded once, without code, its commit recorded."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.config.settings import Settings
from tests.tuning.bases import fake_hub
from tuning.model.base_model import load_tokenizer

pytestmark = pytest.mark.integration


def base_add(home: Path, hub: str, name: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own, because the address of the hub is read at the import."""
    environ = {
        **os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home / "hf"), "UNDERSTUDY_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "bot", "base", "add", name, "--json"],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )


def test_a_model_is_downloaded_with_its_licence_and_commit(tmp_path: Path, tiny_base: Path) -> None:
    model = Path(shutil.copytree(tiny_base, tmp_path / "model"))
    (model / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n")
    (model / "modeling_tiny.py").write_text("raise SystemExit")
    (model / "pytorch_model.bin").write_bytes(b"pickle")

    with fake_hub.running("some-org/Tiny-Chat", model) as hub:
        done = base_add(tmp_path / "home", hub, "some-org/Tiny-Chat")

    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)["record"]
    assert record["source"] == f"some-org/Tiny-Chat (model hub) at {fake_hub.COMMIT}"
    assert record["licence"] == "mit"
    base = Settings(home=tmp_path / "home").base.named("tiny-chat")
    names = {path.name for path in Path(base.path).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert not names & {"modeling_tiny.py", "pytorch_model.bin", ".cache"}
    assert load_tokenizer(base.path).chat_template


def test_a_model_that_the_hub_does_not_have_is_explained(tmp_path: Path, tiny_base: Path) -> None:
    with fake_hub.running("some-org/Tiny-Chat", tiny_base) as hub:
        done = base_add(tmp_path / "home", hub, "some-org/Other")

    assert done.returncode == 1
    assert "some-org/Other could not be downloaded from the model hub" in done.stderr
    assert list((tmp_path / "home" / "bases").iterdir()) == []
