"""Sharing one card by a split of memory: the shares, and refusals with advice that works."""

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from data.gpu.memory import GIB, ServingPlan, TuningPlan, serving_need, tuning_need
from data.gpu.memory_split import ASLEEP, CannotFit, check_engine, check_run, engine_share, reserved
from tests.data.shapes import LLAMA_3_8B, QWEN_3_4B, shape_of

LLAMA, QWEN = shape_of(LLAMA_3_8B), shape_of(QWEN_3_4B)
models = st.sampled_from([LLAMA, QWEN])
cards = st.integers(4, 192).map(lambda n: n * GIB)
engines = st.builds(
    ServingPlan,
    nf4=st.booleans(),
    bytes_a_number=st.sampled_from([2, 4]),
    max_model_len=st.sampled_from([512, 1024, 2048, 8192, 32_768]),
    max_loras=st.integers(1, 32),
    max_rank=st.sampled_from([16, 64, 256]),
)
recipes = st.builds(
    TuningPlan,
    rank=st.sampled_from([8, 16, 64, 256]),
    modules=st.sampled_from([None, ("gate_proj", "up_proj", "down_proj")]),
    micro_tokens=st.sampled_from([512, 4096, 16_384, 32_768]),
    max_length=st.sampled_from([256, 1024, 4096]),
    nf4=st.booleans(),
)


@pytest.mark.parametrize(
    ("shape", "gib", "nf4", "share"),
    [
        (LLAMA, 80, False, 0.48),  # room for a run in bf16, in passes of 2,048 tokens
        (LLAMA, 80, True, 0.33),
        (LLAMA, 141, False, 0.55),
        (QWEN, 80, False, 0.38),
        (QWEN, 80, True, 0.44),
        (QWEN, 48, False, 0.37),
    ],
)
def test_the_engine_gets_what_a_run_leaves(shape, gib, nf4, share):
    assert check_engine(shape, gib * GIB, ServingPlan(nf4=nf4)) == share


def test_a_refusal_has_the_numbers():
    engine = int(80 * GIB * 0.85)
    with pytest.raises(CannotFit) as refused:
        check_run(LLAMA, 80 * GIB, engine, TuningPlan(micro_tokens=16_384), sharing="split")
    words = str(refused.value)
    assert words.startswith("Tuning needs about 185.0 GiB (activations 155.7 GiB, logits 19.6 GiB")
    assert "12.0 GiB of the card's 80.0 GiB are free next to the engine's 68.0 GiB (85%)" in words


def test_a_refusal_names_the_smaller_pass():
    with pytest.raises(CannotFit, match="Lower micro_tokens from 16384 to 4096") as refused:
        check_run(LLAMA, 80 * GIB, 26 * GIB, TuningPlan(micro_tokens=16_384), sharing="split")
    assert refused.value.change.plan.micro_tokens == 4096


def test_a_continued_adapter_keeps_its_rank():
    plan = TuningPlan(micro_tokens=1024, rank=256)
    need = tuning_need(LLAMA, plan).nbytes
    with pytest.raises(CannotFit, match="Lower rank from 256 to"):
        check_run(LLAMA, need, GIB, plan, sharing="sleep")
    with pytest.raises(CannotFit, match="smaller base model") as refused:
        check_run(LLAMA, need, GIB, plan, sharing="sleep", new=False)
    assert refused.value.change is None


def refusal(check: Callable[[], object]) -> CannotFit | None:
    try:
        check()
    except CannotFit as refused:
        return refused
    return None


@given(models, cards, engines)
@example(QWEN, 24 * GIB, ServingPlan())
def test_what_the_engine_gets_and_the_reserved_run_fit_together(shape, card, engine):
    assume(refusal(lambda: check_engine(shape, card, engine)) is None)
    share = check_engine(shape, card, engine)
    run = reserved(shape, card, engine)
    assert share * card + tuning_need(shape, run).nbytes <= card
    assert serving_need(shape, engine).nbytes <= share * card
    assert check_run(shape, card, int(share * card), run, sharing="split")


@given(models, cards, engines)
def test_advice_about_the_engine_works(shape, card, engine):
    refused = refusal(lambda: check_engine(shape, card, engine))
    if refused is None:
        return
    if refused.change is None:
        assert "smaller base model or a larger card" in str(refused)
    elif isinstance(refused.change.plan, ServingPlan):
        assert check_engine(shape, card, refused.change.plan) > 0
    else:
        assert "sleep" in str(refused)
        run = reserved(shape, card, engine)
        assert serving_need(shape, engine).nbytes <= card
        assert check_run(shape, card, ASLEEP, run, sharing="sleep")


@given(models, cards, st.floats(0, 0.95), recipes, st.booleans())
def test_advice_about_a_run_works(shape, card, share, plan, new):
    engine = int(share * card)

    def check(plan: TuningPlan, beside: int = engine) -> int:
        return check_run(shape, card, beside, plan, sharing="split", new=new)

    refused = refusal(lambda: check(plan))
    if refused is None:
        assert check(plan) + engine <= card
    elif refused.change is None:
        assert "smaller base model or a larger card" in str(refused)
    elif isinstance(refused.change.plan, TuningPlan):
        assert check(refused.change.plan)
        assert new or refused.change.plan.rank == plan.rank
    else:
        assert check(plan, ASLEEP)


@given(models, cards, engines, st.integers(1, 64))
def test_a_larger_card_never_gives_the_engine_less(shape, card, engine, more):
    """In bytes, give or take the hundredth to which the share is rounded; once the run has its
    full size. While it grows with the card, the engine still holds its usual needs."""
    larger = card + more * GIB
    small, large = (reserved(shape, c, engine) for c in (card, larger))
    assume(small == large)
    before, after = (engine_share(shape, c, engine) * c for c in (card, larger))
    assert after >= before - larger / 100


@given(models, engines)
def test_memory_is_reserved_for_at_least_the_longest_pair(shape, engine):
    run = reserved(shape, 16 * GIB, engine)
    assert run.max_length == engine.max_model_len
    assert run.nf4 == engine.nf4  # a run holds the base as the engine does
    assert dataclasses.replace(run, micro_tokens=4096, nf4=True) == TuningPlan(
        max_length=run.max_length
    )
