"""The bare base model as an adapter: all zeros, so it changes nothing.

When a request for the bare base shares a batch with adapter requests, vLLM's CPU build answers it
with one of the adapters, and with status 200. A request that names an adapter is always answered by
that adapter. So the base is served as the adapter `base@0`, whose weights are zero, unless
`base_check` shows that the engine does not do this. That check uses an adapter of the same shape,
with random numbers.
"""

import hashlib
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
import orjson

from data.adapters import files
from data.config.settings import Settings
from data.store.errors import Unavailable

RANK = 8  # the smallest rank that every kernel supports
MODULES = ("o_proj", "out_proj", "down_proj")  # nearly every model has one of them in each layer
BYTES_A_NUMBER = 2  # BF16
SPREAD = 0.2  # of random numbers: enough to change every answer


def ensure(settings: Settings, *, overwrite: bool = False) -> Path:
    """The folder of the all-zero adapter for the configured base model, written if missing.
    `overwrite` replaces existing files, which a power cut may have left empty.

    Raises Unavailable when the base model is not on this machine, has none of `MODULES`, or the
    folder cannot be written.
    """
    shapes = _shapes(settings.base.path)
    module = next(iter(shapes)).split(".lora_")[0].rsplit(".", 1)[-1]
    config = _config(settings.base.model, module)
    header, zeros = _weights(shapes)
    identity = hashlib.sha256(config + header).hexdigest()[:12]
    folder = settings.adapters_path / f"base-0-{identity}"
    try:
        if overwrite or not folder.is_dir():
            _write(folder, config, header, zeros, overwrite)
    except OSError as error:
        raise Unavailable(f"The adapter base@0 cannot be written: {error}") from error
    return folder


def write_random(settings: Settings, folder: Path) -> None:
    """Write an adapter of random numbers, which changes every answer, into an existing folder.
    Raises Unavailable as `ensure` does."""
    shapes = _shapes(settings.base.path)
    module = next(iter(shapes)).split(".lora_")[0].rsplit(".", 1)[-1]
    header, size = _weights(shapes)
    numbers = np.random.default_rng(1).normal(0, SPREAD, size // BYTES_A_NUMBER)
    bf16 = (numbers.astype("<f4").view("<u4") >> 16).astype("<u2")
    try:
        (folder / files.CONFIG).write_bytes(_config(settings.base.model, module))
        (folder / files.WEIGHTS).write_bytes(header + bf16.tobytes())
    except OSError as error:
        raise Unavailable(f"The adapter of the base's check cannot be written: {error}") from error


def _shapes(base: str) -> dict[str, tuple[int, int]]:
    """Tensor name -> shape of the adapter's matrices."""
    matrices = {
        name.removesuffix(".weight"): shape
        for name, (dtype, shape) in sorted(files.base_shapes(base).items())
        if name.endswith(".weight") and len(shape) == 2 and dtype in files.UNPACKED
    }
    for kind in MODULES:
        shapes: dict[str, tuple[int, int]] = {}
        for module, (outputs, inputs) in matrices.items():
            if module.endswith(f".{kind}"):
                shapes[f"{files.PREFIX}{module}.lora_A.weight"] = (RANK, inputs)
                shapes[f"{files.PREFIX}{module}.lora_B.weight"] = (outputs, RANK)
        if shapes:
            return shapes
    raise Unavailable(f"The base model {base} has no layers called {' or '.join(MODULES)}.")


def _config(base_model: str, module: str) -> bytes:
    return orjson.dumps(
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base_model,
            "r": RANK,
            "lora_alpha": RANK,
            "target_modules": [module],
            "bias": "none",
        },
        option=orjson.OPT_INDENT_2,
    )


def _weights(shapes: dict[str, tuple[int, int]]) -> tuple[bytes, int]:
    """The safetensors header and how many zero bytes follow it."""
    entries, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + shape[0] * shape[1] * BYTES_A_NUMBER
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    header = orjson.dumps(entries)
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header, end


def _write(folder: Path, config: bytes, header: bytes, zeros: int, overwrite: bool) -> None:
    """Write to a temporary folder, then rename: no file is ever there in part."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".base-0-", dir=folder.parent))
    try:
        (temporary / files.CONFIG).write_bytes(config)
        with (temporary / files.WEIGHTS).open("wb") as file:
            file.write(header)
            file.truncate(len(header) + zeros)
        temporary.chmod(0o755)
        _put(temporary, folder, overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, folder: Path, overwrite: bool) -> None:
    """Move the folder into place. An existing folder stays, because an engine may use it; with
    `overwrite` its files are replaced one by one."""
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        for file in temporary.iterdir() if overwrite else ():
            file.replace(folder / file.name)
