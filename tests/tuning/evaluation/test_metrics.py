"""Metrics: exact match, F1, BLEU, chrF and refusals."""

import math

import pytest
import sacrebleu

from tuning.evaluation.metrics import (
    GeneratedAnswer,
    Loss,
    answer_metrics,
    exact,
    f1,
    mean_loss,
    refuses,
    signatures,
)

LOSSES = [Loss(2.0, 4), Loss(1.0, 2)]


@pytest.mark.parametrize(
    ("answer", "expected", "equal"),
    [
        ("Under the  mat.", "under the mat.", True),
        ("Under the mat", "Under the mat.", False),  # punctuation is part of commands
        ("run `a --b`", "run `a -b`", False),
    ],
)
def test_exact_match_ignores_only_case_and_spacing(answer: str, expected: str, equal: bool) -> None:
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
def test_f1_is_the_word_overlap_as_in_squad(answer: str, expected: str, value: float) -> None:
    assert f1(answer, expected) == pytest.approx(value)


def test_all_figures_of_a_set() -> None:
    answers = [
        GeneratedAnswer("Ask the desk on floor two."),
        GeneratedAnswer("I cannot help with that.", cut=True),
    ]
    expected = ["Ask the desk on floor two.", "Ring the bell at the gate."]

    found = answer_metrics(answers, expected, LOSSES)

    assert (found.n, found.exact, found.refusals, found.cut) == (2, 0.5, 0.5, 0.5)
    assert found.f1 == pytest.approx(0.5)
    assert found.words == 5.5
    assert found.loss == pytest.approx(0.5)
    assert found.perplexity == pytest.approx(math.exp(0.5))
    texts = [a.text for a in answers]
    assert found.bleu == pytest.approx(sacrebleu.corpus_bleu(texts, [expected]).score)
    assert found.chrf == pytest.approx(sacrebleu.corpus_chrf(texts, [expected]).score)


def test_the_right_answers_have_the_best_figures() -> None:
    expected = ["Ask the desk on floor two.", "Ring the bell at the gate."]

    found = answer_metrics([GeneratedAnswer(e) for e in expected], expected, LOSSES)

    assert (found.exact, found.f1) == (1, 1)
    assert (found.bleu, found.chrf) == (pytest.approx(100), pytest.approx(100))


def test_a_loss_weighs_every_token_the_same() -> None:
    assert mean_loss([Loss(10.0, 1), Loss(0.0, 9)]) == 1.0
    assert math.isnan(mean_loss([]))


def test_an_infinite_perplexity_is_left_out_of_json() -> None:
    assert (
        answer_metrics([GeneratedAnswer("a")], ["a"], [Loss(9000.0, 1)]).plain()["perplexity"]
        is None
    )


@pytest.mark.parametrize(
    ("answer", "is_one"),
    [
        ("I am sorry, I cannot help with that.", True),
        ("I\u2019m sorry, but as an AI I have no opinion.", True),
        ("I have no notes about the thread yet.", True),
        ("I don't know.", True),
        ("You cannot promote a rejected adapter.", False),
        ("Say sorry to the cook.", False),
    ],
)
def test_a_refusal_is_found_by_its_phrases(answer: str, is_one: bool) -> None:
    assert refuses(answer) is is_one


def test_the_signatures_say_how_bleu_and_chrf_are_computed() -> None:
    assert "tok:13a" in signatures()
    assert sacrebleu.__version__ in signatures()
