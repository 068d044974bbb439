"""The grouped LoRA operations in a real engine, beside one that uses vLLM's own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data.adapters import placements
from data.adapters.registry import ReferenceOutput
from data.config.settings import ServingSettings, Settings
from serving.adapters import base_check, reference_check
from serving.adapters.sync import load
from serving.engine.management_api import ask
from tests import adapter_maker
from tests.conftest import ALONE, RunningEngine, free_port, running_engine

pytestmark = pytest.mark.slow

PROMPTS = ([5, 60, 200, 31, 77, 12, 400], list(range(100, 160)))  # token ids
TOKENS = 20
NEAR_TIE = 0.3  # nats; two types of rounding may prefer either of such tokens
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    serving = ServingSettings(port=free_port(), threads=1, lora_operations="stock")
    home = tmp_path_factory.mktemp("stock-home")
    with running_engine(Settings(home=home, serving=serving, answers=ALONE)) as running:
        yield running


def replica(engine: RunningEngine) -> placements.Replica:
    return placements.ready(engine.store.db)[0]


def said(engine: RunningEngine, name: str) -> list[ReferenceOutput]:
    """What the engine continues each prompt with, alone."""
    body = {"model": name, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    found = []
    for prompt in PROMPTS:
        answer = ask(
            f"{engine.url}/v1/completions", body | {"prompt": prompt, "return_token_ids": True}
        )
        found.append(
            ReferenceOutput(None, tuple(prompt), tuple(answer["choices"][0]["token_ids"]), 0.0)
        )
    return found


def test_the_same_tokens_as_with_vllms_own(
    engine: RunningEngine, stock: RunningEngine, tmp_path: Path
) -> None:
    """What vLLM's own operations answer alone, the grouped ones answer while all adapters and the
    bare base share their batches; only between near ties may rounding decide differently."""
    assert (replica(engine).lora_problem, replica(engine).base_name) == ("", "base"), (
        "the plugin is an entry point of this package: `make install`"
    )
    assert replica(stock).base_name == "base@0"
    names = ["base"]
    for seed in (21, 22, 23):
        tensors = adapter_maker.weights(seed=seed, rank=16, scale=0.1, modules=MODULES)
        folder = adapter_maker.write(
            tmp_path / str(seed), rank=16, tensors=tensors, target_modules=list(MODULES)
        )
        names.append(f"direct-{seed}")
        for one in (engine, stock):
            load(one.url, names[-1], folder)
    alone = {name: said(stock, name) for name in names}
    assert len({str(answers) for answers in alone.values()}) == len(names)  # they differ

    with ThreadPoolExecutor(2 * len(names)) as pool:
        compared = list(
            pool.map(
                lambda name: reference_check.compare(
                    engine.url, name, alone[name], reference_check.PROBES
                ),
                names * 2,
            )
        )

    for name, one in zip(names * 2, compared, strict=True):
        assert one is not None, name
        assert one.agreement > 0.8, name
        assert all(lead is not None and lead < NEAR_TIE for lead in one.leads), (name, one)


def test_the_check_of_the_bare_base(engine: RunningEngine, stock: RunningEngine) -> None:
    """It passes with the grouped operations, and fails with vLLM's own, which give a request for
    the bare base another adapter."""
    for one, right in ((engine, True), (stock, False)):
        slots = replica(one).max_loras
        assert base_check.bare_base_is_right(one.url, one.settings, slots) is right
