"""A fake vLLM, a client, and a store with a home folder, for tests that need no engine."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from data.config.settings import ServingSettings, Settings
from data.store.db import Store
from serving.client import EngineClient
from tests.serving.fake_vllm import FakeVllm, running


@pytest.fixture
def fake() -> Iterator[FakeVllm]:
    with running(FakeVllm()) as fake:
        yield fake


@pytest.fixture
async def client() -> AsyncIterator[EngineClient]:
    client = EngineClient()
    yield client
    await client.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, serving=ServingSettings(threads=1))


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store(settings.store_path) as store:
        yield store
