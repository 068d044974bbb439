"""Fixtures of the tuning tests: a base model so small that a step takes milliseconds.

It has the pocket model's tokenizer and architecture and random weights, so its answers mean
nothing. `store` is a fresh store with one domain; `pair` makes a pair out of words.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from data import domains
from data.config.settings import (
    POCKET,
    BaseModelSettings,
    GateSettings,
    ServingSettings,
    Settings,
    TuningSettings,
)
from data.domains import Domain
from data.pairs import pairs
from data.pairs.pairs import Draft, Pair, Turn
from data.store.db import Store
from tuning.model import cpu_linear
from tuning.model.base_model import Base, load_base, load_tokenizer
from tuning.recipe.recipe import Recipe

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Qwen3 model of 0.4 million weights."""
    folder = tmp_path_factory.mktemp("tiny-base")
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(load_tokenizer(str(POCKET))),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=128,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    model.generation_config = GenerationConfig(eos_token_id=2, pad_token_id=0)
    model.save_pretrained(folder)
    for file in POCKET.glob("*"):
        if "token" in file.name or file.suffix == ".jinja":
            shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tiny_base: Path) -> object:
    return load_tokenizer(str(tiny_base))


@pytest.fixture
def base(tiny_base: Path) -> Base:
    """The tiny base in NF4, loaded afresh: adapters change the model they are put on."""
    return load_base(str(tiny_base), Recipe(), torch.device("cpu"))


@pytest.fixture
def four_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bases stay in four bits, as on a machine without memory for dense copies."""
    monkeypatch.setattr(cpu_linear, "free_bytes", lambda: 0)


@pytest.fixture
def settings(tmp_path: Path, tiny_base: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        base=BaseModelSettings(model=str(tiny_base)),
        gate=GateSettings(repeats=0.0),  # a few steps teach it nothing
        tuning=TuningSettings(threads=1),
        serving=ServingSettings(max_model_len=512),
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store(settings.store_path) as opened:
        yield opened


@pytest.fixture
def domain(store: Store) -> Domain:
    with store.write() as db:
        return domains.create(db, "helpdesk", system_prompt="Be brief.", validation_share=0.0)


@pytest.fixture
def pair() -> Callable[..., Pair]:
    """`pair("ask", "answer", id=3, ...)`: a pair that is in no store."""

    def make(prompt: str, response: str, *, id: int = 1, fact: str = "", **more: object) -> Pair:
        turns = tuple(Turn(*turn) for turn in more.pop("turns", ()))  # type: ignore[misc, attr-defined]
        draft = Draft(prompt, response, turns=turns, fact=fact)
        given = {
            "id": id,
            "domain_id": 1,
            "prompt": prompt,
            "response": response,
            "system": "",
            "turns": turns,
            "fact": fact or pairs.fact_of(response),
            "split": "auto",
            "source": "test",
            "source_ref": "",
            "author": "",
            "status": "approved",
            "fingerprint": pairs.fingerprint(draft),
            "created_at": 0,
        }
        return Pair(**(given | more))  # type: ignore[arg-type]

    return make


def teach(store: Store, domain: Domain, count: int, start: int = 0) -> list[int]:
    """Approve `count` simple pairs; returns their ids."""
    drafts = [
        Draft(f"What is the code of box {i}?", f"Box {i} opens with {i * 37 % 101}.")
        for i in range(start, start + count)
    ]
    with store.write() as db:
        return pairs.add(db, domain, drafts, source="test", status="approved").ids
