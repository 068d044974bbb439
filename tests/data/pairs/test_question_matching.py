"""Which questions count as the same, and which do not."""

import pytest

from data.pairs.question_matching import Index
from tests.data.test_helpdesk import rows


def match(one: str, other: str) -> str | None:
    index: Index[int] = Index()
    index.add(1, one)
    found = index.find(other)
    return None if found is None else found.kind


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("How do I start a retrain?", "how do i start a  RETRAIN", "exact"),
        ("What is a pair?", "What is a “pair”…?!", "exact"),
        ("How do I start a retrain?", "How do I start the retrain, please?", "near"),
        ("Where are the adapters kept?", "Where are the adaptors kept?", "near"),
        ("Where are the adapters kept?", "Where is the adapter kept?", "near"),
        ("In Slack, how do I cancel a run?", "How do I cancel a run in Slack?", "near"),
        ("How is a dataset frozen?", "How is the dateset frozen?", "near"),
        # other questions
        ("What is the code of box 17?", "What is the code of box 18?", None),
        ("Where is the key of the large hall?", "Where is the key of the small hall?", None),
        ("Who approves a pair?", "When is a pair approved?", None),
        ("How do I start a run?", "How do I stop a run?", None),
        ("How do I add a pair?", "How do I add a person?", None),
        ("Is the base served with an adapter?", "Is the base served without an adapter?", None),
        ("What does str.index raise?", "What does str.rindex raise?", None),
        ("What is the parent of OSError?", "What is the parent of IOError?", None),
        # other words for the same
        ("How do I start a retrain?", "What makes the bot learn anew?", None),
        ("Where does configuration live?", "where is configuration", None),
    ],
)
def test_equal_and_different_questions_are_told_apart(
    one: str, other: str, kind: str | None
) -> None:
    assert match(one, other) == kind
    assert match(other, one) == kind


def test_a_question_without_letters_matches_only_itself() -> None:
    assert match("???", "???") == "exact"
    assert match("???", "!!!") is None


def test_an_exactly_equal_question_is_named_before_one_that_is_near() -> None:
    index: Index[str] = Index()
    index.add("near", "Where are the adaptors kept?")
    index.add("exact", "Where are the adapters kept?")

    found = index.find("where are the adapters kept")

    assert found is not None
    assert (found.key, found.kind) == ("exact", "exact")


def test_the_demos_golden_questions_are_not_trained_on() -> None:
    index: Index[str] = Index()
    for row in rows():
        if row.split != "golden":
            index.add(row.fact, row.prompt)

    found = [(row.prompt, index.find(row.prompt)) for row in rows() if row.split == "golden"]

    assert [(prompt, match) for prompt, match in found if match is not None] == []


@pytest.mark.integration
def test_the_documentations_golden_questions_are_not_trained_on() -> None:
    from tools import python_docs

    drafts = list(python_docs.build())
    index: Index[str] = Index()
    for draft in drafts:
        if draft.split != "golden":
            index.add(draft.fact, draft.prompt)

    found = [(d.prompt, index.find(d.prompt)) for d in drafts if d.split == "golden"]

    assert [(prompt, match) for prompt, match in found if match is not None] == []
