"""The training loop: repeatable, equal weight for every token, and the best weights are kept."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from data.store.errors import Invalid
from tuning.data.examples import IGNORED, Example, batches
from tuning.model.base_model import Base, load_base, new_adapter, trainable
from tuning.progress import StepProgress
from tuning.recipe.recipe import Recipe
from tuning.training import loop
from tuning.training.loop import mean_loss, rate, summed_loss, total_steps


def example(first: int, length: int = 12) -> Example:
    ids = (*((first * 7 + i * 3) % 2000 + 3 for i in range(length - 1)), 2)
    return Example(first, ids, (IGNORED,) * 3 + ids[3:])


SOME = [example(i, 8 + i % 5) for i in range(20)]
RECIPE = Recipe(rank=8, learning_rate=5e-3, batch_size=4, epochs=1, evaluations=2, warmup_share=0)


def weights_after(
    tiny_base: Path, recipe: Recipe, some: Sequence[Example] = SOME
) -> dict[str, torch.Tensor]:
    base = load_base(str(tiny_base), recipe, torch.device("cpu"))
    tuned = new_adapter(base, recipe)
    loop.train(base, tuned, lambda n: some, {"probe": SOME[:4]}, ("probe",), recipe)
    return {name: p.detach().clone() for name, p in trainable(tuned).items()}


def test_five_steps_with_one_seed_are_the_same_five_steps(tiny_base: Path) -> None:
    recipe = RECIPE.model_copy(update={"dropout": 0.1, "max_steps": 5})

    one, two = weights_after(tiny_base, recipe), weights_after(tiny_base, recipe)
    other = weights_after(tiny_base, recipe.model_copy(update={"seed": 1}))

    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_training_lowers_the_loss_and_leaves_the_base_alone(base: Base) -> None:
    tuned = new_adapter(base, RECIPE)
    frozen = {n: p.detach().clone() for n, p in tuned.named_parameters() if not p.requires_grad}
    before = mean_loss(base, tuned, SOME, RECIPE)

    recipe = RECIPE.model_copy(update={"epochs": 6.0})
    loop.train(base, tuned, lambda n: SOME, {}, (), recipe)

    assert mean_loss(base, tuned, SOME, RECIPE) < before - 0.5
    assert all(torch.equal(p, frozen[n]) for n, p in tuned.named_parameters() if n in frozen)


def test_loss_per_token_does_not_depend_on_how_a_window_is_split(base: Base) -> None:
    tuned = new_adapter(base, RECIPE)
    tuned.train()
    window = SOME[:7]

    def gradient(micro_tokens: int) -> torch.Tensor:
        tuned.zero_grad()
        passes = batches(window, micro_tokens, base.pad_id)
        tokens = sum(p.tokens for p in passes)
        for one in passes:
            (summed_loss(base, tuned, one) / tokens).backward()
        return torch.cat([p.grad.flatten() for p in trainable(tuned).values()])

    whole, cut = gradient(10_000), gradient(20)

    assert torch.nn.functional.cosine_similarity(whole, cut, dim=0) > 0.999
    assert math.isclose(whole.norm(), cut.norm(), rel_tol=0.02)


def test_the_loss_is_what_transformers_computes_from_the_labels(base: Base) -> None:
    tuned = new_adapter(base, RECIPE)
    (batch,) = batches(SOME[:1], 1000, 0)
    with base.precision(), torch.no_grad():
        theirs = tuned(input_ids=batch.ids, labels=batch.labels, use_cache=False).loss

    assert math.isclose(mean_loss(base, tuned, SOME[:1], RECIPE), float(theirs), rel_tol=1e-3)


def test_padding_on_the_right_changes_nothing(base: Base) -> None:
    tuned = new_adapter(base, RECIPE)
    short, long = example(1, 8), example(2, 40)

    alone = [mean_loss(base, tuned, [e], RECIPE) * (e.trained) for e in (short, long)]
    together = mean_loss(base, tuned, [short, long], RECIPE) * (short.trained + long.trained)

    assert math.isclose(sum(alone), together, rel_tol=2e-3)


def test_the_weights_with_the_lowest_selection_loss_are_kept(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = new_adapter(base, RECIPE)
    measured = iter([3.0, 1.0, 2.0, 4.0, 5.0])
    seen: dict[int, torch.Tensor] = {}
    monkeypatch.setattr(loop, "mean_loss", lambda *_: next(measured))
    recipe = RECIPE.model_copy(update={"evaluations": 5})

    def remember(now: StepProgress) -> None:
        weight = next(iter(trainable(tuned).values()))
        seen[now.step] = weight.detach().clone()

    outcome = loop.train(base, tuned, lambda n: SOME, {"probe": SOME}, ("probe",), recipe, remember)

    assert (outcome.best_step, outcome.chosen_by, outcome.losses) == (2, "probe", {"probe": 1.0})
    assert torch.equal(next(iter(trainable(tuned).values())), seen[2])
    assert not torch.equal(seen[2], seen[5])


def test_patience_ends_a_run_that_no_longer_gets_better(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([1.0, 2.0, 3.0, 4.0, 5.0])
    monkeypatch.setattr(loop, "mean_loss", lambda *_: next(measured))
    recipe = RECIPE.model_copy(update={"evaluations": 5, "patience": 2})

    outcome = loop.train(
        base, new_adapter(base, recipe), lambda n: SOME, {"probe": SOME}, ("probe",), recipe
    )

    assert (outcome.steps, outcome.best_step, outcome.stopped_early) == (3, 1, True)


def test_without_a_selection_loss_the_last_weights_are_kept(base: Base) -> None:
    outcome = loop.train(
        base, new_adapter(base, RECIPE), lambda n: SOME, {"validation": SOME[:3]}, (), RECIPE
    )

    assert (outcome.steps, outcome.best_step, outcome.chosen_by) == (5, 5, "last step")
    assert "validation" in outcome.losses


def test_progress_names_every_step_and_the_losses_where_they_were_measured(base: Base) -> None:
    told: list[StepProgress] = []

    loop.train(
        base, new_adapter(base, RECIPE), lambda n: SOME, {"probe": SOME[:2]}, ("probe",), RECIPE,
        told.append,
    )  # fmt: skip

    assert [(p.step, p.total_steps) for p in told] == [(i, 5) for i in range(1, 6)]
    assert [p.losses is not None for p in told] == [False, True, False, False, True]
    assert told[0].eta_s > 0, "the time left is known from the first step on"
    assert told[-1].eta_s == 0


def test_a_loss_that_is_not_a_number_ends_the_run_with_a_sentence(base: Base) -> None:
    tuned = new_adapter(base, RECIPE)
    next(iter(trainable(tuned).values())).data.fill_(float("nan"))

    with pytest.raises(loop.Diverged, match="diverged at step 1"):
        loop.train(base, tuned, lambda n: SOME, {}, (), RECIPE)


def test_a_measured_loss_that_is_not_a_number_ends_the_run_with_a_sentence(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "mean_loss", lambda *_: math.nan)

    with pytest.raises(loop.Diverged, match="diverged at step 2"):
        loop.train(
            base, new_adapter(base, RECIPE), lambda n: SOME, {"probe": SOME}, ("probe",), RECIPE
        )


def test_an_infinite_gradient_ends_the_run_before_it_reaches_the_weights(base: Base) -> None:
    tuned = new_adapter(base, RECIPE)
    weights = trainable(tuned)
    for weight in weights.values():
        weight.register_hook(lambda gradient: gradient * math.inf)

    with pytest.raises(loop.Diverged, match="diverged at step 1"):
        loop.train(base, tuned, lambda n: SOME, {}, (), RECIPE)

    assert all(weight.isfinite().all() for weight in weights.values())


def test_a_layer_that_gets_no_gradient_is_named_at_the_first_step(base: Base) -> None:
    tuned = new_adapter(base, RECIPE)
    layer = tuned.base_model.model.model.layers[0].mlp.up_proj
    layer.forward = layer.base_layer.forward  # as a kernel does that does not know of adapters

    with pytest.raises(
        Invalid, match=r"adapter on model\.layers\.0\.mlp\.up_proj gets no gradient"
    ):
        loop.train(base, tuned, lambda n: SOME, {}, (), RECIPE)


def test_four_bit_weights_that_could_be_repacked_are_refused(
    four_bits: None, tiny_base: Path
) -> None:
    base = load_base(str(tiny_base), Recipe(), torch.device("cpu"))
    base.model.model.layers[1].mlp.up_proj.support_avx512bf16_for_cpu = True

    with pytest.raises(Invalid, match=r"model\.layers\.1\.mlp\.up_proj.* would be repacked"):
        loop.train(base, new_adapter(base, RECIPE), lambda n: SOME, {}, (), RECIPE)


def test_the_last_window_of_an_epoch_weighs_its_tokens_as_every_other_does(base: Base) -> None:
    """A window that is not full is divided by its own tokens, not by a full one's."""
    tuned = new_adapter(base, RECIPE)
    tuned.train()
    recipe = RECIPE.model_copy(update={"micro_tokens": 16})  # a pass for each example

    def gradient(window: Sequence[Example]) -> torch.Tensor:
        tuned.zero_grad()
        loop.learn(base, tuned, window, recipe)
        return torch.cat([p.grad.flatten() for p in trainable(tuned).values()])

    one, three = gradient(SOME[:1]), gradient(SOME[:3])
    apart = [gradient([e]) * e.trained for e in SOME[:3]]

    assert torch.allclose(one, apart[0] / SOME[0].trained, rtol=1e-3)
    whole = torch.stack(apart).sum(0) / sum(e.trained for e in SOME[:3])
    assert torch.nn.functional.cosine_similarity(three, whole, dim=0) > 0.999
    assert math.isclose(three.norm(), whole.norm(), rel_tol=0.02)


