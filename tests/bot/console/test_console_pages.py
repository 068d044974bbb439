"""Every page of the console in a real browser: light and dark, on a phone and on a desk, without a
fault of accessibility that axe finds, and without an error or a refusal of the content policy."""

import io
import os
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from sqlite_utils import Database

from bot.experiments import comparisons
from data.experiments import assignments, experiments
from data.feedback import feedback, unanswered
from data.pair_files import import_process
from data.pair_files.staged_files import StagedFiles
from data.pairs import golden, imports, pairs
from data.pairs.pairs import Draft
from data.people import sign_in_links
from data.runs import runs
from data.runs.phases import Phase, RunPhase
from data.store.clock import DAY_US
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
    "/console/start",
    "/console/domains/helpdesk/pairs",
    "/console/domains/helpdesk/pairs/1",
    "/console/domains/helpdesk/pairs/facts",
    "/console/domains/helpdesk/pairs/imports",
    "/console/domains/helpdesk/pairs/findings",
    "/console/domains/helpdesk/pairs/golden",
    "/console/domains/helpdesk/pairs/export",
    "/console/domains/helpdesk/review",
    "/console/domains/helpdesk/unanswered",
    "/console/domains/helpdesk/tune",
    "/console/domains/helpdesk/versions",
    "/console/domains/helpdesk/versions/2",
    "/console/domains/helpdesk/comparisons",
    "/console/comparisons/1",
    "/console/domains/helpdesk/side-by-side",
    "/console/runs/1",
    "/console/domains/helpdesk/conversations",
    "/console/domains/helpdesk/triggers",
    "/console/keys",
    "/console/system",
    "/console/audit",
    "/console/people",
    "/console/people/data?person=slack:T1/U2",
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
        known = [
            Draft(f"{how} do seats cost?", "Ten.", fact="seats") for how in ("What", "How much")
        ]
        number = imports.begin(db, domain, "seats", "seats.csv", "user:ann")
        pairs.add(db, domain, known, source="import", status="approved", import_id=number)
        golden.add(db, domain, "Who pays?", "You.", "user:ann")
        db.execute(
            "INSERT INTO quality_marks (domain_id, check_name, pair_id) VALUES (?, 'phones', 1)",
            [domain.id],
        )
        unanswered.add(db, given.reply(db, domain, question="Where is it?", answer=""), domain)
        wrong = given.reply(db, domain, "slack:T1/U2", "How many seats?", "Three.")
        feedback.correction(db, wrong, "slack:T1/U2", "Forty-two seats.")
        liked = given.reply(db, domain)
        feedback.thumb(db, liked, "slack:T1/U1", up=True)
        comparisons.begin(
            db, domain, ["helpdesk@1", "helpdesk@2"], "user:ann", comparisons.ExperimentPlan()
        )
        compared = given.same_sides(db, experiments.latest(db, domain))
        for number in range(60):  # three days of ratings
            person = f"slack:T1/R{number}"
            variant = assignments.variant_for(compared, person)
            assignments.expose(db, compared.id, person, variant.id, compared.stage)
            rated = given.reply(db, domain, person, variant=variant)
            feedback.thumb(db, rated, person, up=variant.label == "A" or number % 3 == 0)
            back = (2 - number // 20) * DAY_US
            db.execute(
                "UPDATE feedback SET created_at = created_at - ? WHERE reply_id = ?", [back, rated]
            )
        db.execute("UPDATE experiments SET started_at = started_at - ?", [3 * DAY_US])
        run = runs.queue(db, domain, "user:ann", kind="full")
        claimed = runs.claim(db, "worker:1")
        assert claimed == runs.get(db, run.id)
        for step in range(1, 41):
            held_out = 2.4 - step / 50 if step % 10 == 0 else None
            runs.progress(
                db,
                claimed,
                step=step,
                total_steps=100,
                loss=3 / step**0.5,
                validation_loss=held_out,
                eta_s=90,
            )
        runs.set_phase(db, claimed, RunPhase(Phase.TRAINING))
        scores = orjson.dumps(SCORES).decode()
        db.execute("UPDATE adapters SET scores = ?, state = 'rejected' WHERE id = 2", [scores])
        sign_in_links.create(db, "bob@example.com", "reviewer", "user:ann")

    bot.write(write)


FILE = b"""question,answer,author
How do seats cost?,Twelve.,zoe
Where do I park?,Behind the house.,zoe
Who pays?,,zoe
"""


def uploaded(bot: Bot) -> list[str]:
    """The pages of two uploaded files: one that was looked at, and one that cannot be read."""
    files, found = StagedFiles(bot.settings.home), []
    for name, content in (("seats.csv", FILE), ("damaged.xlsx", b"PK\x03\x04 damaged")):
        staged = files.add(bot.domain, name, io.BytesIO(content), "user:ann")
        read = replace(staged, state="reading")
        import_process.work(bot.store, bot.settings, files, read)
        found.append(f"/console/domains/helpdesk/pairs/imports/files/{staged.id}")
    return found


async def test_pages_are_accessible_and_fit(bot: Bot) -> None:
    furnish(bot)
    pages = (*PAGES, *uploaded(bot))
    cookie = session(bot, "admin", "ann")
    async with browser.page() as page:
        await sign_in(page, bot, cookie)
        for dark, (width, height) in ((False, DESK), (True, PHONE)):
            for path in pages:
                await page.open(bot.url + path, width, height, dark=dark)
                await check(page, path.partition("?")[0], width, dark)
        await page.send("Network.clearBrowserCookies")
        await page.open(f"{bot.url}/console/sign-in", *DESK, dark=True)
        await check(page, "/console/sign-in", DESK[0], True)
        expected = "Failed to load resource: the server responded with a status of"
        assert [c for c in page.complaints if not c.startswith(expected)] == []


async def test_reviewing_with_the_keyboard(bot: Bot) -> None:
    drafts = [Draft("One?", "1"), Draft("Two?", "2"), Draft("Three?", "3")]
    added = bot.write(lambda db: pairs.add(db, bot.domain, drafts, source="import"))
    first, second, third = added.ids
    question = "document.querySelector('[name=prompt]')?.value"
    ready = "document.querySelector('.keys')?.hidden === false"
    async with browser.page() as page:
        await sign_in(page, bot, session(bot, "reviewer", "ann"))
        await page.open(f"{bot.url}/console/domains/helpdesk/review")
        await page.wait(f"{question} === 'One?' && {ready}")

        await page.press("a", 65, "a")
        await page.wait(f"{question} === 'Two?' && {ready}")
        await page.press("e", 69, "e")
        await page.wait("document.activeElement.name === 'response'")
        await page.press("r", 82, "r")  # now it is a letter
        await page.press("Escape", 27)
        await page.press("a", 65, "a")
        await page.wait(f"{question} === 'Three?' && {ready}")
        await page.js("document.querySelector('[data-keys]').click()")
        await page.press("r", 82, "r")  # switched off
        await page.js("document.querySelector('[data-keys]').click()")
        await page.press("s", 83, "s")
        await page.wait(f"location.search === '?after={third}'")
        assert page.complaints == []

    stored = bot.store.db.query("SELECT prompt, response, status FROM pairs ORDER BY id")
    found = {(r["prompt"], r["response"]): r["status"] for r in stored}
    assert found[("One?", "1")] == "approved"
    assert found[("Two?", "2")] == "rejected"  # replaced by the edited one
    assert found[("Three?", "3")] == "pending"
    assert [s for (prompt, _), s in found.items() if prompt == "Two?"].count("approved") == 1
    assert first < second


async def test_an_error_appears_above_the_form_which_stays(bot: Bot) -> None:
    async with browser.page() as page:
        await sign_in(page, bot, session(bot, "admin", "ann"))
        await page.open(f"{bot.url}/console/people")
        await page.wait("window.htmx && document.readyState === 'complete'")
        await page.wait("document.querySelector('[name=name]')")
        await page.js("document.querySelector('[name=name]').focus()")
        await page.type("a/b")
        await page.press("Enter", 13, "\r")
        await page.wait("document.querySelector('#said #problem')")

        assert "name or an e-mail" in await page.js("document.querySelector('#said').innerText")
        assert await page.js("document.querySelector('[name=name]').value") == "a/b"
        assert await page.js("location.pathname") == "/console/people"

        bot.write(lambda db: db.execute("UPDATE console_sessions SET revoked_at = 1"))
        await page.js("document.querySelector('[name=name]').value = 'zoe'")
        await page.js("document.querySelector('[name=name]').focus()")
        await page.press("Enter", 13, "\r")
        ended = "document.querySelector('#said').innerText.includes('session has ended')"
        await page.wait(ended)
        assert await page.js("document.querySelector('[name=name]').value") == "zoe"

        await sign_in(page, bot, session(bot, "admin", "ann"))  # as in another tab
        await page.press("Enter", 13, "\r")
        await page.wait("document.querySelector('main').innerText.includes('link to zoe')")
