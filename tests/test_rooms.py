"""Who may import whom. The rooms meet in the store, so that each can run, and be read, alone.

    data      imports nothing of ours
    tuning    imports data
    serving   imports data
    bot       imports data and serving.client; the entry points of tuning and serving lazily

And what a front end on a machine of its own imports needs neither torch nor vLLM.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("data", "tuning", "serving", "bot")
MAY_ENTER = {
    "data": ("data",),
    "tuning": ("tuning", "data"),
    "serving": ("serving", "data"),
    "bot": ("bot", "data", "serving.client"),
}
LAZILY = {
    "bot": (
        "serving.serve",
        "serving.engine",
        "serving.removal",
        "tuning.worker",
        "tuning.recipe",
        "tuning.search",
        "tuning.foreign",
        "tuning.export",
    )
}
HEAVY = (
    "accelerate",
    "bitsandbytes",
    "peft",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
)


@dataclass(frozen=True)
class Import:
    module: str  # as dotted as can be told: `from serving import serve` is serving.serve
    line: int
    lazy: bool  # inside a function, or for the type checker alone


def imports(source: str, package: str) -> Iterator[Import]:
    """Every import of a file; relative ones resolved against its package."""
    tree = ast.parse(source)
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(outer, ast.If) and getattr(outer.test, "id", "") == "TYPE_CHECKING")
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in lazy)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                yield Import(resolved(base, alias.name), node.lineno, id(node) in lazy)
        elif isinstance(node, ast.Call) and _is_import_call(node):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield Import(argument.value, node.lineno, id(node) in lazy)


def _is_import_call(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("import_module", "__import__")


def resolved(module: str, name: str) -> str:
    """`from a import b`: a.b when that is a module, else a."""
    path = ROOT.joinpath(*module.split("."), name)
    return f"{module}.{name}" if path.is_dir() or path.with_suffix(".py").is_file() else module


def within(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def violations(source: str, package: str) -> list[str]:
    """What a file of that package imports and may not."""
    room = package.split(".")[0]
    found = []
    for each in imports(source, package):
        if not within(each.module, (*ROOMS, "tests", "benchmarks")):
            continue
        lazily = LAZILY.get(room, ()) if each.lazy else ()
        if not within(each.module, (*MAY_ENTER[room], *lazily)):
            how = "lazily " if each.lazy else ""
            found.append(f"line {each.line}: {room} {how}imports {each.module}")
    return found


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def package_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).parent.parts)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_entered_only_by_those_who_may(room: str) -> None:
    assert files(room)
    found = {
        str(file.relative_to(ROOT)): wrong
        for file in files(room)
        if (wrong := violations(file.read_text(encoding="utf-8"), package_of(file)))
    }
    assert found == {}


@pytest.mark.parametrize("room", ["data", "bot"])
def test_what_a_front_end_needs_names_nothing_heavy_at_the_top(room: str) -> None:
    client = [ROOT / "serving" / "client.py"] if room == "bot" else []
    found = [
        f"{file.relative_to(ROOT)}:{each.line} imports {each.module}"
        for file in [*files(room), *client]
        for each in imports(file.read_text(encoding="utf-8"), package_of(file))
        if not each.lazy and within(each.module, HEAVY)
    ]
    assert found == []


def test_the_bot_starts_without_torch_and_vllm(tmp_path: Path) -> None:
    """In a process where importing them fails, as on a machine that lacks them."""
    program = f"""
import importlib, sys
for name in {HEAVY!r}:
    sys.modules[name] = None
from pathlib import Path
from bot.app import create_app
from bot.cli import COMMANDS, main
from data.config import Settings
from data.db import Store
for module, _ in COMMANDS.values():
    importlib.import_module(module)
home = Path(sys.argv[1])
with Store(home / "understudy.db") as store:
    create_app(Settings(home=home), store)
print("started")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "started\n", done.stderr


# That the rules can be broken


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("data", "import tuning.worker"),
        ("data", "from serving.client import EngineClient"),
        ("data", "def f():\n    from bot import chat"),
        ("tuning", "import serving"),
        ("tuning", "def f():\n    import bot.chat"),
        ("tuning.pocket", "from ...serving import engine"),
        ("serving", "from tuning import train"),
        ("serving", "import importlib\nimportlib.import_module('bot.cli')"),
        ("bot", "from serving import engine"),
        ("bot", "import tuning.worker"),
        ("bot.cli", "from tuning import worker"),
        ("bot.cli", "class A:\n    from serving import serve"),
        ("bot.cli", "if True:\n    import serving.serve"),
        ("bot.cli", "def f():\n    from tuning import train"),
        ("bot.slack", "from .. import serving\nimport tests.given"),
    ],
)
def test_a_violation_is_found(package: str, source: str) -> None:
    assert violations(source, package)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("data", "from data import db\nfrom . import pairs\nimport os, databases"),
        ("tuning", "from data.db import Store\nfrom tuning import train"),
        ("serving", "import data.adapters"),
        ("bot", "from serving.client import EngineClient\nfrom serving import client"),
        ("bot.cli", "def f():\n    from serving import serve as serving"),
        ("bot.cli", "async def f():\n    from tuning import worker\n    import serving.engine"),
    ],
)
def test_what_is_allowed_is_not_reported(package: str, source: str) -> None:
    assert violations(source, package) == []
