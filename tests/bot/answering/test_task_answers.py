"""Titles for chat programs, from the words of the person."""

import pytest

from bot.answering.task_answers import TITLE_CHARS, title_of
from data.domains import Domain


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        (("How do I reset my password?",), "How do I reset my password"),
        (("Hi!\n\nHow do I  reset\tit?",), "How do I reset it"),
        (("hello", "Where is the printer?"), "Where is the printer"),
        (("hello",), "hello"),
        (("???",), "???"),
        (
            ("My laptop has been showing a blue screen since the update of last Tuesday.",),
            "My laptop has been showing a blue screen since…",
        ),
        (("問" * 80,), "問" * 49 + "…"),
    ],
)
def test_a_title(asked: tuple[str, ...], title: str) -> None:
    domain = Domain(1, "helpdesk", "the help desk", "Be brief.", (), 0.1, True)
    made = title_of(asked, domain)
    assert made == title
    assert len(made) <= TITLE_CHARS
