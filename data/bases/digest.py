"""What a base model consists of, as digests of its content: a base is known by that, not by its
path.

An adapter only works on the base that it was trained on. Its digests are recorded with each
adapter, so that a base which was exchanged under its path is noticed, and the same base in another
folder is accepted. Large files are read only once: their digests are kept in `bases/digests.json`
until their size or their times change.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from data.adapters import files
from data.adapters.registry import Adapter
from data.config.settings import BASES, Settings
from data.store.errors import Unavailable

log = logging.getLogger(__name__)

CACHE = "digests.json"
CHUNK = 1 << 20
LARGE = 1 << 30  # bytes; reading more takes seconds, which is said
PARTS = ("weights", "config", "tokenizer", "template")
Digest = Mapping[str, str]
"""Part of a base -> sha256; empty when it is not known."""

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "special_tokens_map.json",
    "added_tokens.json", "spiece.model",
)  # fmt: skip
INCIDENTAL = (  # keys that saving the same model again changes
    "transformers_version", "_name_or_path", "name_or_path", "_from_model_config",
    "local_files_only", "is_local",
)  # fmt: skip


def of_base(settings: Settings) -> dict[str, str]:
    """The digests of the base of the settings; empty when it is not on this machine."""
    try:
        folder = files.base_folder(settings.base.path)
    except Unavailable:
        return {}
    return of_folder(folder, settings.home / BASES / CACHE)


def of_folder(folder: Path, cache: Path) -> dict[str, str]:
    """The digests of the base model in `folder`; empty when it has no weights."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        return {}
    sums = _FileSums(cache)
    tokenizer = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    about = _json(folder / "tokenizer_config.json")
    template = about.pop("chat_template", "")
    for name in ("chat_template.jinja", "chat_template.json"):
        if (folder / name).is_file():
            template = (folder / name).read_text(encoding="utf-8", errors="replace")
    found = {
        "weights": _joined((file.name, sums.of(file)) for file in weights),
        "config": _joined(
            (name, _canonical(_json(folder / name)))
            for name in ("config.json", "generation_config.json")
        ),
        "tokenizer": _joined(
            [(file.name, sums.of(file)) for file in tokenizer] + [("settings", _canonical(about))]
        ),
        "template": _joined([("template", str(template))]),
    }
    sums.save()
    return found


def mismatch(adapter: Adapter, settings: Settings, present: Digest) -> str:
    """Why the adapter does not belong to the base of the settings, whose digests are `present`,
    and what to do; '' when it does. When the digests of either are not known, the names of the
    bases must be equal."""
    ours = settings.base.model
    if not adapter.base_digest or not present:
        if adapter.base_model == ours:
            return ""
        return f"{adapter.name} was tuned on the base model {adapter.base_model}, not on {ours}."
    changed = [part for part in PARTS if adapter.base_digest.get(part) != present.get(part)]
    if not changed:
        return ""
    if adapter.base_model != ours and "weights" in changed:
        return f"{adapter.name} was tuned on the base model {adapter.base_model}, not on {ours}."
    return (
        f"The base model {ours} has changed since {adapter.name} was trained: other "
        f"{_listed(changed)}. Restore its earlier files, or train a new adapter with `understudy "
        f"tune {adapter.domain} --full`."
    )


def joined(parts: Digest) -> str:
    """One digest for all parts; '' when they are not known."""
    return _joined(sorted(parts.items())) if parts else ""


class _FileSums:
    """The sha256 of files, kept in a file of its own until their size or times change."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.known = _json(cache)
        self.changed = False

    def of(self, file: Path) -> str:
        stat = file.stat()
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        kept = self.known.get(str(file))
        if isinstance(kept, list) and kept[:-1] == stamp:
            return str(kept[-1])
        if stat.st_size > LARGE:
            log.info("reading %s (%.1f GB) once, to know it again", file, stat.st_size / 1e9)
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while piece := opened.read(CHUNK):
                digest.update(piece)
        self.known[str(file)] = [*stamp, digest.hexdigest()]
        self.changed = True
        return digest.hexdigest()

    def save(self) -> None:
        if not self.changed:
            return
        temporary = self.cache.with_name(f"{self.cache.name}.{os.getpid()}")
        try:
            self.cache.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(orjson.dumps(self.known))
            temporary.replace(self.cache)
        except OSError as error:  # it costs time at the next start, nothing else
            log.warning("The digests of the base model were not kept: %s", error)


def _json(file: Path) -> dict[str, Any]:
    """The object in a file; empty when there is none that can be read."""
    try:
        found = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _canonical(value: dict[str, Any]) -> str:
    """The content of a config, without what saving it again changes."""
    kept = {key: item for key, item in value.items() if key not in INCIDENTAL}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()


def _joined(parts: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, content in parts:
        digest.update(f"{name} {hashlib.sha256(content.encode()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
