"""A real vLLM answers with adapters of every family that it supports.

Each family needs an engine of its own, one after the other: some twenty seconds each.
"""

import threading
from pathlib import Path

import pytest

from serving import serve
from serving.client import EngineClient, Sampling
from tests.conftest import RunningEngine, free_port, wait_until
from tests.tuning.families import FAMILIES
from tests.tuning.model.test_model_families import expected, question, tuned

SERVED = [name for name, family in FAMILIES.items() if family.served]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", SERVED)
async def test_vllm_answers_from_an_adapter_of_the_family(family: str, tmp_path: Path) -> None:
    """Trained on the base as it is served: a random base rounded to four bits is another one."""
    store, settings, adapter = tuned(family, tmp_path, quantization="none")
    serving = settings.serving.model_copy(update={"port": free_port(), "threads": 1})
    settings = settings.model_copy(update={"serving": serving})
    stop = threading.Event()
    thread = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
    with store:
        thread.start()
        try:
            engine = RunningEngine(settings, store)
            wait_until(lambda: engine.ready() or not thread.is_alive(), "the engine", 150)
            assert engine.ready(), "the engine did not start; see what pytest captured"
            engine.wait_for(adapter)
            said = [await answer(engine.url, adapter.served_name, number) for number in range(4)]
        finally:
            stop.set()
            thread.join()

    assert said == [expected(number) for number in range(4)]


async def answer(url: str, name: str, number: int) -> str:
    client = EngineClient()
    stream = client.stream(url, name, question(number), Sampling(40), "test")
    text = "".join([chunk.text async for chunk in stream])
    await client.close()
    return text.strip()
