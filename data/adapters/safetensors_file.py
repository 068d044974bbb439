"""A strict reader for untrusted safetensors files.

vLLM reads an adapter with safetensors' own parser, and this module reads it first. It therefore
accepts only files that every parser reads the same way (no duplicate names, gaps, overlaps or
trailing bytes). One pass over one open file hashes and checks the numbers, a few megabytes at a
time, so the digest covers exactly what was checked, and memory use does not grow with the file. It
does not need torch.

Format: https://huggingface.co/docs/safetensors/index#format
"""

import contextlib
import hashlib
import itertools
import json
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from data.store.errors import Invalid

MAX_HEADER = 16 << 20
CHUNK = 1 << 20  # bytes checked at a time
LARGEST = 65504.0  # the largest float16, to which an engine may convert
SHOWN = 120  # characters of untrusted text that an error message quotes
OTHER_FORMATS = {  # first bytes of other formats that are sometimes renamed to safetensors
    b"PK\x03\x04": "a zip archive (as torch.save writes), which can carry code",
    **{bytes([0x80, n]): "a pickle, which can carry code" for n in range(2, 6)},
    b"\x1f\x8b": "a gzip file",
    b"GGUF": "a GGUF file",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself",
}

# dtype -> (bytes, bits without the sign, bits of infinity)
FLOATS = {
    "F32": (4, 0x7FFFFFFF, 0x7F800000),
    "F16": (2, 0x7FFF, 0x7C00),
    "BF16": (2, 0x7FFF, 0x7F80),
}

Shape = tuple[int, ...]


class BadAdapter(Invalid):
    """The files are not an adapter that an engine may load. The message says why."""


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: Shape
    start: int  # within the file
    end: int


@dataclass(frozen=True)
class Scan:
    """The result of one pass over a file."""

    sha256: str
    problem: str  # '' if every number is finite and within its limit


def shown(text: object) -> str:
    """Untrusted text, made safe for an error message: short, printable, valid UTF-8."""
    plain = "".join(
        c if c.isprintable() else ascii(c)[1:-1] for c in str(text)[: SHOWN + 1]
    )  # file names that are not UTF-8 hold lone surrogates, which no store takes
    return plain if len(plain) <= SHOWN else plain[:SHOWN] + "…"


