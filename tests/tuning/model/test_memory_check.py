"""A run checks whether it fits in memory before it loads anything. The estimated activations are
compared with those that PyTorch keeps."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from data.config.settings import ServingSettings, Settings
from data.gpu import memory as gpu_memory
from data.gpu import memory_split, plans
from data.gpu.memory import GIB, TuningPlan, tuning_need
from data.gpu.memory_split import CannotFit
from data.store.errors import Unavailable
from tests import fake_nvidia_smi
from tests.data.shapes import LLAMA_3_8B, shape_of
from tuning.model import base_model, memory_check
from tuning.recipe.recipe import Recipe

LLAMA = shape_of(LLAMA_3_8B)


def sharing(tmp_path: Path, how: str, **changes: Any) -> Settings:
    serving = ServingSettings.model_validate({"gpu_sharing": how, **changes})
    return Settings(home=tmp_path, serving=serving)


@pytest.fixture
def recipe() -> Recipe:
    return Recipe.for_pairs(1000, base_parameters=LLAMA.parameters)


@pytest.mark.parametrize("pairs", [50, 1000, 50_000])
@pytest.mark.parametrize("parameters", [3_000_000, 8_000_000_000])
def test_the_reserved_memory_fits_every_default_recipe(pairs, parameters):
    chosen = Recipe.for_pairs(pairs, base_parameters=parameters)
    need = tuning_need(LLAMA, memory_check.plan_of(chosen, LLAMA))
    assert need.nbytes <= tuning_need(LLAMA, TuningPlan()).nbytes


def test_without_gpu_sharing_memory_is_not_checked(tmp_path, monkeypatch, recipe):
    monkeypatch.setenv("PATH", str(tmp_path))
    elsewhere = sharing(tmp_path, "split", url=("http://gpu-host:8000",))
    for settings in (Settings(home=tmp_path), elsewhere):
        assert memory_check.fitted(settings, recipe, {}, new=True) is recipe


def test_sharing_a_missing_gpu_is_reported(tmp_path, monkeypatch, recipe):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no NVIDIA card"):
        memory_check.fitted(sharing(tmp_path, "split"), recipe, {}, new=True)


@pytest.mark.parametrize("how", ["split", "sleep"])
def test_a_run_that_fits_is_left_as_it_is(tmp_path, monkeypatch, recipe, how):
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(80, 79))
    assert memory_check.fitted(sharing(tmp_path, how), recipe, {}, new=True) is recipe


def pocket_need(settings: Settings, recipe: Recipe) -> float:
    shape = plans.base_shape(settings)
    return tuning_need(shape, memory_check.plan_of(recipe, shape)).nbytes / GIB


def test_forward_passes_get_smaller_unless_their_size_is_set(tmp_path, monkeypatch, recipe):
    """The pocket base on a card of which another program leaves too little for the default."""
    settings = sharing(tmp_path, "sleep")
    free = pocket_need(settings, recipe) - 0.05
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(24, free))
    smaller = memory_check.fitted(settings, recipe, {}, new=True)
    assert smaller.micro_tokens < recipe.micro_tokens
    assert pocket_need(settings, smaller) <= free
    assert f"Forward passes of {smaller.micro_tokens:,} tokens" in smaller.why
    assert smaller.model_copy(update={"micro_tokens": recipe.micro_tokens, "why": recipe.why}) == (
        recipe
    )


@pytest.mark.parametrize(("method", "rows"), [("kto", 1), ("dpo", 2), ("sft+dpo", 2)])
def test_both_answers_of_a_pair_fit_into_a_pass(recipe, method, rows):
    """DPO compares them, so smaller passes than both would be a promise that it cannot keep."""
    asked = recipe.model_copy(update={"method": method, "micro_tokens": 64, "max_length": 512})
    assert memory_check.plan_of(asked, LLAMA).tokens == rows * 512


def test_a_size_that_was_asked_for_is_refused_with_one_that_fits(tmp_path, monkeypatch, recipe):
    settings = sharing(tmp_path, "sleep")
    asked = recipe.model_copy(update={"micro_tokens": 65_536})
    free = pocket_need(settings, recipe) + 0.05
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(24, free))
    with pytest.raises(CannotFit, match="ower micro_tokens from 65536 to") as refused:
        memory_check.fitted(settings, asked, {"micro_tokens": 65_536}, new=True)
    change = refused.value.change
    assert change is not None
    assert isinstance(change.plan, TuningPlan)
    works = asked.model_copy(update={"micro_tokens": change.plan.micro_tokens})
    assert memory_check.fitted(settings, works, {"micro_tokens": 1}, new=True) is works


def test_memory_in_use_counts_when_it_is_more_than_calculated(tmp_path, monkeypatch, recipe):
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(24, 0.1))
    with pytest.raises(CannotFit, match=r"0\.1 GiB of the card's 24\.0 GiB are free"):
        memory_check.fitted(sharing(tmp_path, "split"), recipe, {}, new=True)


def test_the_share_of_a_stopped_engine_is_left_free(tmp_path, monkeypatch, recipe):
    """The card is empty, and yet the run may not take it all."""
    settings = sharing(tmp_path, "split")
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(24, 24))
    shape = plans.base_shape(settings)
    share = memory_split.engine_share(shape, 24 * GIB, plans.engine_plan(settings))
    asked = recipe.model_copy(update={"micro_tokens": 65_536})
    assert (1 - share) * 24 < pocket_need(settings, asked) < 24
    with pytest.raises(CannotFit, match=rf"\({share:.0%}\)"):
        memory_check.fitted(settings, asked, {"micro_tokens": 65_536}, new=True)


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ("all-linear", None),
        ("mlp", ("gate_proj", "up_proj", "down_proj")),
        (("q_proj",), ("q_proj",)),
    ],
)
def test_target_modules_are_understood(modules, expected, recipe):
    asked = recipe.model_copy(update={"target_modules": modules})
    assert memory_check.plan_of(asked, LLAMA).modules == expected


@pytest.mark.parametrize(
    ("key", "part"), [("packing", "masks"), ("gradient_checkpointing", "activations")]
)
def test_what_changes_a_run_s_memory_changes_its_estimate(recipe, key, part):
    def bytes_of(asked):
        need = tuning_need(LLAMA, memory_check.plan_of(asked, LLAMA))
        return next(p.nbytes for p in need.parts if p.name == part)

    other = bytes_of(recipe.model_copy(update={key: True}))

    assert (other > bytes_of(recipe)) == (key == "packing")
    assert other != bytes_of(recipe)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modules", "packing"), [("all-linear", False), ("mlp", False), ("mlp", True)]
)
def test_the_estimate_is_what_pytorch_keeps_for_the_backward_pass(tmp_path, modules, packing):
    """Of the pocket base in NF4, with SDPA as on a GPU; without dropout, whose mask a CPU keeps in
    four bytes and a GPU in one."""
    estimate, found = estimated_and_kept(tmp_path, target_modules=modules, packing=packing)
    assert 0.98 <= estimate / found <= 1.2


@pytest.mark.slow
def test_gradient_checkpointing_keeps_the_estimated_memory(tmp_path):
    """The inputs of all layers, and what one of them keeps while it is computed again. Fragments'
    share is left out here; with it, the last norm's input is covered, too."""
    _, whole = estimated_and_kept(tmp_path)
    estimate, inputs = estimated_and_kept(tmp_path, gradient_checkpointing=True)
    layers = plans.base_shape(Settings(home=tmp_path)).layers
    assert 0.93 <= estimate / (inputs + whole / layers) <= 1.2


