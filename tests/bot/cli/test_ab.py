"""`understudy ab`: from the start of a comparison to a recomputed decision."""

from dataclasses import replace
from pathlib import Path

import pytest

from data import domains
from data.adapters import placements, registry
from data.experiments import assignments, decisions, experiments
from data.experiments.counted_people import NOTES
from data.experiments.experiments import Experiment
from data.experiments.metrics import METRICS, guardable
from data.feedback import feedback
from data.store.db import Store
from tests.bot.cli.conftest import Run, json, make_adapter
from tests.data import given


@pytest.fixture(autouse=True)
def art(run: Run, store: Store) -> None:
    """The domain art: art@1 is live, art@2 and art@3 are candidates."""
    run("domains", "add", "art")
    made = [make_adapter(store, "art", n) for n in (1, 2, 3)]
    with store.write() as db:
        registry.promote(db, made[0], "cli:ann")
        placements.record_heartbeat(db, "local-1", "http://127.0.0.1:8100", "pocket", "ready")
        for adapter in made:
            placements.record_loaded(db, "local-1", adapter.id, 5.0)


def running(store: Store) -> Experiment:
    found = experiments.running(store.db, domains.get(store.db, "art").id)
    assert found is not None
    return found


def rate(store: Store, people: int = 200) -> None:
    """People on A like every answer, those on B every fifth."""
    with store.write() as db:
        experiment = given.same_sides(db, running(store))
        domain = domains.get(db, "art")
        for n in range(people):
            person = f"slack:T1/U{n}"
            variant = assignments.variant_for(experiment, person)
            assignments.expose(db, experiment.id, person, variant.id, experiment.stage)
            reply = given.reply(db, domain, person, variant=variant)
            feedback.thumb(db, reply, person, variant.label == "A" or n % 5 == 0)


def test_hints_name_the_domain(run: Run) -> None:
    assert "`understudy ab start art A B`" in run("ab", "status", "art").output
    run("ab", "start", "art", "live", "2")
    assert "`understudy ab stop art`" in run("ab", "ramp", "art", "5").output


@pytest.mark.parametrize("command", [("tester", "art", "Ann", "B"), ("where", "art", "Ann")])
def test_an_invalid_person_is_refused(run: Run, command: tuple[str, ...]) -> None:
    run("ab", "start", "art", "live", "2")

    result = run("ab", *command)

    assert (result.exit_code, "'Ann' is not the id of a person" in result.output) == (2, True)


def test_a_comparison_of_anyone_says_who_decides(run: Run) -> None:
    assert NOTES["anyone"] not in run("ab", "start", "art", "live", "2").output
    run("ab", "stop", "art")
    assert NOTES["anyone"] in run("ab", "start", "art", "live", "2", "--people", "anyone").output
    assert NOTES["anyone"] in run("ab", "status", "art").output


def test_the_expected_number_of_people_has_a_limit(run: Run) -> None:
    result = run("ab", "start", "art", "live", "2", "--expected-people", "9" * 25)

    assert (result.exit_code, "can be at most 1,000,000,000" in result.output) == (2, True)


def test_as_many_people_are_expected_as_rated_lately(run: Run, store: Store) -> None:
    with store.write() as db:
        domain = domains.get(db, "art")
        for n in range(120):
            person = f"slack:T1/U{n}"
            feedback.thumb(db, given.reply(db, domain, person), person, up=True)
        feedback.thumb(db, given.reply(db, domain, "web:1"), "web:1", up=True)
    run("ab", "start", "art", "live", "2", "--people", "anyone")
    assert running(store).terms["expected_people"] == 121
    run("ab", "stop", "art")
    run("ab", "start", "art", "live", "2")
    assert running(store).terms["expected_people"] == 120
    assert running(store).terms["novelty_days"] == 7
    run("ab", "stop", "art")
    run("ab", "start", "art", "live", "2", "--expected-people", "70", "--novelty-days", "0")
    assert running(store).terms["expected_people"] == 70
    assert running(store).terms["novelty_days"] == 0


def test_the_plan_says_how_many_people_and_how_long(run: Run, store: Store) -> None:
    nobody = run("ab", "plan", "art").output
    assert "0 people rated" in nobody
    assert "never: nobody rates" in nobody
    assert "Too few have rated" in nobody
    with store.write() as db:
        domain = domains.get(db, "art")
        for n in range(40):
            feedback.thumb(db, given.reply(db, domain, f"slack:T1/U{n}"), f"slack:T1/U{n}", n > 9)

    found = json(run("ab", "plan", "art", "--json"))
    assert isinstance(found, dict)

    assert found["raters"] == 40
    assert found["known"]
    needed = [line["people"] for line in found["lines"]]
    assert needed == sorted(needed)
    assert 100 < needed[0] < 250  # 20 points at a share of 75%: docs/comparisons.md
    assert [line["longer"] for line in found["lines"]] == [True] * 4  # 40 are not enough
    uneven = json(run("ab", "plan", "art", "--split", "10", "--json"))
    assert isinstance(uneven, dict)
    assert uneven["lines"][1]["people"] > 2 * needed[1]
    assert "people who must rate" in run("ab", "plan", "art").output


