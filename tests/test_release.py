"""What a release needs: one version with its changelog section, and a wheel with every file."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("bot", "data", "serving", "tools", "tuning")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def test_the_newest_section_of_the_changelog_is_this_version() -> None:
    """An *Unreleased* section may stand above it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## (\d+\.\d+\.\d+)(?: - (\d{4}-\d{2}-\d{2}))?$", changelog, re.M)

    version, date = released[0]
    assert version == project["version"]
    assert date


@pytest.mark.integration
def test_the_wheel_contains_every_file_of_the_packages(tmp_path: Path) -> None:
    """Modules, and data such as the pocket model, the demo domain and the web pages."""
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    there = {
        str(file.relative_to(source))
        for name in PACKAGES
        for file in (source / name).rglob("*")
        if file.is_file()
    }

    subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)], cwd=source, check=True, capture_output=True
    )

    (wheel,) = tmp_path.glob("*.whl")
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if n.split("/")[0] in PACKAGES}
    assert packed == there