def estimated_and_kept(home: Path, **more: Any) -> tuple[float, int]:
    """Bytes that the arithmetic gives for the backward pass of a recipe, and that PyTorch keeps
    with the layers of a GPU."""
    asked = Recipe(rank=16, micro_tokens=1024, max_length=512, **more)
    settings = Settings(home=home)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(base_model.cpu_linear, "keep_dense", lambda *_: None)
        patched.setattr(base_model.cpu_norm, "use", lambda *_: None)
        patched.setattr(base_model.cpu_lora, "use", lambda *_: None)
        base = dataclasses.replace(
            base_model.load_base(settings.base.path, asked), dtype=torch.bfloat16
        )
        base.model.set_attn_implementation("sdpa")
        tuned = base_model.new_adapter(base, asked)
    tuned.train()
    if asked.gradient_checkpointing:
        base.model.gradient_checkpointing_enable({"use_reentrant": False})
    shape = plans.base_shape(settings)
    plan = memory_check.plan_of(asked, shape)
    parts = {p.name: p.nbytes for p in tuning_need(shape, plan).parts}
    copies = shape.lora_weights(16, plan.modules) * gpu_memory.HALF
    copies //= shape.layers if plan.recompute else 1
    estimate = parts["activations"] / (1 + gpu_memory.FRAGMENTS) + parts["masks"] + copies
    return estimate, kept_for_backward(base, tuned, tokens=1024, packed=asked.packing)


def kept_for_backward(base: base_model.Base, tuned: Any, tokens: int, *, packed: bool) -> int:
    """Bytes that a forward pass up to the last norm keeps, each piece of memory once."""
    own = {t.untyped_storage().data_ptr() for t in [*tuned.parameters(), *tuned.buffers()]}
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in own:
            kept[memory.data_ptr()] = memory.nbytes()
            alive.append(tensor)
        return tensor

    ids = torch.randint(10, 1000, (2, tokens // 2))
    quarter = torch.arange(tokens // 8).repeat(4)
    positions = quarter.expand(2, -1) if packed else None
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), base.precision():
        tuned.base_model.model.model(input_ids=ids, use_cache=False, position_ids=positions)
    return sum(kept.values())
