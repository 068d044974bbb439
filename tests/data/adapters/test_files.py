"""Every kind of invalid adapter is refused with a message that names the fault."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from safetensors.numpy import save_file

from data.adapters import files, safetensors_file
from data.adapters.files import AdapterFiles, BadAdapter
from data.config.settings import POCKET
from data.store.errors import Unavailable
from tests import adapter_maker

KINDS = ["F32", "F16", "BF16"]


def check(folder: Path, **changes: Any) -> AdapterFiles:
    given = {"base": POCKET, "base_model": "pocket", "max_rank": 64, **changes}
    return files.check(folder, **given)


def with_tensor(change: Callable[[np.ndarray], np.ndarray | None]) -> dict[str, np.ndarray]:
    """Good weights, the first tensor changed (or left out)."""
    tensors = adapter_maker.weights()
    name = sorted(tensors)[0]
    changed = change(tensors.pop(name))
    return tensors if changed is None else {**tensors, name: changed}


def write_as(folder: Path, kind: str, value: float | None = None) -> Path:
    """Good weights as F32, F16 or BF16; with `value`, the last number of the last is that."""
    tensors = adapter_maker.weights()
    if value is not None:
        tensors[sorted(tensors)[-1]][-1, -1] = value
    if kind != "BF16":
        dtype = np.float16 if kind == "F16" else np.float32
        with np.errstate(over="ignore"):
            return adapter_maker.write(
                folder, tensors={name: t.astype(dtype) for name, t in tensors.items()}
            )
    halves = {name: (t.view(np.uint32) >> 16).astype(np.uint16) for name, t in tensors.items()}
    adapter_maker.write(folder, tensors=halves)  # numpy has no bfloat16: the bits, then the label
    damage(folder, lambda content: reheader(content, relabel))
    return folder


def test_a_valid_adapter_is_described(tmp_path):
    folder = adapter_maker.write(tmp_path / "a", rank=16)
    found = check(folder)
    assert found.rank == 16
    assert found.target_modules == ("down_proj", "q_proj", "v_proj")
    assert found.size_bytes == sum(f.stat().st_size for f in folder.iterdir())
    assert found.sha256 == files.digest(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_the_three_float_types_are_accepted(tmp_path, kind):
    assert check(write_as(tmp_path / "a", kind)).rank == 8


def test_a_readme_and_other_json_files_are_accepted(tmp_path):
    folder = adapter_maker.write(tmp_path / "a")
    (folder / "README.md").write_text("An adapter.")
    (folder / "recipe.json").write_text("{}")
    assert check(folder)


def test_the_digest_depends_only_on_the_files_that_the_engine_reads(tmp_path):
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for folder, seed in ((one, 1), (same, 1), (other, 2)):
        adapter_maker.write(folder, seed=seed)
    (same / "README.md").write_text("The same adapter.")
    assert files.digest(one) == files.digest(same)
    assert files.digest(one) != files.digest(other)


def test_a_changed_file_does_not_match_its_digest(tmp_path):
    folder = adapter_maker.write(tmp_path / "a")
    before = files.digest(folder)
    adapter_maker.write(folder, seed=2)
    with pytest.raises(BadAdapter, match="have changed since"):
        check(folder, sha256=before)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("F32", np.nan, "NaN"),
        ("F32", -np.nan, "NaN"),
        ("F32", np.inf, "infinite"),
        ("F32", -np.inf, "infinite"),
        ("F32", 1e30, "diverged"),
        ("F32", -70000.0, "diverged"),
        ("F16", np.nan, "NaN"),
        ("F16", np.inf, "infinite"),
        ("BF16", np.nan, "NaN"),
        ("BF16", np.inf, "infinite"),
        ("BF16", -1e30, "diverged"),
    ],
)
def test_one_bad_number_is_found(tmp_path, kind, value, words):
    folder = write_as(tmp_path / "a", kind, value)
    with pytest.raises(BadAdapter, match=words):
        check(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_large_numbers_that_every_engine_can_represent_are_accepted(tmp_path, kind):
    """The last tensor is a B, which the engine multiplies with alpha / rank: 2 here."""
    assert check(write_as(tmp_path / "a", kind, -30000.0))


def test_a_number_that_scaling_makes_too_large_is_found(tmp_path):
    folder = write_as(tmp_path / "a", "F32", 33000.0)
    with pytest.raises(BadAdapter, match=r"beyond 32752: training diverged"):
        check(folder)


def test_rank_stabilised_scaling_is_considered(tmp_path):
    tensors = adapter_maker.weights()
    tensors[sorted(tensors)[-1]][0, 0] = 12_000  # times 16 / sqrt(8) is 67,882
    folder = adapter_maker.write(tmp_path / "a", tensors=tensors)
    assert check(folder)
    adapter_maker.write(folder, tensors=tensors, use_rslora=True)
    with pytest.raises(BadAdapter, match="beyond 11579"):
        check(folder)


def test_a_change_after_the_check_is_noticed(tmp_path):
    folder = adapter_maker.write(tmp_path / "a")
    stamp = check(folder).stamp
    (folder / "README.md").write_text("Not read by the engine.")
    files.check_unchanged(folder, stamp)
    (folder / files.WEIGHTS).chmod(0o444)
    with pytest.raises(BadAdapter, match="were changed while the engine read them"):
        files.check_unchanged(folder, stamp)


def test_a_replaced_folder_with_the_same_content_is_noticed(tmp_path):
    folder = adapter_maker.write(tmp_path / "a")
    stamp = check(folder).stamp
    other = adapter_maker.write(tmp_path / "b")
    folder.rename(tmp_path / "c")
    other.rename(folder)
    with pytest.raises(BadAdapter, match="were changed"):
        files.check_unchanged(folder, stamp)


def test_a_bad_number_beyond_the_first_chunk_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors_file, "CHUNK", 64)
    folder = write_as(tmp_path / "a", "F32", np.nan)
    with pytest.raises(BadAdapter, match="NaN"):
        check(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_model_name_or_path": "other"}, "tuned for the base model 'other'"),
        ({"peft_type": "IA3"}, "peft_type 'IA3'"),
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "LoRA bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"init_lora_weights": "loftq"}, "change the base model"),
        ({"init_lora_weights": "pissa_niter_4"}, "change the base model"),
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"lora_alpha": 1e30}, "lora_alpha"),
        ({"lora_alpha": True}, "lora_alpha"),
        ({"use_rslora": "false"}, "use_rslora"),
        ({"some_new_method": {"x": 1}}, "some_new_method"),
        ({"target_modules": ".*"}, "not a list of names"),
        ({"target_modules": ["q_proj", "v_proj"]}, "does not name"),
        ({"target_modules": ["q_proj", "v_proj", "down_proj", "up_proj"]}, "no weights for it"),
        ({"lora_alpha": "16"}, "lora_alpha"),
        ({"r": 0}, "rank is 0"),
        ({"r": 12}, "but the rank is 12"),
        ({"r": 513}, "rank is 513"),
        ({"r": "8"}, "rank is '8'"),
        ({"r": True}, "rank is True"),
        ({"r": 128}, "max_lora_rank"),
        ({"r": 16}, "but the rank is 16"),
    ],
)
def test_a_config_that_the_engine_cannot_serve_is_refused(tmp_path, changes, words):
    folder = adapter_maker.write(tmp_path / "a", **changes)
    with pytest.raises(BadAdapter, match=words):
        check(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"r": NaN}', b"\xff\xfe", b" " * 2_000_000]
)
def test_an_invalid_config_file_is_refused(tmp_path, content):
    folder = adapter_maker.write(tmp_path / "a")
    (folder / files.CONFIG).write_bytes(content)
    with pytest.raises(BadAdapter, match=files.CONFIG):
        check(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: None, "not its other half"),
        (lambda a: a[:4], "the rank is 8"),
        (lambda a: np.ascontiguousarray(a[:, :-1]), "does not match the base"),
        (lambda a: a.astype(np.float64), "F64"),
        (lambda a: a.astype(np.int32), "I32"),
        (lambda a: a.reshape(-1), "must be a matrix"),
        (lambda a: a[:, :0], "must be a matrix"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(tmp_path, change, words):
    folder = adapter_maker.write(tmp_path / "a", tensors=with_tensor(change))
    with pytest.raises(BadAdapter, match=words):
        check(folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("base_model.model.model.layers.99.self_attn.q_proj.lora_A.weight", "does not have"),
        ("base_model.model.model.layers.0.self_attn.x_proj.lora_A.weight", "does not have"),
        ("base_model.model.model.layers.0.input_layernorm.lora_A.weight", "not a linear layer"),
        ("base_model.model.model.embed_tokens.weight", "whole weights .* merge it into"),
        ("base_model.model.lm_head.weight", "whole weights .* merge it into"),
        ("base_model.model.lm_head.lora_A.weight", "leave it out, such as all-linear"),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "not the weight of a LoRA"),
        ("base_model.model.model.layers.0.self_attn.o_proj.lora_C.weight", "not the weight"),
    ],
)
def test_a_tensor_for_a_missing_module_is_refused(tmp_path, name, words):
    tensors = {**adapter_maker.weights(), name: np.zeros((8, 192), np.float32)}
    folder = adapter_maker.write(tmp_path / "a", tensors=tensors)
    with pytest.raises(BadAdapter, match=words):
        check(folder)


def damage(folder: Path, change: Callable[[bytes], bytes]) -> None:
    file = folder / files.WEIGHTS
    file.write_bytes(change(file.read_bytes()))


def reheader(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    header = orjson.loads(content[8 : 8 + length])
    change(header)
    raw = orjson.dumps(header)
    return struct.pack("<Q", len(raw)) + raw + content[8 + length :]


def relabel(header: dict[str, Any]) -> None:
    for entry in header.values():
        entry["dtype"] = "BF16"


def shift(header: dict[str, Any]) -> None:
    first = next(iter(header.values()))
    first["data_offsets"][1] += 4


def grow(header: dict[str, Any]) -> None:
    first = next(iter(header.values()))
    first["shape"][1] *= 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: b"", "truncated"),
        (lambda c: c[:5], "truncated"),
        (lambda c: c[:200], "truncated"),
        (lambda c: c[:-1], "truncated"),
        (lambda c: c + b"x", "belong to no tensor"),
        (lambda c: struct.pack("<Q", 1 << 62) + c[8:], "truncated"),
        (lambda c: c[:8] + b"x" + c[9:], "unreadable header"),
        (lambda c: b"\x80\x04" + c[2:], "unreadable header"),
        (lambda c: b"PK\x03\x04" + c[4:], "truncated"),
        (lambda c: reheader(c, shift), "damaged"),
        (lambda c: reheader(c, grow), "bytes instead of|match"),
        (lambda c: reheader(c, lambda h: h.clear()), "belong to no tensor"),
        (lambda c: reheader(c, lambda h: next(iter(h.values())).update(x=1)), "not exactly dtype"),
        (lambda c: reheader(c, lambda h: h.update(__metadata__={"a": 1})), "not all texts"),
        (lambda c: struct.pack("<Q", 2) + b"[]", "unreadable header"),
        (lambda c: struct.pack("<Q", 2) + b"{}", "holds no tensors"),
        (lambda c: struct.pack("<Q", 8) + b'{"a": 1}', "unreadable header"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, words):
    folder = adapter_maker.write(tmp_path / "a")
    damage(folder, change)
    with pytest.raises(BadAdapter, match=words):
        check(folder)


@pytest.mark.parametrize("name", ["adapter_model.bin", "x.pt", "x.pkl", "run.py", "x", "x.so"])
def test_other_kinds_of_files_are_refused(tmp_path, name):
    folder = adapter_maker.write(tmp_path / "a")
    (folder / name).write_bytes(b"")
    with pytest.raises(BadAdapter, match="does not belong in an adapter"):
        check(folder)


@pytest.mark.parametrize("name", [files.CONFIG, files.WEIGHTS, "more.json"])
def test_links_are_refused(tmp_path, name):
    folder = adapter_maker.write(tmp_path / "a")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("/etc/hostname")
    with pytest.raises(BadAdapter, match="symbolic link"):
        check(folder)


@pytest.mark.parametrize("name", files.READ_BY_ENGINE)
def test_the_digest_refuses_links_and_missing_files(tmp_path, name):
    folder = adapter_maker.write(tmp_path / "a")
    (folder / name).unlink()
    with pytest.raises(BadAdapter, match=f"has no {name}"):
        files.digest(folder)
    (folder / name).symlink_to("/etc/hostname")
    with pytest.raises(BadAdapter, match="symbolic link"):
        files.digest(folder)


def test_a_linked_folder_and_folders_inside_are_refused(tmp_path):
    folder = adapter_maker.write(tmp_path / "a")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(BadAdapter, match="no adapter folder"):
        check(tmp_path / "link")
    (folder / "inner").mkdir()
    with pytest.raises(BadAdapter, match="not a regular file"):
        check(folder)


@pytest.mark.parametrize("name", files.READ_BY_ENGINE)
def test_a_missing_file_is_named(tmp_path, name):
    folder = adapter_maker.write(tmp_path / "a")
    (folder / name).unlink()
    with pytest.raises(BadAdapter, match=name):
        check(folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(BadAdapter, match="no adapter folder"):
        check(tmp_path / "none")


def test_an_absurdly_large_readme_is_refused(tmp_path):
    folder = adapter_maker.write(tmp_path / "a")
    with (folder / "README.md").open("wb") as file:
        file.truncate(files.MAX_OTHER + 1)
    with pytest.raises(BadAdapter, match="far too large"):
        check(folder)


def test_a_base_in_shards_is_read_through_its_index(tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    save_file({"model.a.weight": np.zeros((2, 3), np.float32)}, base / "x-1.safetensors")
    save_file({"model.b.weight": np.zeros((4, 5), np.float32)}, base / "x-2.safetensors")
    save_file({"stray.weight": np.zeros((4, 5), np.float32)}, base / "stray.safetensors")
    index = {
        "weight_map": {"model.a.weight": "x-1.safetensors", "model.b.weight": "x-2.safetensors"}
    }
    (base / "model.safetensors.index.json").write_bytes(orjson.dumps(index))
    expected = {"model.a.weight": ("F32", (2, 3)), "model.b.weight": ("F32", (4, 5))}
    assert files.base_shapes(base) == expected


def test_a_missing_base_can_be_retried_later(tmp_path):
    folder = adapter_maker.write(tmp_path / "a")
    with pytest.raises(Unavailable, match="not on this machine"):
        check(folder, base="nobody/no-such-model")


def test_a_hub_name_is_found_in_the_local_cache(tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    snapshot = cache / "models--org--tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    save_file({"m.weight": np.zeros((2, 3), np.float32)}, snapshot / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    assert files.base_shapes("org/tiny") == {"m.weight": ("F32", (2, 3))}


def test_a_large_adapter_is_checked_in_little_memory(tmp_path, monkeypatch):
    wide = {"model.w.weight": ("F32", (1, 1 << 21))}
    monkeypatch.setattr(files, "base_shapes", lambda base: wide)
    tensors = {
        "base_model.model.model.w.lora_A.weight": np.zeros((8, 1 << 21), np.float32),
        "base_model.model.model.w.lora_B.weight": np.zeros((1, 8), np.float32),
    }
    folder = adapter_maker.write(tmp_path / "a", tensors=tensors, target_modules=["w"])
    del tensors
    tracemalloc.start()
    check(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (folder / files.WEIGHTS).stat().st_size > 64 << 20
    assert peak < 16 << 20
