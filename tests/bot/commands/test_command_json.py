"""Commands and results survive the queue: what is read from JSON is what was written."""

import json
from pathlib import Path

import pytest

from bot.commands import command_json, grammar, registry
from bot.commands.adapter_commands import NeedsConfirmation
from bot.commands.command_json import Rendered, Unreadable
from bot.commands.overview_commands import ReviewDigest
from bot.commands.perform import Context, Refused, Result, perform
from bot.commands.requester import Requester
from data.config.settings import Settings
from data.domains import Domain
from data.feedback.feedback_summary import RatingCounts
from data.pairs.review_queue import Waiting
from data.store.db import Store
from data.store.errors import Invalid

LINES = (
    "help", "status", "domains", "adapters", "runs", "retrain --dry-run", "retrain", "cancel 1",
    "adapters lineage 1", "adapters lineage live", "pairs lineage 1",
    "triggers", "triggers set schedule 0 3 * * 1 --domain helpdesk",
    "ab start 1 2 --split 20 --pairwise", "ab status", "ab ramp 40", "ab tester slack:T1/U8 B",
    "ab stop", "ab decisions", "ab explain 1", "policy", "policy auto", "promote 2", "rollback",
    "retire 3", "roles", "roles add slack:T1/U8 reviewer", "roles remove slack:T1/U8",
    "forget slack:T1/U8 --retrain", "channel", "channel listen off", "channel domain helpdesk",
)  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_command_is_read_as_it_was_written(line: str) -> None:
    command = grammar.parse(line)
    stored = json.loads(json.dumps(command_json.dump_command(command)))
    assert command_json.load_command(stored) == command
    assert grammar.parse(grammar.spell(command)) == command


def test_a_result_is_read_as_it_was_written(store: Store, domain: Domain, home: Path) -> None:
    admin, settings = (
        Requester("slack:T1/U1", "admin", admins=("slack:T1/U1",)),
        Settings(home=home),
    )
    ends = NeedsConfirmation("This ends it.", "rollback helpdesk --yes")
    results: list[Result] = [ends, Refused("No."), Rendered([{"type": "divider"}]), Unreadable()]
    for line in LINES:
        with store.write() as db:
            results.append(perform(grammar.parse(line), Context(db, settings, admin, "T1", "C1")))
    results.append(
        ReviewDigest((Waiting("helpdesk", "h", 2, 5),), {"approved": 1}, RatingCounts(1, 2, 3, 4))
    )
    for result in results:
        stored = json.loads(json.dumps(command_json.dump_result(result)))
        assert command_json.load_result(stored) == result
        assert result.text
    assert {type(result) for result in results} == set(Result.__subclasses__())


@pytest.mark.parametrize(
    "stored",
    [{}, {"command": "dance"}, {"command": "promote"}, {"command": "cancel", "run_id": "x"}],
)
def test_a_command_of_another_version_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="Nothing was changed"):
        command_json.load_command(stored)


@pytest.mark.parametrize("stored", [{"result": "Danced"}, {"result": "Promoted", "adapter": 7}])
def test_a_result_of_another_version_says_that_it_cannot_be_read(stored: dict[str, object]) -> None:
    assert command_json.load_result(stored) == Unreadable()


def test_every_line_above_is_a_command_and_every_command_has_one() -> None:
    found = {grammar.parse(line).verb.name for line in LINES}
    assert found == {verb.name for verb in registry.verbs() if verb.effect != "front end"}
