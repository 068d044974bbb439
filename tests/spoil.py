"""Ways to make a sound adapter folder a bad one: each function returns, or is, what does it."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from safetensors.numpy import save_file

from data.adapters.files import CONFIG, WEIGHTS
from tests import adapter_maker

Tensors = dict[str, np.ndarray]
Header = dict[str, Any]
LAYERS = "base_model.model.model.layers"
Q = f"{LAYERS}.0.self_attn.q_proj"


def config(**changes: Any) -> Callable[[Path], object]:
    """Replace or add keys of the config."""

    def spoil(folder: Path) -> None:
        known = orjson.loads((folder / CONFIG).read_bytes())
        (folder / CONFIG).write_bytes(orjson.dumps(known | changes))

    return spoil


def config_text(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / CONFIG).write_bytes(change((folder / CONFIG).read_bytes()))


def tensors(change: Callable[[Tensors], object]) -> Callable[[Path], object]:
    """Write the weights again after `change` has had them."""

    def spoil(folder: Path) -> None:
        weights = adapter_maker.weights()
        change(weights)
        save_file(weights, folder / WEIGHTS)

    return spoil


def number(value: float, dtype: type = np.float32) -> Callable[[Path], object]:
    """One number in the middle of one matrix."""

    def change(weights: Tensors) -> None:
        for name, tensor in weights.items():
            weights[name] = tensor.astype(dtype)
        middle = weights[f"{Q}.lora_B.weight"]
        middle[middle.shape[0] // 2, 3] = value

    return tensors(change)


def matrix(half: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    """Change one half of one module."""
    name = f"{Q}.lora_{half}.weight"
    return tensors(lambda w: w.update({name: np.ascontiguousarray(change(w[name]))}))


def added(name: str, shape: tuple[int, ...] = (8, 192)) -> Callable[[Path], object]:
    return tensors(lambda w: w.update({name: np.zeros(shape, np.float32)}))


def weights_file(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / WEIGHTS).write_bytes(change((folder / WEIGHTS).read_bytes()))


def header(change: Callable[[Header], object]) -> Callable[[Path], object]:
    """Change the header of the weights, and leave the numbers behind it."""

    def spoil(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        entries = orjson.loads(content[8 : 8 + length])
        change(entries)
        return with_header(orjson.dumps(entries), content[8 + length :])

    return weights_file(spoil)


def header_text(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def spoil(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        return with_header(change(content[8 : 8 + length]), content[8 + length :])

    return weights_file(spoil)


def with_header(raw: bytes, rest: bytes = b"") -> bytes:
    return struct.pack("<Q", len(raw)) + raw + rest


def first(entries: Header) -> dict[str, Any]:
    return next(entry for entry in entries.values() if entry["data_offsets"][0] == 0)


def overlap(entries: Header) -> None:
    """Two tensors share their bytes; the file is as long as before."""
    a, b = sorted(entries.values(), key=lambda e: e["data_offsets"][0])[:2]
    b["data_offsets"][0] = a["data_offsets"][0]


def beside(name: str | bytes, content: bytes = b"{}") -> Callable[[Path], object]:
    """A further file in the folder."""
    raw = name if isinstance(name, bytes) else name.encode()

    def spoil(folder: Path) -> None:
        with open(os.fsencode(folder) + b"/" + raw, "wb") as file:
            file.write(content)

    return spoil


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something that is no plain file, where `name` should be."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return spoil


def linked(path: Path) -> None:
    """A link to a sound file elsewhere: its contents are not what is wrong."""
    real = path.parent.parent / f"elsewhere-{path.name}"
    adapter_maker.write(path.parent.parent / "elsewhere")
    (path.parent.parent / "elsewhere" / path.name).rename(real)
    path.symlink_to(real)


def linked_folder(folder: Path) -> None:
    real = folder.with_name("real")
    folder.rename(real)
    folder.symlink_to(real)


def pickled() -> bytes:
    return pickle.dumps({"a": [0.0] * 64})


def zipped() -> bytes:
    """A bomb as torch.load would unpack it: a hundred megabytes in a hundred kilobytes."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(10):
            archive.writestr(f"data/{i}", bytes(10 << 20))
    return raw.getvalue()


def sparse(shape: tuple[int, int], size: int) -> Callable[[Path], object]:
    """A file that claims `size` bytes and has nearly none on the disk."""

    def spoil(folder: Path) -> None:
        entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
        head = with_header(orjson.dumps({f"{Q}.lora_A.weight": entry}))
        with (folder / WEIGHTS).open("wb") as file:
            file.write(head)
            file.truncate(len(head) + size)

    return spoil


def grown(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, size)


def absurd_header(folder: Path) -> None:
    """The length says 12 TB, and so does the file's size."""
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 12 << 40) + b"{")
    os.truncate(folder / WEIGHTS, 13 << 40)


def many_tensors(folder: Path) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    content = orjson.dumps({f"base_model.model.t{i}": entry for i in range(100_000)})
    (folder / WEIGHTS).write_bytes(with_header(content))


def many_files(folder: Path) -> None:
    for i in range(5_000):
        (folder / f"{i}.json").touch()


def shuffled(weights: Tensors) -> None:
    """Half of the modules miss their A, the other half their B."""
    for i, name in enumerate(sorted(weights)):
        if i % 4 in (0, 3):
            del weights[name]
