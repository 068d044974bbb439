"""Scores: what equals what, how much overlaps, and answers that do not depend on their batch."""

import pytest
import torch

from tuning import evaluate
from tuning.evaluate import Score, exact, f1, sample, score, side_by_side
from tuning.examples import prompt_ids
from tuning.lesson import Question
from tuning.model import Base, new_adapter, trainable
from tuning.recipe import Recipe


@pytest.mark.parametrize(
    ("answer", "expected", "equal"),
    [
        ("Under the  mat.", "under the mat.", True),
        ("Under the mat", "Under the mat.", False),  # punctuation is part of commands
        ("run `a --b`", "run `a -b`", False),
    ],
)
def test_exact_ignores_case_and_spacing_alone(answer: str, expected: str, equal: bool) -> None:
    assert exact(answer, expected) is equal


@pytest.mark.parametrize(
    ("answer", "expected", "value"),
    [
        ("the cat sat", "a cat sat.", 1.0),  # articles and punctuation do not count, as in SQuAD
        ("cat sat here now", "cat sat", 2 * 0.5 * 1 / 1.5),
        ("dog", "cat", 0.0),
        ("", "cat", 0.0),
        ("", "", 1.0),
    ],
)
def test_f1_is_the_overlap_of_words_that_squad_counts(
    answer: str, expected: str, value: float
) -> None:
    assert f1(answer, expected) == pytest.approx(value)


def question(tokenizer: object, text: str, expected: str = "x") -> Question:
    ids = prompt_ids(tokenizer, [{"role": "user", "content": text}])
    return Question(tuple(ids), text, expected, 6)


def test_a_score_is_the_mean_over_its_answers(tokenizer: object) -> None:
    asked = [question(tokenizer, "a", "one two"), question(tokenizer, "b", "three")]

    assert score(["one two", "four"], asked) == Score(2, 0.5, 0.5)
    assert score([], []) == Score(0, 0.0, 0.0)


def test_every_adapter_is_asked_the_same_sample_whatever_the_order(tokenizer: object) -> None:
    golden = [question(tokenizer, f"question {i}") for i in range(30)]

    assert sample(golden, 10) == sample(golden[::-1], 10)
    assert len(sample(golden, 10)) == 10
    assert len(sample(golden, 100)) == 30


def stirred(base: Base) -> object:
    tuned = new_adapter(base, Recipe(rank=8))
    generator = torch.Generator().manual_seed(1)
    for weight in trainable(tuned).values():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    return tuned


def test_an_answer_does_not_depend_on_what_it_is_generated_beside(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = stirred(base)
    texts = ["hi", "a longer question, with more words in it than the others", "ok?"]
    asked = [question(base.tokenizer, text) for text in texts]

    together = evaluate.answer(base, tuned, asked)
    monkeypatch.setattr(evaluate, "ROWS", 1)
    alone = evaluate.answer(base, tuned, asked)

    assert together == alone
    assert len(set(alone)) > 1


def test_answering_leaves_training_mode_as_it_was(base: Base) -> None:
    tuned = stirred(base)
    tuned.train()

    evaluate.answer(base, tuned, [question(base.tokenizer, "hi")])

    assert tuned.training


def test_answers_are_as_plain_as_the_engine_s(base: Base) -> None:
    """The engine is started without the base's own sampling settings."""
    tuned = stirred(base)
    asked = [question(base.tokenizer, "a longer question, with more words in it")]
    plain = evaluate.answer(base, tuned, asked)
    base.model.generation_config.repetition_penalty = 50.0

    assert evaluate.answer(base, tuned, asked) == plain


def test_samples_show_both_answers(tokenizer: object) -> None:
    assert side_by_side([question(tokenizer, "q", "e")], ["b"], ["a"]) == [
        {"question": "q", "expected": "e", "base": "b", "adapter": "a"}
    ]