def test_gradient_checkpointing_gives_the_same_gradients_with_less_memory(tiny_base: Path) -> None:
    def gradient(checkpointing: bool) -> tuple[torch.Tensor, int]:
        recipe = RECIPE.model_copy(update={"gradient_checkpointing": checkpointing, "dropout": 0.1})
        base = load_base(str(tiny_base), recipe, torch.device("cpu"))
        tuned = new_adapter(base, recipe)
        loop.prepare_model(base, tuned, SOME, recipe)
        torch.manual_seed(3)
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        passes = batches(SOME, 10_000, base.pad_id)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            losses = [summed_loss(base, tuned, one, whole_rows=True) for one in passes]
            loss = torch.stack(losses).sum()
        remembered = sum(kept.values())
        loss.backward()
        return torch.cat([p.grad.flatten() for p in trainable(tuned).values()]), remembered

    (plain, more), (checkpointed, less) = gradient(False), gradient(True)

    assert torch.equal(plain, checkpointed)
    assert less < 0.6 * more


def test_a_bad_example_is_found_before_the_first_step(base: Base) -> None:
    unlearnable = Example(9, (5, 6, 2), (IGNORED,) * 3)

    with pytest.raises(Invalid, match="pair 9"):
        loop.train(base, new_adapter(base, RECIPE), lambda n: [unlearnable], {}, (), RECIPE)


