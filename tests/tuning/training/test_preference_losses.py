"""The DPO and KTO losses against a reference in NumPy and, where it is installed, against TRL's.

Both are computed from the probabilities that a real model gives to the same tokens.
"""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tuning.training.test_dpo import PAIRS, RECIPE
from tuning.data.examples import Batch, Example
from tuning.model.base_model import Base, new_adapter, trainable
from tuning.training.answer_probabilities import passes
from tuning.training.dpo import Dpo, dpo_losses
from tuning.training.kto import Kto, _weights, kto_losses

BETA = 0.3
LIKED = {one: number % 3 == 0 for number, one in enumerate(PAIRS)}


class Scored:
    """A model as TRL calls it: it returns the log probability of each token after the first."""

    training = False

    def __init__(self, base: Base, tuned: Any) -> None:
        self.base, self.tuned = base, tuned

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, labels: Tensor, **_: Any) -> Any:
        with self.base.precision():
            logits = self.tuned(input_ids=input_ids, use_cache=False).logits.float()
        each = logits[:, :-1].log_softmax(-1)
        targets = input_ids[:, 1:, None]
        found = each.gather(2, targets)[..., 0] * (labels[:, 1:] != -100)
        entropy = -(each.exp() * each).sum(-1)
        top = logits[:, :-1].argmax(-1) == input_ids[:, 1:]
        mean = logits[:, :-1].mean(-1)
        return SimpleNamespace(log_probs=found, entropy=entropy, is_top1=top, mean_logits=mean)


@pytest.fixture
def scored(base: Base) -> tuple[Base, Any, Dpo, Kto]:
    """The two objectives after some steps, so that every log ratio is another."""
    tuned = new_adapter(base, RECIPE)
    dpo, kto = Dpo(PAIRS, BETA), Kto(LIKED, BETA, seed=0)
    for objective in (dpo, kto):
        objective.prepare(base, tuned, RECIPE)
    with torch.no_grad():
        for number, parameter in enumerate(trainable(tuned).values()):
            noise = torch.Generator().manual_seed(number)
            parameter += 0.03 * torch.randn(parameter.shape, generator=noise)
    tuned.eval()
    return base, tuned, dpo, kto


def in_numpy(base: Base, tuned: Any, examples: list[Example]) -> np.ndarray[Any, Any]:
    """Log probability of each answer, from one example at a time, in 64 bits."""
    found = []
    for one in examples:
        with torch.no_grad(), base.precision():
            logits = tuned(input_ids=torch.tensor([one.ids]), use_cache=False).logits[0]
        z = logits.double().numpy()
        log_p = z - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True))
        log_p -= z.max(1, keepdims=True)
        begin = len(one.prompt)
        found.append(sum(log_p[i - 1, one.ids[i]] for i in range(begin, len(one.ids))))
    return np.array(found)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_the_dpo_loss_is_that_of_the_paper(scored: tuple[Base, Any, Dpo, Kto]) -> None:
    base, tuned, objective, _ = scored
    both = [*PAIRS, *PAIRS.values()]
    before = np.array([objective.reference[one] for one in both])
    moved = in_numpy(base, tuned, both) - before
    chosen, rejected = moved[: len(PAIRS)], moved[len(PAIRS) :]
    expected = -np.log(sigmoid(BETA * (chosen - rejected)))
    assert np.ptp(chosen - rejected) > 1  # nats

    loss, _ = objective.learn(base, tuned, list(PAIRS), RECIPE)
    assert loss == pytest.approx(expected.mean(), rel=2e-2)  # the base computes in 16 bits

    found = dpo_losses(torch.tensor(chosen), torch.tensor(rejected), BETA)
    assert found.numpy() == pytest.approx(expected, abs=1e-6)


