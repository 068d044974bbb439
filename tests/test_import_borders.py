"""Which package may import which, checked for every sub-package and flat module.

At the top, `data` imports nothing else of this project, `tuning` and `serving` import `data`, and
`bot` imports `data` and `serving.client`; only commands import the entry points of the others, and
only when they run. Inside, `MAY_IMPORT` lists what each sub-package builds on; it has no cycles.

What a front end on a machine of its own imports needs neither torch nor vLLM.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = ("data", "tuning", "serving", "bot", "tools")
MAY_IMPORT: dict[str, str] = {
    "data.processes": "",
    "data.free_memory": "",
    "data.retry": "",
    "data.visible_text": "",
    "data.engine_http": "",
    "data.store": "",
    "data.lora_limits": "",
    "data.home_lock": "data.store",
    "data.config": "data.lora_limits data.store",
    "data.private_files": "data.config",
    "data.domains": "data.store",
    "data.people": "data.store",
    "data.command_queue": "data.store",
    "data.slack": "data.store",
    "data.conversations": "data.store data.visible_text",
    "data.adapters": "data.domains data.lora_limits data.store",
    "data.wheels": "data.store",
    "data.backups": "data.adapters data.config data.store",
    "data.whole_folders": "data.store",
    "data.bases": "data.adapters data.config data.search data.store data.wheels",
    "data.pairs": "data.conversations data.domains data.people data.store data.visible_text",
    "data.pair_files.column_names": "",
    "data.pair_files.html_text": "",
    "data.pair_files.rating_words": "",
    "data.pair_files.sources": "data.pair_files.column_names data.pair_files.html_text "
    "data.pair_files.rating_words",
    "data.pair_files": "data.config data.domains data.pairs data.processes data.quality data.store "
    "data.visible_text data.whole_folders",
    "data.search": "data.config data.domains data.engine_http data.pairs data.store data.wheels "
    "data.whole_folders",
    "data.quality": "data.adapters data.bases data.config data.domains data.pairs data.processes "
    "data.runs data.search data.store data.visible_text",
    "data.experiments": "data.adapters data.domains data.people data.store",
    "data.feedback": "data.conversations data.domains data.experiments data.pairs data.people "
    "data.quality data.store data.visible_text",
    "data.runs": "data.adapters data.config data.domains data.pairs data.store",
    "data.gpu": "data.adapters data.config data.lora_limits data.runs data.store",
    "data.triggers": "data.adapters data.bases data.config data.domains data.pairs data.people "
    "data.runs data.search data.store",
    "data.privacy": "data.domains data.pairs data.people data.retry data.runs data.store",
    "data.monitoring": "data.adapters data.domains data.experiments data.privacy data.slack "
    "data.store",
    "tuning.child_process": "data",
    "tuning.progress": "data",
    "tuning.threads": "data tuning.progress",
    "tuning.recipe": "data",
    "tuning.model": "data tuning.recipe",
    "tuning.bases": "data tuning.adapters tuning.data tuning.evaluation tuning.model "
    "tuning.progress tuning.recipe tuning.training",
    "tuning.data": "data tuning.model tuning.recipe",
    "tuning.training": "data tuning.data tuning.model tuning.progress tuning.recipe",
    "tuning.evaluation": "data tuning.data tuning.model tuning.progress tuning.threads "
    "tuning.training",
    "tuning.adapters": "data tuning.model tuning.recipe",
    "tuning.search": "data tuning.child_process tuning.data tuning.evaluation tuning.model "
    "tuning.progress tuning.recipe tuning.threads tuning.training",
    "tuning.worker": "data tuning.adapters tuning.child_process tuning.data tuning.evaluation "
    "tuning.model tuning.progress tuning.recipe tuning.search tuning.threads tuning.training",
    "serving.sse": "",
    "serving.tool_calls": "",
    "serving.engine_replies": "serving.tool_calls",
    "serving.client": "data serving.engine_replies serving.sse serving.tool_calls",
    "serving.engine": "data serving.engine_replies",
    "serving.vllm_plugin": "data serving.engine",
    "serving.adapters": "data serving.engine",
    "serving.fleet": "data serving.adapters serving.engine",
    "serving.serve": "data serving.adapters serving.fleet",
    "bot.answering": "data serving.client",
    "bot.service": "data bot.answering",
    "bot.experiments.stats": "data",
    "bot.experiments": "data bot.experiments.stats",
    "bot.commands": "data bot.experiments",
    "bot.runtime": "data bot.answering bot.service",
    "bot.api": "data serving.client bot.answering bot.commands bot.experiments bot.runtime "
    "bot.service",
    "bot.console": "data bot.answering bot.api bot.commands bot.experiments bot.service",
    "bot.app": "data serving.client bot.answering bot.api bot.console bot.experiments bot.runtime "
    "bot.service bot.slack.app",
    "bot.slack.render": "data bot.answering bot.commands bot.experiments",
    "bot.slack.client": "data bot.slack.render",
    "bot.slack.payloads": "data bot.slack.client bot.slack.render",
    "bot.slack.workspace": "data bot.commands bot.service bot.slack.client bot.slack.payloads "
    "bot.slack.render",
    "bot.slack.inbound": "data bot.slack.client bot.slack.payloads bot.slack.render "
    "bot.slack.workspace",
    "bot.slack.handlers": "data serving.client bot.answering bot.commands bot.slack.client "
    "bot.slack.inbound bot.slack.payloads bot.slack.render bot.slack.workspace",
    "bot.slack.commands": "data bot.commands bot.experiments bot.slack.client bot.slack.handlers "
    "bot.slack.payloads bot.slack.render bot.slack.workspace",
    "bot.slack.app": "data bot.service bot.slack.client bot.slack.commands bot.slack.handlers "
    "bot.slack.inbound bot.slack.payloads bot.slack.render bot.slack.workspace",
    "bot.cli": "data bot.commands",
    "bot.demo": "data bot.cli bot.commands bot.runtime",
    "bot.__main__": "bot.cli",
    "tools": "data",
}
LAZILY: dict[str, str] = {  # inside a function, when the command runs
    "bot.cli": "bot.answering bot.app bot.experiments bot.runtime bot.slack.client "
    "bot.slack.workspace serving.adapters.garbage_collection serving.client "
    "serving.engine serving.serve tools.python_docs tuning.adapters.exporter "
    "tuning.adapters.importer tuning.bases tuning.recipe tuning.worker.worker",
    "bot.commands": "tuning.recipe",
    "tools": "bot.api.auth bot.app bot.cli bot.commands",
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


def unit_of(module: str) -> str:
    """The sub-package or flat module that a module belongs to, as `MAY_IMPORT` names it."""
    known = [name for name in MAY_IMPORT if within(module, (name,))]
    return max(known, key=len, default=module)


def violations(source: str, module: str) -> list[str]:
    """What a file of that module imports and may not."""
    unit = unit_of(module)
    package = module.rpartition(".")[0]
    allowed = (unit, *MAY_IMPORT.get(unit, "").split())
    found = []
    for each in imports(source, package):
        if not within(each.module, (*TOP, "tests", "benchmarks")):
            continue
        lazily = LAZILY.get(unit, "").split() if each.lazy else []
        if not within(each.module, (*allowed, *lazily)):
            how = "lazily " if each.lazy else ""
            found.append(f"line {each.line}: {unit} {how}imports {each.module}")
    return found


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_of(file: Path) -> str:
    """Of `__init__.py`: the package, and a dot, so that what it imports is resolved inside it."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def package_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).parent.parts)


