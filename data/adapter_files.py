"""An adapter's files: their digest, and whether an engine can be trusted with them.

vLLM answers 200 to much that it should refuse (an adapter with NaN ruins the answers of *other*
adapters), so a folder is checked here before it is registered and again before an engine is told
of it. The check reads the safetensors headers itself and looks at the numbers through a memory
map, a few megabytes at a time: no torch, and no more memory for a large adapter than for a small
one.
"""

import hashlib
import mmap
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from data.errors import Invalid, Unavailable

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
READ_BY_ENGINE = (CONFIG, WEIGHTS)
SUFFIXES = (".safetensors", ".json", ".md")
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's kernels know

MAX_HEADER = 16 << 20
MAX_CONFIG = 1 << 20
MAX_OTHER = 64 << 20
CHUNK = 4 << 20  # bytes of weights looked at together
LARGEST = 65504.0  # the largest float16: an engine may convert to it
PREFIX = "base_model.model."

# dtype -> (bytes, bits without the sign, bits of LARGEST rounded down, bits of infinity)
FLOATS = {
    "F32": (4, 0x7FFFFFFF, 0x477FE000, 0x7F800000),
    "F16": (2, 0x7FFF, 0x7BFF, 0x7C00),
    "BF16": (2, 0x7FFF, 0x477F, 0x7F80),
}
UNPACKED = (*FLOATS, "F8_E4M3", "F8_E5M2")  # a weight of the base so stored shows its shape
# What changes an adapter's meaning in a way that vLLM ignores or refuses late.
UNSUPPORTED = {
    "use_dora": "DoRA",
    "lora_bias": "a LoRA bias",
    "modules_to_save": "modules_to_save (whole modules beside the LoRA)",
    "rank_pattern": "ranks that differ by module (rank_pattern)",
    "alpha_pattern": "alphas that differ by module (alpha_pattern)",
    "layer_replication": "layer_replication",
    "alora_invocation_tokens": "activated LoRA (aLoRA)",
    "use_bdlora": "block-diagonal LoRA",
    "use_qalora": "QALoRA",
    "trainable_token_indices": "trained token embeddings",
    "target_parameters": "target_parameters",
}
PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")

Shape = tuple[int, ...]


class BadAdapter(Invalid):
    """The folder is not an adapter that the engine may be given; says why."""


@dataclass(frozen=True)
class AdapterFiles:
    rank: int
    size_bytes: int  # of the files the engine reads
    sha256: str
    target_modules: tuple[str, ...]  # q_proj, v_proj, ...: those that have weights


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: Shape
    start: int  # within the file
    end: int