def test_more_than_two_can_be_compared(run: Run, store: Store) -> None:
    result = run("ab", "start", "art", "live", "2", "3")

    assert result.exit_code == 0, result.output
    assert "compares art@1 with art@2 with art@3" in result.output
    assert [round(v.share, 3) for v in running(store).variants] == [0.333, 0.333, 0.333]


def test_grounded_answers_are_compared_with_ungrounded_ones(run: Run, store: Store) -> None:
    result = run("ab", "start", "art", "live:grounded", "live:ungrounded")

    assert result.exit_code == 0, result.output
    assert "compares art@1 (grounded) with art@1 (ungrounded)" in result.output
    assert [v.answer_mode for v in running(store).variants] == ["grounded", "adapter"]


def test_prompts_and_sampling_can_be_compared(run: Run, store: Store, home: Path) -> None:
    (home / "kind.txt").write_text("Be kind.\n")

    result = run(
        *("ab", "start", "art", "live", "live", "--split", "20"),
        *("--prompt", "B=kind.txt", "--sampling", "b=temperature=0.2"),
        *("--pairwise", "10", "--minimum-effect", "0.05"),
    )

    assert result.exit_code == 0, result.output
    assert "compares art@1 with art@1 (own prompt, temperature=0.2)" in result.output
    begun = running(store)
    assert begun.variants[1].system_prompt == "Be kind."
    assert (begun.pairwise, begun.terms["minimum_effect"]) == (0.1, 0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prompt", "B=nothing.txt"], "cannot be read"),
        (["--prompt", "X=ab.txt"], "cannot be read"),
        (["--sampling", "B=heat=2"], "not a sampling setting"),
        (["--sampling", "C=temperature=1"], "no variant 'C'; the variants are A, B"),
        (["--fresh"], "no comparison yet"),
        (["--split", "0.2"], "0.2 is not in the range 1<=x<=99"),
        (["--adaptive", "60"], "between 0 and 50%"),
    ],
)
def test_an_invalid_comparison_is_refused(run: Run, options: list[str], words: str) -> None:
    result = run("ab", "start", "art", "1", "2", *options)

    assert result.exit_code != 0
    assert words in result.output


def test_guardrails_are_set_at_the_start(run: Run, store: Store) -> None:
    result = run(
        *("ab", "start", "art", "live", "2", "--guardrail", "failed=0.05"),
        *("--guardrail", "latency=none", "--guardrail", "follow-up=0.1"),
    )

    assert result.exit_code == 0, result.output
    agreed = running(store).terms["guardrails"]
    assert agreed == {"failed": 0.05, "correction": 0.05, "slow": 0.02, "follow_up": 0.1}


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ("failed", "use NAME=BOUND"),
        ("failed=few", "use NAME=BOUND"),
        ("failed=-0.1", "between 0 and 100"),
        ("failed=nan", "between 0 and 100"),
        ("failed=inf", "between 0 and 100"),
        ("rating=0.1", "'rating' is not a guardrail (choose from: correction, regenerate"),
        ("heat=1", "'heat' is not a guardrail"),
    ],
)
def test_an_invalid_guardrail_is_refused(run: Run, bound: str, words: str) -> None:
    result = run("ab", "start", "art", "live", "2", "--guardrail", bound)

    assert (result.exit_code, words in " ".join(result.output.split())) == (2, True), result.output


def test_a_metric_of_the_table_can_be_a_guardrail(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "stopped", replace(METRICS["correction"], usual_bound=None))
    run("ab", "start", "art", "live", "2", "--guardrail", "stopped=0.2")
    assert running(store).terms["guardrails"]["stopped"] == 0.2


def test_the_help_names_every_guardrail(run: Run) -> None:
    said = " ".join(run("ab", "start", "--help").output.split())
    assert f": {', '.join(guardable())}." in said


def test_a_ramp_only_grows(run: Run) -> None:
    run("ab", "start", "art", "1", "2", "--split", "5")

    assert (
        "Stage 2 of experiment 1: A 80%, B 20% of the new" in run("ab", "ramp", "art", "20").output
    )
    refused = run("ab", "ramp", "art", "5")
    assert refused.exit_code == 2
    assert "20% of the people get a candidate now. The share can only grow" in refused.output