@pytest.mark.parametrize("package", TOP)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    assert files(package)
    found = {
        str(file.relative_to(ROOT)): wrong
        for file in files(package)
        if (wrong := violations(file.read_text(encoding="utf-8"), module_of(file)))
    }
    assert found == {}


def test_every_module_belongs_to_a_package_with_a_line_above() -> None:
    modules = [module_of(f).removesuffix(".__init__") for top in TOP for f in files(top)]
    homeless = [m for m in modules if m not in TOP and unit_of(m) not in MAY_IMPORT]
    assert [m for m in homeless if m != "bot.slack"] == []
    assert [name for name in MAY_IMPORT if not any(within(m, (name,)) for m in modules)] == []


def test_no_package_builds_on_itself_by_way_of_others() -> None:
    """Whatever order a reader takes, what a package builds on can be read before it."""
    below = {name: {unit_of(m) for m in may.split()} - {name} for name, may in MAY_IMPORT.items()}
    for name in below:
        below[name] = {b for b in MAY_IMPORT for m in below[name] if within(b, (m,))} - {name}
    read: set[str] = set()
    while ready := [name for name in below if name not in read and below[name] <= read]:
        read.update(ready)
    assert set(below) - read == set()


@pytest.mark.parametrize("package", ["data", "bot"])
def test_what_a_front_end_needs_names_nothing_heavy_at_the_top(package: str) -> None:
    client = [ROOT / "serving" / "client.py"] if package == "bot" else []
    found = [
        f"{file.relative_to(ROOT)}:{each.line} imports {each.module}"
        for file in [*files(package), *client]
        for each in imports(file.read_text(encoding="utf-8"), package_of(file))
        if not each.lazy and within(each.module, HEAVY)
    ]
    assert found == []


