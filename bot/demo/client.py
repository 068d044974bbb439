"""A small HTTP client that sends the same requests as `curl` or an OpenAI client."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from data.store.errors import UnderstudyError


@dataclass
class DemoAnswer:
    text: str
    adapter: str
    reply_id: str
    finish_reason: str
    outcome: str = ""
    sources: tuple[str, ...] = ()  # the questions of the pairs that it rests on


@dataclass
class Client:
    """Sends requests to a running bot with one API key."""

    session: aiohttp.ClientSession
    address: str
    key: str

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON of a response. Raises UnderstudyError with the server's message."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        async with self.session.request(
            method,
            self.address + path,
            data=None if body is None else orjson.dumps(body),
            headers=headers,
        ) as response:
            found = orjson.loads(await response.read() or b"{}")
            if response.status >= 400:
                raise UnderstudyError(f"{method} {path}: {found['error']['message']}")
            return found

    async def ask(self, model: str, question: str, user: str = "demo") -> DemoAnswer:
        """Ask one question, without streaming."""
        found = await self.call("POST", "/v1/chat/completions", _body(model, question, user))
        choice = found["choices"][0]
        answer = DemoAnswer(choice["message"]["content"], "", found["id"], choice["finish_reason"])
        _read_about(answer, found["understudy"])
        return answer

    async def stream(self, model: str, question: str, user: str = "demo") -> DemoAnswer:
        """Ask one question with streaming. Raises UnderstudyError when it is interrupted."""
        answer, ended = DemoAnswer("", "", "", ""), False
        async for event in self._events(_body(model, question, user) | {"stream": True}):
            if event == "[DONE]":
                ended = True
                continue
            chunk = orjson.loads(event)
            if "error" in chunk:
                raise UnderstudyError(chunk["error"]["message"])
            answer.reply_id = chunk["id"]
            if "understudy" in chunk:
                _read_about(answer, chunk["understudy"])
            for choice in chunk["choices"]:
                answer.text += choice["delta"].get("content") or ""
                answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
        if not ended or not answer.finish_reason:
            raise UnderstudyError("A stream ended before the answer was complete.")
        return answer

    async def wait_until_healthy(self, timeout_s: float) -> None:
        """Wait until /health reports that the service is ready."""
        await self._wait_for(lambda status: status == 200, timeout_s)

    async def wait_until_listening(self, timeout_s: float) -> None:
        """Wait until the bot responds, even if it has no engine yet."""
        await self._wait_for(lambda _: True, timeout_s)

    async def _wait_for(self, ready: Callable[[int], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                async with self.session.get(self.address + "/health") as response:
                    if ready(response.status):
                        return
            except aiohttp.ClientError:
                pass  # not listening yet
            await asyncio.sleep(0.2)
        raise UnderstudyError(f"{self.address}/health was not ready within {timeout_s:.0f} s.")

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[str]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        async with self.session.post(
            self.address + "/v1/chat/completions", data=orjson.dumps(body), headers=headers
        ) as response:
            if response.status != 200:
                raise UnderstudyError(orjson.loads(await response.read())["error"]["message"])
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield line[6:].strip().decode()


def _read_about(answer: DemoAnswer, about: dict[str, Any]) -> None:
    answer.adapter = about["adapter"] or ""
    answer.outcome = about["outcome"]
    answer.sources = tuple(source["prompt"] for source in about["sources"])


def _body(model: str, question: str, user: str) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "user": user,
        "max_tokens": 80,
    }