def digest(folder: Path) -> str:
    """The sha256 of what the engine reads: over sorted lines of `name sha256-of-content`.

    Raises BadAdapter when a file is missing or is a symbolic link.
    """
    total = hashlib.sha256()
    for name in sorted(READ_BY_ENGINE):
        _regular_file(folder / name)
        with open(os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{name} {content}\n".encode())
    return total.hexdigest()


def check(
    folder: Path, *, base: Path | str, base_model: str, max_rank: int, sha256: str | None = None
) -> AdapterFiles:
    """Read the whole adapter in `folder` and say what it is.

    `base` is the base model's folder (or its name on a hub, when it is in the local cache),
    `base_model` the name that the adapter must have been tuned for, `sha256` what its digest
    must be. Raises BadAdapter with the first thing that is wrong.
    """
    _check_folder(folder)
    config = _read_config(folder / CONFIG)
    rank = _check_config(config, base_model, max_rank)
    found = digest(folder)
    if sha256 is not None and found != sha256:
        raise BadAdapter(
            f"The files of {folder.name} have changed since the adapter was registered: their "
            f"digest is {found[:12]}, not {sha256[:12]}. Restore them from a backup."
        )
    tensors = read_header(folder / WEIGHTS)
    modules = _check_tensors(tensors, rank, base_shapes(base))
    _check_numbers(folder / WEIGHTS, tensors)
    size = sum((folder / name).stat().st_size for name in READ_BY_ENGINE)
    targets = tuple(sorted({m.rsplit(".", 1)[-1] for m in modules}))
    return AdapterFiles(rank=rank, size_bytes=size, sha256=found, target_modules=targets)


def base_shapes(base: Path | str) -> dict[str, tuple[str, Shape]]:
    """Tensor name -> (dtype, shape) of a base model, from its safetensors headers.

    Raises Unavailable when the model is not on this machine.
    """
    folder = base_folder(base)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = {folder / name for name in orjson.loads(index.read_bytes())["weight_map"].values()}
    else:
        files = set(folder.glob("*.safetensors"))
    if not files:
        raise Unavailable(f"The base model {base} has no safetensors files.")
    shapes = {}
    for file in files:
        for name, tensor in read_header(file).items():
            shapes[name] = (tensor.dtype, tensor.shape)
    return shapes


def base_folder(base: Path | str) -> Path:
    """Where the base model's files are: `base` itself, or its place in the hub's local cache."""
    folder = Path(base)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(base), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise Unavailable(f"The base model {base} is not on this machine yet.") from error


def read_header(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; raises BadAdapter when it is damaged."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length > min(MAX_HEADER, size - 8):
            raise BadAdapter(f"{file.name} is truncated or is not a safetensors file.")
        raw = opened.read(length)
    try:
        header = orjson.loads(raw)
        header.pop("__metadata__", None)
        tensors = {name: _tensor(entry, 8 + length) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadAdapter(f"{file.name} has an unreadable header: {error}") from error
    position = 8 + length
    for tensor in sorted(tensors.values(), key=lambda t: (t.start, t.end)):
        if tensor.start != position or tensor.end < tensor.start:
            raise BadAdapter(f"{file.name} is damaged: its tensors overlap or leave gaps.")
        position = tensor.end
    if position > size:
        missing = f"it has {size:,} of {position:,} bytes"
        raise BadAdapter(f"{file.name} is truncated: {missing}.")
    if position != size:
        raise BadAdapter(f"{file.name} has {size - position:,} bytes that belong to no tensor.")
    return tensors


def _tensor(entry: dict[str, Any], offset: int) -> Tensor:
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(n) is int and n >= 0 for n in (*shape, start, end)):
        raise ValueError("a shape or offset is not a whole number")
    return Tensor(str(entry["dtype"]), shape, start + offset, end + offset)


def _regular_file(path: Path) -> int:
    """The size of a regular file that is no link."""
    try:
        status = path.lstat()
    except OSError as error:
        raise BadAdapter(f"{path.parent.name} has no {path.name}.") from error
    if stat.S_ISLNK(status.st_mode):
        raise BadAdapter(f"{path.name} is a symbolic link; an adapter holds its own files.")
    if not stat.S_ISREG(status.st_mode):
        raise BadAdapter(f"{path.name} is not a regular file.")
    return status.st_size


def _check_folder(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise BadAdapter(f"There is no adapter folder {folder.name}.")
    for path in sorted(folder.iterdir()):
        size = _regular_file(path)
        if path.suffix not in SUFFIXES:
            raise BadAdapter(
                f"{path.name} does not belong in an adapter: only safetensors, json and md "
                "files do (other formats can carry code)."
            )
        if path.suffix != ".safetensors" and size > MAX_OTHER:
            raise BadAdapter(f"{path.name} is {size:,} bytes, which is absurd for such a file.")
    for name in READ_BY_ENGINE:
        _regular_file(folder / name)


def _read_config(file: Path) -> dict[str, Any]:
    if file.stat().st_size > MAX_CONFIG:
        raise BadAdapter(f"{file.name} is {file.stat().st_size:,} bytes, which is absurd.")
    try:
        config = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise BadAdapter(f"{file.name} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise BadAdapter(f"{file.name} is not a JSON object.")
    return config


def _check_config(config: dict[str, Any], base_model: str, max_rank: int) -> int:
    """Returns the rank."""
    if config.get("peft_type") != "LORA":
        raise BadAdapter(f"{CONFIG} says peft_type {config.get('peft_type')!r}, not 'LORA'.")
    named = config.get("base_model_name_or_path")
    if named != base_model:
        raise BadAdapter(f"The adapter was tuned for the base model {named!r}, not {base_model!r}.")
    for key, words in UNSUPPORTED.items():
        if config.get(key):
            raise BadAdapter(f"The adapter uses {words}, which the engine cannot serve.")
    if config.get("bias", "none") != "none":
        raise BadAdapter(f"The adapter tunes a bias ({config['bias']!r}); it must be 'none'.")
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in PLAIN_INITS:
        raise BadAdapter(
            f"The adapter's start values ({init}) change the base model, which is shared."
        )
    alpha = config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha <= 1e4:
        raise BadAdapter(f"{CONFIG} has no usable lora_alpha ({alpha!r}).")
    rank = config.get("r")
    if type(rank) is not int or rank not in RANKS:
        known = ", ".join(map(str, RANKS))
        raise BadAdapter(f"The adapter's rank is {rank!r}; the engine knows {known}.")
    if rank > max_rank:
        raise BadAdapter(
            f"The adapter's rank is {rank}, but the engine is started with max_lora_rank "
            f"{max_rank}. Raise [serving] max_lora_rank."
        )
    return rank


def _check_tensors(
    tensors: dict[str, Tensor], rank: int, base: dict[str, tuple[str, Shape]]
) -> set[str]:
    """Compare every tensor with the base; returns the names of the modules that are tuned."""
    if not tensors:
        raise BadAdapter(f"{WEIGHTS} holds no tensors.")
    owners = {name.rpartition(".")[0] for name in base}
    halves: dict[str, set[str]] = {}
    for name, tensor in tensors.items():
        module, half = _split_name(name)
        if module not in owners:
            raise BadAdapter(f"The adapter tunes {module}, which the base model does not have.")
        _check_shape(module, half, tensor, rank, base.get(f"{module}.weight"))
        halves.setdefault(module, set()).add(half)
    for module, present in halves.items():
        if len(present) == 1:
            (only,) = present
            raise BadAdapter(f"{module} has lora_{only} but not its other half.")
    return set(halves)


def _split_name(name: str) -> tuple[str, str]:
    """`base_model.model.X.lora_A.weight` -> (X, "A")."""
    for half in ("A", "B"):
        ending = f".lora_{half}.weight"
        if name.startswith(PREFIX) and name.endswith(ending):
            return name[len(PREFIX) : -len(ending)], half
    raise BadAdapter(f"{WEIGHTS} holds {name!r}, which is not the weight of a LoRA.")


def _check_shape(
    module: str, half: str, tensor: Tensor, rank: int, weight: tuple[str, Shape] | None
) -> None:
    """LoRA A is (rank, in) and B is (out, rank), where the base's weight is (out, in)."""
    name = f"{module}.lora_{half}"
    if tensor.dtype not in FLOATS:
        raise BadAdapter(f"{name} has the type {tensor.dtype}; it must be F32, F16 or BF16.")
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise BadAdapter(f"{name} has the shape {list(tensor.shape)}; it must be a matrix.")
    nbytes = tensor.shape[0] * tensor.shape[1] * FLOATS[tensor.dtype][0]
    if nbytes != tensor.end - tensor.start:
        raise BadAdapter(f"{name} has {tensor.end - tensor.start:,} bytes instead of {nbytes:,}.")
    inner, outer = tensor.shape if half == "A" else tensor.shape[::-1]
    if inner != rank:
        raise BadAdapter(f"{name} has the shape {list(tensor.shape)}, but the rank is {rank}.")
    if weight is None or weight[0] not in UNPACKED:
        return  # a base that is stored quantized does not show its shapes
    if len(weight[1]) != 2:
        raise BadAdapter(f"{module} is not a linear layer in the base model.")
    expected = weight[1][1] if half == "A" else weight[1][0]
    if outer != expected:
        raise BadAdapter(
            f"{name} has the shape {list(tensor.shape)}, which does not match the base model's "
            f"{list(weight[1])}."
        )


def _check_numbers(file: Path, tensors: dict[str, Tensor]) -> None:
    with (
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        for name, tensor in tensors.items():
            _, sign_off, largest, infinity = FLOATS[tensor.dtype]
            worst = max(_largest_bits(content, tensor, sign_off))
            if worst > infinity:
                raise BadAdapter(f"{name} contains NaN.")
            if worst == infinity:
                raise BadAdapter(f"{name} contains an infinite number.")
            if worst > largest:
                raise BadAdapter(f"{name} contains a number beyond {LARGEST:g}: training diverged.")


def _largest_bits(content: mmap.mmap, tensor: Tensor, sign_off: int) -> Iterator[int]:
    """The largest magnitude of each chunk, as its bit pattern: of floats without their sign these
    sort as the numbers do, with infinity and then NaN at the end."""
    import numpy as np

    width = FLOATS[tensor.dtype][0]
    dtype = np.dtype("<u4" if width == 4 else "<u2")
    for start in range(tensor.start, tensor.end, CHUNK):
        count = min(CHUNK, tensor.end - start) // width
        bits = np.frombuffer(content[start : start + count * width], dtype=dtype)
        yield int((bits & dtype.type(sign_off)).max())
