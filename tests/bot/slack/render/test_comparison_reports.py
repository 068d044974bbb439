"""What Slack says of comparisons, where there is much to say or nothing."""

from dataclasses import replace

from bot.slack.render import comparison_reports
from data.experiments.decisions import Decision
from data.experiments.experiments import Experiment
from tests.fake_slack import rules

STOPPED = Experiment(1, 1, "helpdesk", "", "stopped", "slack:T1/U1", 1, 2, ())
LONG = "B (a-domain-with-a-long-name@12) is as good as A (a-domain-with-a-long-name@11). " * 6


def decision(number: int) -> Decision:
    return Decision(number, 1, number, "advise", "collecting", "", "hold", LONG, {}, {}, {})


def test_the_newest_decision_is_shown_however_long_those_before_it_are() -> None:
    shown = comparison_reports.decisions(STOPPED, [decision(n) for n in range(1, 12)])
    assert rules.blocks(shown) == []
    assert "decision 11," in str(shown)
    assert str(shown).count(LONG.strip()) == comparison_reports.MOST_DECISIONS
    assert "3 before these" in str(shown)


def test_of_a_comparison_that_has_ended_it_is_not_said_that_it_goes_on() -> None:
    running = replace(STOPPED, state="running")
    assert "it goes on" in str(comparison_reports.decisions(running, []))
    assert "Nothing was decided about it." in str(comparison_reports.decisions(STOPPED, []))
