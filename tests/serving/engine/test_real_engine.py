"""Serving end to end with a real vLLM (CPU build) and the pocket base model."""

import asyncio
import contextlib
import json
import os
import re
import signal
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from data.adapters import placements, registry
from data.adapters.registry import BASE_SERVED_NAME, Adapter
from data.store.clock import now_us
from data.store.db import insert
from data.store.errors import Invalid
from serving.adapters.sync import held_adapters
from serving.client import EngineClient, EngineDown, PromptTooLong, Sampling, StreamCut
from serving.engine import files, liveness
from serving.engine.liveness import Liveness
from serving.engine.management_api import healthy
from tests import adapter_maker
from tests.conftest import RunningEngine, wait_until

pytestmark = pytest.mark.slow

LONG = 400  # tokens: a few seconds of an answer
QUESTION = [{"role": "user", "content": "Where is the key?"}]


@pytest.fixture
async def client():
    client = EngineClient()
    yield client
    await client.close()


async def answer(
    client: EngineClient, engine: RunningEngine, served_name: str, max_tokens: int = 12
) -> str:
    stream = client.stream(engine.url, served_name, QUESTION, Sampling(max_tokens), "test")
    return "".join([chunk.text async for chunk in stream])


@pytest.fixture(scope="module")
def pair(engine: RunningEngine) -> tuple[Adapter, Adapter]:
    """Two adapters that answer differently, loaded."""
    made = [adapter_maker.register(engine.store, engine.settings, seed=s) for s in (1, 2)]
    for adapter in made:
        engine.wait_for(adapter)
    return made[0], made[1]


@pytest.fixture(scope="module")
def endless(engine: RunningEngine) -> str:
    """The served name of an adapter that never ends its answer by itself."""

    async def ending(served_name: str) -> str | None:
        client = EngineClient()
        stream = client.stream(engine.url, served_name, QUESTION, Sampling(LONG), "test")
        reason = [chunk.finish_reason async for chunk in stream][-1]
        await client.close()
        return reason

    for seed in range(100, 130):
        tensors = adapter_maker.weights(seed=seed, scale=1.0)
        adapter = adapter_maker.register(engine.store, engine.settings, seed=seed, tensors=tensors)
        engine.wait_for(adapter)
        if asyncio.run(ending(adapter.served_name)) == "length":
            return adapter.served_name
        with engine.store.write() as db:
            db.execute("UPDATE adapters SET state = 'retired' WHERE id = ?", [adapter.id])
    raise AssertionError("no random adapter talks without an end")


async def test_adapters_and_the_base_answer_differently(client, engine, pair):
    names = [BASE_SERVED_NAME, pair[0].served_name, pair[1].served_name]
    assert len({await answer(client, engine, name) for name in names}) == 3


@pytest.mark.parametrize("rank", [4, 12])
async def test_ranks_between_the_engines_limits_are_served(client, engine, rank):
    """As the same adapter, filled up with zeros to the next limit, which the slot does anyway."""
    narrow, filled = adapter_maker.weights(rank=rank, seed=rank), [(0, 0), (0, 16 - rank)]
    wide = {
        name: np.pad(tensor, [(0, 16 - rank), (0, 0)] if ".lora_A." in name else filled)
        for name, tensor in narrow.items()
    }
    made = [
        adapter_maker.register(engine.store, engine.settings, rank=r, seed=rank, tensors=tensors)
        for r, tensors in ((rank, narrow), (16, wide))
    ]
    for adapter in made:
        engine.wait_for(adapter)

    said = [await answer(client, engine, adapter.served_name) for adapter in made]

    assert said[0] == said[1]
    assert said[0] != await answer(client, engine, BASE_SERVED_NAME)
    with engine.store.write() as db:
        for adapter in made:
            db.execute("UPDATE adapters SET state = 'retired' WHERE id = ?", [adapter.id])


async def test_the_base_is_right_in_a_batch_with_adapters(client, engine, pair):
    """vLLM's CPU build answers bare-base requests with an adapter; `base@0` does not suffer."""
    names = [BASE_SERVED_NAME, pair[0].served_name, pair[1].served_name]
    alone = {name: await answer(client, engine, name) for name in names}
    mixed = names * 6
    together = await asyncio.gather(*[answer(client, engine, name) for name in mixed])
    assert [alone[name] for name in mixed] == together


async def test_the_zero_adapter_answers_like_the_bare_base(client, engine):
    """All zeros change nothing: the same words as the engine's own base model."""
    assert await answer(client, engine, "base") == await answer(client, engine, BASE_SERVED_NAME)


async def test_a_promotion_is_served_within_a_second(client, engine, pair):
    began = time.monotonic()
    adapter = adapter_maker.register(engine.store, engine.settings, seed=3)
    engine.wait_for(adapter)
    assert time.monotonic() - began < 1.5
    assert await answer(client, engine, adapter.served_name)


