"""An adapter's files: checking that they are safe to serve, and computing their digest.

vLLM accepts adapters that it should refuse (one with NaN ruins the answers of *other* adapters), so
a folder is checked here before it is registered and again before an engine loads it. The size of
each file is bounded before it is read, and each file is read once: the digest covers exactly the
bytes that were checked.

Files could be replaced between this check and the moment when the engine reads them. `check`
therefore returns a `stamp` (inode and change time from the kernel), and `check_unchanged` verifies
it after the load.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from data.adapters import lora_config, safetensors_file
from data.adapters.lora_config import CONFIG as CONFIG
from data.adapters.lora_config import LoraConfig
from data.adapters.safetensors_file import (
    FLOATS,
    LARGEST,
    Shape,
    Tensor,
    shown,
)
from data.adapters.safetensors_file import BadAdapter as BadAdapter
from data.adapters.safetensors_file import read_header as read_header
from data.lora_limits import UNSERVED_MODULES
from data.store.errors import Unavailable

WEIGHTS = "adapter_model.safetensors"
READ_BY_ENGINE = (CONFIG, WEIGHTS)
OTHER_SUFFIXES = (".json", ".md")

MAX_FILES = 32
MAX_CONFIG = 1 << 20
MAX_OTHER = 64 << 20
HEADER_PER_TENSOR = 1024  # bytes, name included
MAX_WIDTH = 1 << 19  # inputs or outputs of a layer whose shape the base model does not reveal
PREFIX = "base_model.model."
UNPREFIXED = ("gpt2", "bloom")  # model_type of families
TRANSPOSED = ("gpt2",)

UNPACKED = (*FLOATS, "F8_E4M3", "F8_E5M2")  # a weight of the base so stored shows its shape

Stamp = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class AdapterFiles:
    rank: int
    size_bytes: int  # of the files the engine reads
    sha256: str
    target_modules: tuple[str, ...]  # q_proj, v_proj, ...: those that have weights
    stamp: Stamp  # for `check_unchanged`


def digest(folder: Path) -> str:
    """The sha256 of what the engine reads: over sorted lines of `name sha256-of-content`.

    Raises BadAdapter when a file is missing or is a symbolic link.
    """
    found = {}
    with safetensors_file.opened_folder(folder) as dir_fd:
        for name in READ_BY_ENGINE:
            with safetensors_file.opened_file(name, dir_fd) as descriptor:
                found[name] = safetensors_file.sha256(descriptor)
    return _joined(found)


def check(
    folder: Path, *, base: Path | str, base_model: str, max_rank: int, sha256: str | None = None
) -> AdapterFiles:
    """Read and check the whole adapter in `folder`.

    `base` is the base model's folder, or its name on a hub if it is in the local cache.
    `base_model` is the name of the base that the adapter must have been tuned for, `sha256` the
    expected digest. Raises BadAdapter with the first problem.
    """
    with safetensors_file.opened_folder(folder) as dir_fd:
        _check_listing(dir_fd)
        raw = _small_file(CONFIG, dir_fd)
        config = lora_config.read(raw, base_model, max_rank)
        shapes = base_shapes(base)
        with safetensors_file.opened_file(WEIGHTS, dir_fd) as descriptor:
            stamp = _stamp(dir_fd)
            longest = (2 * len(shapes) + 64) * HEADER_PER_TENSOR
            tensors = safetensors_file.read_tensors(descriptor, WEIGHTS, longest)
            modules = _check_tensors(tensors, config, shapes)
            limits = {name: _limit(name, config) for name in tensors}
            scan = safetensors_file.scan(descriptor, tensors, limits, WEIGHTS)
            size = len(raw) + os.fstat(descriptor).st_size
    found = _joined({CONFIG: hashlib.sha256(raw).hexdigest(), WEIGHTS: scan.sha256})
    if sha256 is not None and found != sha256:
        raise BadAdapter(
            f"The files of {shown(folder.name)} have changed since the adapter was registered: "
            f"their digest is {found[:12]}, not {sha256[:12]}. Restore them from a backup."
        )
    if scan.problem:
        raise BadAdapter(scan.problem)
    targets = tuple(sorted({m.rsplit(".", 1)[-1] for m in modules}))
    return AdapterFiles(config.rank, size, found, targets, stamp)


def check_unchanged(folder: Path, stamp: Stamp) -> None:
    """Raises BadAdapter if the files in `folder` were replaced or written to since `check`. An
    engine that loaded them in between must not be trusted."""
    with safetensors_file.opened_folder(folder) as dir_fd:
        if _stamp(dir_fd) != stamp:
            raise BadAdapter(
                f"The files of {shown(folder.name)} were changed while the engine read them."
            )


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
    return _as_loaded(shapes, folder / "config.json")


def _as_loaded(shapes: dict[str, tuple[str, Shape]], config: Path) -> dict[str, tuple[str, Shape]]:
    """Shapes with the names and orientation that they have in the loaded model. GPT-2 stores its
    layers as (in, out), and files of older model families omit the first part of the name."""
    kind = orjson.loads(config.read_bytes()).get("model_type") if config.is_file() else None
    if kind in UNPREFIXED and not any(name.startswith("transformer.") for name in shapes):
        shapes = {f"transformer.{name}": found for name, found in shapes.items()}
    if kind in TRANSPOSED:
        return {name: (dtype, shape[::-1]) for name, (dtype, shape) in shapes.items()}
    return shapes


def base_folder(base: Path | str) -> Path:
    """The folder of the base model: `base` itself, or its folder in the hub's local cache."""
    folder = Path(base)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(base), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise Unavailable(f"The base model {base} is not on this machine yet.") from error


