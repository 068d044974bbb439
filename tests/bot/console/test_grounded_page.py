"""What the web chat shows of an answer's sources, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data import domains
from data.config.settings import AnswersSettings
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft
from data.store.db import value
from tests.bot import browser
from tests.bot.conftest import Bot, answering
from tests.bot.console.test_page import ANSWER, SAID
from tests.serving.fake_vllm import FakeVllm

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium here")
BELOW = "document.querySelector('.from-bot:last-child {}')"


@pytest.fixture
def bot(tmp_path: Path, vllm: FakeVllm) -> Iterator[Bot]:
    """A service that answers from two pairs; its engine is down."""
    with answering(tmp_path, vllm, AnswersSettings()) as subject:
        with subject.store.write() as db:
            db.execute("UPDATE replicas SET state = 'down'")
            domain = domains.get(db, "helpdesk")
            drafts = [
                Draft("When do you open?", "We open at nine."),
                Draft("How do I clean the printer?", "Press the green button."),
            ]
            for pair_id in pairs.add(db, domain, drafts, source="teach").ids:
                review_status.set_status(db, pair_id, "approved", "cli:ann")
        yield subject


async def test_a_quoted_answer_shows_its_source(bot: Bot) -> None:
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        await page.type("When do you open today?")
        await page.press("Enter", 13, "\r")
        await page.wait(ANSWER)

        sources = BELOW.format(".sources")
        assert await page.js(f"{ANSWER}.textContent") == "We open at nine."
        assert await page.js(f"{sources}.open")
        shown = await page.js(f"{sources}.innerText")
        assert shown.startswith("Approved answer to:\nWhen do you open?")
        assert "approved by ann on " in shown
        assert await page.js(f"{BELOW.format('.adapter')}.hidden")

        await page.js("window.before = true; location.reload()")
        await page.wait(f"!window.before && {sources}?.open")
        assert "When do you open?" in await page.js(f"{sources}.innerText")
        assert page.complaints == []


async def test_a_refusal_offers_the_nearest_question_and_a_person(bot: Bot) -> None:
    with bot.store.write() as db:
        domains.set_decline_below(db, domains.get(db, "helpdesk"), 0.9)
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        await page.type("When do you open today?")
        await page.press("Enter", 13, "\r")
        await page.wait(ANSWER)

        assert "approved answer" in await page.js(f"{ANSWER}.textContent")
        await page.js(f"{BELOW.format('.person button')}.click()")
        await page.wait(f"{SAID}.includes('passed on')")
        await page.js(f"{BELOW.format('.instead button')}.click()")
        await page.wait("document.querySelectorAll('.from-bot').length === 2")
        await page.wait(ANSWER)

        assert await page.js(f"{ANSWER}.textContent") == "We open at nine."
        assert page.complaints == []
    wanted = "SELECT count(*) FROM unanswered WHERE person_asked_at IS NOT NULL"
    assert value(bot.store.db, wanted) == 1
