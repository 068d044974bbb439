"""A base is known by its content: exchanged files are noticed, another path or another save of the
same model is not, and nothing is read twice."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.adapters.registry import Adapter
from data.bases import digest
from data.config.settings import POCKET, BaseModelSettings, Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(POCKET, tmp_path / "base"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "bases" / "digests.json"


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_bytes()) | changes, indent=4))


def spoil_weights(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        last = opened.read(1)
        opened.seek(-1, os.SEEK_END)
        opened.write(bytes([last[0] ^ 1]))


CHANGES = {
    "weights": spoil_weights,
    "config": lambda f: edit(f / "config.json", rms_norm_eps=0.5),
    "tokenizer": lambda f: edit(f / "tokenizer_config.json", pad_token="x"),
    "template": lambda f: (f / "chat_template.jinja").write_text("{{ messages }}"),
}


@pytest.mark.parametrize("part", digest.PARTS)
def test_each_part_is_noticed_alone(folder: Path, cache: Path, part: str) -> None:
    before = digest.of_folder(folder, cache)

    CHANGES[part](folder)

    after = digest.of_folder(folder, cache)
    assert [p for p in digest.PARTS if before[p] != after[p]] == [part]


def test_more_changes_of_a_part_are_noticed(folder: Path, cache: Path) -> None:
    before = digest.of_folder(folder, cache)

    edit(folder / "generation_config.json", eos_token_id=7)
    edit(folder / "tokenizer.json", version="2.0")

    after = digest.of_folder(folder, cache)
    assert [p for p in digest.PARTS if before[p] != after[p]] == ["config", "tokenizer"]


def test_the_same_model_elsewhere_is_the_same(folder: Path, cache: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    edit(moved / "config.json", transformers_version="9.9", _name_or_path="/elsewhere")

    assert digest.of_folder(moved, cache) == digest.of_folder(folder, cache)


def test_a_template_counts_the_same_in_either_file(folder: Path, cache: Path) -> None:
    before = digest.of_folder(folder, cache)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()

    edit(folder / "tokenizer_config.json", chat_template=template)

    assert digest.of_folder(folder, cache) == before


def test_large_files_are_read_once(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest.of_folder(folder, cache)
    opened: list[str] = []
    real = Path.open

    def noting(self: Path, *args: Any, **given: Any) -> Any:
        opened.append(self.name)
        return real(self, *args, **given)

    monkeypatch.setattr(Path, "open", noting)

    assert digest.of_folder(folder, cache) == before
    assert "model.safetensors" not in opened
    assert "tokenizer.json" not in opened


def test_weights_of_the_same_size_and_time_are_noticed(folder: Path, cache: Path) -> None:
    """As `cp -p` over the file leaves it; only the kernel's change time tells."""
    file = folder / "model.safetensors"
    before, stat = digest.of_folder(folder, cache), file.stat()

    spoil_weights(folder)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert digest.of_folder(folder, cache)["weights"] != before["weights"]


@pytest.mark.parametrize("content", [b"", b"[]", b"\x00\xff", b'{"a'])
def test_a_damaged_cache_is_written_again(folder: Path, cache: Path, content: bytes) -> None:
    before = digest.of_folder(folder, cache)
    cache.write_bytes(content)

    assert digest.of_folder(folder, cache) == before
    assert len(json.loads(cache.read_bytes())) == 2


def test_a_home_that_cannot_be_written_costs_only_time(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert digest.of_folder(folder, tmp_path / "file" / "digests.json")


def test_a_base_that_is_not_here_is_unknown(tmp_path: Path) -> None:
    nowhere = Settings(home=tmp_path, base=BaseModelSettings(model="no-org/no-model"))

    assert digest.of_base(nowhere) == {}
    assert digest.of_folder(tmp_path, tmp_path / "cache.json") == {}


def adapter(base: str, known: dict[str, str]) -> Adapter:
    return Adapter(
        id=1, domain_id=1, domain="helpdesk", version=3, sha256="", path="", base_model=base,
        rank=8, size_bytes=0, recipe={}, scores={}, dataset_id=None, parent_id=None, run_id=None,
        state="live", state_reason="", created_at=0, live_at=None, base_digest=known,
    )  # fmt: skip


KNOWN = {"weights": "a", "config": "b", "tokenizer": "c", "template": "d"}


@pytest.mark.parametrize(
    ("base", "known", "present", "said"),
    [
        ("mine", KNOWN, KNOWN, ""),
        ("/elsewhere/mine", KNOWN, KNOWN, ""),
        ("mine", {}, KNOWN, ""),
        ("mine", KNOWN, {}, ""),
        ("other", {}, KNOWN, "was tuned on the base model other, not on mine"),
        ("other", KNOWN, {}, "was tuned on the base model other, not on mine"),
        ("other", KNOWN, {**KNOWN, "weights": "x"}, "was tuned on the base model other"),
        ("mine", KNOWN, {**KNOWN, "weights": "x"}, "other weights. Restore"),
        ("mine", KNOWN, {**KNOWN, "tokenizer": "x", "template": "y"}, "tokenizer and template"),
        ("mine", KNOWN, {**KNOWN, "config": "x"}, "understudy tune helpdesk --full"),
    ],
)
def test_whether_an_adapter_belongs_to_the_base(
    base: str, known: dict[str, str], present: dict[str, str], said: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, base=BaseModelSettings(model="mine"))

    problem = digest.mismatch(adapter(base, known), settings, present)

    assert said in problem
    assert bool(said) == bool(problem)
