"""Decisions: made once, stored with their numbers, carried out in the same transaction."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from bot.experiments import comparisons
from bot.experiments import decider as experiments_decider
from bot.experiments.comparisons import ExperimentPlan
from bot.experiments.decider import Decider
from bot.experiments.explain import explain
from bot.runtime.metrics import Metrics
from data import domains
from data.adapters import registry
from data.domains import Domain
from data.experiments import assignments, decisions, experiments, policies, ramps
from data.experiments.design import ExperimentDesign
from data.experiments.experiments import Experiment
from data.feedback import feedback, raters
from data.monitoring import alerts
from data.store import audit
from data.store.clock import DAY_US
from data.store.db import Store, value
from data.store.errors import Conflict
from tests.data import given


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "understudy.db") as store:
        yield store


@pytest.fixture
def domain(store: Store) -> Domain:
    with store.write() as db:
        return domains.create(db, "helpdesk")


@pytest.fixture
def running(store: Store, domain: Domain) -> Experiment:
    """helpdesk@1, which is live, against helpdesk@2."""
    with store.write() as db:
        given.adapter(db, domain, "live")
        given.adapter(db, domain)
        return begin(db, domain, ["1", "2"], "cli:ann")


AGO_US = 8 * DAY_US  # variants are no longer new


def begin(db: Database, domain: Domain, sides: list[str], *more: Any) -> Experiment:
    """A comparison that began eight days ago."""
    begun = comparisons.begin(db, domain, sides, *more)
    db.execute("UPDATE experiments SET started_at = started_at - ?", [AGO_US])
    return given.same_sides(db, experiments.get(db, begun.id))


def rate(
    db: Database,
    running: Experiment,
    likes: dict[str, float],
    people: int,
    ago_us: int = AGO_US,
) -> None:
    """So many people ask once and rate: of those on a variant, so great a share likes it. Each was
    first exposed `ago_us` microseconds before."""
    domain = domains.by_id(db, running.domain_id)
    begun = int(value(db, "SELECT count(*) FROM assignments"))
    done = dict.fromkeys(likes, 0)
    for n in range(begun, begun + people):
        person = f"slack:T1/U{n}"
        variant = assignments.variant_for(running, person)
        assignments.expose(db, running.id, person, variant.id, running.stage)
        db.execute("UPDATE assignments SET at = at - ? WHERE person = ?", [ago_us, person])
        done[variant.label] += 1
        share, so_far = likes[variant.label], done[variant.label]
        up = int(share * so_far) > int(share * (so_far - 1))
        feedback.thumb(db, given.reply(db, domain, person, variant=variant), person, up)


def policy(store: Store, domain: Domain, name: str) -> None:
    with store.write() as db:
        policies.set_policy(db, domain, name, "cli:ann")


def evaluate(store: Store) -> list[decisions.Decision]:
    async def once() -> list[decisions.Decision]:
        decider = Decider(store)
        made = await decider.evaluate()
        await decider.close()
        return made

    return asyncio.run(once())


WORSE, BETTER = {"A": 0.9, "B": 0.4}, {"A": 0.4, "B": 0.9}


# What is done


def test_a_comparison_that_has_just_started_gets_no_decision(
    store: Store, running: Experiment
) -> None:
    assert evaluate(store) == []
    with store.write() as db:
        rate(db, running, {"A": 0.7, "B": 0.7}, 100)
    assert evaluate(store) == []


def test_the_default_policy_only_advises(store: Store, domain: Domain, running: Experiment) -> None:
    with store.write() as db:
        rate(db, running, WORSE, 200)
    (made,) = evaluate(store)
    assert (made.policy, made.state, made.variant, made.action) == (
        "advise",
        "worse",
        "B",
        "advise",
    )
    assert experiments.running(store.db, domain.id) == running
    assert evaluate(store) == []  # it is told once


def test_a_worse_candidate_is_rolled_back(
    store: Store, domain: Domain, running: Experiment
) -> None:
    policy(store, domain, "auto-roll-back")
    with store.write() as db:
        rate(db, running, WORSE, 200)
    (made,) = evaluate(store)
    assert made.action == "roll back"
    ended = experiments.get(store.db, running.id)
    assert (ended.state, ended.stopped_by) == ("stopped", "policy:auto-roll-back")
    live = registry.live(store.db, domain.id)
    assert live is not None
    assert live.name == "helpdesk@1"
    assert [e.action for e in audit.recent(store.db)][:2] == ["ab roll back", "ab stop"]


def test_a_better_candidate_is_promoted(store: Store, domain: Domain, running: Experiment) -> None:
    policy(store, domain, "auto-promote")
    with store.write() as db:
        rate(db, running, BETTER, 200)
    (made,) = evaluate(store)
    assert (made.action, made.variant) == ("promote", "B")
    live = registry.live(store.db, domain.id)
    assert live is not None
    assert live.name == "helpdesk@2"
    assert experiments.running(store.db, domain.id) is None


def test_a_candidate_that_is_better_while_it_is_new_waits_for_later_ratings(
    store: Store, domain: Domain, running: Experiment
) -> None:
    """The same ratings, cast on the first days after people's first answers."""
    policy(store, domain, "auto-promote")
    with store.write() as db:
        rate(db, running, BETTER, 200, ago_us=7 * DAY_US - 60_000_000)
    (made,) = evaluate(store)
    assert (made.action, made.variant, made.state) == ("advise", "B", "better")
    assert evaluate(store) == []
    assert explain(made).differing == ()
    with store.write() as db:
        rate(db, running, BETTER, 200)
    assert [d.action for d in evaluate(store)] == ["promote"]


