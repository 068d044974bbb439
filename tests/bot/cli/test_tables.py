"""Tables in terminals of any width."""

import pytest

from bot.cli.context import print_table
from bot.demo import show

HEADERS = ("domain", "live", "comparison", "new pairs")
LINES = [("helpdesk", "helpdesk@2", None, 4), ("travel", "bare base", "a and b", 0)]


def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(HEADERS, LINES, "")
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_narrow_terminal_gets_one_cell_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert printed(capsys, monkeypatch, 20) == [
        "domain: helpdesk", "live: helpdesk@2", "new pairs: 4", "",
        "domain: travel", "live: bare base", "comparison: a and b", "new pairs: 0",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 80])
def test_no_word_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    words = " ".join(printed(capsys, monkeypatch, width)).replace(":", "").split()

    assert {"helpdesk", "helpdesk@2", "comparison", "travel"} <= set(words)


def test_names_and_values_stay_together(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("", ""), [("adapter", "helpdesk@2"), ("trained", "yesterday")], "")

    assert capsys.readouterr().out == "adapter: helpdesk@2\ntrained: yesterday\n"


def test_the_answers_of_the_demo_stand_below_each_other_in_a_narrow_terminal() -> None:
    headers, lines = ("question", "bare base", "helpdesk@1"), [("Why?", "No.", "So.")]

    narrow = show.answers_table(headers, lines, 20)

    assert str(narrow) == "question: Why?\nbare base: No.\nhelpdesk@1: So."