def test_a_tester_is_put_on_a_variant_and_listed(run: Run) -> None:
    run("ab", "start", "art", "1", "2")

    chosen = run("ab", "tester", "art", "web:me", "B")

    assert "web:me is now on B (art@2) and is not counted." in chosen.output
    assert "web:me is on B (art@2)." in run("ab", "where", "art", "web:me").output
    assert "starting with their first question" in run("ab", "where", "art", "web:you").output
    assert "Testers (not counted): web:me" in run("ab", "status", "art").output


def test_the_holdout_is_shown(run: Run) -> None:
    run("ab", "start", "art", "1", "2")
    run("domains", "holdout", "art", "50")

    shown = [run("ab", "where", "art", f"web:{n}").output for n in range(40)]

    assert 5 < sum("held out" in line for line in shown) < 35
    assert "art: advise, 50% of the people held out" in run("domains", "policy", "art").output


def test_status_shows_the_interval_the_state_and_the_sentence(run: Run, store: Store) -> None:
    run("ab", "start", "art", "1", "2")
    rate(store)

    shown = run("ab", "status", "art").output

    assert "B: worse, -" in shown
    assert "B (art@2) is worse than A (art@1)" in shown
    everything = run("status").output
    assert "art@1 and art@2: worse" in everything
    assert "art: B (art@2) is worse than A (art@1)" in everything
    found = json(run("ab", "status", "art", "--json"))
    assert isinstance(found, dict)
    assert found["results"]["state"] == "worse"
    assert "salt" not in found["experiment"]


def test_a_decision_can_be_listed_and_recomputed(run: Run, store: Store) -> None:
    from bot.experiments import decider

    run("domains", "policy", "art", "auto-roll-back")
    run("ab", "start", "art", "1", "2")
    assert "No decision yet; the comparison continues." in run("ab", "decisions", "art").output
    rate(store)
    with store.write() as db:
        found = decider.evaluate_experiment(db, running(store))
        assert found is not None
        made = decider.apply_verdict(db, found)
    assert made is not None

    assert "roll back" in run("ab", "decisions", "art").output
    assert "stopped by policy:auto-roll-back" in run("ab", "decisions", "art").output
    explained = run("ab", "explain", str(made.id))
    assert explained.exit_code == 0, explained.output
    assert "The result is the same in every number." in explained.output
    assert "a false verdict (better or worse) is at most 5%." in explained.output
    bounds = "correction 5 points, failed 2 points, latency 25%, slow 2 points"
    assert f"{bounds}. The chance" in explained.output
    assert "a false alarm is at most 2%, all of them together." in explained.output
    assert "cast more than 7 days after a person's first answer." in explained.output
    assert "alpha" not in explained.output

    with store.write() as db:
        db.execute("UPDATE decisions SET terms = replace(terms, '0.05', '0.0000001')")
    tampered = run("ab", "explain", str(made.id))
    assert tampered.exit_code == 1
    assert "The result is NOT the same." in tampered.output
    assert "or the decision was made by a version of Understudy" in tampered.output
    assert decisions.get(store.db, made.id).action == "roll back"


def test_an_ended_comparison_shows_its_decision(run: Run, store: Store) -> None:
    """Later ratings may widen the interval again, but no more people are awaited."""
    from bot.experiments import decider as experiments_decider

    run("domains", "policy", "art", "auto-roll-back")
    run("ab", "start", "art", "1", "2")
    rate(store)
    with store.write() as db:
        experiment = running(store)
        found = experiments_decider.evaluate_experiment(db, experiment)
        assert found is not None
        made = experiments_decider.apply_verdict(db, found)
        db.execute("UPDATE experiments SET terms = json_set(terms, '$.least_people', 100000)")
    assert made is not None

    shown = " ".join(run("ab", "status", "art").output.split())

    assert f"Decision {made.id}, roll back: {made.sentence} Results with all ratings" in shown
    assert "B: collecting" in shown
    assert "more people must rate" not in shown


def test_a_comparison_that_was_stopped_early_says_so(run: Run) -> None:
    run("ab", "start", "art", "1", "2")
    run("ab", "stop", "art")

    shown = run("ab", "status", "art").output

    assert "It ended before a decision was made." in shown
    assert "more people must rate" not in shown
    assert "Nothing was decided." in run("ab", "decisions", "art").output


def test_an_unknown_policy_is_refused(run: Run) -> None:
    result = run("domains", "policy", "art", "brave")

    assert result.exit_code == 2
    assert "auto-roll-back" in result.output
