"""All matching questions at once: the same answer as asking for each of them."""

import random

import pytest

from data.pairs import question_join
from data.pairs.question_join import joined, same_questions
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


def sets(texts: list[str]) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for at, number in enumerate(joined(texts)):
        found.setdefault(number, []).append(at)
    return list(found.values())


def test_texts_that_match_through_others_are_joined() -> None:
    chain = ["where is the oven", "What is OpenAI?", "where are the ovens", "what is openai"]
    assert sets(chain) == [[0, 2], [1, 3]]
    steps = ["is it planted", "is it plante", "is it plant"]  # the ends alone do not match
    assert joined(steps) == [0, 0, 0]


def test_whatever_the_index_finds_is_joined() -> None:
    rng = random.Random(6)
    words = (
        "When",
        "where",
        "shop",
        "office",
        "printer",
        "open",
        "Close",
        "start",
        "OpenAI",
        "a.b",
    )
    texts = [" ".join(rng.choices(words, k=rng.randint(2, 5))) for _ in range(300)]
    texts += [text.replace("o", "", 1) for text in rng.sample(texts, 60)]
    texts += [text.casefold() + "s" for text in rng.sample(texts, 60)]
    index: Index[int] = Index()
    number = joined(texts)
    for at, text in enumerate(texts):
        if match := index.find(text):
            assert number[match.key] == number[at], (text, match.text)
        index.add(at, text)


def test_of_very_many_similar_questions_all_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["is it planted", "is it plants", "is it plant", "is it open"]
    monkeypatch.setattr(question_join, "MOST_COMPARED", 2)
    assert sets(texts) == [[0, 1, 2], [3]]
