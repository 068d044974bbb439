"""All matching questions at once: the same answer as asking for each of them."""

import random

import pytest

from data.pairs.question_join import same_questions
from data.pairs.question_matching import Index


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("When does the shop open?", "when does the shop open"),
        ("When does the office open?", "When does the ofice open?"),
        ("How do I reset the password?", "how do i reset my passwords"),
        ("Where is the printer kept", "where are printers kept"),
    ],
)
def test_misspelt_and_inflected_questions_match(one: str, other: str) -> None:
    assert same_questions([one, "What is for lunch?", other]) == [[0, 2]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What does str.find do?", "What does str.rfind do?"),
        ("Where is box 17?", "Where is box 18?"),
        ("What is C++?", "What is C#?"),
        ("When does the shop open on Monday?", "When does the shop open on Friday?"),
    ],
)
def test_other_questions_do_not(one: str, other: str) -> None:
    assert same_questions([one, other]) == []


def test_the_join_finds_what_the_index_finds() -> None:
    rng = random.Random(5)
    words = ("when", "where", "shop", "office", "printer", "open", "close", "start", "password")
    texts = [" ".join(rng.choices(words, k=rng.randint(3, 6))) for _ in range(300)]
    texts += [text.replace("o", "", 1) for text in rng.sample(texts, 60)]
    texts += [text + "s" for text in rng.sample(texts, 60)]
    index: Index[int] = Index()
    by_index = set()
    for at, text in enumerate(texts):
        if index.find(text) is not None:
            by_index.add(at)
        index.add(at, text)
    joined = {at for group in same_questions(texts) for at in group[1:]}
    assert by_index == joined
