"""The reading adapter of a base: what it learned about answering from references.

Reading is a skill and not a domain's facts, so it is trained once per base (`understudy base
reading`) and kept with it. Runs that train with references start from it.
"""

import hashlib
import json
import logging
import re
from pathlib import Path

from data.adapters import files
from data.bases import digest
from data.config.settings import BASES, Settings
from data.search import layout

log = logging.getLogger(__name__)

NAME = "reading"
RECORD = "reading.json"  # in its folder; written last, so a folder without one is not complete


def folder_of(settings: Settings) -> Path:
    """Where the reading adapter of the base is kept: in the base's own folder if that is in the
    home folder, else in the home folder."""
    base = Path(settings.base.path)
    if base.is_dir() and base.parent == settings.home / BASES:
        return base / NAME
    name = re.sub(r"[^a-z0-9._-]+", "-", settings.base.model.lower()).strip("-.")
    digest = hashlib.sha256(settings.base.model.encode()).hexdigest()[:8]
    return settings.home / NAME / f"{name[-40:]}-{digest}"


def find(settings: Settings) -> Path | None:
    """The folder of the base's reading adapter; None when there is none that fits: it was trained
    on the same base, with the layout of today."""
    folder = folder_of(settings)
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except FileNotFoundError:
        return None
    if record["layout"] != layout.VERSION:
        log.warning("%s has another layout of references and is not used", folder)
        return None
    if record["base_digest"] and record["base_digest"] != digest.of_base(settings):
        log.warning("%s was trained on another base and is not used", folder)
        return None
    return folder


def sha256(folder: Path) -> str:
    """The digest of its weights."""
    with open(folder / files.WEIGHTS, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
