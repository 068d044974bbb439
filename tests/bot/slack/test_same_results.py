"""Slack, HTTP and the command line show the same results of a comparison, from one function. The
page shows what HTTP returns (tests/bot/test_comparisons_page.py)."""

from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from sqlite_utils import Database

from bot.app import create_app
from bot.cli import main
from bot.experiments import comparisons, stats
from data.config.settings import SlackSettings
from data.experiments import assignments
from data.experiments.experiments import Experiment
from data.feedback import feedback
from data.people import keys
from tests.bot.conftest import add_adapter
from tests.bot.slack.commands.test_handlers import command
from tests.bot.slack.conftest import ADMIN, Bot
from tests.data import given


def compared(db: Database, bot: Bot, better: int) -> Experiment:
    """A hundred people rated: of ten on B `likes` like their answers, of ten on A six."""
    for version in (1, 2):
        add_adapter(db, bot.domain, version)
    begun = comparisons.begin(db, bot.domain, ["1", "2"], "cli:ann")
    running = given.same_sides(db, begun)
    for n in range(100):
        person = f"slack:T1/U{n}"
        variant = assignments.variant_for(running, person)
        assignments.expose(db, running.id, person, variant.id, running.stage)
        reply = given.reply(db, bot.domain, person, variant=variant)
        feedback.thumb(db, reply, person, n % 10 < (6 if variant.label == "A" else better))
    return running


@pytest.mark.parametrize("better", [0, 7])
async def test_every_front_end_shows_the_same_results(
    bot: Bot, better: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = bot.write(lambda db: compared(db, bot, better))
    told = stats.compute_results(bot.store.db, running)
    assert told.state == ("worse" if better == 0 else "collecting")

    in_slack = await command(bot, ADMIN, "ab status")

    settings = bot.settings.model_copy(update={"slack": SlackSettings(mode="off")})
    transport = httpx.ASGITransport(create_app(settings, bot.store))
    secret = bot.write(lambda db: keys.create(db, "a reviewer", "reviewer", "cli:test"))[1]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        over_http = (await client.get(f"/v1/experiments/{running.id}")).json()["results"]

    (tmp_path / "understudy.toml").touch()
    monkeypatch.chdir(tmp_path)
    on_the_line = CliRunner().invoke(main, ["ab", "status", "helpdesk"])

    assert on_the_line.exit_code == 0, on_the_line.output
    assert (over_http["state"], over_http["sentence"]) == (told.state, told.sentence)
    assert over_http["details"] == list(told.details)
    for line in (told.sentence, *told.details):
        assert line in on_the_line.output
        assert line in in_slack


async def test_an_ended_comparison_shows_its_outcome(bot: Bot) -> None:
    """It does not look like a running one."""
    bot.write(lambda db: compared(db, bot, 7))
    assert "Collecting" in await command(bot, ADMIN, "ab stop")

    later = await command(bot, ADMIN, "ab status")

    assert "It ended before a decision was made. Results with all ratings:" in later
    assert "Collecting" not in later
