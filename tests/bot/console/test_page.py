"""The web chat as a person uses it, in a real browser."""

from importlib.resources import files

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


async def ask(page: browser.Page, text: str) -> None:
    await page.js("document.getElementById('question').focus()")
    await page.type(text)
    await page.press("Enter", 13, "\r")


async def opened(page: browser.Page, bot: Bot) -> None:
    await page.open(bot.url)
    await page.wait("document.querySelector('#suggestions button')")


async def test_a_question_that_is_too_long_stays_in_the_composer(bot: Bot) -> None:
    long = "x" * (bot.settings.bot.max_prompt_chars + 1)
    async with browser.page() as page:
        await opened(page, bot)
        await page.js(f"document.getElementById('question').value = '{long}'")
        await page.js("document.getElementById('composer').requestSubmit()")
        await page.wait("!document.getElementById('refused').hidden")

        assert f"{len(long):,} characters" in await page.js(
            "document.getElementById('refused').textContent"
        )
        assert await page.js("document.getElementById('question').value.length") == len(long)
        assert await page.js("document.querySelectorAll('.message').length") == 0

        await page.js("document.getElementById('question').value = 'short'")
        await page.js("document.getElementById('composer').requestSubmit()")
        await page.wait(ANSWER)
        assert await page.js("document.getElementById('refused').hidden")


async def test_escape_stops_an_answer(bot: Bot) -> None:
    bot.vllm.say = lambda body: [*words(body["model"], "One")[:2], HANG]
    async with browser.page() as page:
        await opened(page, bot)
        await ask(page, "Why?")
        await page.wait("document.querySelector('.from-bot .text').textContent === 'One'")
        await page.press("Escape", 27)
        await page.wait(f"{SAID} === 'Stopped.'")

        assert [r.status for r in bot.wait_closed()] == ["cancelled"]


async def test_an_answer_can_be_regenerated_and_a_question_edited(bot: Bot) -> None:
    async with browser.page() as page:
        await opened(page, bot)
        await ask(page, "Why?")
        await page.wait(ANSWER)
        bot.vllm.say = lambda body: words(body["model"], "Another one.")
        await page.js("document.querySelector('.regenerate').click()")
        await page.wait(f"{ANSWER}?.textContent === 'Another one.'")
        assert bot.vllm.asked[-1]["messages"][-1]["content"] == "Why?"
        assert bot.vllm.asked[-1]["temperature"] >= 0.8
        assert await page.js("document.querySelectorAll('.from-person').length") == 1

        await page.js("document.querySelector('.edit').click()")
        assert await page.js("document.getElementById('question').value") == "Why?"
        assert await page.js("document.activeElement.id") == "question"


async def test_a_refused_regenerate_offers_no_retry_and_keeps_the_answer(bot: Bot) -> None:
    """The same request would be refused again; the question is fine and stays where it is."""
    async with browser.page() as page:
        await opened(page, bot)
        await ask(page, "Why?")
        await page.wait(ANSWER)
        bot.write(lambda db: db.execute("UPDATE replies SET person = 'web:another'"))
        await page.js("document.querySelector('.regenerate').click()")
        await page.wait("document.querySelector('.problem:not([hidden])')")
        assert "somebody else" in await page.js(
            "document.querySelector('.problem:not([hidden]) span').textContent"
        )
        retries = await page.js(
            "[...document.querySelectorAll('.problem:not([hidden]) .again')]"
            ".map((button) => button.offsetParent !== null)"
        )
        assert retries == [False], "there, but not shown"
        assert await page.js("document.getElementById('question').value") == ""
        assert await page.js("document.querySelectorAll('.from-person').length") == 1


async def test_the_chats_of_a_browser_are_listed_and_can_go_on(bot: Bot) -> None:
    async with browser.page() as page:
        await opened(page, bot)
        for text in ("First?", "Second?"):
            await page.js("document.getElementById('new').click()")
            await ask(page, text)
            await page.wait(ANSWER)
        await page.js("document.getElementById('chats').click()")
        await page.wait("document.querySelectorAll('#chats-list button').length === 2")
        listed = "[...document.querySelectorAll('#chats-list button')].map((b) => b.textContent)"
        assert await page.js(listed) == ["Second?", "First?"]

        await page.js("document.querySelectorAll('#chats-list button')[1].click()")
        await page.wait("document.querySelector('.from-person .text').textContent === 'First?'")
        await ask(page, "And then?")
        await page.wait("document.querySelectorAll('.from-bot[aria-busy=false]').length === 2")
    contents = [m["content"] for m in bot.vllm.asked[-1]["messages"] if m["role"] == "user"]
    assert contents == ["First?", "And then?"]


async def test_another_session_sees_no_foreign_chat_and_cannot_regenerate(bot: Bot) -> None:
    async with browser.page() as page:
        await opened(page, bot)
        await ask(page, "Mine?")
        await page.wait(ANSWER)
    reply_id = next(bot.store.db.query("SELECT id FROM replies"))["id"]
    async with browser.page() as page:
        await opened(page, bot)
        body = f"{{conversation: 'abcdefghij', regenerates: '{reply_id}'}}"
        status = await page.js(
            "fetch('/web/ask', {method: 'POST', headers: {'Content-Type': 'application/json'}, "
            f"body: JSON.stringify({body})}}).then((r) => r.status)"
        )
        assert status in (403, 404)
        chats = await page.js("fetch('/web/conversations').then((r) => r.json())")
        assert chats == {"conversations": []}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1100])
async def test_axe_finds_nothing(bot: Bot, dark: bool, width: int) -> None:
    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    found = "axe.run().then((r) => r.violations.map((v) => v.id + ': ' + v.nodes[0].html))"
    bot.vllm.say = lambda body: words(body["model"], "Run `this`:\n```\n" + "wide " * 90 + "\n```")
    async with browser.page() as page:
        await page.open(bot.url, width=width, dark=dark)
        await page.wait("document.querySelector('#suggestions button')")
        await page.js(f"{axe}; true")
        assert await page.js(found) == []
        for text in ("Why?", "And " + "then " * 400):
            await ask(page, text)
            await page.wait(ANSWER)
        await page.js("document.querySelector('.thumb.down').click()")
        assert await page.js(found) == []
        await page.js("document.getElementById('chats').click()")
        await page.wait("document.querySelector('#chats-list button')")
        assert await page.js(found) == []