def test_an_adapter_with_nan_never_reaches_the_engine(engine, pair):
    tensors = adapter_maker.weights(seed=4)
    next(iter(tensors.values()))[0, 0] = np.nan
    adapter = adapter_maker.register(engine.store, engine.settings, seed=4, tensors=tensors)
    wait_until(lambda: _failure(engine, adapter) != "", "the refusal")
    assert "NaN" in _failure(engine, adapter)
    assert adapter.served_name not in held_adapters(engine.url)
    with engine.store.write() as db:
        db.execute("UPDATE adapters SET state = 'rejected' WHERE id = ?", [adapter.id])


def _failure(engine: RunningEngine, adapter: Adapter) -> str:
    return "".join(p.error for p in placements.placements_of(engine.store.db, adapter.id))


async def test_a_stream_is_not_disturbed_by_a_load(client, engine, endless):
    """The words of an answer are the same whether or not adapters come meanwhile."""
    alone = await answer(client, engine, endless, max_tokens=LONG)
    overlapped = False
    for seed in (5, 6, 7):  # a busy machine may load too late for the answer
        running = asyncio.create_task(answer(client, engine, endless, max_tokens=LONG))
        await asyncio.to_thread(wait_until, lambda: _running(engine) == 1, "the answer's begin", 5)
        adapter = await asyncio.to_thread(
            adapter_maker.register, engine.store, engine.settings, seed=seed, rank=16
        )
        await asyncio.to_thread(engine.wait_for, adapter)
        overlapped = overlapped or not running.done()
        assert await running == alone
        if overlapped:
            break
    assert overlapped


async def test_an_unwanted_adapter_stays_while_it_answers(client, engine):
    adapter = adapter_maker.register(engine.store, engine.settings, seed=6)
    engine.wait_for(adapter)
    with engine.store.write() as db:
        conversation = insert(
            db,
            "conversations",
            domain_id=adapter.domain_id,
            thread="test:1",
            person="test:1",
            created_at=now_us(),
        )
        db.execute(
            "INSERT INTO replies (id, conversation_id, domain_id, person, adapter_id, replica, "
            "status, created_at, opened_at) "
            "VALUES ('r1', ?, ?, 'test:1', ?, 'local-1', 'streaming', ?, ?)",
            [conversation, adapter.domain_id, adapter.id, now_us(), now_us()],
        )
        db.execute("UPDATE adapters SET state = 'retired' WHERE id = ?", [adapter.id])
    wait_until(lambda: not engine.holds(adapter), "nobody new to be sent there")
    time.sleep(2.5)
    assert adapter.served_name in held_adapters(engine.url)
    with engine.store.write() as db:
        db.execute("UPDATE replies SET status = 'done'")
    wait_until(lambda: adapter.served_name not in held_adapters(engine.url), "the unloading", 30)


async def test_closing_the_generator_stops_the_engine(client, engine, endless):
    before = _generated(engine)
    stream = client.stream(engine.url, endless, QUESTION, Sampling(LONG), "test")
    async with contextlib.aclosing(stream):
        await anext(stream)
    await asyncio.to_thread(wait_until, lambda: _running(engine) == 0, "the abort", 2)
    assert _generated(engine) - before < LONG / 2


async def test_cancelling_the_reader_stops_the_engine(client, engine, endless):
    before = _generated(engine)
    task = asyncio.create_task(answer(client, engine, endless, max_tokens=LONG))
    await asyncio.to_thread(wait_until, lambda: _running(engine) == 1, "the answer's begin", 2)
    task.cancel()
    await asyncio.to_thread(wait_until, lambda: _running(engine) == 0, "the abort", 2)
    assert _generated(engine) - before < LONG


async def test_a_prompt_beyond_the_context_says_so(client, engine):
    messages = [{"role": "user", "content": "key " * 3000}]
    stream = client.stream(engine.url, BASE_SERVED_NAME, messages, Sampling(5), "test")
    with pytest.raises(PromptTooLong, match="at most 1024") as caught:
        await anext(stream)
    assert caught.value.limit == 1024


def test_its_sockets_are_in_a_folder_that_is_deleted_with_it(engine):
    replica = placements.ready(engine.store.db)[0].name
    folder = files.sockets(engine.settings.home, int(replica.removeprefix(placements.OURS)))
    assert [file.is_socket() for file in folder.iterdir()] == [True] * 3


async def test_a_crash_cuts_the_stream_and_the_restarted_engine_has_every_adapter(
    client, engine, pair, endless
):
    """SIGKILL in mid-answer: the reader is told, nothing is orphaned, and all comes back."""
    group = engine.pid()
    stream = client.stream(engine.url, endless, QUESTION, Sampling(LONG), "test")
    await anext(stream)
    await asyncio.to_thread(engine.kill)
    with pytest.raises(StreamCut):
        async for _ in stream:
            pass
    with pytest.raises(EngineDown):
        await answer(client, engine, pair[0].served_name)
    wait_until(lambda: not _group_lives(group), "the end of the whole group", 5)
    assert placements.loaded(engine.store.db) == {}
    await asyncio.to_thread(engine.wait_ready)
    for adapter in registry.wanted_adapters(engine.store.db):
        assert engine.holds(adapter)
    assert await answer(client, engine, pair[1].served_name)


