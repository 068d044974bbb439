"""Adapters of every family of causal language models are tuned, published and used for answers.

Here transformers answers with the adapters. In `test_served_model_families.py` vLLM does, for the
families whose adapters it serves.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.config.settings import BaseModelSettings, ServingSettings, Settings, TuningSettings
from data.runs import runs
from data.store.db import Store
from tests.tuning.conftest import teach
from tests.tuning.families import FAMILIES, build
from tuning.child_process import ExitCode
from tuning.data import examples
from tuning.model import base_model, greedy_answers
from tuning.recipe.recipe import Recipe
from tuning.worker.child import execute_run

ASKED = {"epochs": 100, "learning_rate": 1e-2, "rank": 16, "evaluations": 1, "batch_size": 4}


def tuned(family: str, home: Path, **recipe: Any) -> tuple[Store, Settings, Adapter]:
    """Four boxes, learned by rote through the real run."""
    settings = Settings(
        home=home / "home",
        base=BaseModelSettings(model=str(build(family, home / family))),
        tuning=TuningSettings(threads=1),
        serving=ServingSettings(max_model_len=384, port=8377),
    )
    store = Store(settings.store_path)
    with store.write() as db:
        domain = domains.create(db, "helpdesk", system_prompt="Be brief.", validation_share=0.0)
    teach(store, domain, 4)
    with store.write() as db:
        runs.request(db, domain, "ann", recipe=ASKED | recipe)
        run = runs.claim(db, "worker")
    assert run is not None
    code = execute_run(store, settings, run)
    assert code == ExitCode.DONE, runs.get(store.db, run.id).error
    return store, settings, registry.list_adapters(store.db)[0]


def question(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"What is the code of box {number}?"},
    ]


def expected(number: int) -> str:
    return f"Box {number} opens with {number * 37 % 101}."


def answers_of_transformers(settings: Settings, adapter: Adapter) -> list[str]:
    """As anybody would answer with the published files: a fresh base, PEFT, generate."""
    base = base_model.load_base(settings.base.path, Recipe(), torch.device("cpu"))
    with_adapter = PeftModel.from_pretrained(base.model, adapter.folder(settings.home)).eval()
    said = []
    for number in range(4):
        prompt = tuple(examples.prompt_ids(base.tokenizer, question(number)))
        (ids,) = greedy_answers.generate(base, with_adapter, [prompt], 40)
        said.append(base.tokenizer.decode([i for i in ids if i not in base.stops]).strip())
    return said


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_tuned_published_and_gives_the_trained_answers(
    family: str, tmp_path: Path
) -> None:
    store, settings, adapter = tuned(family, tmp_path)
    with store:
        said = answers_of_transformers(settings, adapter)

    assert said == [expected(number) for number in range(4)]