def _joined(digests: Mapping[str, str]) -> str:
    lines = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def _stamp(dir_fd: int) -> Stamp:
    """Identifies the files. The kernel sets the change time (ctime); it cannot be set back."""
    found = []
    for name in READ_BY_ENGINE:
        s = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        found.append((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns))
    return tuple(found)


def _check_listing(dir_fd: int) -> None:
    """Allow only regular files of the expected kinds."""
    names = []
    with os.scandir(dir_fd) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > MAX_FILES:
                raise BadAdapter(f"The adapter's folder holds more than {MAX_FILES} files.")
    for name in sorted(names):
        size = safetensors_file.regular_file(name, dir_fd)
        if name in READ_BY_ENGINE:
            continue
        if Path(name).suffix not in OTHER_SUFFIXES:
            raise BadAdapter(
                f"{shown(name)} does not belong in an adapter: only {WEIGHTS}, json and "
                "md files do (other formats can carry code)."
            )
        if size > MAX_OTHER:
            raise BadAdapter(f"{shown(name)} is {size:,} bytes, far too large for such a file.")
    for name in READ_BY_ENGINE:
        safetensors_file.regular_file(name, dir_fd)


def _small_file(name: str, dir_fd: int) -> bytes:
    with safetensors_file.opened_file(name, dir_fd) as descriptor:
        raw = os.read(descriptor, MAX_CONFIG + 1)
        if len(raw) > MAX_CONFIG:
            size = os.fstat(descriptor).st_size
            raise BadAdapter(f"{name} is {size:,} bytes, which is far too large.")
        return raw


def _limit(name: str, config: LoraConfig) -> float:
    """The largest allowed magnitude: the engine multiplies B by the scale in its own precision."""
    return LARGEST / max(1.0, config.scale) if ".lora_B." in name else LARGEST


def _check_tensors(
    tensors: Mapping[str, Tensor], config: LoraConfig, base: Mapping[str, tuple[str, Shape]]
) -> set[str]:
    """Check every tensor against the base model; returns the names of the tuned modules."""
    if not tensors:
        raise BadAdapter(f"{WEIGHTS} holds no tensors.")
    owners = {name.rpartition(".")[0] for name in base}
    halves: dict[str, set[str]] = {}
    for name, tensor in tensors.items():
        module, half = _split_name(name)
        if module.rpartition(".")[2] in UNSERVED_MODULES:  # with tied weights, base may lack it
            raise BadAdapter(
                f"The adapter tunes {shown(module)}, an embedding or the output layer of the "
                "model, which the engine cannot serve. Train it again with target_modules that "
                "leave it out, such as all-linear."
            )
        if module not in owners:
            raise BadAdapter(
                f"The adapter tunes {shown(module)}, which the base model does not have. Import it "
                "where [base] model is the model that it was trained on."
            )
        _check_shape(module, half, tensor, config.rank, base.get(f"{module}.weight"))
        halves.setdefault(module, set()).add(half)
    for module, present in halves.items():
        if len(present) == 1:
            (only,) = present
            raise BadAdapter(f"{module} has lora_{only} but not its other half.")
    _check_targets(set(halves), config.target_modules)
    return set(halves)


