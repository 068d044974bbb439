"""GPU memory estimates agree with published figures of two models and grow as expected."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.gpu.memory import (
    GIB,
    Need,
    ServingPlan,
    TuningPlan,
    gib,
    kv_bytes,
    model_shape,
    serving_need,
    tuning_need,
)
from data.store.errors import Invalid
from tests.data.shapes import LLAMA_3_8B, QWEN_3_4B, shape_of, tensors

LLAMA, QWEN = shape_of(LLAMA_3_8B), shape_of(QWEN_3_4B)

tuning_plans = st.builds(
    TuningPlan,
    rank=st.sampled_from([8, 16, 32, 64, 128, 256]),
    modules=st.sampled_from([None, ("gate_proj", "up_proj", "down_proj"), ("q_proj",)]),
    micro_tokens=st.integers(16, 32_768),
    max_length=st.integers(64, 8_192),
    nf4=st.booleans(),
    dropout=st.booleans(),
    recompute=st.booleans(),
    packed=st.booleans(),
)
serving_plans = st.builds(
    ServingPlan,
    nf4=st.booleans(),
    bytes_a_number=st.sampled_from([2, 4]),
    max_model_len=st.integers(128, 65_536),
    max_loras=st.integers(1, 64),
    max_rank=st.sampled_from([8, 16, 32, 64, 128, 256]),
)


def part(need: Need, name: str) -> int:
    return next(p.nbytes for p in need.parts if p.name == name)


@pytest.mark.parametrize(
    ("shape", "parameters"), [(LLAMA, 8_030_261_248), (QWEN, 4_022_468_096)], ids=["llama", "qwen"]
)
def test_the_parameters_are_those_of_the_model_cards(shape, parameters):
    assert shape.parameters == parameters


@pytest.mark.parametrize(("shape", "weights"), [(LLAMA, 41_943_040), (QWEN, 33_030_144)])
def test_an_adapter_of_rank_16_has_the_weights_that_peft_prints(shape, weights):
    assert shape.lora_weights(16) == weights


def test_the_cache_of_a_token_is_that_of_the_published_models():
    """128 KiB and 144 KiB: 2 x layers x 8 heads x 128 x 2 bytes."""
    assert kv_bytes(LLAMA) == 128 * 1024
    assert kv_bytes(QWEN) == 144 * 1024


def test_a_base_in_nf4_is_as_large_as_the_published_file():
    """Llama 3 8B in NF4 with double quantisation is a file of 5.70 GB."""
    assert part(tuning_need(LLAMA, TuningPlan()), "base") == pytest.approx(5.70e9, rel=0.01)


def test_a_base_in_bfloat16_is_as_large_as_vllm_says():
    """vLLM's log of Llama 3 8B: the model takes 14.96 GiB."""
    need = serving_need(LLAMA, ServingPlan())
    assert gib(part(need, "base")) == "15.0 GiB"
    assert part(need, "base") / GIB == pytest.approx(14.96, abs=0.005)


def test_by_hand_an_adapter_takes_22_bytes_a_weight():
    need = tuning_need(LLAMA, TuningPlan(rank=16))
    assert part(need, "adapter") == 41_943_040 * 22


def test_by_hand_the_logits_of_a_pass():
    need = tuning_need(QWEN, TuningPlan(micro_tokens=2048))
    assert part(need, "logits") == 2048 * 151_936 * 10


def test_by_hand_the_activations_of_an_mlp_adapter():
    """One token in one block of Llama 3 8B, an adapter of rank 8 on the MLP, no dropout: norms of
    the block and of q and k in float32, four of attention's and three of the MLP's in half."""
    norms = (2 * 4096 + 4096 + 1024 + 2 + 32 + 8) * 4
    attention = 4 * 4096 * 2 + 32 * 4
    mlp = 3 * 14_336 * 2
    adapters = (4096 + 8 + 4096 + 8 + 14_336 + 8) * 2
    plan = TuningPlan(
        rank=8, modules=("gate_proj", "up_proj", "down_proj"), micro_tokens=1024, dropout=False
    )
    expected = (norms + attention + mlp + adapters) * 32 * 1024 * 1.1
    assert part(tuning_need(LLAMA, plan), "activations") == pytest.approx(expected, rel=1e-6)


