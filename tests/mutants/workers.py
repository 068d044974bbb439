"""Runs tests in forked processes, each against one mutant.

What the tests import is loaded once, in the parent. Each fork drops the module and all that depend
on it, and imports them anew with the mutant in place of the module: so faults at the top of a
module are tested as those in functions are. Processes that a test starts run the original.
"""

import ast
import contextlib
import functools
import gc
import importlib
import importlib.abc
import importlib.util
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import coverage
import hypothesis
import pytest

OURS = ("bot", "data", "serving", "tests", "tools", "tuning")
QUIET = ["-q", "--tb=no", "-m", "not slow"]
QUIET += ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]  # the latter reads all modules
LEAST_TIMEOUT_S = 10.0
TIMES_LONGER = 8  # than the tests take on the original, and the mutant counts as killed


@dataclass
class Baseline:
    """The tests on the original."""

    seconds: dict[str, float] = field(default_factory=dict)  # by test
    lines: dict[str, set[int]] = field(default_factory=dict)  # of the module, that the test runs
    imported: set[int] = field(default_factory=set)  # lines that run when it is imported
    modules: list[str] = field(default_factory=list)  # that were loaded
    failed: list[str] = field(default_factory=list)

    def tests_for(self, first_line: int, last_line: int) -> list[str]:
        """The tests that run any of these lines, the quickest first; all, for lines that run at
        import; none, for lines that no test runs."""
        wanted = set(range(first_line, last_line + 1))
        found = [test for test, lines in self.lines.items() if lines & wanted]
        if wanted & self.imported:
            found = list(self.seconds)
        return sorted(found, key=lambda test: self.seconds[test])


def baseline(path: Path, tests: Sequence[str]) -> Baseline:
    """Run `tests` on the original module at `path`, in a process of their own."""
    found = _in_fork(lambda: _measured(path, tests))
    assert isinstance(found, Baseline)
    return found


def load(base: Baseline, path: Path) -> None:
    """Import all that the tests need, for the forks to come."""
    for name in base.modules:
        with contextlib.suppress(ImportError):  # some exist only while others are imported
            importlib.import_module(name)
    dependents(module_name(path))
    gc.freeze()  # so that no fork copies it all to look for garbage


@functools.cache
def dependents(module: str) -> list[str]:
    """The modules of ours that are loaded and import this one, however far away, and itself."""
    needs = {
        name: _imports(name, Path(file).read_text())
        for name, loaded in sys.modules.items()
        if name.split(".")[0] in OURS and (file := getattr(loaded, "__file__", None))
    }
    found, new = set[str](), {module}
    while new:
        found |= new
        new = {name for name, needed in needs.items() if needed & found} - found
    return sorted(found)


def _imports(name: str, source: str) -> set[str]:
    """What a module imports, the packages that it is in included."""
    parts = name.split(".")
    found = {".".join(parts[:n]) for n in range(1, len(parts))}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def module_name(path: Path) -> str:
    parts = path.relative_to(Path.cwd()).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def killed(path: Path, source: str, base: Baseline, tests: Sequence[str]) -> str | None:
    """What noticed the mutant, the name of a test or "time-out"; None when nothing did."""
    allowed = max(LEAST_TIMEOUT_S, TIMES_LONGER * sum(base.seconds[test] for test in tests))
    try:
        return _in_fork(lambda: _first_failure(path, source, base, tests), allowed)
    except TimeoutError:
        return "time-out"


# In the forked process


class _Tests:
    """A plugin of pytest: the wanted tests, the quickest first, and what became of them."""

    def __init__(self, wanted: Sequence[str] | None = None) -> None:
        self.wanted = None if wanted is None else {test: n for n, test in enumerate(wanted)}
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if (wanted := self.wanted) is not None:
            items[:] = [item for item in items if item.nodeid in wanted]
            items.sort(key=lambda item: wanted[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)


class _Coverage:
    """A plugin of pytest: which lines of the module each test runs."""

    def __init__(self, path: Path) -> None:
        self.measured = coverage.Coverage(data_file=None, include=[str(path)], config_file=False)
        self.path = str(path)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.measured.switch_context(item.nodeid)
        yield
        self.measured.switch_context("")

    def lines(self) -> dict[str, set[int]]:
        """By test; "" for what runs at import."""
        found: dict[str, set[int]] = defaultdict(set)
        for line, contexts in self.measured.get_data().contexts_by_lineno(self.path).items():
            for context in contexts:
                found[context].add(line)
        return found


def _measured(path: Path, tests: Sequence[str]) -> Baseline:
    plugin, lines = _Tests(), _Coverage(path)
    lines.measured.start()
    code = _pytest([*QUIET, *tests], [plugin, lines])
    lines.measured.stop()
    found = lines.lines()
    modules = [name for name in sys.modules if name != "__main__"]
    failed = plugin.failed or ([] if code in (0, 1) else [f"pytest ended with {code}"])
    return Baseline(dict(plugin.seconds), found, found.pop("", set()), modules, failed)


def _first_failure(path: Path, source: str, base: Baseline, tests: Sequence[str]) -> str | None:
    finder = _MutantFinder(path, source)
    for name in dependents(finder.name):
        sys.modules.pop(name, None)
        package, _, child = name.rpartition(".")
        if package in sys.modules:
            vars(sys.modules[package]).pop(child, None)
    sys.meta_path.insert(0, finder)
    plugin = _Tests(tests)
    files = sorted({test.split("::")[0] for test in tests})
    code = _pytest(["-x", *QUIET, *files], [plugin])
    return plugin.failed[0] if plugin.failed else None if code == 0 else f"pytest ended with {code}"


def _pytest(arguments: list[str], plugins: list[object]) -> int:
    """Quiet, and the same every time: hypothesis draws the same examples and shrinks nothing."""
    hypothesis.settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    hypothesis.settings.load_profile("mutants")
    folder = tempfile.mkdtemp(prefix="mutants-")
    try:
        return int(pytest.main([*arguments, f"--basetemp={folder}/tests"], plugins=plugins))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _MutantFinder(importlib.abc.MetaPathFinder):
    """Finds the mutant where the module is asked for."""

    def __init__(self, path: Path, source: str) -> None:
        self.path, self.source, self.name = path, source, module_name(path)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        loader = _MutantLoader(fullname, str(self.path), self.source)
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


class _MutantLoader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self.mutant = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.mutant, self.path, "exec")


# Forking


def _in_fork(work: Callable[[], Any], seconds: float | None = None) -> Any:
    """What `work` returns in a forked process, whose output is thrown away; all processes that it
    started end with it. Raises TimeoutError after `seconds`."""
    with tempfile.TemporaryFile() as result:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            done = work()
            pickle.dump(done, result)
            result.flush()
            os._exit(0)
        with contextlib.suppress(PermissionError, ProcessLookupError):  # the child was quicker
            os.setpgid(child, child)
        try:
            status = _wait(child, seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        result.seek(0)
        answer = result.read()
    if not answer:
        return f"the process ended with {os.waitstatus_to_exitcode(status)}"
    return pickle.loads(answer)


def _wait(child: int, seconds: float | None) -> int:
    ends = None if seconds is None else time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if ends is not None and time.monotonic() > ends:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError
        time.sleep(0.005)
