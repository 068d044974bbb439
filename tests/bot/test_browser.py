"""The browser of the tests: what it does while a page is being left."""

import asyncio

import pytest

from tests.bot import browser

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium here"),
]


async def test_a_page_that_is_left_is_no_failure_of_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with browser.page() as page:
        await page.open("data:text/html,<p>one</p>")
        await page.wait("document.querySelector('p')")
        unfinished = asyncio.create_task(page.js("document.p = 1, new Promise(() => 0)"))
        await page.wait("document.p")
        await page.send("Page.navigate", url="data:text/html,<b>two</b>")
        with pytest.raises(browser.PageLeft):
            await unfinished

        found = iter([browser.PageLeft(), True])

        async def js(expression: str) -> bool:
            if isinstance(value := next(found), Exception):
                raise value
            return bool(value)

        monkeypatch.setattr(page, "js", js)
        await page.wait("document.querySelector('b')")
