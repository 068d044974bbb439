"""A home folder with a store, and a fixture that runs commands in it."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.store.db import Store
from tests.data import given

Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An initialised home folder, which is also the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNDERSTUDY_CONFIG", raising=False)
    result = CliRunner().invoke(main, ["init"])
    assert result.exit_code == 0, result.output
    return tmp_path


@pytest.fixture
def run(home: Path) -> Run:
    """`run("domains", "list")` is `understudy domains list`."""

    def command(*args: str, input: str | None = None) -> Result:
        result = CliRunner().invoke(main, args, input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return command


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home / "understudy.db")


def make_adapter(store: Store, domain: str, version: int) -> Adapter:
    """A registered adapter without files, for tests that only read the registry."""
    with store.write() as db:
        made = registry.register(
            db,
            domains.get(db, domain),
            version=version,
            sha256=f"{version:064x}",
            path=f"adapters/{domain}/{version}",
            base_model="pocket",
            rank=8,
            size_bytes=1000,
            recipe={},
            scores={},
        )
        return given.with_folder(db, made)


def json(result: Result) -> object:
    return orjson.loads(result.stdout)