def test_without_novelty_days_nothing_is_waited_for(store: Store, domain: Domain) -> None:
    policy(store, domain, "auto-promote")
    with store.write() as db:
        given.adapter(db, domain, "live")
        given.adapter(db, domain)
        plan = ExperimentPlan(design=ExperimentDesign(novelty_days=0))
        rate(db, begin(db, domain, ["1", "2"], "cli:ann", plan), BETTER, 200, ago_us=0)
    assert [d.action for d in evaluate(store)] == ["promote"]


def test_a_live_candidate_that_is_worse_is_replaced_by_the_control(
    store: Store, domain: Domain
) -> None:
    policy(store, domain, "auto")
    with store.write() as db:
        given.adapter(db, domain)
        given.adapter(db, domain, "live")
        begun = begin(db, domain, ["1", "live"], "cli:ann")
        rate(db, begun, WORSE, 200)
    assert [d.action for d in evaluate(store)] == ["roll back"]
    live = registry.live(store.db, domain.id)
    assert live is not None
    assert live.name == "helpdesk@1"


def test_a_live_candidate_that_is_worse_than_the_bare_base_is_replaced_by_it(
    store: Store, domain: Domain
) -> None:
    policy(store, domain, "auto")
    with store.write() as db:
        given.adapter(db, domain, "live")
        given.adapter(db, domain, "live")
        begun = begin(db, domain, ["base", "live"], "cli:ann")
        rate(db, begun, WORSE, 200)
    (made,) = evaluate(store)
    assert made.sentence.endswith("those of the bare base model.")
    assert registry.live(store.db, domain.id) is None
    with store.write() as db:  # and a person may think otherwise
        before = registry.roll_back(db, domain, "cli:ann")
    assert before is not None
    assert before.name == "helpdesk@2"


def test_the_sentence_names_the_adapter_after_a_roll_back(store: Store, domain: Domain) -> None:
    policy(store, domain, "auto")
    with store.write() as db:
        given.adapter(db, domain)
        given.adapter(db, domain)
        given.adapter(db, domain, "live")
        rate(db, begin(db, domain, ["1", "2"], "cli:ann"), WORSE, 200)
    (made,) = evaluate(store)
    live = registry.live(store.db, domain.id)
    assert live is not None
    assert live.name == "helpdesk@3"
    assert made.sentence.endswith("ended, and everybody gets helpdesk@3.")
    assert explain(made).again.sentence == made.sentence