def _check_targets(modules: set[str], targets: tuple[str, ...]) -> None:
    """The config and the weights must name the same modules."""
    endings = {module[i:] for module in modules for i in _starts(module)}
    absent = [target for target in targets if target not in endings]
    if absent:
        raise BadAdapter(
            f"{CONFIG} names {shown(absent[0])!r} in target_modules, but {WEIGHTS} has no "
            "weights for it."
        )
    named = set(targets)
    for module in sorted(modules):
        if not any(module[i:] in named for i in _starts(module)):
            raise BadAdapter(f"{WEIGHTS} tunes {module}, which {CONFIG} does not name.")


def _starts(module: str) -> list[int]:
    """The offsets at which the parts of a dotted name begin. A target module matches the end of a
    name from one of them."""
    return [0, *(i + 1 for i, c in enumerate(module) if c == ".")]


def _split_name(name: str) -> tuple[str, str]:
    """`base_model.model.X.lora_A.weight` -> (X, "A")."""
    for half in ("A", "B"):
        ending = f".lora_{half}.weight"
        if name.startswith(PREFIX) and name.endswith(ending):
            return name[len(PREFIX) : -len(ending)], half
    raise not_lora(name)


def not_lora(name: str) -> BadAdapter:
    """The error for a tensor of an adapter that is not half of a LoRA."""
    if ".lora_" in name or not name.endswith((".weight", ".bias")):
        return BadAdapter(f"{WEIGHTS} holds {shown(name)!r}, which is not the weight of a LoRA.")
    return BadAdapter(
        f"{WEIGHTS} holds the whole weights {shown(name)!r} besides its LoRA, which the engine "
        f"cannot serve. {lora_config.MERGE} Target modules such as lm_head or embed_tokens, and "
        "save_embedding_layers=True, cause such weights too."
    )


def _check_shape(
    module: str, half: str, tensor: Tensor, rank: int, weight: tuple[str, Shape] | None
) -> None:
    """LoRA A is (rank, in) and B is (out, rank), where the base's weight is (out, in)."""
    name = f"{module}.lora_{half}"
    shape = shown(list(tensor.shape))
    if tensor.dtype not in FLOATS:
        raise BadAdapter(f"{name} has the type {shown(tensor.dtype)}; it must be F32, F16 or BF16.")
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise BadAdapter(f"{name} has the shape {shape}; it must be a matrix.")
    nbytes = tensor.shape[0] * tensor.shape[1] * FLOATS[tensor.dtype][0]
    if nbytes != tensor.end - tensor.start:
        raise BadAdapter(f"{name} has {tensor.end - tensor.start:,} bytes instead of {nbytes:,}.")
    inner, outer = tensor.shape if half == "A" else tensor.shape[::-1]
    if inner != rank:
        raise BadAdapter(f"{name} has the shape {shape}, but the rank is {rank}.")
    if weight is None or weight[0] not in UNPACKED:  # a base stored quantized shows no shapes
        if outer > MAX_WIDTH:
            raise BadAdapter(f"{name} has the shape {shape}: no layer is so wide.")
        return
    if len(weight[1]) != 2:
        raise BadAdapter(f"{module} is not a linear layer in the base model.")
    expected = weight[1][1] if half == "A" else weight[1][0]
    if outer != expected:
        raise BadAdapter(
            f"{name} has the shape {shape}, which does not match the base model's "
            f"{list(weight[1])}."
        )
