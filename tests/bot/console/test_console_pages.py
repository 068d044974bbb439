"""Every page of the console in a real browser: light and dark, on a phone and on a desk, without a
fault of accessibility that axe finds, and without an error or a refusal of the content policy."""

import os
from pathlib import Path

import orjson
import pytest
from sqlite_utils import Database

from bot.experiments import comparisons
from data.feedback import feedback
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.people import sign_in_links
from data.runs import runs
from tests.bot import browser
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import session
from tests.bot.console.version_scores import SCORES
from tests.data import given

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium here")

AXE = (Path(__file__).parents[2] / "axe/axe.min.js").read_text(encoding="utf-8")
FAULTS = """axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa",
    "best-practice"]}).then((r) => r.violations.map(
    (v) => v.id + ": " + v.nodes.map((n) => n.html).slice(0, 3).join(" | ")))"""
PAGES = (
    "/console",
    "/console/domains/helpdesk/versions",
    "/console/domains/helpdesk/versions/2",
    "/console/people",
    "/console/account",
    "/console/nothing-here",
)
DESK, PHONE = (1100, 800), (360, 740)
PICTURES = os.environ.get("UNDERSTUDY_PICTURES", "")  # a folder: what the pages look like


async def sign_in(page: browser.Page, bot: Bot, cookie: str) -> None:
    await page.send("Network.enable")
    await page.send(
        "Network.setCookie", name="understudy_console", value=cookie, url=bot.url, httpOnly=True
    )


async def check(page: browser.Page, path: str, width: int, dark: bool) -> None:
    complete = "document.readyState === 'complete' && document.querySelector('h1')"
    await page.wait(f"location.pathname === '{path}' && {complete}")
    await page.js(AXE + "; 0")
    assert (path, await page.js(FAULTS)) == (path, [])
    assert await page.js("document.documentElement.scrollWidth <= innerWidth"), path
    if PICTURES:
        name = f"{path.strip('/').replace('/', '-')}-{width}{'-dark' if dark else ''}.png"
        await page.screenshot(Path(PICTURES) / name)


def furnish(bot: Bot) -> None:
    """Something to see on every page."""

    def write(db: Database) -> None:
        domain = bot.domain
        drafts = [Draft(f"Question {number}?", "An answer.") for number in range(3)]
        pairs.add(db, domain, drafts, source="import", status="pending")
        liked = given.reply(db, domain)
        feedback.thumb(db, liked, "slack:T1/U1", up=True)
        comparisons.begin(
            db, domain, ["helpdesk@1", "helpdesk@2"], "user:ann", comparisons.ExperimentPlan()
        )
        run = runs.queue(db, domain, "user:ann", kind="full")
        db.execute(
            "UPDATE runs SET state = 'running', phase = 'training', step = 40, total_steps = 100, "
            "eta_s = 90, started_at = queued_at WHERE id = ?",
            [run.id],
        )
        scores = orjson.dumps(SCORES).decode()
        db.execute("UPDATE adapters SET scores = ?, state = 'rejected' WHERE id = 2", [scores])
        sign_in_links.create(db, "bob@example.com", "reviewer", "user:ann")

    bot.write(write)


async def test_pages_are_accessible_and_fit(bot: Bot) -> None:
    furnish(bot)
    cookie = session(bot, "admin", "ann")
    async with browser.page() as page:
        await sign_in(page, bot, cookie)
        for dark, (width, height) in ((False, DESK), (True, PHONE)):
            for path in PAGES:
                await page.open(bot.url + path, width, height, dark=dark)
                await check(page, path, width, dark)
        await page.send("Network.clearBrowserCookies")
        await page.open(f"{bot.url}/console/sign-in", *DESK, dark=True)
        await check(page, "/console/sign-in", DESK[0], True)
        expected = "Failed to load resource: the server responded with a status of"
        assert [c for c in page.complaints if not c.startswith(expected)] == []
