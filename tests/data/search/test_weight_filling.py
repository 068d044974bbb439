"""Filling a graph without weights: the file is a model, and its numbers are those of the source."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from data.search import weight_filling
from data.search.weight_filling import MissingWeight, Tensors
from data.store.errors import Invalid

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((8, 128)).astype(np.float32)  # (outputs, inputs)
TABLE = RNG.standard_normal((5, 128)).astype(np.float32)


def safetensors(folder: Path, **tensors: np.ndarray) -> Tensors:
    """A file as safetensors writes it."""
    about, data = {}, b""
    for name, tensor in tensors.items():
        last = len(data) + tensor.nbytes
        about[name] = {
            "dtype": {"float32": "F32", "float16": "F16"}[str(tensor.dtype)],
            "shape": tensor.shape,
            "data_offsets": [len(data), last],
        }
        data += tensor.tobytes()
    head = json.dumps(about).encode()
    file = folder / "model.safetensors"
    file.write_bytes(len(head).to_bytes(8, "little") + head + data)
    return Tensors(file)


def graph() -> bytes:
    """Looks rows up in a table, and multiplies them with a weight; both are missing."""
    block = {"K": 128, "N": 8, "bits": 8, "block_size": weight_filling.BLOCK}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["coded"]),
        helper.make_node("Cast", ["coded"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["scale", "ids"], ["scales"]),
        helper.make_node("Mul", ["numbers", "scales"], ["rows"]),
        helper.make_node(
            "MatMulNBits", ["rows", "w", "w_scales"], ["out"], domain="com.microsoft", **block
        ),
    ]
    made = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 8])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()


MISSING = (
    MissingWeight("scale", (5, 1), "row_scales", "table"),
    MissingWeight("table", (5, 128), "rows", "table"),
    MissingWeight("w", (8, 2, 64), "blocks", "weight"),
    MissingWeight("w_scales", (8, 2), "block_scales", "weight"),
)


def test_the_filled_graph_computes_what_the_weights_say(tmp_path: Path) -> None:
    tensors = safetensors(tmp_path, table=TABLE, weight=WEIGHT)

    weight_filling.write(graph(), MISSING, tensors, tmp_path / "model.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    ids = np.array([4, 0, 2])
    (found,) = session.run(None, {"ids": ids})
    expected = TABLE[ids] @ WEIGHT.T
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_the_weights_are_read_by_others_too(tmp_path: Path) -> None:
    tensors = safetensors(tmp_path, table=TABLE, weight=WEIGHT)
    weight_filling.write(graph(), MISSING, tensors, tmp_path / "model.onnx")

    read = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer
    }
    assert {name: array.shape for name, array in read.items()} == {w.name: w.dims for w in MISSING}
    again = read["table"] * read["scale"]
    assert np.abs(again - TABLE).max() <= read["scale"].max() / 2 * 1.0001


def test_a_row_of_zeros_stays_zero() -> None:
    numbers, scales = weight_filling.rounded(np.zeros((2, 64), np.float32))

    assert not numbers.any()
    assert (scales > 0).all()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"table": TABLE}, "no weight in float32"),
        ({"table": TABLE, "weight": WEIGHT.astype(np.float16)}, "no weight in float32"),
        ({"table": TABLE, "weight": WEIGHT[:4]}, "weight .* another shape"),
    ],
)
def test_other_weights_are_refused(
    tmp_path: Path, tensors: dict[str, np.ndarray], said: str
) -> None:
    found = safetensors(tmp_path, **tensors)

    with pytest.raises(Invalid, match=said):
        weight_filling.write(graph(), MISSING, found, tmp_path / "model.onnx")
