"""Exported adapters give the same answers in other programs as here."""

import json
import re
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from data.adapters import registry
from data.adapters.registry import Adapter
from data.adapters.safetensors_file import BadAdapter
from data.config.settings import BaseModelSettings, Settings
from data.domains import Domain
from data.store.db import Store
from data.store.errors import Conflict
from tests.tuning.adapters.test_importer import logits, peft_folder, stirred
from tests.tuning.families import FAMILIES, build
from tuning.adapters import exporter, importer, ollama, publish
from tuning.model import base_model
from tuning.recipe.recipe import Recipe


def made(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path, quantization: str = "nf4"
) -> Adapter:
    """An adapter that was trained on a base held as `quantization` says."""
    peft_folder(settings, tmp_path / "theirs", strength=0.3)
    adapter = importer.import_adapter(store, settings, domain, tmp_path / "theirs", "ann")
    with store.write() as db:
        db.execute("UPDATE adapters SET recipe = ?", [json.dumps({"quantization": quantization})])
    return registry.by_id(store.db, adapter.id)


def as_trained(settings: Settings, adapter: Adapter, quantization: Any = "nf4") -> Tensor:
    """What the trainer computes with the adapter."""
    base = base_model.load_base(
        settings.base.path, Recipe(quantization=quantization), torch.device("cpu")
    )
    tuned = base_model.continued_adapter(base, adapter.folder(settings.home))
    with base.precision():
        return logits(tuned.eval()).float()