async def test_an_engine_whose_core_hangs_is_started_again(
    client, engine, pair, endless, monkeypatch
):
    """SIGSTOP to the core in mid-answer: the server is healthy, and nobody gets a word."""
    monkeypatch.setattr(Liveness, "_wait", lambda self, _: setattr(self, "_due", 0.0))
    probe = liveness.probe
    monkeypatch.setattr(liveness, "probe", lambda url, _, *more: probe(url, 5.0, *more))
    group, core = engine.pid(), _core(engine)
    stream = client.stream(engine.url, endless, QUESTION, Sampling(LONG), "test")
    await anext(stream)
    os.kill(core, signal.SIGSTOP)
    try:
        assert healthy(engine.url)
        with pytest.raises(StreamCut):
            async for _ in stream:
                pass
        wait_until(lambda: not _group_lives(group), "the end of the whole group", 5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(core, signal.SIGCONT)
    wait_until(lambda: "hung (it wrote no token in 5 s)" in _detail(engine), "the cause", 30)
    await asyncio.to_thread(engine.wait_ready)
    assert engine.pid() != group
    assert await answer(client, engine, pair[1].served_name)


def _core(engine: RunningEngine) -> int:
    """The process of vLLM's core: a child of its API server."""
    children = Path(f"/proc/{engine.pid()}/task/{engine.pid()}/children").read_text().split()
    for child in children:
        if b"EngineCore" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError(f"no core among {children}")


def _detail(engine: RunningEngine) -> str:
    return " ".join(r.detail for r in placements.replicas(engine.store.db))


def _group_lives(group: int | None) -> bool:
    assert group is not None
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _metric(engine: RunningEngine, name: str) -> float:
    with urllib.request.urlopen(f"{engine.url}/metrics") as answer:
        text = answer.read().decode()
    found = re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE)
    return sum(float(number) for number in found)


def _generated(engine: RunningEngine) -> float:
    return _metric(engine, "vllm:generation_tokens_total")


def _running(engine: RunningEngine) -> float:
    return _metric(engine, "vllm:num_requests_running")


async def test_an_answer_follows_a_schema(client, engine, endless):
    """The grammar, not the adapter, decides: this one would never end by itself."""
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["run", "pair"]}, "sure": {"type": "boolean"}},
        "required": ["kind", "sure"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    for name in (BASE_SERVED_NAME, endless):
        sampling = Sampling(60, response_format=form)
        stream = client.stream(engine.url, name, QUESTION, sampling, "test")
        chunks = [chunk async for chunk in stream]
        said = json.loads("".join(chunk.text for chunk in chunks))
        assert said["kind"] in ("run", "pair")
        assert said["sure"] in (True, False)
        assert chunks[-1].finish_reason == "stop"


async def test_any_json_begins_with_a_bracket(client, engine, endless):
    sampling = Sampling(12, response_format={"type": "json_object"})
    stream = client.stream(engine.url, endless, QUESTION, sampling, "test")
    assert "".join([chunk.text async for chunk in stream]).lstrip().startswith("{")


async def test_a_schema_that_is_not_one_is_refused(client, engine):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}
    sampling = Sampling(12, response_format=form)
    with pytest.raises(Invalid):
        await anext(client.stream(engine.url, BASE_SERVED_NAME, QUESTION, sampling, "test"))


async def test_a_bias_decides_the_token(client, engine):
    said = []
    for token in ("300", "301", "300"):
        sampling = Sampling(1, logit_bias={token: 100.0}, logprobs=2)
        stream = client.stream(engine.url, BASE_SERVED_NAME, QUESTION, sampling, "test")
        said += [told for chunk in [c async for c in stream] for told in chunk.logprobs]
    assert said[0]["token"] == said[2]["token"] != said[1]["token"]


async def test_log_probabilities_are_told_of_every_token(client, engine, pair):
    sampling = Sampling(5, logprobs=3)
    stream = client.stream(engine.url, pair[0].served_name, QUESTION, sampling, "test")
    chunks = [chunk async for chunk in stream]
    told = [entry for chunk in chunks for entry in chunk.logprobs]
    assert len(told) == chunks[-1].completion_tokens
    assert all(entry["logprob"] <= 0 and len(entry["top_logprobs"]) == 3 for entry in told)
    text = b"".join(bytes(entry["bytes"] or ()) for entry in told).decode()
    assert text.startswith("".join(chunk.text for chunk in chunks))
