"""A caller who disconnects cancels the request: the engine stops writing and the queue drops it.

Runs over the real HTTP service and a real vLLM, with an adapter whose answers end only at the token
limit. `benchmarks/cancellation.py` measures how fast the cancellation is.
"""

import asyncio
import re
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from data.config.settings import BotSettings, Settings
from data.people import keys
from tests import adapter_maker
from tests.bot.conftest import serving
from tests.conftest import RunningEngine, free_port, wait_until

pytestmark = pytest.mark.slow

DOMAIN = "cancelled"
TOKENS = 900  # the length of an answer: takes many seconds
SOON_S = 5.0  # allows for a busy machine; the benchmark requires half a second


@dataclass
class Service:
    settings: Settings
    engine: RunningEngine
    key: str
    model: str = ""

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.settings.bot.port}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60,
        )

    def body(self, **more: object) -> dict[str, object]:
        messages = [{"role": "user", "content": "Where is the key?"}]
        return {"model": self.model, "messages": messages, "max_tokens": TOKENS, **more}

    def running(self) -> float:
        """Requests that vLLM is answering."""
        with urllib.request.urlopen(f"{self.engine.url}/metrics") as answer:
            text = answer.read().decode()
        found = re.findall(r"^vllm:num_requests_running{.*} (\S+)$", text, re.MULTILINE)
        return sum(float(number) for number in found)

    def metric(self, name: str) -> float:
        """One of the bot's own gauges."""
        url = f"http://127.0.0.1:{self.settings.bot.port}/metrics"
        found = re.search(rf"^{name} (\S+)$", httpx.get(url).text, re.MULTILINE)
        assert found is not None
        return float(found[1])


@pytest.fixture(scope="module")
def service(engine: RunningEngine) -> Iterator[Service]:
    bot = BotSettings(port=free_port(), max_in_flight=1)
    settings = engine.settings.model_copy(update={"bot": bot})
    with engine.store.write() as db:
        secret = keys.create(db, "tests", "member", "cli:test")[1]
    subject = Service(settings, engine, secret)
    with serving(settings, threading.Event()):
        subject.model = asyncio.run(endless(subject))
        yield subject


async def endless(service: Service) -> str:
    """The name of an adapter whose answer ends only at the token limit."""
    async with service.client() as client:
        for seed in range(100, 130):
            tensors = adapter_maker.weights(seed=seed, scale=1.0)
            engine = service.engine
            made = adapter_maker.register(
                engine.store, engine.settings, DOMAIN, seed=seed, tensors=tensors
            )
            engine.wait_for(made)
            service.model = made.name
            answer = await client.post("/v1/chat/completions", json=service.body())
            if answer.json()["choices"][0]["finish_reason"] == "length":
                return made.name
    raise AssertionError("every random adapter ends its answers before the limit")


async def until(service: Service, count: int, what: str) -> None:
    await asyncio.to_thread(wait_until, lambda: service.running() == count, what, SOON_S)


async def test_leaving_a_stream_stops_the_engine(service: Service) -> None:
    async with service.client() as client:
        ask = client.stream("POST", "/v1/chat/completions", json=service.body(stream=True))
        async with ask as answer:
            async for _ in answer.aiter_bytes():
                break
            assert service.running() == 1
    await until(service, 0, "the engine to stop")


async def test_leaving_before_an_unstreamed_answer_stops_the_engine(service: Service) -> None:
    async with service.client() as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=service.body()))
        await until(service, 1, "the answer to start")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await until(service, 0, "the engine to stop")


async def test_leaving_the_queue_frees_its_place(service: Service) -> None:
    """One answer at a time: a question cancelled while it waits never reaches the engine."""
    async with service.client() as client, service.client() as other:
        first = asyncio.create_task(client.post("/v1/chat/completions", json=service.body()))
        await until(service, 1, "the first answer to start")
        second = asyncio.create_task(other.post("/v1/chat/completions", json=service.body()))

        def waiting(count: int) -> bool:
            return service.metric("understudy_questions_waiting") == count

        await asyncio.to_thread(wait_until, lambda: waiting(1), "the second to wait", SOON_S)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        await asyncio.to_thread(wait_until, lambda: waiting(0), "the queue to be empty", SOON_S)
        assert service.running() == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    await until(service, 0, "the engine to stop")
    assert service.metric("understudy_answers_in_flight") == 0
