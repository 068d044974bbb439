"""Where base models are kept: one folder each, `bases/NAME` in the home folder.

`base.json` in the folder records where the base came from. vLLM and transformers ignore it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from data.bases.catalogue import CATALOGUE
from data.config.settings import BASES, NAME, POCKET, Settings
from data.store.errors import Invalid

RECORD = "base.json"
ASKED = "base"  # of a run's recipe: the base model that its request names


@dataclass(frozen=True)
class BaseRecord:
    """Where a base model came from."""

    source: str  # a package and its version, a file, a folder or a name on a model hub
    sha256: str  # of the file that was converted; '' if nothing was converted
    licence: str  # '' if none is stated
    converted_from: str  # such as "GGUF (Q4_1, Q8_0, F32)"; '' if nothing was converted
    added_at: int  # microseconds since 1970
    notes: tuple[str, ...] = ()  # what people should know about the conversion


@dataclass(frozen=True)
class KeptBase:
    """A base model that can be used, or one of the catalogue that can be added."""

    name: str
    folder: Path | None  # None: it was not added yet
    size_bytes: int
    licence: str
    source: str
    in_use: bool  # the settings name it


def folder_of(home: Path, name: str) -> Path:
    """The folder of the base `name`. Raises Invalid for a name that cannot be one."""
    if not NAME.fullmatch(name) or name == "pocket":
        raise Invalid(
            f"{name!r} cannot be the name of a base model. Use lower-case letters, digits, `.`, "
            "`_` and `-`, at most 64; `pocket` is taken."
        )
    return home / BASES / name


def record_of(folder: Path) -> BaseRecord | None:
    """What was recorded when the base was added; None for a folder made by hand."""
    try:
        found = orjson.loads((folder / RECORD).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    known = {key: found[key] for key in BaseRecord.__dataclass_fields__ if key in found}
    return BaseRecord(**known | {"notes": tuple(known.get("notes", ()))})


def write_record(folder: Path, record: BaseRecord) -> None:
    text = orjson.dumps(asdict(record), option=orjson.OPT_INDENT_2)
    (folder / RECORD).write_bytes(text + b"\n")


def list_bases(settings: Settings) -> list[KeptBase]:
    """The pocket base, the bases in the home folder, then what else the catalogue offers."""
    place = settings.home / BASES
    found = {
        path.name: path
        for path in sorted(place.iterdir() if place.is_dir() else ())
        if path.is_dir() and NAME.fullmatch(path.name)
    }
    listed = [_kept(settings, "pocket", POCKET, "mit", "part of Understudy")]
    for name, folder in found.items():
        record = record_of(folder)
        listed.append(
            _kept(
                settings,
                name,
                folder,
                record.licence if record else "",
                record.source if record else "put there by hand",
            )
        )
    for name, known in CATALOGUE.items():
        if name not in found:
            source = f"{known.wheel.package} {known.wheel.version} in the Python package index"
            in_use = settings.base.model == name
            listed.append(
                KeptBase(name, None, known.wheel.size_bytes, known.licence, source, in_use)
            )
    return listed


def as_asked(settings: Settings, recipe: Mapping[str, Any]) -> Settings:
    """The settings with the base model that the request of a run names, if it names one."""
    asked = recipe.get(ASKED)
    if not isinstance(asked, str):
        return settings
    return settings.model_copy(update={"base": settings.base.named(asked)})


def not_usable(model: str, path: str) -> str:
    """Why the base `model` cannot be used from `path`, and what to do; '' if nothing is known
    against it. A name on a hub is not looked up."""
    if Path(path).is_dir():
        return _without_weights(Path(path))
    if model in CATALOGUE:
        return f"The base model {model} is not on this machine. Run `understudy base add {model}`."
    if model.endswith(".gguf"):
        return (
            f"[base] model is {model}, a GGUF file, which has to be converted first: run "
            f"`understudy base add {model}`."
        )
    if model.startswith(("/", ".")):
        return f"There is no folder {model}. Correct [base] model."
    return ""


def _without_weights(folder: Path) -> str:
    """Why a folder that has weights in another format only cannot be used; '' otherwise."""
    if any(folder.glob("*.safetensors")):
        return ""
    if gguf := sorted(folder.glob("*.gguf")):
        return (
            f"{folder} has only a GGUF file, which has to be converted first. Run `understudy base "
            f"add {gguf[0]}`."
        )
    if pickled := sorted([*folder.glob("*.bin"), *folder.glob("*.pth"), *folder.glob("*.pt")]):
        return (
            f"{folder} has its weights in {pickled[0].name}, which can carry code, so it is not "
            "read. Save the model as safetensors."
        )
    return ""


def _kept(settings: Settings, name: str, folder: Path, licence: str, source: str) -> KeptBase:
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    in_use = Path(settings.base.path) == folder
    return KeptBase(name, folder, size, licence, source, in_use)
