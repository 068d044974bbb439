"""Packing: the same loss and gradients as padding for every family, and a check that can fail."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from data.store.errors import Invalid
from tests.tuning.families import FAMILIES, build
from tuning.data import packing
from tuning.data.examples import IGNORED, Batch, Example, batches
from tuning.data.packing import ExamplesNotIsolated, check_isolation, pack
from tuning.model.base_model import Base, new_adapter, trainable
from tuning.recipe.recipe import Recipe
from tuning.training import loop
from tuning.training.loop import learn, summed_loss

RECIPE = Recipe(rank=8, quantization="none", packing=True)


def example(number: int, length: int) -> Example:
    ids = (*((number * 7 + i * i) % 200 + 10 for i in range(length - 1)), 2)
    return Example(number, ids, (IGNORED,) * 3 + ids[3:])


WINDOW = [example(i, length) for i, length in enumerate((9, 31, 12, 15, 8, 30, 11))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: build(name, tmp_path_factory.mktemp(name)) for name in FAMILIES}


def exact(folder: Path) -> Base:
    """The tiny model in float32, so that two ways to the same loss agree closely."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    model.requires_grad_(False)
    return Base(model, None, torch.device("cpu"), torch.float32, frozenset({2}), 0)


def gradients(base: Base, tuned: Any, passes: list[Batch]) -> tuple[float, torch.Tensor]:
    tuned.eval()  # GPT-2, Phi and BLOOM have dropout of their own
    tuned.zero_grad()
    loss = torch.stack([summed_loss(base, tuned, one) for one in passes]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    weights = trainable(tuned).values()
    return loss.item(), torch.cat([p.grad.flatten() for p in weights if p.grad is not None])


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_pairs_give_the_loss_and_the_gradients_of_padded_ones(
    folders: dict[str, Path], family: str
) -> None:
    base = exact(folders[family])
    tuned = new_adapter(base, RECIPE)
    for weight in trainable(tuned).values():
        torch.nn.init.normal_(weight, std=0.02)

    padded_loss, padded = gradients(base, tuned, batches(WINDOW, 10_000, 0))
    packed_loss, packed = gradients(base, tuned, pack(WINDOW, 10_000, 0))

    assert math.isclose(packed_loss, padded_loss, rel_tol=1e-5)
    assert torch.allclose(packed, padded, rtol=1e-3, atol=1e-4 * float(padded.abs().max()))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_bit_of_a_packed_pairs_result_depends_on_the_others(
    folders: dict[str, Path], family: str
) -> None:
    base = exact(folders[family])

    proof = check_isolation(base, base.model, WINDOW)

    assert (proof.examples, proof.leak) == (3, 0.0)
    assert proof.error < 1e-3


@pytest.mark.parametrize("family", ["llama", "bloom", "gemma"])
def test_a_model_that_ignores_pair_boundaries_is_refused_with_the_difference(
    folders: dict[str, Path], family: str, tmp_path: Path
) -> None:
    base = exact(folders[family])
    forward = base.model.forward

    def careless(*, input_ids: torch.Tensor, use_cache: bool, position_ids: Any = None) -> Any:
        return forward(input_ids=input_ids, attention_mask=torch.ones_like(input_ids))

    base.model.forward = careless

    with pytest.raises(
        ExamplesNotIsolated, match=r"a logit changed by [\d.e-]+ when only other pairs changed"
    ):
        check_isolation(base, base.model, WINDOW)


def test_a_model_that_continues_positions_across_pairs_is_refused_with_the_difference(
    folders: dict[str, Path],
) -> None:
    base = exact(folders["gpt2"])
    embed = base.model.transformer.wpe

    def shifted(module: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        start = (args[0] == 0).nonzero()[:, -1]
        return (args[0] + (5 if len(start) > 1 else 0),)

    embed.register_forward_pre_hook(shifted)

    with pytest.raises(ExamplesNotIsolated, match=r"by [\d.]+ standard deviations"):
        check_isolation(base, base.model, WINDOW)


def test_a_run_that_packs_checks_isolation_before_the_first_step(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = new_adapter(base, RECIPE)
    before = {name: p.detach().clone() for name, p in trainable(tuned).items()}
    monkeypatch.setattr(packing, "BOUND", -1.0)  # nothing is as good as that

    with pytest.raises(ExamplesNotIsolated):
        loop.train(base, tuned, lambda _: WINDOW, {}, (), RECIPE)

    assert all(torch.equal(p, before[name]) for name, p in trainable(tuned).items())


def test_pairs_are_isolated_in_four_bits_and_bf16(base: Base) -> None:
    proof = check_isolation(base, new_adapter(base, RECIPE), WINDOW)

    assert proof.leak == 0
    assert proof.error < packing.BOUND / 2


def test_a_packed_step_is_the_padded_step_in_fewer_tokens(base: Base) -> None:
    tuned = new_adapter(base, RECIPE)

    packed, fewer = learn(base, tuned, WINDOW, RECIPE)
    padded, more = learn(base, tuned, WINDOW, RECIPE.model_copy(update={"packing": False}))

    assert math.isclose(packed, padded, rel_tol=2e-3)
    assert fewer < 0.7 * more


def test_rows_are_filled_and_none_is_longer_than_the_longest_pair() -> None:
    (batch,) = pack(WINDOW, 10_000, 0)

    assert batch.ids.shape == (4, 31)
    assert batch.tokens == sum(e.trained for e in WINDOW)
    assert (batch.labels != IGNORED).sum() == batch.tokens
    for one in WINDOW:
        assert any(_holds(row, list(one.ids)) for row in batch.ids.tolist())


def _holds(row: list[int], ids: list[int]) -> bool:
    return any(row[i : i + len(ids)] == ids for i in range(len(row)))


def test_positions_restart_with_each_pair() -> None:
    (batch,) = pack([example(1, 5), example(2, 4), example(3, 9)], 10_000, 0)

    assert batch.positions is not None
    assert batch.positions.tolist() == [list(range(9)), [0, 1, 2, 3, 4, 0, 1, 2, 3]]


def test_a_repeated_pair_is_packed_once_and_counts_as_often() -> None:
    (batch,) = pack([example(1, 5), example(1, 5), example(2, 10)], 10_000, 0)

    assert batch.weights.tolist()[1][:5] == [2.0] * 5
    assert batch.tokens == 2 * 2 + 7


def test_forward_passes_stay_within_the_token_limit() -> None:
    passes = pack(WINDOW, 64, 0)

    assert all(p.ids.numel() <= 64 for p in passes)
    assert sum(p.tokens for p in passes) == sum(e.trained for e in WINDOW)


def test_embedding_noise_is_refused_together_with_packing() -> None:
    with pytest.raises(Invalid, match="packing and neftune_alpha cannot be combined"):
        Recipe.for_pairs(
            9, base_parameters=10**9, overrides={"packing": True, "neftune_alpha": 5.0}
        )