def test_recomputing_keeps_one_block_and_the_inputs_of_the_others():
    whole, less = (tuning_need(LLAMA, TuningPlan(recompute=r)) for r in (False, True))
    inputs = 32 * 4096 * 4096 * 2
    expected = (part(whole, "activations") / 1.1 / 32 + inputs) * 1.1
    assert part(less, "activations") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("recompute", "layers"), [(False, 32), (True, 1)])
def test_by_hand_the_masks_of_packed_pairs(recompute, layers):
    """4,096 tokens in rows of 1,024: a byte each, and two in each layer that is remembered."""
    plan = TuningPlan(packed=True, recompute=recompute)
    assert part(tuning_need(LLAMA, plan), "masks") == 4096 * 1024 * (1 + 2 * layers)
    assert part(tuning_need(LLAMA, TuningPlan()), "masks") == 0


def test_adapter_slots_take_their_number_times_the_rank():
    need = serving_need(QWEN, ServingPlan(max_loras=3, max_rank=16))
    assert part(need, "adapters") == 3 * 33_030_144 * 2


def test_the_cache_is_in_whole_blocks():
    need = serving_need(QWEN, ServingPlan(max_model_len=1000), requests=2)
    assert part(need, "cache") == 2 * 1008 * 144 * 1024


@given(tuning_plans, st.sampled_from(["rank", "micro_tokens", "max_length"]), st.integers(2, 4))
def test_a_larger_run_never_needs_less(plan, key, times):
    larger = dataclasses.replace(plan, **{key: getattr(plan, key) * times})
    assert tuning_need(QWEN, larger).nbytes >= tuning_need(QWEN, plan).nbytes


@given(tuning_plans)
def test_four_bits_and_recomputing_never_need_more(plan):
    best = (("nf4", True), ("recompute", True), ("dropout", False), ("packed", False))
    for key, better in best:
        worse = dataclasses.replace(plan, **{key: not better})
        better_plan = dataclasses.replace(plan, **{key: better})
        assert tuning_need(LLAMA, better_plan).nbytes <= tuning_need(LLAMA, worse).nbytes


@given(
    serving_plans,
    st.sampled_from(["max_model_len", "max_loras", "max_rank", "batched_tokens", "sequences"]),
)
def test_a_larger_engine_never_needs_less(plan, key):
    larger = dataclasses.replace(plan, **{key: getattr(plan, key) * 2})
    assert serving_need(QWEN, larger).nbytes > serving_need(QWEN, plan).nbytes


@given(serving_plans, st.integers(1, 64))
def test_more_requests_need_exactly_their_cache_more(plan, requests):
    more = serving_need(QWEN, plan, requests + 1).nbytes - serving_need(QWEN, plan, requests).nbytes
    assert more == part(serving_need(QWEN, plan), "cache")


def test_a_part_says_where_it_comes_from():
    for need in (tuning_need(LLAMA, TuningPlan()), serving_need(LLAMA, ServingPlan())):
        assert all(p.why for p in need.parts)
        assert need.nbytes == sum(p.nbytes for p in need.parts)
    assert need.describe().startswith("base 15.0 GiB, ")


def test_a_nested_config_is_read():
    assert model_shape({"text_config": QWEN_3_4B}, tensors(QWEN_3_4B)) == QWEN


@pytest.mark.parametrize(
    ("config", "given_tensors", "words"),
    [
        (QWEN_3_4B, {"model.layers.0.a.qweight": ("I32", (8, 8))}, "stored quantised"),
        (QWEN_3_4B, {"model.layers.0.mlp.experts.1.up_proj.weight": ("BF16", (8, 8))}, "mixture"),
        ({}, tensors(QWEN_3_4B), "num_attention_heads"),
    ],
)
def test_unsupported_configurations_are_reported(config, given_tensors, words):
    with pytest.raises(Invalid, match=words):
        model_shape(config, given_tensors)