@contextlib.contextmanager
def opened_folder(folder: Path) -> Iterator[int]:
    """A descriptor of `folder`, which must not be a link. Files opened through it cannot be
    exchanged by moving the folder. Raises BadAdapter if there is no such folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise BadAdapter(f"There is no adapter folder {shown(folder.name)}.") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened_file(name: str, dir_fd: int | None = None) -> Iterator[int]:
    """A descriptor of the regular file `name`, which must not be a link if `dir_fd`, the folder, is
    given. Raises BadAdapter."""
    if dir_fd is not None:
        regular_file(name, dir_fd)
    follow = 0 if dir_fd is None else os.O_NOFOLLOW
    # O_NONBLOCK: if the file was replaced by a pipe, opening it would block
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | follow, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadAdapter(f"{shown(name)} is not a regular file.")
        yield descriptor
    finally:
        os.close(descriptor)


def regular_file(name: str, dir_fd: int) -> int:
    """The size of a regular file in a folder. Raises BadAdapter when it is missing or a link."""
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        raise BadAdapter(f"The adapter's folder has no {shown(name)}.") from error
    if stat.S_ISLNK(status.st_mode):
        raise BadAdapter(f"{shown(name)} is a symbolic link; an adapter holds its own files.")
    if not stat.S_ISREG(status.st_mode):
        raise BadAdapter(f"{shown(name)} is not a regular file.")
    return status.st_size


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `raw`. Raises BadAdapter, with `what` before the reason.

    Two parsers check it: orjson refuses anything but strict JSON (NaN, broken UTF-8), and Python's
    parser reveals duplicate names, which parsers resolve differently."""

    def once(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            names = sorted(name for name, _ in items)
            twice = next(a for a, b in itertools.pairwise(names) if a == b)
            raise BadAdapter(f"{what}: it has the name {shown(twice)!r} twice.")
        return found

    try:
        orjson.loads(raw)
        content = json.loads(raw, object_pairs_hook=once)
    except RecursionError as error:
        raise BadAdapter(f"{what}: it is nested too deeply.") from error
    except ValueError as error:
        raise BadAdapter(f"{what}: it is not JSON ({shown(error)}).") from error
    if not isinstance(content, dict):
        raise BadAdapter(f"{what}: it is not a JSON object.")
    return content


def read_header(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises BadAdapter if it is damaged."""
    with opened_file(str(file)) as descriptor:
        return read_tensors(descriptor, file.name)


def read_tensors(descriptor: int, name: str, max_header: int = MAX_HEADER) -> dict[str, Tensor]:
    """The tensors of an open safetensors file called `name`, ordered by offset."""
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, 32, 0)
    length = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else size
    if head[8:9] != b"{":
        for beginning, words in OTHER_FORMATS.items():
            if head.startswith(beginning):
                raise BadAdapter(f"{name} is {words}, not a safetensors file.")
    if length > size - 8:
        raise BadAdapter(f"{name} is truncated or is not a safetensors file.")
    if length > min(max_header, MAX_HEADER):
        raise BadAdapter(
            f"{name} has a header of {length:,} bytes: more tensors or text than any adapter has."
        )
    header = parse_object(_exactly(descriptor, length, 8, name), f"{name} has an unreadable header")
    _check_metadata(header.pop("__metadata__", {}), name)
    tensors = {key: _tensor(key, entry, 8 + length, name) for key, entry in header.items()}
    placed = dict(sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)))
    position = 8 + length
    for tensor in placed.values():
        if tensor.start != position or tensor.end < tensor.start:
            raise BadAdapter(f"{name} is damaged: its tensors overlap or leave gaps.")
        position = tensor.end
    if position > size:
        raise BadAdapter(f"{name} is truncated: it has {size:,} of {position:,} bytes.")
    if position != size:
        raise BadAdapter(f"{name} has {size - position:,} bytes that belong to no tensor.")
    return placed


def scan(
    descriptor: int, tensors: Mapping[str, Tensor], limits: Mapping[str, float], name: str
) -> Scan:
    """Hash an open file and check every number of its tensors, as returned by `read_tensors`.

    `limits` gives the largest allowed magnitude of each tensor. `problem` describes the first
    violation; the pass continues, because the digest may reveal more."""
    total = hashlib.sha256()
    first = min((t.start for t in tensors.values()), default=os.fstat(descriptor).st_size)
    for start in range(0, first, CHUNK):
        total.update(_exactly(descriptor, min(CHUNK, first - start), start, name))
    problem = ""
    for key, tensor in tensors.items():
        worst = 0
        for start in range(tensor.start, tensor.end, CHUNK):
            chunk = _exactly(descriptor, min(CHUNK, tensor.end - start), start, name)
            total.update(chunk)
            worst = max(worst, _largest_bits(chunk, tensor.dtype))
        problem = problem or _problem(key, worst, tensor.dtype, limits[key])
    return Scan(total.hexdigest(), problem)


def sha256(descriptor: int) -> str:
    """The digest of an open file."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _exactly(descriptor: int, count: int, start: int, name: str) -> bytes:
    """`count` bytes from `start`. Raises BadAdapter if the file was truncated while being read."""
    read = os.pread(descriptor, count, start)
    while len(read) < count:
        more = os.pread(descriptor, count - len(read), start + len(read))
        if not more:
            raise BadAdapter(f"{name} is truncated: it became shorter while it was read.")
        read += more
    return read


def _check_metadata(metadata: Any, name: str) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BadAdapter(f"{name} has an unreadable header: __metadata__ is not all texts.")


def _tensor(key: str, entry: Any, offset: int, name: str) -> Tensor:
    problem = _entry_problem(entry)
    if problem:
        raise BadAdapter(f"{name} has an unreadable header: of {shown(key)!r} {problem}.")
    start, end = entry["data_offsets"]
    return Tensor(entry["dtype"], tuple(entry["shape"]), start + offset, end + offset)


def _entry_problem(entry: Any) -> str:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return "not exactly dtype, shape and data_offsets are said"
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(entry["dtype"], str):
        return "the dtype is not a text"
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        return "the shape is not a list, or the offsets are not two"
    if not all(type(n) is int and n >= 0 for n in (*shape, *offsets)):
        return "a shape or offset is not a whole number"
    return ""


def _largest_bits(chunk: bytes, dtype: str) -> int:
    """The bit pattern of the largest magnitude. The bit patterns of floats without their sign sort
    like the numbers, followed by infinity and NaN."""
    import numpy as np

    width, sign_off, _ = FLOATS[dtype]
    kind = np.dtype("<u4" if width == 4 else "<u2")
    return int((np.frombuffer(chunk, dtype=kind) & kind.type(sign_off)).max())


def _problem(key: str, bits: int, dtype: str, limit: float) -> str:
    infinity = FLOATS[dtype][2]
    if bits > infinity:
        return f"{shown(key)} contains NaN."
    if bits == infinity:
        return f"{shown(key)} contains an infinite number."
    if _as_float(bits, dtype) > limit:
        return f"{shown(key)} contains a number beyond {limit:g}: training diverged."
    return ""


def _as_float(bits: int, dtype: str) -> float:
    if dtype == "F16":
        return float(struct.unpack("<e", struct.pack("<H", bits))[0])
    widened = bits << 16 if dtype == "BF16" else bits
    return float(struct.unpack("<f", struct.pack("<I", widened))[0])