def test_peft_s_form_is_loaded_by_peft_alone(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    expected = peft_folder(settings, tmp_path / "first", strength=0.3)
    adapter = made(store, settings, domain, tmp_path)

    exporter.write(settings, domain, adapter, "peft", tmp_path / "out")

    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert torch.equal(logits(loaded.eval()), expected)


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_merged_weights_give_the_results_of_base_and_adapter(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path, quantization: str
) -> None:
    adapter = made(store, settings, domain, tmp_path, quantization)

    exporter.write(settings, domain, adapter, "merged", tmp_path / "out")

    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    expected = as_trained(settings, adapter, quantization)
    assert merged.dtype == torch.bfloat16
    assert not hasattr(merged, "peft_config")
    found, bare = logits(merged).float(), bare_logits(settings)
    assert (found - expected).abs().max() < 0.02 * (bare - expected).abs().max()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (
        tokenizer.chat_template == AutoTokenizer.from_pretrained(settings.base.path).chat_template
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_every_family_is_merged(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path, family: str,
    quantization: Literal["nf4", "none"],
) -> None:  # fmt: skip
    """All linear layers, also those of GPT-2, which turn over when they are rounded."""
    path = str(build(family, tmp_path / "base"))
    settings = settings.model_copy(update={"base": BaseModelSettings(model=path)})
    recipe = Recipe(rank=8, quantization=quantization)
    tuned = stirred(
        base_model.new_adapter(base_model.load_base(path, recipe, torch.device("cpu")), recipe)
    )
    (tmp_path / "theirs").mkdir()
    publish.write_files(tmp_path / "theirs", tuned, path)
    adapter = importer.import_adapter(store, settings, domain, tmp_path / "theirs", "ann")
    with store.write() as db:
        db.execute("UPDATE adapters SET recipe = ?", [json.dumps({"quantization": quantization})])

    adapter = registry.by_id(store.db, adapter.id)
    exporter.write(settings, domain, adapter, "merged", tmp_path / "out")

    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    expected, bare = as_trained(settings, adapter, quantization), bare_logits(settings)
    assert (logits(merged).float() - expected).abs().max() < 0.06 * (bare - expected).abs().max()


def bare_logits(settings: Settings) -> Tensor:
    return logits(AutoModelForCausalLM.from_pretrained(settings.base.path).eval()).float()


def test_merging_into_the_4_bit_base_is_closer_than_into_the_bf16_base(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    """The rounding of the base is part of what the adapter learned to correct."""
    adapter = made(store, settings, domain, tmp_path)
    expected = as_trained(settings, adapter)
    for name, quantization in (("rounded", "nf4"), ("plain", "none")):
        with store.write() as db:
            recipe = json.dumps({"quantization": quantization})
            db.execute("UPDATE adapters SET recipe = ?", [recipe])
        again = registry.by_id(store.db, adapter.id)
        exporter.write(settings, domain, again, "merged", tmp_path / name)

    def distance(name: str) -> float:
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / name).eval()
        return float((logits(merged).float() - expected).abs().max())

    assert distance("rounded") < distance("plain") / 3


def rendered(template: str, system: str, prompt: str) -> str:
    """As Go's text/template renders it up to the answer, which is where Ollama begins to write."""
    shown = re.sub(
        r"\{\{ if \.System \}\}(.*?)\{\{ end \}\}",
        lambda m: m[1] if system else "",
        template,
        flags=re.DOTALL,
    )
    shown = shown.split("{{ .Response }}")[0]
    return shown.replace("{{ .System }}", system).replace("{{ .Prompt }}", prompt)


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_the_modelfile_renders_what_was_trained(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path, system: str, tokenizer: Any
) -> None:
    template = ollama.go_template(tokenizer)

    assert template is not None
    said = [{"role": "system", "content": system}] if system else []
    said.append({"role": "user", "content": "What is new?"})
    assert rendered(template, system, "What is new?") == tokenizer.apply_chat_template(
        said, tokenize=False, add_generation_prompt=True
    )


def test_the_modelfile_has_every_setting_that_affects_answers(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    adapter = made(store, settings, domain, tmp_path)

    exporter.write(settings, domain, adapter, "ollama", tmp_path / "out")

    lines = (tmp_path / "out" / "Modelfile").read_text()
    for words in (
        f"FROM {settings.base.path}\n",
        "ADAPTER .\n",
        'TEMPLATE """',
        'SYSTEM """Be brief."""\n',
        "PARAMETER temperature 0\n",
        "PARAMETER repeat_penalty 1\n",
        "PARAMETER num_ctx 512\n",
        'PARAMETER stop "<|im_end|>"\n',
    ):
        assert words in lines
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + "
    "'<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}"
)
GEMMA = (  # the system prompt is part of the first turn
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] "
    "+ '\n\n' %}{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages "
    "%}{% endif %}{% for m in rest %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' "
    "else m['role']) + '\n' + (first if loop.first else '') + m['content'] | trim + "
    "'<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}"
    "{% endif %}"
)
SHOUTING = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"


@pytest.mark.parametrize(("chat_template", "can"), [(LLAMA_3, 1), (GEMMA, 1), (SHOUTING, 0)])
def test_templates_of_other_families(tiny_base: Path, chat_template: str, can: bool) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = chat_template
    tokenizer.bos_token = "<|begin|>"

    template = ollama.go_template(tokenizer)

    assert (template is not None) == can
    if template is not None:
        for system in ("", "Be brief."):
            said = [{"role": "system", "content": system}] if system else []
            said.append({"role": "user", "content": "What is new?"})
            whole = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
            assert tokenizer.bos_token + rendered(template, system, "What is new?") == whole


def test_nothing_is_overwritten_and_nothing_half_done_is_left(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    adapter = made(store, settings, domain, tmp_path)
    (tmp_path / "out").mkdir()

    with pytest.raises(Conflict, match="exists already"):
        exporter.write(settings, domain, adapter, "peft", tmp_path / "out")

    spoiled = adapter.folder(settings.home) / "adapter_config.json"
    spoiled.chmod(0o644)
    spoiled.write_text(spoiled.read_text() + " ")
    with pytest.raises(BadAdapter, match="have changed"):
        exporter.write(settings, domain, adapter, "peft", tmp_path / "other")
    assert not (tmp_path / "other").exists()
