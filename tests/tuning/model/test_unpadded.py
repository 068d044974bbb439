"""Rows that lie end to end: nothing is computed for padding, with the same losses and gradients."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, DeepseekV3Config, Lfm2Config, LlamaConfig

from tests.tuning.families import build
from tests.tuning.model.test_base_model import cosine, stirred
from tests.tuning.model.test_shared_prefix import BEGINNING, ROWS, batch_of, in_float32, row
from tuning.data.examples import IGNORED, Example
from tuning.evaluation import generation
from tuning.evaluation.eval_sets import EvalQuestion
from tuning.model import base_model, shared_prefix, unpadded
from tuning.model.base_model import Base, trainable
from tuning.recipe.recipe import Recipe
from tuning.training import loop

UNLIKE = [Example(r.pair_id, (r.pair_id + 3, *r.ids[1:]), r.labels) for r in ROWS]


def computed(
    base: Base, tuned: Any, rows: list[Example]
) -> tuple[float, dict[str, torch.Tensor], int]:
    """The loss, the gradients, and how many tokens went through the model."""
    seen: list[int] = []
    handle = tuned.get_input_embeddings().register_forward_pre_hook(
        lambda _, args: seen.append(args[0].numel())
    )
    tuned.train()
    tuned.zero_grad()
    loss = loop.summed_loss(base, tuned, batch_of(rows))
    loss.backward()
    handle.remove()
    return float(loss.detach()), {n: p.grad for n, p in trainable(tuned).items()}, sum(seen)


@pytest.mark.parametrize("rows", [UNLIKE, ROWS, ROWS[2:3]], ids=["unlike", "alike", "one"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral"])
def test_losses_and_gradients_are_those_of_padded_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, rows: list[Example]
) -> None:
    base = in_float32(build(family, tmp_path), monkeypatch)
    tuned = stirred(base)
    padded = computed(replace(base, shares_prefix=False, skips_padding=False), tuned, rows)
    found = computed(base, tuned, rows)

    # of each row, the last token predicts nothing
    needed = sum(len(r.ids) - 1 for r in rows)
    needed -= len(BEGINNING) * (len(rows) - 1) if rows is ROWS else 0
    assert base.skips_padding
    assert found[0] == pytest.approx(padded[0], rel=1e-5)
    assert found[1].keys() == padded[1].keys()
    for name, gradient in found[1].items():
        assert cosine({name: gradient}, {name: padded[1][name]}) > 0.9999
    assert (found[2], padded[2]) == (needed, batch_of(rows).ids.numel())


def test_the_last_mlp_computes_only_tokens_whose_predictions_are_wanted(base: Base) -> None:
    tuned = stirred(base)
    blocks = base_model.layers(tuned)
    seen: list[int] = []
    handles = [
        block.mlp.down_proj.register_forward_pre_hook(
            lambda _, args: seen.append(args[0].shape[-2])
        )
        for block in (blocks[0], blocks[-1])
    ]

    computed(base, tuned, UNLIKE)
    for handle in handles:
        handle.remove()

    labelled = sum(label != IGNORED for r in UNLIKE for label in r.labels)
    assert seen == [sum(len(r.ids) - 1 for r in UNLIKE), labelled]


def test_heads_that_share_keys_and_values_get_the_gradients_of_all_their_queries() -> None:
    torch.manual_seed(0)
    rows = torch.tensor([5, 3])
    tokens, common, width = 10, 2, 4
    back = torch.cat([torch.arange(5), 5 + torch.arange(3)])
    places = torch.zeros(10, dtype=torch.long)
    places[back] = torch.arange(8)
    layout = unpadded.RowLayout(
        common, places.view(2, 5), back,
        unpadded._causal(5, common, torch.float32), unpadded._causal(common, 0, torch.float32),
    )  # fmt: skip
    query = torch.randn(1, 6, tokens, width, requires_grad=True)
    key, value = (torch.randn(1, 2, tokens, width, requires_grad=True) for _ in range(2))
    out, _ = unpadded.attend(None, query, key, value, None, 0.5, rows=layout)
    weights = torch.randn(1, tokens, 6, width)
    found = torch.autograd.grad((out * weights).sum(), (query, key, value))

    # which tokens see which: the beginning itself, and each row the beginning and itself
    number = torch.cat([torch.full((common,), -1), torch.repeat_interleave(torch.arange(2), rows)])
    sees = ((number[:, None] == number) | (number == -1)) & torch.ones(10, 10).tril().bool()
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=sees, scale=0.5, enable_gqa=True
    ).transpose(1, 2)
    truth = torch.autograd.grad((expected * weights).sum(), (query, key, value))

    assert torch.allclose(out, expected, atol=1e-6)
    for mine, theirs in zip(found, truth, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_the_number_of_threads_does_not_change_the_gradients_of_attention() -> None:
    generator = torch.Generator().manual_seed(0)
    common, rows, longest, width = 17, 8, 38, 64
    back = torch.arange(rows * longest)
    layout = unpadded.RowLayout(
        common, back.view(rows, longest), back,
        unpadded._causal(longest, common, torch.float32),
        unpadded._causal(common, 0, torch.float32),
    )  # fmt: skip
    query, key, value = (
        torch.randn(1, n, common + len(back), width, generator=generator, requires_grad=True)
        for n in (9, 3, 3)
    )

    def gradients(threads: int) -> tuple[torch.Tensor, ...]:
        torch.set_num_threads(threads)
        out, _ = unpadded.attend(None, query, key, value, None, 0.125, rows=layout)
        return torch.autograd.grad(out.square().sum(), (query, key, value))

    usual = torch.get_num_threads()
    try:
        one, two = gradients(1), gradients(2)
    finally:
        torch.set_num_threads(usual)

    for alone, beside in zip(one, two, strict=True):
        assert torch.equal(alone, beside)


def test_a_short_beginning_is_shared_too(base: Base) -> None:
    """A second attention in each layer costs less than a second pass through the model."""
    short = [Example(r.pair_id, r.ids[30:], r.labels[30:]) for r in ROWS]
    saved = 10 * (len(short) - 1)

    found = computed(base, stirred(base), short)

    assert unpadded.LEAST_SAVED <= saved < shared_prefix.LEAST_SAVED
    assert found[2] == sum(len(r.ids) - 1 for r in short) - saved


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "gpt2", "bloom"])
def test_families_whose_attention_is_another_compute_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """Windows, limited scores, dropout of their own, no positions to restart."""
    base = in_float32(build(family, tmp_path), monkeypatch)

    assert not base.skips_padding
    found = computed(replace(base, shares_prefix=False), stirred(base), ROWS)
    assert found[2] == batch_of(ROWS).ids.numel()


SMALL = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 256,
}  # fmt: skip
CONVOLUTIONS = Lfm2Config(**SMALL, layer_types=["conv", "full_attention"])
LATENT = DeepseekV3Config(
    **SMALL, q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=16,
    v_head_dim=16, first_k_dense_replace=2,
)  # fmt: skip


@pytest.mark.parametrize("config", [CONVOLUTIONS, LATENT], ids=["convolutions", "latent"])
def test_layers_that_mix_rows_or_have_heads_of_two_widths_compute_padding(config: Any) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    for weights in model.parameters():  # as large as after training
        weights.data.mul_(2.5)
    assert not unpadded.works(model, torch.float32)
    assert unpadded.works(AutoModelForCausalLM.from_config(LlamaConfig(**SMALL)), torch.float32)


def test_a_base_that_would_predict_something_else_computes_padding(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = unpadded.logits

    def wrong_place(model: Any, ids: Any, wanted: Any) -> Any:
        return real(model, ids.roll(1, dims=1), wanted)

    random_numbers = torch.get_rng_state()
    assert unpadded.works(base.model, base.dtype)
    assert torch.equal(torch.get_rng_state(), random_numbers)
    assert not base.model.training
    monkeypatch.setattr(unpadded, "logits", wrong_place)
    assert not unpadded.works(base.model, base.dtype)


def test_other_passes_of_the_model_keep_their_attention(base: Base) -> None:
    tuned = base_model.new_adapter(base, Recipe(rank=8))
    usual = base.model.config._attn_implementation

    computed(base, tuned, ROWS)

    assert base.model.config._attn_implementation == usual == "eager"


def test_losses_of_answers_are_those_of_padded_rows(base: Base) -> None:
    asked = [
        EvalQuestion(row(n, 12 + n), ({"role": "user", "content": "?"},), "?", "!")
        for n in range(6)
    ]
    tuned = stirred(base)
    tuned.eval()
    padded = replace(base, shares_prefix=False, skips_padding=False)
    found, expected = (generation.losses(b, tuned, asked, 10_000) for b in (base, padded))

    for mine, theirs in zip(found, expected, strict=True):
        assert mine.tokens == theirs.tokens
        assert mine.nats == pytest.approx(theirs.nats, rel=0.02)


def test_a_token_after_the_last_learned_one_is_not_computed(base: Base) -> None:
    """Turns after the last learned one cost nothing."""
    tuned = stirred(base)
    longer = [
        Example(r.pair_id, (*r.ids, *range(50, 60)), (*r.labels, *((IGNORED,) * 10)))
        for r in UNLIKE
    ]
    exact, more = computed(base, tuned, UNLIKE), computed(base, tuned, longer)

    assert more[2] == exact[2]
    assert more[0] == exact[0]
