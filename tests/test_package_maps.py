"""The docstring of every sub-package maps its modules: each is named there exactly once."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = ("bot", "data", "serving", "tools", "tuning")
PACKAGES = sorted(init.parent for top in TOP for init in (ROOT / top).rglob("__init__.py"))
ENTRY = re.compile(r"^- `(\w+)`: ", re.MULTILINE)
NUMBERED = re.compile(r"m\d{3}_\w+")  # migrations, which their numbers put in order


def modules(package: Path) -> list[str]:
    files = [file.stem for file in package.glob("*.py") if not file.stem.startswith("__")]
    folders = [folder.parent.name for folder in package.glob("*/__init__.py")]
    return sorted(name for name in files + folders if not NUMBERED.fullmatch(name))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: ".".join(p.relative_to(ROOT).parts))
def test_the_docstring_names_every_module_once(package: Path) -> None:
    source = (package / "__init__.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    assert sorted(ENTRY.findall(docstring)) == modules(package)
    assert "todo" not in docstring.lower()


def test_file_names_say_what_is_inside() -> None:
    files = [file.stem for top in TOP for file in (ROOT / top).rglob("*.py")]
    assert not {"utils", "util", "helpers", "common", "core", "misc", "base"} & set(files)
