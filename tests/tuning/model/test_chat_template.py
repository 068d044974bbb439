"""The chat template of training is saved with the adapter, and the engine renders the same."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from transformers import AddedToken

from data.adapters import registry
from data.bases import control_tokens
from data.config.settings import POCKET, Settings
from data.domains import Domain
from data.store.db import Store
from data.store.errors import Invalid
from tests.conftest import RunningEngine
from tests.tuning.conftest import teach
from tests.tuning.data.test_examples import Templated
from tests.tuning.worker.test_run import requested
from tuning.child_process import ExitCode
from tuning.data.examples import prompt_ids
from tuning.model import chat_template
from tuning.model.base_model import load_tokenizer
from tuning.worker.child import execute_run


def test_the_template_is_saved_with_the_adapter_and_a_changed_one_is_refused(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, 4)
    first = requested(store, domain)
    assert execute_run(store, settings, first) == ExitCode.DONE
    adapter = registry.list_adapters(store.db)[0]
    folder = adapter.folder(settings.home)

    kept = json.loads((folder / chat_template.FILE).read_bytes())

    assert kept["template"] == tokenizer.chat_template
    chat_template.check(folder, adapter.name, tokenizer)
    changed = Templated(tokenizer, tokenizer.chat_template + " ")
    with pytest.raises(Invalid, match="has changed since helpdesk@1 was trained"):
        chat_template.check(folder, adapter.name, changed)


def test_an_adapter_without_a_saved_template_is_accepted(tmp_path: Path, tokenizer: Any) -> None:
    chat_template.check(tmp_path, "helpdesk@1", tokenizer)


@pytest.mark.parametrize("added", [None, "<tool_call>"])
def test_the_front_end_knows_the_control_tokens_of_training(
    tiny_base: Path, tmp_path: Path, settings: Settings, added: str | None
) -> None:
    """From the files alone. Otherwise a pasted token would be harmless on one side only."""
    tokenizer = load_tokenizer(str(tiny_base))
    if added is not None:
        tokenizer.add_tokens([AddedToken(added, special=False)])
    tokenizer.save_pretrained(tmp_path)
    base = settings.base.model_copy(update={"model": str(tmp_path)})

    known = control_tokens.of_base(settings.model_copy(update={"base": base}))

    assert known == chat_template.control_tokens(tokenizer)
    assert {"<|im_start|>", "<|im_end|>"} | ({added} if added else set()) <= known


def test_a_base_that_is_elsewhere_is_taken_to_have_the_tokens_of_common_models(
    settings: Settings,
) -> None:
    base = settings.base.model_copy(update={"model": "nobody/nothing"})

    known = control_tokens.of_base(settings.model_copy(update={"base": base}))

    assert {"<|im_start|>", "[INST]", "<start_of_turn>"} <= known


@pytest.mark.slow
@pytest.mark.parametrize(
    "said",
    [
        [{"role": "user", "content": "Where is the key?"}],
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi\n\n  there"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "Grüße, 你好 🙂 `code`"},
        ],
    ],
)
def test_the_engine_renders_the_token_ids_of_training(
    engine: RunningEngine, said: list[dict[str, str]]
) -> None:
    answer = httpx.post(
        f"{engine.url}/tokenize",
        json={"model": "base@0", "messages": said, "add_generation_prompt": True},
    )

    assert answer.json()["tokens"] == prompt_ids(load_tokenizer(str(POCKET)), said)
