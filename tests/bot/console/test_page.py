"""The web chat as a person uses it, in a real browser."""

import pytest

from data.feedback import feedback
from tests.bot import browser
from tests.bot.conftest import Bot
from tests.serving.fake_vllm import CUT, HANG, words

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium here")

ANSWER = "document.querySelector('.from-bot:last-child[aria-busy=false] .text')"
SAID = "document.querySelector('.from-bot:last-child .said').textContent"


async def test_asking_reading_rating_and_correcting_by_keyboard(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], "A **run** is `one` job ", "<b>&</b> more.")
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        assert await page.js("document.activeElement.id") == "question"
        await page.type("What is a run?")
        await page.press("Enter", 13, "\r")
        await page.wait(ANSWER)

        assert await page.js(f"{ANSWER}.textContent") == "A run is one job <b>&</b> more."
        assert await page.js(f"{ANSWER}.querySelector('b')") is None
        assert await page.js(f"{ANSWER}.querySelector('strong').textContent") == "run"
        assert await page.js("document.querySelector('.adapter').textContent") == "helpdesk@1"

        await page.js("document.querySelector('.thumb.down').focus()")
        await page.press(" ", 32, " ")
        await page.wait("document.activeElement.closest('.better') !== null")
        await page.type("One tuning job.")
        await page.js("document.querySelector('.better').requestSubmit()")
        await page.wait(f"{SAID}.includes('reviewer')")

        assert page.complaints == []
    assert feedback.counts(bot.store.db, 1) == {"up": 0, "down": 1, "corrections": 1}


@pytest.mark.parametrize("width", [320, 360, 390])
async def test_labels_in_a_narrow_header_do_not_wrap(bot: Bot, width: int) -> None:
    """A label in two lines is twice as high as one."""
    async with browser.page() as page:
        await page.open(bot.url, width=width, height=640)
        await page.wait("document.querySelector('#suggestions button')")
        heights = await page.js(
            "['mine', 'new'].map((id) => { const r = document.createRange(); "
            "r.selectNodeContents(document.getElementById(id)); return r.getClientRects().length })"
        )

        assert heights == [1, 1]
        assert await page.js("document.documentElement.scrollWidth") == width


async def test_a_thumb_pressed_again_is_withdrawn(bot: Bot) -> None:
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        await page.js("document.querySelector('#suggestions button').click()")
        await page.wait(ANSWER)
        await page.js("document.querySelector('.thumb.up').click()")
        await page.wait(f"{SAID} === 'Thank you.'")
        assert feedback.counts(bot.store.db, 1)["up"] == 1

        await page.js("document.querySelector('.thumb.up').click()")
        await page.wait(f"{SAID} === 'Rating withdrawn.'")

    assert feedback.counts(bot.store.db, 1)["up"] == 0


async def test_an_interrupted_answer_can_be_retried(bot: Bot) -> None:
    bot.vllm.say = lambda body: [*words(body["model"], "One")[:2], CUT]
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        await page.js("document.querySelector('#suggestions button').click()")
        problem = "document.querySelector('.problem:not([hidden]) span')"
        await page.wait(problem)
        assert "middle of the answer" in await page.js(f"{problem}.textContent")

        bot.vllm.say = lambda body: words(body["model"], "All of it.")
        await page.js("document.querySelector('.again').click()")
        await page.wait(f"{ANSWER}?.textContent === 'All of it.'")

        assert await page.js("document.querySelectorAll('.message').length") == 2


async def test_stopping_an_answer_stops_the_engine(bot: Bot) -> None:
    bot.vllm.say = lambda body: [*words(body["model"], "One")[:2], HANG]
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        await page.js("document.querySelector('#suggestions button').click()")
        await page.wait("document.querySelector('.from-bot .text').textContent === 'One'")
        await page.js("document.getElementById('send').click()")
        await page.wait(f"{SAID} === 'Stopped.'")

        assert [r.status for r in bot.wait_closed()] == ["cancelled"]


async def test_a_reload_shows_the_conversation_again(bot: Bot) -> None:
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        await page.js("document.querySelector('#suggestions button').click()")
        await page.wait(ANSWER)

        await page.send("Page.reload")
        await page.wait("document.querySelectorAll('.message').length === 2")

        assert await page.js(f"{ANSWER}.textContent") == "Hello there"


async def test_nothing_is_wider_than_a_phone(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], "```\n" + "wide " * 200 + "\n```", "x" * 300)
    async with browser.page() as page:
        await page.open(bot.url, width=360, height=700)
        await page.wait("document.querySelector('#suggestions button')")
        await page.js("document.querySelector('#suggestions button').click()")
        await page.wait(ANSWER)

        assert await page.js("document.documentElement.scrollWidth") == 360
        assert await page.js("document.querySelector('main').scrollWidth") <= 360


async def test_the_answer_of_a_fallback_has_a_note(bot: Bot) -> None:
    note = "document.querySelector('.from-bot:last-child .note')"
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        await page.js("document.querySelector('#suggestions button').click()")
        await page.wait(ANSWER)
        assert await page.js(f"{note}.hidden")

        bot.write(lambda db: db.execute("DELETE FROM placements WHERE adapter_id = 1"))
        await page.js("document.querySelector('#question').focus()")
        await page.type("And now?")
        await page.press("Enter", 13, "\r")
        await page.wait("document.querySelectorAll('.from-bot[aria-busy=false]').length === 2")

        said = "helpdesk@1 could not answer; the bare base did."
        assert await page.js(f"{note}.textContent") == said
        assert not await page.js(f"{note}.hidden")


async def test_two_blinded_answers_and_a_preference(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], body["model"].split("-")[0])
    bot.http("admin").post("/v1/experiments", json={"a": "1", "b": "2", "pairwise": 1.0})
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        await page.js("document.querySelector('#suggestions button').click()")
        await page.wait("document.querySelectorAll('.two .text').length === 2")
        shown = "[...document.querySelectorAll('.two .text')].map((t) => t.textContent)"
        assert sorted(await page.js(shown)) == ["helpdesk@1", "helpdesk@2"]
        assert await page.js("document.querySelectorAll('.adapter').length") == 0

        await page.js("document.querySelector('[data-prefer=second]').click()")
        await page.wait("document.querySelector('.two .said').textContent.includes('feedback')")
        pressed = "document.querySelector('[data-prefer=second]').getAttribute('aria-pressed')"
        assert await page.js(pressed) == "true"
        await page.js("document.querySelector('[data-prefer=tie]').click()")
        await page.wait(f"{pressed} === 'false'")

        assert page.complaints == []
    sql = "SELECT value, live FROM feedback WHERE kind = 'pairwise' ORDER BY id"
    assert list(bot.store.db.query(sql)) == [{"value": 0.0, "live": 0}, {"value": 0.5, "live": 1}]


async def test_a_returning_person_is_asked_once_whether_it_helped(bot: Bot) -> None:
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        await page.js("document.querySelector('#suggestions button').click()")
        await page.wait(ANSWER)
        assert await page.js("document.querySelector('.from-bot .helped').hidden") is True

        await page.open(bot.url)
        await page.wait("document.querySelector('.from-bot .helped:not([hidden])')")
        await page.js("document.querySelector('[data-helped=yes]').click()")
        await page.wait(f"{SAID} === 'Thank you.'")
        await page.open(bot.url)
        await page.wait(ANSWER)
        assert await page.js("document.querySelector('.from-bot .helped').hidden") is True

        assert page.complaints == []
    sql = "SELECT value FROM feedback WHERE kind = 'follow_up' AND live = 1"
    assert list(bot.store.db.query(sql)) == [{"value": 1.0}]
