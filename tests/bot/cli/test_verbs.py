"""Every command of the registry is on the command line, with the same help, or says why not."""

import getpass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bot.cli import COMMANDS, main, summary, verbs
from bot.cli.context import App
from bot.commands import registry
from bot.commands.registry import Verb
from data import domains
from data.experiments import experiments
from data.people import roles
from data.store.db import Store
from tests.bot.cli.conftest import make_adapter
from tests.bot.conftest import add_replica


def command_of(words: list[str]) -> click.Command:
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        inner = command.get_command(click.Context(command), word)
        assert inner is not None, words
        command = inner
    return command


@pytest.mark.parametrize("verb", registry.verbs(), ids=lambda verb: verb.name)
def test_every_verb_has_a_command_with_its_help_or_a_reason(verb: Verb) -> None:
    if not verb.cli:
        assert verb.no_cli
        return
    assert not verb.no_cli
    words = [word for word in verb.cli.split() if not word.startswith("--")]
    command, help_texts = command_of(words), []
    if len(words) < len(verb.cli.split()):  # it is an option
        option = verb.cli.split()[-1]
        help_texts = [getattr(p, "help", "") for p in command.params if option in p.opts]
    else:
        help_texts = [command.help]
    assert [text for text in help_texts if text and text.startswith(verb.help)], verb.cli


def test_commands_without_a_help_of_their_own_have_that_of_the_registry() -> None:
    listed = CliRunner().invoke(main, ["--help"]).output.split()
    for name, (_, text) in COMMANDS.items():
        if not text:
            assert summary(name) == registry.verb({"tune": "retrain"}.get(name, name)).help
        assert " ".join(summary(name).split()) in " ".join(listed)


def generated(name: str, *given: str) -> str:
    """What a command that is made from its verb alone prints."""
    made = verbs.generated(registry.verb(name), "it")
    result = CliRunner().invoke(made, given, obj=App(None), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_command_is_made_from_its_declaration_with_every_kind_of_argument(
    home: Path, store: Store
) -> None:
    with store.write() as db:
        domains.create(db, "art", "Art", "Answer.")
    made = [make_adapter(store, "art", version) for version in (1, 2)]
    with store.write() as db:
        add_replica(db, "http://127.0.0.1:1", *made)

    started = generated("ab start", "art", "1", "2", "--split", "20", "--pairwise")

    assert started.startswith("Experiment 1 compares art@1 with art@2.")
    running = experiments.running(store.db, 1)
    assert running is not None
    assert (running.candidate_share, running.pairwise) == (0.2, 0.1)
    assert running.started_by == f"cli:{getpass.getuser()}"
    assert "B 40%" in generated("ab ramp", "art", "40")
    assert "B: art@2, 40%" in generated("ab status")  # the default domain
    assert "slack:T1/U2 now has the role reviewer" in generated(
        "roles add", "slack:T1/U2", "reviewer"
    )
    assert [g.role for g in roles.list_grants(store.db)] == ["reviewer"]


def test_a_domain_must_be_named_where_something_changes(home: Path) -> None:
    result = CliRunner().invoke(
        verbs.generated(registry.verb("ab stop"), "stop"), [], obj=App(None)
    )
    assert result.exit_code == 2
    assert "DOMAIN" in result.output
