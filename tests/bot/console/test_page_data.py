"""A person's own data on the page, in a real browser."""

import pytest

from data.feedback import feedback
from tests.bot import browser
from tests.bot.conftest import Bot
from tests.data.privacy.test_erasure import in_files
from tests.serving.fake_vllm import words

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium here")

ANSWER = "document.querySelector('.from-bot:last-child[aria-busy=false] .text')"
SECRET = "xylophone"


def text(element: str) -> str:
    return f"document.getElementById('mine-{element}').textContent"


async def test_a_person_sees_and_deletes_their_data(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], f"The {SECRET} is upstairs.")
    async with browser.page() as page:
        await page.open(bot.url)
        await page.wait("document.querySelector('#suggestions button')")
        await page.type(f"Where is my {SECRET}?")
        await page.press("Enter", 13, "\r")
        await page.wait(ANSWER)
        (reply,) = bot.wait_closed()
        bot.write(lambda db: feedback.correction(db, reply.id, reply.person, "Below."))

        await page.js("document.getElementById('mine').click()")
        await page.wait(
            f"{text('figures')} === 'Stored: 1 question and the answers, 1 feedback entry.'"
        )
        await page.js("document.getElementById('mine-learning').click()")
        await page.wait(f"{text('said')} === '1 pending suggestion withdrawn.'")
        export = "fetch(document.getElementById('mine-export').href).then(r => r.text())"
        assert SECRET in await page.js(export)

        await page.js("document.getElementById('mine-forget').click()")
        assert await page.js("document.activeElement.id") == "mine-no"
        await page.js("document.getElementById('mine-yes').click()")
        await page.wait(f"{text('said')}.startsWith('Deleted: 2 messages, 1 rating')")
        assert await page.js("document.querySelectorAll('.message').length") == 0
        assert await page.js("document.getElementById('mine-learning').checked") is False
        assert page.complaints == []
    assert in_files(bot.store, SECRET) == []
