"""Names can be searched for: a class has a name of its own, and no name is private vocabulary."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP = ("bot", "data", "serving", "tools", "tuning")
MIGRATIONS = ROOT / "data" / "store" / "migrations"  # stores remember their names
FILES = sorted(
    file for top in TOP for file in (ROOT / top).rglob("*.py") if file.parent != MIGRATIONS
)
# Words that this project once used for what docs/glossary.md now calls by the field's terms.
OLD_WORDS = {
    "course", "deed", "desk", "examiner", "fate", "governor", "heir", "incumbent", "keeper",
    "lesson", "office", "shelf", "standing", "vault", "voter",
}  # fmt: skip
VAGUE = {"carry", "every", "of"}  # as the whole name of a public function in several modules
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def definitions(file: Path) -> list[Definition]:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return [node for node in body if isinstance(node, Definition)]


def words(name: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return {word.removesuffix("s") for word in spaced.split("_")} | set(spaced.split("_"))


def test_no_two_public_classes_share_a_name() -> None:
    found = defaultdict(list)
    for file in FILES:
        for node in definitions(file):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_no_vague_function_name_is_used_in_several_modules() -> None:
    found = defaultdict(list)
    for file in FILES:
        for node in definitions(file):
            if node.name in VAGUE:
                found[node.name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_modules_classes_and_functions_are_named_in_standard_terms() -> None:
    found = [f"{f.relative_to(ROOT)}" for f in FILES if words(f.stem) & OLD_WORDS]
    for file in FILES:
        for node in definitions(file):
            if words(node.name) & OLD_WORDS:
                found.append(f"{file.relative_to(ROOT)}: {node.name}")
    assert found == []
