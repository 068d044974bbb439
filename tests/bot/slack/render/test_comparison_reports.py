"""Comparison reports with many decisions and with none."""

from dataclasses import replace

from bot.slack.render import comparison_reports
from data.experiments.decisions import Decision
from data.experiments.experiments import Experiment
from tests.fake_slack import rules

STOPPED = Experiment(1, 1, "helpdesk", "", "stopped", "slack:T1/U1", 1, 2, ())
LONG = "B (a-domain-with-a-long-name@12) is as good as A (a-domain-with-a-long-name@11). " * 6


def decision(number: int) -> Decision:
    return Decision(number, 1, number, "advise", "collecting", "", "hold", LONG, {}, {}, {})


def test_the_newest_decision_is_shown_however_long_the_earlier_ones_are() -> None:
    shown = comparison_reports.decisions(STOPPED, [decision(n) for n in range(1, 12)])
    assert rules.blocks(shown) == []
    assert "decision 11," in str(shown)
    assert str(shown).count(LONG.strip()) == comparison_reports.MAX_DECISIONS
    assert "3 earlier: " in str(shown)


def test_only_a_running_comparison_is_said_to_continue() -> None:
    running = replace(STOPPED, state="running")
    assert "the comparison continues" in str(comparison_reports.decisions(running, []))
    ended = str(comparison_reports.decisions(STOPPED, []))
    assert "No decision was made." in ended
    assert "continues" not in ended
