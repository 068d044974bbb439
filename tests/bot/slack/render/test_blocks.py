"""Blocks stay within Slack's limits for any text, and lose none of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block as SdkBlock

from bot.slack.render import blocks, feedback_forms
from bot.slack.render.feedback_forms import EarlierFeedback
from data.store.clock import now_us
from tests.fake_slack import rules


@given(st.text(max_size=30_000), st.text(max_size=4_000))
def test_answers_of_any_text_are_valid_messages(text: str, note: str) -> None:
    messages = blocks.answers(text, blocks.below_answer("chatcmpl-1", note, cut=True))
    for message in messages:
        assert rules.blocks(message) == []
    assert sum(len(m.elements) for m in _feedback(messages)) == 1


def test_a_long_answer_is_several_valid_messages() -> None:
    messages = blocks.answers("word " * 20_000, blocks.below_answer("chatcmpl-1"))
    assert len(messages) == 9
    assert [rules.blocks(m) for m in messages] == [[]] * 9


def test_untrusted_text_cannot_mention_anyone() -> None:
    assert blocks.sentence("<!channel> & <@U1> <@evil|x>") == (
        "&lt;!channel&gt; &amp; <@U1> &lt;@evil|x&gt;"
    )


def test_the_slack_sdk_parses_every_block() -> None:
    everything = [
        *blocks.answers("text", blocks.below_answer("chatcmpl-1", "note", cut=True))[0],
        *feedback_forms.correction("chatcmpl-1", "C1", "1.2", EarlierFeedback())["blocks"],
    ]
    parsed = SdkBlock.parse_all(everything)
    assert [b.to_dict()["type"] for b in parsed] == [b["type"] for b in everything]


def test_the_form_is_a_valid_view() -> None:
    long = EarlierFeedback("é & " * 900, "<b>" * 1_000, learn=True)
    for earlier in (
        EarlierFeedback(),
        long,
        EarlierFeedback("x" * 8_000, "y" * 8_000, opted_out=True),
    ):
        form = feedback_forms.correction("chatcmpl-" + "0" * 30, "C" * 12, "1.2", earlier)
        assert rules.view(form) == []
    assert rules.blocks(feedback_forms.teach_more("chatcmpl-" + "0" * 30)) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (4_800, "80 min"),
        (6_000, "1 h 40 min"),
        (7_200, "2 h"),
        (172_790, "2 days"),
        (259_200, "3 days"),
    ],
)
def test_duration_uses_the_largest_fitting_unit(seconds: float, words: str) -> None:
    assert blocks.duration(seconds) == words


def test_ago_says_just_now_below_ten_seconds() -> None:
    assert [blocks.ago(now_us() - s * 1_000_000) for s in (-5, 0, 9, 11)] == [
        *["just now"] * 3,
        "11 s ago",
    ]


class _Elements:
    def __init__(self, elements: list[Any]) -> None:
        self.elements = elements


def _feedback(messages: list[list[blocks.Block]]) -> list[_Elements]:
    return [_Elements(b["elements"]) for m in messages for b in m if b["type"] == "context_actions"]
