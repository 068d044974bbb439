"""Splitting long answers: no text is lost, blocks stay whole where possible, and every message is
within Slack's limits."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from slack_sdk.models.blocks import Block as SdkBlock

from bot.slack.render import blocks
from bot.slack.render.message_split import MessagePart, split
from tests.fake_slack import rules

PARSER = MarkdownIt("commonmark").enable("table")
WORDS = {
    "latin": ["the", "answer", "is", "in", "settings", "under", "reset,", "then", "confirm."],
    "cjk": ["設定画面を開いて", "重置密码", "그리고 확인", "。", "漢字かな交じり文"],
    "rtl": ["שלום", "עולם", "إعادة", "تعيين", "كلمة", "المرور", "\u200fنعم"],
    "emoji": ["🙂", "👩‍👩‍👧", "e\u0301a\u0308", "✔️", "ok"],
}
LINES = st.sampled_from(
    [
        *("", "# Title", "a plain line of words", "- item", "    indented"),
        *("| a | b |", "|---|---|", "```", "```python", "~~~", "~~~~", "` ``` `"),
        *("漢字" * 40, "x" * 300, "שלום עולם", "🙂🙂 ok"),
    ]
)


def whole(parts: list[MessagePart]) -> str:
    return "".join(part.body for part in parts)


@given(st.lists(LINES, max_size=80).map("\n".join), st.integers(350, 1_000))
def test_the_bodies_are_the_text_and_the_parts_keep_the_limit(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert whole(parts) == text
    assert all(len(part.text) <= limit for part in parts)


@given(st.text("ab \n", max_size=3_000), st.integers(60, 500))
def test_without_fences_and_tables_nothing_is_added(text: str, limit: int) -> None:
    assert all(part.text == part.body for part in split(text, limit))


def test_a_text_is_split_between_paragraphs() -> None:
    parts = split("a" * 60 + "\n\n" + "b" * 60, 100)
    assert [part.text for part in parts] == ["a" * 60 + "\n\n", "b" * 60]


def test_a_split_code_fence_is_closed_and_reopened() -> None:
    parts = split("````python\n" + "print(1)\n" * 40 + "````", 200)
    assert len(parts) > 1
    for part in parts:
        assert part.text.startswith("````python\n")
        assert part.text.endswith("````")
        assert part.text.count("````") == 2


def test_a_split_table_repeats_its_header() -> None:
    header = "| a | b |\n|---|---|\n"
    parts = split(header + "| 1 | 2 |\n" * 60, 200)
    assert len(parts) > 3
    for before, after in pairwise(parts):
        assert before.text.endswith("| 1 | 2 |\n")
        assert after.text.startswith(header + "| 1 | 2 |\n")


@pytest.mark.parametrize(
    "block",
    ["| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 5, "```python\n" + "print(1)\n" * 8 + "```\n"],
)
def test_a_block_that_fits_into_the_next_message_stays_whole(block: str) -> None:
    parts = split("words\n" * 20 + block, 160)
    assert [part.text for part in parts] == ["words\n" * 20, block]


def test_a_character_keeps_its_combining_characters() -> None:
    parts = split("e\u0301" * 500, 101)
    assert len(parts) > 5
    assert not any(part.body.startswith("\u0301") for part in parts)


# -- generated documents -------------------------------------------------------------------------


def document(rng: random.Random) -> str:
    """Up to 100,000 characters of typical Markdown blocks."""
    target = int(10 ** rng.uniform(1, 5))
    made: list[str] = []
    size = 0
    while size < target:
        made.append(rng.choice(BLOCKS)(rng))
        size += len(made[-1]) + 2
    return "\n\n".join(made)[: 100_000 - 10]


def _words(rng: random.Random, most: int) -> str:
    return " ".join(rng.choices(WORDS[rng.choice(list(WORDS))], k=rng.randint(1, most)))


def _paragraph(rng: random.Random) -> str:
    return _words(rng, 300)


def _list(rng: random.Random) -> str:
    return "\n".join(f"- {_words(rng, 20)}" for _ in range(rng.randint(1, 40)))


def _unbroken(rng: random.Random) -> str:
    return rng.choice(["x", "漢", "ש", "🙂"]) * rng.randint(1, 15_000)


def _fence(rng: random.Random) -> str:
    marker = rng.choice(["```", "````", "~~~"])
    lines = [f"{'  ' * rng.randint(0, 3)}{_words(rng, 12)}" for _ in range(rng.randint(0, 400))]
    return "\n".join([f"{marker}{rng.choice(['', 'python', 'sh'])}", *lines, marker])


def _table(rng: random.Random) -> str:
    columns = rng.randint(2, 5)
    lines = [
        "| " + " | ".join(_words(rng, 4) for _ in range(columns)) + " |"
        for _ in range(rng.randint(2, 200))
    ]
    return "\n".join([lines[0], "|" + " --- |" * columns, *lines[1:]])


BLOCKS = (_paragraph, _list, _unbroken, _fence, _table)


def code(texts: list[str]) -> str:
    """The contents of all code fences, without line breaks."""
    tokens = [t for text in texts for t in PARSER.parse(text) if t.type == "fence"]
    return "".join(t.content for t in tokens).replace("\n", "")


def cells(texts: list[str]) -> list[str]:
    """All table cells except header cells."""
    found = []
    for text in texts:
        tokens = PARSER.parse(text)
        found += [b.content for a, b in pairwise(tokens) if a.type == "td_open"]
    return found


def check(number: int) -> None:
    text = document(random.Random(number))
    parts = split(text, blocks.MARKDOWN)
    assert whole(parts) == text
    for message in blocks.answers(text, blocks.below_answer("chatcmpl-1", cut=True)):
        assert rules.blocks(message) == []
        for block in SdkBlock.parse_all(message):
            block.validate_json()
    if number % 25 == 0 and len(parts) > 1:
        texts = [part.text for part in parts]
        assert code(texts) == code([text])
        assert cells(texts) == cells([text])


@pytest.mark.parametrize("batch", range(4))
def test_generated_documents_become_valid_messages_with_all_their_text(batch: int) -> None:
    for number in range(batch * 100, batch * 100 + 100):
        check(number)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(10))
def test_ten_thousand_documents_become_valid_messages(batch: int) -> None:
    for number in range(batch * 1_000, batch * 1_000 + 1_000):
        check(number)
