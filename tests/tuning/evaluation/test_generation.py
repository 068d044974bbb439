"""Answers and losses of the trainer's model do not depend on the rest of their batch."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from data.pairs.pairs import Pair
from tuning.data.examples import encode, messages
from tuning.evaluation import generation
from tuning.evaluation.eval_sets import EvalQuestion
from tuning.model.base_model import Base, new_adapter, trainable
from tuning.recipe.recipe import Recipe

Maker = Callable[..., Pair]


def question(base: Base, pair: Pair, system: str = "") -> EvalQuestion:
    example = encode(pair, base.tokenizer, system_prompt=system, stops=base.stops, max_length=512)
    return EvalQuestion(example, tuple(messages(pair, system)), pair.prompt, pair.response)


def stirred(base: Base) -> object:
    tuned = new_adapter(base, Recipe(rank=8))
    generator = torch.Generator().manual_seed(1)
    for weight in trainable(tuned).values():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    return tuned


def some(base: Base, pair: Maker) -> list[EvalQuestion]:
    texts = ["hi", "a longer question, with more words in it than the others", "ok?"]
    return [question(base, pair(t, f"answer {i} " * (i + 1))) for i, t in enumerate(texts)]


def test_an_answer_does_not_depend_on_the_rest_of_its_batch(
    base: Base, pair: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned, asked = stirred(base), some(base, pair)

    together = generation.answer(base, tuned, asked)
    monkeypatch.setattr(generation, "ROWS", 1)
    alone = generation.answer(base, tuned, asked)

    assert together == alone
    assert len(set(alone)) > 1


def test_an_answer_that_was_cut_is_marked(base: Base, pair: Maker) -> None:
    tuned = stirred(base)
    (asked,) = [question(base, pair("hi", "yes"))]

    (said,) = generation.answer(base, tuned, [asked])
    ids = base.tokenizer(said.text, add_special_tokens=False)["input_ids"]

    assert said.cut is (len(ids) >= asked.most_tokens - 1)  # a random model goes on and on
    assert said.cut


def test_the_loss_covers_only_the_expected_answer(base: Base, pair: Maker) -> None:
    tuned, asked = stirred(base), some(base, pair)

    found = generation.losses(base, tuned, asked, 10_000)

    for one, loss in zip(asked, found, strict=True):
        ids = torch.tensor([one.example.ids])
        tuned.eval()  # type: ignore[attr-defined]
        with torch.no_grad(), base.precision():
            logits = tuned(input_ids=ids).logits[0]  # type: ignore[operator]
        start = len(one.prompt)
        nats = functional.cross_entropy(
            logits[start - 1 : -1].float(), ids[0, start:], reduction="sum"
        )
        assert loss.tokens == one.expected_tokens
        assert loss.nats == pytest.approx(float(nats), rel=0.02)


def test_losses_do_not_depend_on_how_they_are_batched(base: Base, pair: Maker) -> None:
    tuned, asked = stirred(base), some(base, pair)

    together = generation.losses(base, tuned, asked, 10_000)
    alone = generation.losses(base, tuned, asked, 1)

    for one, other in zip(together, alone, strict=True):
        assert math.isclose(one.nats, other.nats, rel_tol=0.02)


def test_a_common_beginning_changes_no_loss(base: Base, pair: Maker) -> None:
    tuned = stirred(base)
    system = "You answer questions about the workshop, in one sentence, and nothing else. " * 3
    texts = [f"question {i} " * (i + 1) for i in range(6)]
    asked = [question(base, pair(text, f"answer {text}"), system) for text in texts]
    seen: list[int] = []
    tuned.get_input_embeddings().register_forward_pre_hook(  # type: ignore[attr-defined]
        lambda _, args: seen.append(args[0].numel())
    )

    shared = generation.losses(base, tuned, asked, 10_000)
    fewer = sum(seen)
    seen.clear()
    plain = replace(base, shares_prefix=False, skips_padding=False)
    whole = generation.losses(plain, tuned, asked, 10_000)

    assert fewer < sum(seen)
    for one, other in zip(shared, whole, strict=True):
        assert one.tokens == other.tokens
        assert math.isclose(one.nats, other.nats, rel_tol=0.02)


def test_losses_that_nobody_waits_for_end_before_the_next_pass(base: Base, pair: Maker) -> None:
    tuned, asked = stirred(base), some(base, pair)
    passes = 0

    def beat() -> None:
        nonlocal passes
        passes += 1
        if passes == 2:
            raise RuntimeError("nobody waits")

    with pytest.raises(RuntimeError, match="nobody waits"):
        generation.losses(base, tuned, asked, 1, beat)

    assert passes == 2


def test_answering_leaves_training_mode_as_it_was(base: Base, pair: Maker) -> None:
    tuned = stirred(base)
    tuned.train()  # type: ignore[attr-defined]

    generation.answer(base, tuned, some(base, pair))
    assert tuned.training  # type: ignore[attr-defined]
    generation.losses(base, tuned, some(base, pair), 100)

    assert tuned.training  # type: ignore[attr-defined]


def test_answers_ignore_the_sampling_settings_of_the_base(base: Base, pair: Maker) -> None:
    """The engine is started without the base's own sampling settings."""
    tuned, asked = stirred(base), some(base, pair)
    plain = generation.answer(base, tuned, asked)
    base.model.generation_config.repetition_penalty = 50.0

    assert generation.answer(base, tuned, asked) == plain