@pytest.mark.integration
def test_the_bot_starts_without_torch_and_vllm(tmp_path: Path) -> None:
    """In a process where importing them fails, as on a machine that lacks them."""
    program = f"""
import importlib, sys
for name in {HEAVY!r}:
    sys.modules[name] = None
from pathlib import Path
from bot.app import create_app
from bot.cli import COMMANDS, main
from data.config.settings import Settings
from data.store.db import Store
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
    ("module", "source"),
    [
        ("data.store.db", "import tuning.worker"),
        ("data.store.db", "from data.pairs import pairs"),
        ("data.pairs.pairs", "from serving.client import EngineClient"),
        ("data.pairs.pairs", "from data.feedback import feedback"),
        ("data.runs.runs", "def f():\n    from bot import app"),
        ("tuning.data.examples", "import serving"),
        ("tuning.data.examples", "from tuning.training import loop"),
        ("tuning.worker.child", "def f():\n    import bot.app"),
        ("tuning.model.base_model", "from ...serving import engine"),
        ("serving.engine.engine", "from tuning.training import loop"),
        ("serving.engine.engine", "from serving.fleet import fleet"),
        ("serving.serve", "import importlib\nimportlib.import_module('bot.cli')"),
        ("bot.answering.chat", "from serving.engine import engine"),
        ("bot.answering.chat", "from bot.slack import app"),
        ("bot.api.runs", "import tuning.worker.worker"),
        ("bot.cli.tune", "from tuning.worker import worker"),
        ("bot.cli.tune", "class A:\n    from serving import serve"),
        ("bot.cli.tune", "if True:\n    import serving.serve"),
        ("bot.cli.tune", "def f():\n    from tuning.training import loop"),
        ("bot.slack.render.blocks", "from .. import serving\nimport tests.given"),
        ("bot.slack.render.blocks", "from bot.slack.client import web_api"),
        ("bot.commands.executor", "from bot.slack.render import blocks"),
        ("bot.commands.executor", "def f():\n    from bot.slack.commands import delivery"),
        ("data.command_queue", "from data.slack import question_queue"),
    ],
)
def test_a_violation_is_found(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "data.pairs.golden",
            "from data.store import db\nfrom . import pairs\nimport os, data2",
        ),
        (
            "tuning.training.loop",
            "from data.store.db import Store\nfrom tuning.data import examples",
        ),
        ("serving.fleet.fleet", "import data.adapters.registry"),
        (
            "bot.answering.chat",
            "import serving.client\nfrom serving.client import EngineClient",
        ),
        ("bot.cli.processes", "def f():\n    from serving import serve as serving"),
        ("bot.cli.tune", "async def f():\n    from tuning.worker import worker"),
    ],
)
def test_what_is_allowed_is_not_reported(module: str, source: str) -> None:
    assert violations(source, module) == []
