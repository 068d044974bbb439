"""Every command has help, and showing it loads no heavy libraries."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bot.cli import COMMANDS, main

GROUPS = ("domains", "pairs", "runs", "adapters", "replicas", "ab", "feedback", "keys", "people")
README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])

    assert result.exit_code == 0, result.output
    assert f"Usage: main {name}" in result.output


@pytest.mark.parametrize("group", [*GROUPS, "slack", "pairs golden"])
def test_the_help_of_a_group_shows_complete_sentences(group: str) -> None:
    output = CliRunner().invoke(main, [*group.split(), "--help"]).output

    listed = output.split("Commands:")[1].splitlines()
    assert [line for line in listed if line.endswith("...")] == []


def test_help_lists_every_command() -> None:
    output = CliRunner().invoke(main, ["--help"]).output

    assert [name for name in COMMANDS if f"  {name} " not in output] == []


@pytest.mark.integration
@pytest.mark.parametrize("arguments", [["--help"], ["tune", "--help"], ["adapters", "--help"]])
def test_help_loads_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from bot.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'vllm', 'scipy', 'fastapi', 'slack_bolt'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_a_mistyped_command_gets_the_nearest_one() -> None:
    result = CliRunner().invoke(main, ["adaptors"])

    assert result.exit_code == 2
    assert "Did you mean `understudy adapters`?" in result.output


def test_every_option_has_help() -> None:
    """Every option of every command, in all groups."""

    def undocumented(command: click.Command, path: str) -> list[str]:
        lacking = [
            f"{path} {parameter.opts[0]}"
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.help
        ]
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                assert found.help, f"{path} {name}"
                lacking += undocumented(found, f"{path} {name}")
        return lacking

    assert undocumented(main, "understudy") == []


def test_every_command_says_what_it_does_in_one_line() -> None:
    context = click.Context(main)
    lacking = [n for n in COMMANDS if not getattr(main.get_command(context, n), "help", None)]

    assert lacking == []


def test_the_readme_names_every_command() -> None:
    assert [name for name in COMMANDS if f"understudy {name}" not in README] == []
