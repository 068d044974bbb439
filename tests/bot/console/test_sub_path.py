"""The web pages behind a reverse proxy that shows them under a path and strips it."""

import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from data.feedback import feedback
from tests.bot import browser
from tests.bot.conftest import Bot
from tests.serving.fake_vllm import words

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no Chromium here")

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@contextlib.asynccontextmanager
async def proxy(bot: Bot, path: str, headers: dict[str, str]) -> AsyncIterator[str]:
    """A reverse proxy that serves nothing but `path`; yields the address of the page."""

    async def forward(request: web.Request) -> web.StreamResponse:
        address = f"{bot.url}/{request.match_info['rest']}"
        sent = {n: v for n, v in request.headers.items() if n.lower() not in HOP_BY_HOP}
        sent |= {"X-Forwarded-For": str(request.remote)} | headers
        body = await request.read()
        asked = session.request(
            request.method, address, headers=sent, data=body, allow_redirects=False
        )
        async with asked as answer:
            kept = [(n, v) for n, v in answer.headers.items() if n.lower() not in HOP_BY_HOP]
            given = web.StreamResponse(status=answer.status)
            for name, value in kept:
                given.headers.add(name, value)
            await given.prepare(request)
            async for part in answer.content.iter_any():
                await given.write(part)
            return given

    app = web.Application()
    app.router.add_route("*", path + "/{rest:.*}", forward)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}{path}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-Prefix": "/tools/bot"}])
async def test_the_chat_works_under_a_path(bot: Bot, headers: dict[str, str]) -> None:
    bot.vllm.say = lambda body: words(body["model"], "One job.")
    async with proxy(bot, "/tools/bot", headers) as address, browser.page() as page:
        await page.open(address)
        await page.wait("document.querySelector('#suggestions button')")
        await page.js("document.querySelector('#suggestions button').click()")
        await page.wait("document.querySelector('.from-bot[aria-busy=false] .text')?.textContent")
        await page.js("document.querySelector('.thumb.up').click()")
        await page.wait("document.querySelector('.said').textContent === 'Thank you.'")
        await page.js("document.getElementById('mine').click()")
        await page.wait(
            "document.getElementById('mine-figures').textContent.includes('1 question')"
        )
        export = await page.js(
            "fetch(document.getElementById('mine-export').href).then((r) => r.status)"
        )
        await page.send("Page.reload")
        await page.wait("document.querySelectorAll('.message').length === 2")

        assert export == 200
        assert page.complaints == []
    assert feedback.counts(bot.store.db, 1)["up"] == 1
