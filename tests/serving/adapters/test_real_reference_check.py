"""Tuned adapters on real engines: the engines reproduce the reference outputs of training.

Besides the session's engine (base in bf16) one with the base in NF4 is started, as
`[serving] quantization = "bitsandbytes"` does.
"""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from data import domains
from data.adapters import files, placements, registry
from data.adapters.registry import BASE_SERVED_NAME, Adapter
from data.config.settings import ServingSettings, Settings
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.runs import runs
from data.store.db import Store
from serving import serve
from serving.adapters.reference_check import agreement
from serving.adapters.sync import load, unload
from serving.client import EngineClient, Sampling
from serving.engine.management_api import ask
from tests.conftest import RunningEngine, free_port, wait_until
from tuning.child_process import ExitCode
from tuning.evaluation.reference_outputs import answer_logprobs
from tuning.model.base_model import load_base
from tuning.recipe.recipe import Recipe
from tuning.worker.child import execute_run

pytestmark = pytest.mark.slow

SYSTEM = "Be brief."
QUICK = {"max_steps": 60, "epochs": 1000, "evaluations": 1, "batch_size": 8}
THINGS = ("lamp", "rope", "drum", "coat", "knife", "map", "bell", "cup")
COLOURS = ("red", "green", "white", "black", "blue", "yellow", "grey", "brown")


@dataclass(frozen=True)
class Taught:
    adapter: Adapter
    question: str
    answer: str


def tune(store: Store, settings: Settings, name: str, place: str, shift: int) -> Taught:
    """An adapter that knows where eight things are, by a run like any other."""
    drafts = [
        Draft(
            f"Where is the {thing}?",
            f"The {thing} is in the {COLOURS[(i + shift) % len(COLOURS)]} {place}.",
        )
        for i, thing in enumerate(THINGS)
    ]
    with store.write() as db:
        domain = domains.create(db, name, system_prompt=SYSTEM, validation_share=0.0)
        pairs.add(db, domain, drafts, source="test", status="approved")
        runs.request(db, domain, "ann", recipe=QUICK)
        run = runs.claim(db, "worker")
    assert run is not None
    assert execute_run(store, settings, run) == ExitCode.DONE
    return Taught(registry.get(store.db, f"{name}@1"), drafts[0].prompt, drafts[0].response)


@pytest.fixture(scope="module")
def two(engine: RunningEngine) -> tuple[Taught, Taught]:
    """Two adapters that answer the same questions differently, loaded."""
    made = (
        tune(engine.store, engine.settings, "reference-one", "box", 0),
        tune(engine.store, engine.settings, "reference-two", "tower", 3),
    )
    for taught in made:
        engine.wait_for(taught.adapter)
    return made


async def said(url: str, served_name: str, question: str) -> str:
    client = EngineClient()
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    stream = client.stream(url, served_name, messages, Sampling(24), "test")
    text = "".join([chunk.text async for chunk in stream])
    await client.close()
    return text


def test_a_tuned_adapter_reproduces_its_reference_outputs(engine, two):
    for taught in two:
        assert len(taught.adapter.canaries) == 4
        found = agreement(engine.url, taught.adapter.served_name, taught.adapter.canaries)
        assert found is not None
        assert found >= 0.97


def test_the_bare_base_does_not_reproduce_them(engine, two):
    found = agreement(engine.url, BASE_SERVED_NAME, two[0].adapter.canaries)
    assert found is not None
    assert found < 0.4


def test_an_adapter_with_the_same_phrases_and_other_facts_does_not_reproduce_them(engine, two):
    """The hardest to tell: both say `The lamp is in the ...`."""
    found = agreement(engine.url, two[1].adapter.served_name, two[0].adapter.canaries)
    assert found is not None
    assert found < engine.settings.serving.canary_agreement - 0.1


def negated(tensors):
    return {k: -v if ".lora_B." in k else v for k, v in tensors.items()}


def layers_reversed(tensors):
    numbers = sorted({int(k.split(".layers.")[1].split(".")[0]) for k in tensors})
    swap = dict(zip(numbers, reversed(numbers), strict=True))
    return {
        f"{head}.layers.{swap[int(tail.split('.')[0])]}.{tail.split('.', 1)[1]}": v
        for (head, tail), v in ((k.split(".layers."), v) for k, v in tensors.items())
    }


def zeroed(tensors):
    return {k: np.zeros_like(v) for k, v in tensors.items()}


def spoilt(folder: Path, into: Path, change) -> Path:
    """A copy whose weights are others, finite and well-shaped."""
    shutil.copytree(folder, into)
    file = into / files.WEIGHTS
    save_file(change(load_file(file)), file)
    return into


