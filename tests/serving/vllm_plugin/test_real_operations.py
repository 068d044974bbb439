"""The grouped LoRA operations in a real engine, beside one that uses vLLM's own."""

import asyncio

import pytest

from data.adapters import placements
from data.config.settings import ServingSettings, Settings
from serving.adapters import base_check
from serving.adapters.sync import load
from serving.client import EngineClient, Sampling
from tests import adapter_maker
from tests.conftest import ALONE, RunningEngine, free_port, running_engine

pytestmark = pytest.mark.slow

QUESTION = [{"role": "user", "content": "Where is the key?"}]
TOKENS = 24


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    serving = ServingSettings(port=free_port(), threads=1, lora_operations="stock")
    home = tmp_path_factory.mktemp("stock-home")
    with running_engine(Settings(home=home, serving=serving, answers=ALONE)) as running:
        yield running


def replica(engine: RunningEngine) -> placements.Replica:
    return placements.ready(engine.store.db)[0]


async def said(client: EngineClient, engine: RunningEngine, name: str) -> str:
    stream = client.stream(engine.url, name, QUESTION, Sampling(TOKENS), "test")
    return "".join([chunk.text async for chunk in stream])


async def test_the_same_tokens_as_with_vllms_own(engine, stock, tmp_path):
    """Token for token, alone and in batches, and the bare base among adapters as alone."""
    assert (replica(engine).lora_problem, replica(engine).base_name) == ("", "base"), (
        "the plugin is an entry point of this package: `make install`"
    )
    assert replica(stock).base_name == "base@0"
    names = []
    for seed in (21, 22, 23):
        folder = tmp_path / str(seed)
        modules = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
        tensors = adapter_maker.weights(seed=seed, rank=16, scale=0.2, modules=modules)
        adapter_maker.write(folder, rank=16, tensors=tensors, target_modules=list(modules))
        names.append(f"direct-{seed}")
        for one in (engine, stock):
            await asyncio.to_thread(load, one.url, names[-1], folder)
    client = EngineClient()
    try:
        mixed = ["base", *names] * 3
        alone = {name: await said(client, stock, name) for name in dict.fromkeys(mixed)}
        together = await asyncio.gather(*[said(client, engine, name) for name in mixed])
    finally:
        await client.close()
    assert len(set(alone.values())) == 4  # they answer differently
    assert together == [alone[name] for name in mixed]


def test_the_check_of_the_bare_base(engine, stock):
    """It passes with the grouped operations, and fails with vLLM's own, which give a request for
    the bare base another adapter."""
    for one, right in ((engine, True), (stock, False)):
        slots = replica(one).max_loras
        assert base_check.bare_base_is_right(one.url, one.settings, slots) is right