def test_a_policy_changed_at_the_last_moment_applies(
    store: Store, domain: Domain, running: Experiment
) -> None:
    policy(store, domain, "auto")
    with store.write() as db:
        rate(db, running, WORSE, 200)
    found = experiments_decider.evaluate_experiment(store.db, running)
    assert found is not None
    policy(store, domain, "advise")
    with store.write() as db:
        assert experiments_decider.apply_verdict(db, found) is None
    assert [d.action for d in evaluate(store)] == ["advise"]


def test_a_better_system_prompt_becomes_that_of_the_domain(store: Store, domain: Domain) -> None:
    policy(store, domain, "auto")
    with store.write() as db:
        given.adapter(db, domain, "live")
        plan = ExperimentPlan(prompts={"B": "Be kind."})
        begun = begin(db, domain, ["live", "live"], "cli:ann", plan)
        rate(db, begun, BETTER, 200)
    assert [d.action for d in evaluate(store)] == ["promote"]
    assert domains.get(store.db, "helpdesk").system_prompt == "Be kind."


def test_better_sampling_is_left_to_a_person(store: Store, domain: Domain) -> None:
    policy(store, domain, "auto")
    with store.write() as db:
        given.adapter(db, domain, "live")
        plan = ExperimentPlan(sampling={"B": {"temperature": 0.7}})
        begun = begin(db, domain, ["live", "live"], "cli:ann", plan)
        rate(db, begun, BETTER, 200)
    assert [d.action for d in evaluate(store)] == ["advise"]
    assert experiments.running(store.db, domain.id) is not None


def test_a_change_of_state_is_a_decision_even_if_the_action_is_hold(
    store: Store, running: Experiment
) -> None:
    with store.write() as db:
        rate(db, running, WORSE, 100)
        assert [d.action for d in decide_in(db, running)] == ["advise"]
        rate(db, running, {"A": 0.4, "B": 0.9}, 100)
        assert [d.action for d in decide_in(db, running)] == ["hold"]
    assert [d.state for d in decisions.list_decisions(store.db, running.id)] == [
        "worse",
        "collecting",
    ]


def decide_in(db: Database, running: Experiment) -> list[decisions.Decision]:
    found = experiments_decider.evaluate_experiment(db, running)
    made = experiments_decider.apply_verdict(db, found) if found else None
    return [made] if made else []