@pytest.mark.parametrize("change", [negated, layers_reversed, zeroed])
def test_plausible_but_wrong_weights_are_detected(engine, two, tmp_path, change):
    adapter = two[0].adapter
    folder = spoilt(adapter.folder(engine.settings.home), tmp_path / "copy", change)
    files.check(
        folder,
        base=engine.settings.base.path,
        base_model=engine.settings.base.model,
        max_rank=512,
    )
    load(engine.url, "spoilt", folder)  # a name that no registry has, so nobody takes it away
    try:
        found = agreement(engine.url, "spoilt", adapter.canaries)
    finally:
        unload(engine.url, "spoilt")
    assert found is not None
    assert found < engine.settings.serving.canary_agreement


def test_an_adapter_that_fails_its_reference_outputs_is_kept_from_people(engine, two):
    """In the registry with weights that have their own digest: only the canaries tell."""
    right = two[0].adapter
    path = f"adapters/reference-one/2-{'0' * 12}"
    folder = spoilt(right.folder(engine.settings.home), engine.settings.home / path, negated)
    with engine.store.write() as db:
        wrong = registry.register(
            db,
            domains.get(db, "reference-one"),
            version=2,
            sha256=files.digest(folder),
            path=path,
            base_model=right.base_model,
            rank=right.rank,
            size_bytes=right.size_bytes,
            recipe={},
            scores={},
            canaries=right.canaries,
        )

    def failed() -> list[placements.Placement]:
        rows = placements.placements_of(engine.store.db, wrong.id)
        return [p for p in rows if p.state == "failed"]

    wait_until(lambda: bool(failed()), "the refusal")
    assert "answers differently" in failed()[0].error
    assert not engine.holds(wrong)
    with engine.store.write() as db:
        db.execute("UPDATE adapters SET state = 'rejected' WHERE id = ?", [wrong.id])


@pytest.fixture(scope="module")
def nf4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningEngine, Taught]]:
    """An engine with the base in NF4 that holds a tuned adapter."""
    home = tmp_path_factory.mktemp("nf4-home")
    serving = ServingSettings(port=free_port(), threads=1, quantization="bitsandbytes")
    settings = Settings(home=home, serving=serving)
    stop = threading.Event()
    with Store(settings.store_path) as store:
        taught = tune(store, settings, "helpdesk", "box", 0)
        thread = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
        thread.start()
        try:
            running = RunningEngine(settings, store)
            wait_until(lambda: running.ready() or not thread.is_alive(), "the engine", 120)
            assert running.ready(), "the engine did not start; see what pytest captured"
            running.wait_for(taught.adapter)
            yield running, taught
        finally:
            stop.set()
            thread.join()


def test_the_base_is_rounded_as_in_training(nf4):
    """Same type, blocks and double quantisation: the bare base's numbers are those of the
    trainer's NF4 base, and visibly not those of the base in bf16."""
    engine, taught = nf4
    prompt = taught.adapter.canaries[0].prompt
    body = {
        "model": BASE_SERVED_NAME,
        "prompt": [list(prompt)],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 20,
        "return_tokens_as_token_ids": True,
    }
    (choice,) = ask(f"{engine.url}/v1/completions", body)["choices"]
    (top,) = choice["logprobs"]["top_logprobs"]

    def apart(quantization: Literal["nf4", "none"]) -> float:
        """Mean difference to the trainer's numbers, in nats."""
        base = load_base(engine.settings.base.path, Recipe(quantization=quantization))
        logprobs = answer_logprobs(base, base.model.eval(), prompt, (0,))[0]
        told = [(int(name.removeprefix("token_id:")), value) for name, value in top.items()]
        return sum(abs(float(logprobs[token]) - value) for token, value in told) / len(told)

    assert len(top) == 20
    assert apart("nf4") < 0.3 * apart("none")


def test_the_nf4_base_reproduces_the_reference_outputs(nf4):
    engine, taught = nf4
    adapter = taught.adapter
    assert agreement(engine.url, adapter.served_name, adapter.canaries) == 1
    bare = agreement(engine.url, BASE_SERVED_NAME, adapter.canaries)
    assert bare is not None
    assert bare < 0.6


async def test_on_the_nf4_base_adapter_and_base_answer_together_as_alone(nf4):
    engine, taught = nf4
    name = taught.adapter.served_name
    alone = await said(engine.url, BASE_SERVED_NAME, taught.question)
    names = [name, BASE_SERVED_NAME] * 4

    together = await asyncio.gather(*[said(engine.url, n, taught.question) for n in names])

    assert together == [taught.answer, alone] * 4
    assert alone != taught.answer
