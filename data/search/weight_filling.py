"""Fills an ONNX graph that was stored without its large weights.

The weights come from the safetensors file of the model that the graph was made from, and are
rounded to 8 bits. Only numpy is needed. Each step is a single operation of IEEE 754, so the file is
the same on every machine.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from data.store.errors import Invalid

if TYPE_CHECKING:
    import numpy as np

BLOCK = 64  # numbers that are rounded with one scale
Kind = Literal["whole", "blocks", "block_scales", "rows", "row_scales"]
# numbers of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
GRAPH, INITIALIZER = 7, 5  # fields of ModelProto and of GraphProto
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9  # fields of TensorProto
FLOAT, UINT8, INT8 = 1, 2, 3  # values of TensorProto.DataType
VARINT, BYTES = 0, 2  # wire types of protobuf


@dataclass(frozen=True)
class MissingWeight:
    """A weight that the graph needs: what it is called there, and what it is made of."""

    name: str
    dims: tuple[int, ...]
    kind: Kind
    source: str  # the tensor in the safetensors file


class Tensors:
    """The float32 tensors of a safetensors file."""

    def __init__(self, file: Path) -> None:
        import numpy as np

        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            self._about = json.loads(opened.read(size))
        self._data = np.memmap(file, np.uint8, "r", offset=8 + size)

    def __getitem__(self, name: str) -> "np.ndarray":
        """Raises Invalid if there is no such tensor in float32."""
        import numpy as np

        about = self._about.get(name)
        if about is None or about["dtype"] != "F32":
            raise Invalid(f"The weights of the encoder have no {name} in float32.")
        first, last = about["data_offsets"]
        whole: np.ndarray = self._data[first:last].view(np.float32).reshape(about["shape"])
        return whole


def write(graph: bytes, missing: Sequence[MissingWeight], tensors: Tensors, out: Path) -> None:
    """Write the model with its weights. Raises Invalid when the tensors are others."""
    with out.open("wb") as opened:
        opened.write(graph)
        for weight in missing:
            _append(opened, weight, tensors[weight.source])


def rounded(rows: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Whole numbers from -127 to 127 and their scale, along the last axis."""
    import numpy as np

    scales = np.abs(rows).max(axis=-1, keepdims=True) / np.float32(127)
    scales = np.maximum(scales, np.float32(1e-12))
    return np.rint(rows / scales), scales.astype(np.float32)


def _append(opened: IO[bytes], weight: MissingWeight, tensor: "np.ndarray") -> None:
    """Append one weight. Protobuf reads the parts of a message that stand apart as one."""
    import numpy as np

    blocks = tensor.reshape(len(tensor), -1, BLOCK) if weight.kind.startswith("block") else tensor
    if weight.kind == "whole":
        kind, values = FLOAT, tensor.astype(np.float32)
    elif weight.kind in ("block_scales", "row_scales"):
        kind, values = FLOAT, rounded(blocks)[1]
    elif weight.kind == "blocks":  # MatMulNBits stores them with an offset
        kind, values = UINT8, (rounded(blocks)[0] + np.float32(128)).astype(np.uint8)
    else:
        kind, values = INT8, rounded(blocks)[0].astype(np.int8)
    if values.size != int(np.prod(weight.dims)):
        raise Invalid(f"The tensor {weight.source} of the encoder has another shape than expected.")
    data = values.tobytes()
    head = b"".join(_varint_field(DIMS, size) for size in weight.dims)
    head += _varint_field(DATA_TYPE, kind) + _field(NAME, weight.name.encode())
    head += _start(RAW_DATA, len(data))
    initializer = _start(INITIALIZER, len(head) + len(data))
    opened.write(_start(GRAPH, len(initializer) + len(head) + len(data)))
    opened.write(initializer + head)
    opened.write(data)


def _field(number: int, data: bytes) -> bytes:
    return _start(number, len(data)) + data


def _start(number: int, size: int) -> bytes:
    """The beginning of a field with `size` bytes."""
    return _varint(number << 3 | BYTES) + _varint(size)


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3 | VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    return bytes(_sevens(value))


def _sevens(value: int) -> Iterator[int]:
    """Seven bits each, the lowest first."""
    while value >= 0x80:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