def test_the_design_from_the_start_applies(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.adapter(db, domain, "live")
        given.adapter(db, domain)
        plan = ExperimentPlan(design=ExperimentDesign(least_people=150))
        begun = begin(db, domain, ["1", "2"], "cli:ann", plan)
        rate(db, begun, WORSE, 200)
    assert evaluate(store) == []


def test_advice_is_an_alert_until_somebody_acts(
    store: Store, domain: Domain, running: Experiment
) -> None:
    def found() -> list[str]:
        return [a.text for a in alerts.alerts(store.db) if a.kind == "comparison"]

    with store.write() as db:
        rate(db, running, WORSE, 200)
    assert found() == []
    evaluate(store)
    (text,) = found()
    assert text.startswith("Comparison 1 of helpdesk: B (helpdesk@2) is worse than A")
    assert text.endswith("`understudy ab stop helpdesk`.")
    with store.write() as db:
        experiments.stop(db, running, "cli:ann")
    assert found() == []


def test_a_better_candidate_is_advised_without_an_alert(store: Store, running: Experiment) -> None:
    with store.write() as db:
        rate(db, running, BETTER, 200)
    assert [d.action for d in evaluate(store)] == ["advise"]
    assert [a for a in alerts.alerts(store.db) if a.kind == "comparison"] == []


def test_states_and_decisions_are_in_the_metrics(
    store: Store, domain: Domain, running: Experiment
) -> None:
    def shown(name: str, **labels: str) -> float | None:
        metrics = Metrics()
        metrics.read_store(store.db)
        return metrics.registry.get_sample_value(
            f"understudy_{name}", {"domain": "helpdesk"} | labels
        )

    assert shown("comparisons", state="collecting") == 1
    with store.write() as db:
        rate(db, running, WORSE, 200)
        raters.quarantine(db, domain, "slack:T1/U0", "a bot", "cli:ann")
    evaluate(store)
    assert shown("comparisons", state="worse") == 1
    assert shown("comparisons", state="collecting") == 0
    assert shown("decisions", action="advise") == 1
    assert shown("decisions", action="promote") == 0
    assert shown("voters_quarantined") == 1


# Once


def test_only_one_of_two_bots_decides(store: Store, domain: Domain, running: Experiment) -> None:
    policy(store, domain, "auto")
    with store.write() as db:
        rate(db, running, BETTER, 200)
    both = [experiments_decider.evaluate_experiment(store.db, running) for _ in range(2)]
    made = []
    for found in both:
        assert found is not None
        with store.write() as db:
            made.append(experiments_decider.apply_verdict(db, found))
    assert [m is not None for m in made] == [True, False]
    assert len(decisions.list_decisions(store.db, running.id)) == 1


def test_a_comparison_stopped_in_the_meantime_gets_no_decision(
    store: Store, domain: Domain, running: Experiment
) -> None:
    policy(store, domain, "auto")
    with store.write() as db:
        rate(db, running, BETTER, 200)
    found = experiments_decider.evaluate_experiment(store.db, running)
    assert found is not None
    with store.write() as db:
        experiments.stop(db, running, "cli:ann")
        assert experiments_decider.apply_verdict(db, found) is None
    assert registry.live(store.db, domain.id) == registry.get(store.db, "helpdesk@1")


def test_an_action_that_fails_is_no_decision(
    store: Store, domain: Domain, running: Experiment
) -> None:
    """The winner is rejected between the evaluation and the action: neither is written."""
    policy(store, domain, "auto")
    with store.write() as db:
        rate(db, running, BETTER, 200)
    found = experiments_decider.evaluate_experiment(store.db, running)
    assert found is not None
    with store.write() as db:
        db.execute("UPDATE adapters SET state = 'rejected' WHERE version = 2")
    with pytest.raises(Conflict), store.write() as db:
        experiments_decider.apply_verdict(db, found)
    assert decisions.list_decisions(store.db, running.id) == []
    assert experiments.running(store.db, domain.id) == running


async def test_two_running_bots_decide_once(
    store: Store, domain: Domain, running: Experiment
) -> None:
    """Each with a store of its own, as two processes have."""
    policy(store, domain, "auto")
    with Store(store.path) as other:
        async with experiments_decider.deciding(store), experiments_decider.deciding(other):
            for _ in range(8):
                await store.submit(lambda db: rate(db, running, BETTER, 25))
                await asyncio.sleep(0.01)
            async with asyncio.timeout(20):
                while experiments.running(store.db, domain.id) is not None:
                    await asyncio.sleep(0.05)
    assert [d.action for d in decisions.list_decisions(store.db, running.id)] == ["promote"]
    sql = "SELECT count(*) FROM promotions WHERE kind = 'promote'"
    assert value(store.db, sql) == 2  # helpdesk@1 at first, then helpdesk@2 once


async def test_the_background_task_decides_and_continues(
    store: Store, domain: Domain, running: Experiment
) -> None:
    policy(store, domain, "auto")
    async with experiments_decider.deciding(store):
        await store.submit(lambda db: rate(db, running, BETTER, 200))
        async with asyncio.timeout(20):
            while experiments.running(store.db, domain.id) is not None:
                await asyncio.sleep(0.05)
    assert [d.action for d in decisions.list_decisions(store.db, running.id)] == ["promote"]


def test_a_comparison_that_cannot_be_evaluated_stops_no_other(
    store: Store, domain: Domain, running: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    """For example, a design with a field that this version does not know."""
    with store.write() as db:
        other = domains.create(db, "hr")
        given.adapter(db, other, "live")
        given.adapter(db, other)
        begun = begin(db, other, ["1", "2"], "cli:ann")
        db.execute("UPDATE experiments SET terms = '{\"odds\": 2}' WHERE id = ?", [running.id])
        rate(db, begun, WORSE, 200)
    assert [d.experiment_id for d in evaluate(store)] == [begun.id]
    assert f"Experiment {running.id} cannot be evaluated" in caplog.text


# Again


def test_a_decision_is_recomputed_from_its_numbers(store: Store, running: Experiment) -> None:
    with store.write() as db:
        rate(db, running, WORSE, 200)
    (made,) = evaluate(store)
    with store.write() as db:
        rate(db, running, BETTER, 100)  # what comes later changes nothing
    explained = explain(decisions.get(store.db, made.id))
    assert explained.differing == ()
    assert explained.again.action == "advise"


def test_other_sentences_and_additional_numbers_are_no_difference(
    store: Store, running: Experiment
) -> None:
    """A later version may use other sentences and compute more numbers."""
    with store.write() as db:
        rate(db, running, WORSE, 200)
    (made,) = evaluate(store)
    made.results["sentence"] = "B is the lesser one."
    made.results["comparisons"][0]["sentence"] = "B is the lesser one."
    del made.results["comparisons"][0]["needed"]
    assert explain(replace(made, sentence="B is the lesser one.")).differing == ()


def test_other_numbers_give_another_result(store: Store, running: Experiment) -> None:
    with store.write() as db:
        rate(db, running, WORSE, 200)
    (made,) = evaluate(store)
    made.evidence["stages"][0]["cells"][1]["sums"]["rating"]["wy"] += 40
    differing = explain(made).differing
    assert "decision" in differing
    assert "comparisons" in differing
    other_terms = replace(made, terms=made.terms | {"least_people": 500})
    assert "decision" in explain(other_terms).differing


# Where anyone counts


def test_where_anyone_counts_the_policy_acts_by_verified_people_alone(
    store: Store, domain: Domain
) -> None:
    policy(store, domain, "auto")
    with store.write() as db:
        given.adapter(db, domain, "live")
        given.adapter(db, domain)
        design = ExperimentDesign(people="anyone")
        begun = begin(db, domain, ["1", "2"], "cli:ann", ExperimentPlan(design=design))
        rate(db, begun, BETTER, 200)
        db.execute("UPDATE assignments SET kind = 'web_session', source = 'address:' || person")
    (made,) = evaluate(store)
    assert (made.state, made.variant, made.action) == ("better", "B", "advise")
    assert evaluate(store) == []
    with store.write() as db:
        rate(db, begun, BETTER, 200)
    (made,) = evaluate(store)
    assert (made.action, made.terms["people"]) == ("promote", "verified")
    assert made.sentence.startswith("By verified people alone: B (helpdesk@2) is better")
    assert sum(v["raters"] for v in made.results["variants"]) == 200
    assert explain(made).differing == ()
    assert registry.live(store.db, domain.id).version == 2  # type: ignore[union-attr]


def test_where_anyone_counts_shares_follow_verified_people_alone(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        given.adapter(db, domain, "live")
        given.adapter(db, domain)
        plan = ExperimentPlan(adaptive=0.2, design=ExperimentDesign(people="anyone"))
        begun = begin(db, domain, ["1", "2"], "cli:ann", plan)
        rate(db, begun, {"A": 0.6, "B": 0.7}, 110)
        db.execute("UPDATE assignments SET kind = 'web_session', source = 'address:' || person")
    assert evaluate(store) == []
    assert experiments.get(store.db, begun.id).stage == 1
    with store.write() as db:
        rate(db, begun, {"A": 0.6, "B": 0.7}, 110)
    assert evaluate(store) == []
    assert experiments.get(store.db, begun.id).stage == 2


# Shares that follow the results


def test_adaptive_shares_begin_a_stage_once_enough_people_have_rated(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        given.adapter(db, domain, "live")
        given.adapter(db, domain)
        begun = begin(db, domain, ["1", "2"], "cli:ann", ExperimentPlan(adaptive=0.2))
        rate(db, begun, {"A": 0.6, "B": 0.7}, 90)
    assert evaluate(store) == []
    assert experiments.get(store.db, begun.id).stage == 1
    with store.write() as db:
        rate(db, begun, {"A": 0.6, "B": 0.7}, 20)
    assert evaluate(store) == []
    after = experiments.get(store.db, begun.id)
    assert after.stage == 2
    a, b = (v.share for v in after.variants)
    assert 0.2 <= a < 0.5 < b <= 0.8
    assert evaluate(store) == []
    assert experiments.get(store.db, begun.id).stage == 2
    with store.write() as db:
        ramps.change(db, after, {"A": 0.5, "B": 0.5}, "cli:ann")
