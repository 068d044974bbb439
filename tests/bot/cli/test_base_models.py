"""`understudy base` adds and lists base models; nothing heavy is imported for a list."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from data.bases import folders
from data.config.settings import load
from tests.bot.cli.conftest import Run
from tests.tuning.bases import gguf_maker


def test_the_list_says_what_can_be_added(run: Run) -> None:
    found = json.loads(run("base", "list", "--json").stdout)

    assert [(b["name"], b["in_use"]) for b in found] == [("pocket", True), ("smollm2-135m", False)]
    assert "understudy base add" in " ".join(run("base", "list").stdout.split())


@pytest.mark.integration
def test_a_gguf_file_is_added_listed_and_used_by_name(run: Run, home: Path) -> None:
    gguf_maker.write(home / "small.gguf")

    added = run("base", "add", str(home / "small.gguf"))

    assert added.exit_code == 0, added.output
    assert f"small is in {home / 'bases' / 'small'}" in added.stdout
    assert "Licence: apache-2.0" in added.stdout
    (home / "understudy.toml").write_text('[base]\nmodel = "small"\n')
    found = json.loads(run("base", "list", "--json").stdout)
    assert [b["name"] for b in found if b["in_use"]] == ["small"]
    assert "✓ Base model: small" in run("doctor").stdout


@pytest.mark.integration
def test_an_unknown_base_is_refused_with_what_there_is(run: Run) -> None:
    result = run("base", "add", "smollm9")

    assert result.exit_code == 1
    assert "smollm2-135m" in result.stderr


def test_a_base_of_the_catalogue_that_was_not_added_is_named(run: Run, home: Path) -> None:
    (home / "understudy.toml").write_text('[base]\nmodel = "smollm2-135m"\n')

    assert "understudy base add smollm2-135m" in run("doctor").stdout


def test_a_command_may_name_another_base(run: Run) -> None:
    run("domains", "add", "art")

    result = run("tune", "art", "--base", "smollm2-135m")

    assert result.exit_code == 1
    assert "understudy base add smollm2-135m" in result.stderr


@pytest.mark.integration
def test_a_run_trains_on_the_base_that_its_request_names(run: Run, home: Path) -> None:
    gguf_maker.write(home / "small.gguf")
    run("base", "add", "small.gguf")
    run("domains", "add", "art")
    (home / "p.jsonl").write_text('{"prompt": "What is red?", "response": "A colour."}\n')
    run("pairs", "import", "art", "p.jsonl")

    queued = run("tune", "art", "--base", "small", "--no-wait", "--json")

    recipe = json.loads(queued.stdout)["recipe"]
    assert recipe["base"] == "small"
    settings = load(home / "understudy.toml", {})
    asked = folders.as_asked(settings, recipe)
    assert (settings.base.model, asked.base.path) == ("pocket", str(home / "bases" / "small"))
    assert folders.as_asked(settings, {}) == settings


@pytest.mark.integration
def test_a_machine_without_the_libraries_is_told_what_to_install(home: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['gguf'] = sys.modules['torch'] = None\n"
        "from bot.cli import main\n"
        "main(['base', 'add', 'smollm2-135m'])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=home, check=False
    )

    assert done.returncode == 1
    assert "is not installed here. Run `make install`" in done.stderr
    assert "Traceback" not in done.stderr
