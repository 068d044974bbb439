"""The page that shows how comparisons stand, in a real browser."""

import pytest
from sqlite_utils import Database

from bot.experiments import decider, stats
from bot.experiments.stats.wording import signed
from data.experiments import experiments
from data.experiments.experiments import Experiment
from data.feedback import raters
from tests.bot import browser
from tests.bot.api.test_comparisons_api import rate, start
from tests.bot.conftest import Bot

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium here")

SHOWN = "!document.getElementById('results').hidden"
ROWS = "document.querySelectorAll('#variants tbody tr')"
PROBLEM_SHOWN = "!document.getElementById('problem').hidden"
OPTIONS = "[...document.querySelectorAll('#experiment option')].map((o) => o.innerText)"
PROBLEM = "document.getElementById('problem').textContent"


async def sign_in(page: browser.Page, secret: str) -> None:
    await page.wait("document.activeElement?.id === 'key'")
    await page.type(secret)
    await page.press("Enter", 13, "\r")


def text(place: str) -> str:
    return f"document.getElementById('{place}').innerText"


def decided(bot: Bot, experiment: Experiment) -> None:
    def write(db: Database) -> None:
        found = decider.evaluate_experiment(db, experiments.get(db, experiment.id))
        assert found is None or decider.apply_verdict(db, found) is not None

    bot.write(write)


async def test_it_shows_the_results_and_the_decisions(bot: Bot) -> None:
    experiment = start(bot)
    rate(bot, experiment)
    decided(bot, experiment)
    bot.write(
        lambda db: raters.quarantine(db, bot.domain, "slack:T1/U1", "pressed at random", "cli:ann")
    )
    async with browser.page() as page:
        await page.open(f"{bot.url}/comparisons")
        await sign_in(page, bot.secrets["reviewer"])
        await page.wait(SHOWN)

        results = stats.compute_results(bot.store.db, experiment)
        assert await page.js(text("state")) == "Worse"
        assert await page.js(text("sentence")) == results.sentence
        assert (await page.js(text("details"))).splitlines() == list(results.details)
        rating = results.comparisons[0].differences["rating"]
        low, high = (signed(share).replace("-", "−") for share in (rating.low, rating.high))
        assert f"interval {low} to {high}." in await page.js(text("intervals"))
        lines = [r.split("\t") for r in await page.js(f"[...{ROWS}].map((r) => r.innerText)")]
        assert [line[:2] for line in lines] == [["A", "helpdesk@1"], ["B", "helpdesk@2"]]
        assert [int(line[4]) for line in lines] == [v.raters for v in results.variants]
        assert "1 rating by quarantined raters, from 1 person" in await page.js(text("not-counted"))
        assert "slack:T1/U1, quarantined: pressed at random" in await page.js(text("voters"))

        await page.js("document.querySelector('#decisions button').click()")
        await page.wait(f"{text('decisions')}.includes('The result is the same in every number.')")
        assert page.complaints == []


async def test_a_members_key_sees_nothing(bot: Bot) -> None:
    start(bot)
    async with browser.page() as page:
        await page.open(f"{bot.url}/comparisons")
        await sign_in(page, bot.secrets["member"])
        await page.wait(PROBLEM)

        assert "requires a key with the role reviewer" in await page.js(PROBLEM)
        assert not await page.js(SHOWN)
        assert await page.js("document.querySelectorAll('#experiment option').length") == 0
        assert await page.js("sessionStorage.length") == 0


async def test_an_incomplete_key_is_refused(bot: Bot) -> None:
    """As `understudy keys list` shows it; with such a character nothing could be sent."""
    async with browser.page() as page:
        await page.open(f"{bot.url}/comparisons")
        await sign_in(page, "us-Vxa1g…")
        await page.wait(PROBLEM)

        assert "This is not an API key" in await page.js(PROBLEM)
        assert await page.js("sessionStorage.length") == 0


async def test_an_error_page_of_a_proxy_shows_its_status(bot: Bot) -> None:
    away = "window.fetch = async () => new Response('<html>', { status: 502 })"
    async with browser.page() as page:
        await page.send("Page.addScriptToEvaluateOnNewDocument", source=away)
        await page.open(f"{bot.url}/comparisons")
        await sign_in(page, bot.secrets["admin"])
        await page.wait(PROBLEM)

        assert await page.js(PROBLEM) == "The service answered with status 502."


async def test_without_a_comparison_it_says_how_to_start_one(bot: Bot) -> None:
    async with browser.page() as page:
        await page.open(f"{bot.url}/comparisons")
        await sign_in(page, bot.secrets["admin"])
        await page.wait(PROBLEM)

        assert "no comparison yet" in await page.js(PROBLEM)
        assert page.complaints == []


# the page looks every 15 seconds
OFTEN = "const every = setInterval; window.setInterval = (work) => every(work, 50)"


async def test_an_open_page_shows_comparisons_start_and_end(bot: Bot) -> None:
    async with browser.page() as page:
        await page.send("Page.addScriptToEvaluateOnNewDocument", source=OFTEN)
        await page.open(f"{bot.url}/comparisons")
        await sign_in(page, bot.secrets["reviewer"])
        await page.wait(PROBLEM)

        first = start(bot)
        await page.wait(f"{SHOWN} && !{PROBLEM_SHOWN}")
        assert await page.js(text("decisions")) == "No decision yet; the comparison continues."

        bot.http("admin").post(f"/v1/experiments/{first.id}/stop")
        await page.wait(f"{text('decisions')} === 'Nothing was decided.'")
        assert await page.js(OPTIONS) == ["helpdesk: helpdesk@1 / helpdesk@2 (stopped)"]

        start(bot)
        await page.wait(f"{OPTIONS}.length === 2")
        assert await page.js("document.getElementById('experiment').value") == str(first.id)
        assert page.complaints == []


async def test_signing_out_leaves_nothing_in_the_tab(bot: Bot) -> None:
    start(bot)
    async with browser.page() as page:
        await page.open(f"{bot.url}/comparisons", width=360, height=700)
        await sign_in(page, bot.secrets["admin"])
        await page.wait(SHOWN)
        assert await page.js("document.documentElement.scrollWidth") == 360
        assert "No decision yet; the comparison continues." in await page.js(text("decisions"))

        await page.js("document.getElementById('leave').click()")

        assert not await page.js(SHOWN)
        assert await page.js("sessionStorage.length") == 0


async def test_an_ended_comparison_shows_its_decision(bot: Bot) -> None:
    experiment = start(bot)
    bot.http("admin").post(f"/v1/experiments/{experiment.id}/stop")
    async with browser.page() as page:
        await page.open(f"{bot.url}/comparisons")
        await sign_in(page, bot.secrets["admin"])
        await page.wait(SHOWN)

        assert await page.js(text("state")) == "Ended"
        assert "ended before a decision was made" in await page.js(text("sentence"))
        assert await page.js(text("decisions")) == "Nothing was decided."