def test_the_kto_loss_is_that_of_the_paper(scored: tuple[Base, Any, Dpo, Kto]) -> None:
    base, tuned, _, objective = scored
    rows = list(LIKED)
    others = [objective.mismatched[one] for one in rows]
    before = np.array([objective.reference[one] for one in [*rows, *others]])
    moved = in_numpy(base, tuned, [*rows, *others]) - before
    ratio, kl = moved[: len(rows)], max(0.0, moved[len(rows) :].mean())
    liked = np.array(list(LIKED.values()))
    up, down = _weights(int(liked.sum()), len(liked))
    expected = np.where(
        liked,
        up * (1 - sigmoid(BETA * (ratio - kl))),
        down * (1 - sigmoid(BETA * (kl - ratio))),
    )

    loss, _ = objective.learn(base, tuned, rows, RECIPE)
    assert loss == pytest.approx(expected.mean(), rel=2e-2)

    found = kto_losses(torch.tensor(ratio), torch.tensor(liked), kl, BETA, up, down)
    assert found.numpy() == pytest.approx(expected, abs=1e-6)


def trainer(name: str, **attributes: Any) -> Any:
    """A trainer of TRL's with what its loss reads."""
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    made = object.__new__(getattr(trl, name))
    made.accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather_for_metrics=lambda x: x, gather=lambda x: x
    )
    made._metrics = defaultdict(lambda: defaultdict(list))
    made._total_train_tokens, made._tp_size = 0, 1
    made.aux_loss_enabled, made.precompute_ref_logps, made.beta = False, True, BETA
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def batch_of(base: Base, examples: list[Example]) -> tuple[Batch, list[Example]]:
    ((batch, rows),) = passes(examples, RECIPE, base)
    return batch, rows


def test_the_dpo_loss_equals_that_of_trl(scored: tuple[Base, Any, Dpo, Kto]) -> None:
    base, tuned, objective, _ = scored
    model = Scored(base, tuned)
    theirs = trainer(
        "DPOTrainer", model=model, ld_alpha=None, f_divergence_type="reverse_kl",
        loss_types=["sigmoid"], loss_weights=[1.0], label_smoothing=0.0, use_weighting=False,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
    )  # fmt: skip
    both = [*PAIRS, *PAIRS.values()]
    batch, rows = batch_of(base, both)
    order = torch.tensor([rows.index(one) for one in both])
    before = torch.tensor([objective.reference[one] for one in both])
    loss = theirs._compute_loss(
        model,
        {
            "input_ids": batch.ids[order],
            "attention_mask": torch.ones_like(batch.ids),
            "completion_mask": (batch.labels[order] != -100).long(),
            "ref_chosen_logps": before[: len(PAIRS)],
            "ref_rejected_logps": before[len(PAIRS) :],
        },
        False,
    )

    ours, _ = objective.learn(base, tuned, list(PAIRS), RECIPE)

    assert ours == pytest.approx(float(loss), abs=1e-4)


def test_the_kto_loss_equals_that_of_trl(scored: tuple[Base, Any, Dpo, Kto]) -> None:
    base, tuned, _, objective = scored
    model = Scored(base, tuned)
    up, down = _weights(sum(LIKED.values()), len(LIKED))
    theirs = trainer(
        "KTOTrainer", model=model, calculate_KL=True, loss_type="kto", desirable_weight=up,
        undesirable_weight=down, args=SimpleNamespace(gradient_checkpointing_kwargs=None),
    )  # fmt: skip
    batch, rows = batch_of(base, list(LIKED))
    other, others = batch_of(base, [objective.mismatched[one] for one in LIKED])
    loss = theirs._compute_loss(
        model,
        {
            "input_ids": batch.ids,
            "attention_mask": torch.ones_like(batch.ids),
            "completion_mask": (batch.labels != -100).long(),
            "KL_input_ids": other.ids,
            "KL_attention_mask": torch.ones_like(other.ids),
            "KL_completion_mask": (other.labels != -100).long(),
            "label": torch.tensor([LIKED[one] for one in rows]),
            "ref_logps": torch.tensor([objective.reference[one] for one in rows]),
            "ref_KL_logps": torch.tensor([objective.reference[one] for one in others]),
        },
        False,
    )

    ours, _ = objective.learn(base, tuned, rows, RECIPE)

    assert ours == pytest.approx(float(loss), abs=1e-4)