def test_the_rate_follows_the_schedule() -> None:
    recipe = Recipe(learning_rate=1.0, warmup_share=0.2, schedule="linear")

    assert [round(rate(recipe, step, 10), 2) for step in (0, 1, 2, 6)] == [0.5, 1.0, 1.0, 0.5]
    assert rate(recipe.model_copy(update={"schedule": "constant"}), 9, 10) == 1.0
    assert rate(recipe.model_copy(update={"schedule": "cosine"}), 9, 10) < 0.1


def test_max_steps_limits_the_run() -> None:
    assert total_steps(20, RECIPE) == 5
    assert total_steps(20, RECIPE.model_copy(update={"max_steps": 3})) == 3
    assert total_steps(1, RECIPE.model_copy(update={"epochs": 0.1})) == 1


def test_noise_on_the_embeddings_changes_training_and_nothing_else(
    tiny_base: Path, base: Base
) -> None:
    quiet, noisy = (
        weights_after(tiny_base, RECIPE),
        weights_after(tiny_base, RECIPE.model_copy(update={"neftune_alpha": 10.0})),
    )
    assert not all(torch.equal(quiet[name], noisy[name]) for name in quiet)
    tuned = new_adapter(base, RECIPE)
    before = mean_loss(base, tuned, SOME, RECIPE)
    handle = loop.noisy_embeddings(tuned, 10.0)
    assert mean_loss(base, tuned, SOME, RECIPE) == before
    handle.remove()


def test_the_noise_is_bounded_as_in_the_paper(base: Base) -> None:
    tuned = new_adapter(base, RECIPE)
    embed, ids = tuned.get_input_embeddings(), torch.arange(24).reshape(2, 12)
    tuned.train()
    plain = embed(ids)
    handle = loop.noisy_embeddings(tuned, 5.0)
    difference = (embed(ids) - plain).abs().max()
    handle.remove()
    most = 5.0 / math.sqrt(12 * plain.shape[2])
    assert 0.5 * most < difference <= most * 1.05  # bf16 rounds
    assert torch.equal(embed(ids), plain)
