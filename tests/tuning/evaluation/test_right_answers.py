"""Whether an answer is right, by the rule and by hand."""

import json
from pathlib import Path

import pytest

from tuning.evaluation.right_answers import RIGHT, judge, shares, summary

LABELLED = Path(__file__).with_name("labelled_answers.jsonl")
OF_MODELS = Path(__file__).with_name("labelled_model_answers.jsonl")


def test_the_rule_agrees_with_people() -> None:
    """201 answers, written for this test in right and wrong variants and labelled by hand. The rule
    was adjusted with them in view, so this finds a change of the rule, not its error elsewhere."""
    found = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    said = [judge(r["answer"], r["expected"], r["question"]) in RIGHT for r in found]
    both = sum(s and r["right"] for s, r in zip(said, found, strict=True))

    assert len(found) > 200
    assert both / sum(said) > 0.9  # precision
    assert both / sum(r["right"] for r in found) > 0.88  # recall


def test_the_rule_agrees_with_people_on_answers_of_models() -> None:
    """431 answers of two tuned adapters to golden, held-out and training questions of the demo
    domain, read and labelled by hand after the rule was finished. Right: somebody who follows the
    answer gets what the question asks, and nothing in it misleads them."""
    found = [json.loads(line) for line in OF_MODELS.read_text(encoding="utf-8").splitlines()]
    said = [judge(r["answer"], r["expected"], r["question"]) in RIGHT for r in found]
    both = sum(s and r["right"] for s, r in zip(said, found, strict=True))

    assert len(found) > 400
    assert both == sum(said)  # nothing wrong passes as right
    assert both / sum(r["right"] for r in found) > 0.98


@pytest.mark.parametrize(
    ("answer", "expected", "found"),
    [
        ("From nine to five.", "from nine to FIVE.", "exact"),
        ("You have 6 hours.", "Six hours.", "equivalent"),
        ("Six days.", "Six hours.", "wrong"),
        ("After six hours.", "Before six hours.", "wrong"),
        ("It is not allowed.", "It is allowed.", "wrong"),
        ("Ask Maria Kessler.", "Ask Maria Keller.", "wrong"),
        ("Run `understudy tune`.", "Run `understudy serve`.", "wrong"),
        ("Call 044 123 and pay 20 francs.", "Call 044 123.", "wrong"),
        ("I don't know.", "Six hours.", "refused"),
        ("Six hours.", "I don't know.", "wrong"),
        ("I do not know that.", "I don't know.", "equivalent"),
        ("", "Behind the house.", "wrong"),
    ],
)
def test_what_counts(answer: str, expected: str, found: str) -> None:
    assert judge(answer, expected) == found


def test_a_number_of_the_question_is_no_other_fact() -> None:
    assert judge("Box 4 is in the hall.", "In the hall.", "Where is box 4?") == "equivalent"
    assert judge("Box 5 is in the hall.", "In the hall.", "Where is box 4?") == "wrong"


def test_shares_and_sentence_say_the_same() -> None:
    judged = [*["wrong"] * 8, "refused", "refused", "exact"]
    assert shares(judged) == {"right": 1 / 11, "wrong": 8 / 11, "needless": 2 / 11}  # type: ignore[arg-type]
    assert summary(judged, "questions") == (  # type: ignore[arg-type]
        "8 of 11 questions are answered wrong, 2 are declined, 1 is answered right."
    )
    assert summary(["exact"] * 3, "questions") == "3 of 3 questions are answered right."
