"""Hostile texts in the web chat, in a real browser: nothing runs, nothing loads, and what would
change how a text reads is shown as a symbol."""

from typing import Any

import orjson
import pytest

from data.visible_text import SHOWN
from tests.bot import browser
from tests.bot.conftest import Bot
from tests.bot.console.test_page import ANSWER
from tests.hostile_texts import HOSTILE_TEXTS
from tests.serving.fake_vllm import words

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium here")

EVERYTHING = "\n\n".join(HOSTILE_TEXTS.values())
MADE = """[...document.querySelectorAll("main *, header *, dialog *")]
    .filter((e) => /^(SCRIPT|IMG|IFRAME|OBJECT|A|STYLE|SVG)$/i.test(e.tagName))
    .map((e) => e.outerHTML).filter((html) => /evil|owned|javascript/i.test(html))"""
READ = """[...document.querySelectorAll("body, [title], [aria-label], [placeholder]")]
    .flatMap((e) => [e.textContent, e.title, e.ariaLabel, e.placeholder]).join("\\n")"""


@pytest.fixture
def hostile(bot: Bot) -> Bot:
    """A service whose domain, suggestions and answers are hostile."""

    def poison(db: Any) -> None:
        db.execute("UPDATE domains SET title = ?, refusal = ?", [EVERYTHING, EVERYTHING])
        prompts = orjson.dumps(list(HOSTILE_TEXTS.values())).decode()
        db.execute("UPDATE domains SET suggested_prompts = ?", [prompts])

    bot.write(poison)
    bot.vllm.say = lambda body: words(body["model"], "Read: ", EVERYTHING)
    return bot


async def check(page: browser.Page) -> str:
    """The page's text, in which no hostile text did anything."""
    assert await page.js("document.title") == "Understudy"
    assert await page.js(MADE) == []
    read = str(await page.js(READ))
    found = SHOWN.findall(read.replace("\r\n", "\n"))
    assert found == [], read
    assert page.complaints == []
    return read


async def test_questions_answers_and_suggestions_are_only_text(hostile: Bot) -> None:
    async with browser.page() as page:
        await page.open(hostile.url)
        await page.wait("document.querySelector('#suggestions button')")
        suggested = await check(page)
        assert "<script>" in suggested
        await page.type("What? " + EVERYTHING.replace("\x00", ""))
        await page.press("Enter", 13, "\r")
        await page.wait(ANSWER)
        shown = await check(page)
        assert "<img src=x onerror=document.title='owned'>" in shown
        assert "⟨U+202E⟩" in shown
        assert "Yes␀no ␛[2J" in shown

        await page.send("Page.reload")  # the same from the store, and as a chat in the list
        await page.wait("document.querySelectorAll('.message').length === 2")
        await check(page)
        (reply,) = hostile.wait_closed()

        def poison(db: Any) -> None:
            db.execute("UPDATE messages SET text = ?", [EVERYTHING])  # as older versions stored it

        hostile.write(poison)
        await page.send("Page.reload")
        await page.wait("document.querySelectorAll('.message').length === 2")
        assert "⟨U+202E⟩" in await check(page)
        assert reply.status == "done"
