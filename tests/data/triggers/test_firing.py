"""When a run is queued by itself, and that each occasion queues one run only."""

from pathlib import Path

import pytest

from data import domains
from data.adapters import registry
from data.config.settings import Settings
from data.domains import Domain
from data.feedback import feedback, unanswered
from data.pairs import datasets
from data.pairs.pairs import Draft
from data.runs import runs
from data.runs.runs import Run
from data.store import audit
from data.store.clock import now_us
from data.store.db import Store, rows, value
from data.store.errors import Invalid
from data.triggers import due, firing, rules
from tests.data import given

HOUR = 3600 * 1_000_000
ANN = "cli:ann"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, search={"encoder": "words"})


def set_rules(store: Store, domain: Domain, **given_rules: str) -> None:
    with store.write() as db:
        named = {name.replace("_", "-"): text for name, text in given_rules.items()}
        rules.change(db, domain, named, ANN)


def approve(store: Store, domain: Domain, count: int, start: int = 0) -> None:
    drafts = [Draft(f"question {i}", f"answer {i}") for i in range(start, start + count)]
    with store.write() as db:
        given.approved(db, domain, *drafts)


def fire(store: Store, settings: Settings, now: int | None = None) -> list[Run]:
    """What a worker does every half minute."""
    now = now_us() if now is None else now
    found = []
    for domain, plan in firing.plans(store.db, settings, now):
        with store.write() as db:
            found.append(firing.fire(db, domain, plan, now))
    return [run for run in found if run is not None]


def end(store: Store, run: Run, at: int | None = None) -> None:
    """The run has trained on what is approved now, and is done."""
    with store.write() as db:
        claimed = runs.claim(db, "worker")
        assert claimed is not None
        assert claimed.id == run.id
        dataset = datasets.freeze(db, domains.by_id(db, run.domain_id))
        runs.set_dataset(db, claimed, dataset.id)
        domain = domains.by_id(db, run.domain_id)
        runs.finish(db, claimed, given.adapter(db, domain, dataset_id=dataset.id).id)
        if at is not None:
            db.execute("UPDATE runs SET finished_at = ? WHERE id = ?", [at, run.id])


def held(store: Store, settings: Settings, domain: Domain, now: int | None = None) -> str:
    return due.plan(store.db, settings, domain, now or now_us()).held_by


def test_without_triggers_nothing_is_queued(
    store: Store, domain: Domain, settings: Settings
) -> None:
    approve(store, domain, 30)
    assert fire(store, settings) == []
    plan = due.plan(store.db, settings, domain, now_us())
    assert plan.sentences == [
        "No trigger of helpdesk is set: it retrains when somebody asks for it."
    ]


def test_enough_new_pairs_queue_one_run(store: Store, domain: Domain, settings: Settings) -> None:
    set_rules(store, domain, pairs="3")
    approve(store, domain, 2)
    assert fire(store, settings) == []
    approve(store, domain, 1, 10)
    (queued,) = fire(store, settings)
    assert (queued.kind, queued.requested_by) == ("full", "trigger:pairs")
    assert queued.why == "3 of 3 new approved pairs are there."
    assert fire(store, settings) == []
    assert audit.recent(store.db)[0].actor == "trigger:pairs"


def test_the_setting_is_the_number_where_a_domain_has_none(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, tuning={"auto_retrain_pairs": 3})
    with store.write() as db:
        quiet = domains.create(db, "quiet")
    set_rules(store, quiet, pairs="off")
    for each in (domain, quiet):
        approve(store, each, 5)
    (queued,) = fire(store, settings)
    assert queued.domain == "helpdesk"


def test_pairs_of_a_run_that_failed_are_not_trained_again_and_again(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, pairs="3")
    approve(store, domain, 3)
    (queued,) = fire(store, settings)
    with store.write() as db:
        claimed = runs.claim(db, "worker")
        assert claimed is not None
        runs.set_dataset(db, claimed, datasets.freeze(db, domain).id)
        runs.fail(db, claimed, "It did not work.")
    assert fire(store, settings) == []
    approve(store, domain, 3, 10)
    assert len(fire(store, settings)) == 1
    assert queued.state == "queued"


def test_a_run_that_never_began_to_train_is_not_tried_again(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, pairs="3")
    approve(store, domain, 3)
    (queued,) = fire(store, settings)
    with store.write() as db:
        claimed = runs.claim(db, "worker")
        assert claimed is not None
        runs.fail(db, claimed, "The base model is missing.")
    approve(store, domain, 3, 10)
    assert fire(store, settings) == []
    assert f"run {queued.id} ended before it began" in held(store, settings, domain)


def test_a_cancelled_run_does_not_stop_the_schedule(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, schedule="0 3 * * *")
    approve(store, domain, 3)
    first = now_us() + 24 * HOUR
    (queued,) = fire(store, settings, first)
    with store.write() as db:
        runs.cancel(db, queued.id, ANN)
    assert fire(store, settings, first) == []
    assert len(fire(store, settings, first + 24 * HOUR)) == 1


def test_a_cancelled_occasion_does_not_come_back(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, pairs="3")
    approve(store, domain, 3)
    (queued,) = fire(store, settings)
    with store.write() as db:
        runs.cancel(db, queued.id, ANN)
    assert fire(store, settings) == []


def test_a_run_continues_the_live_adapter(store: Store, domain: Domain, settings: Settings) -> None:
    approve(store, domain, 3)
    with store.write() as db:
        live = given.adapter(db, domain, "live", datasets.freeze(db, domain).id)
    set_rules(store, domain, pairs="2")
    approve(store, domain, 2, 10)
    (queued,) = fire(store, settings)
    assert (queued.kind, queued.parent_id) == ("incremental", live.id)


# The schedule


def test_a_schedule_queues_one_run_for_each_time(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, schedule="0 * * * *")
    approve(store, domain, 3)
    assert fire(store, settings) == [], "times before it was set are not made up for"
    later = now_us() + HOUR
    (queued,) = fire(store, settings, later)
    assert queued.requested_by == "trigger:schedule"
    end(store, queued)
    approve(store, domain, 1, 10)
    assert fire(store, settings, later) == []
    assert len(fire(store, settings, later + HOUR)) == 1


def test_times_that_were_missed_queue_one_run(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, schedule="* * * * *")
    approve(store, domain, 3)
    later = now_us() + 24 * 365 * HOUR
    (queued,) = fire(store, settings, later)
    end(store, queued)
    approve(store, domain, 1, 10)
    assert fire(store, settings, later) == []


def test_a_time_without_anything_to_learn_is_skipped(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, schedule="0 * * * *")
    later = now_us() + HOUR
    assert fire(store, settings, later) == []
    approve(store, domain, 3)
    assert fire(store, settings, later) == [], "that time has passed"
    assert len(fire(store, settings, later + HOUR)) == 1


@pytest.mark.parametrize("step", [-48, -1, 1, 48, 24 * 400])
def test_a_clock_that_is_set_and_set_back_neither_repeats_nor_silences_a_schedule(
    store: Store, domain: Domain, settings: Settings, step: int
) -> None:
    set_rules(store, domain, schedule="0 * * * *")
    approve(store, domain, 3)
    now = now_us() + 2 * HOUR
    for time in (now, now + step * HOUR, now):
        for run in fire(store, settings, time):
            end(store, run)
            approve(store, domain, 3, 100 * run.id)
    occasions = [r["key"] for r in rows(store.db, "SELECT key FROM triggered_runs")]
    assert 1 <= len(occasions) == len(set(occasions)) <= 2
    assert len(fire(store, settings, now + 2 * HOUR)) == 1


# What holds runs back


def test_quiet_hours_a_cool_down_and_a_budget_delay_a_run(
    store: Store, domain: Domain, settings: Settings
) -> None:
    now = now_us()
    minute = now // 60_000_000 % 1440
    begin, ends = (minute - 60) % 1440, (minute + 60) % 1440
    quiet = f"{begin // 60:02}:{begin % 60:02}-{ends // 60:02}:{ends % 60:02}"
    set_rules(store, domain, pairs="3", quiet_hours=quiet)
    approve(store, domain, 3)
    assert fire(store, settings, now) == []
    assert "quiet hours" in held(store, settings, domain, now)
    (first,) = fire(store, settings, now + HOUR)

    end(store, first, at=now)
    set_rules(store, domain, quiet_hours="off", cool_down="5")
    approve(store, domain, 3, 10)
    assert fire(store, settings, now + 5 * HOUR - 1) == []
    assert "cool-down" in held(store, settings, domain, now + HOUR)
    (second,) = fire(store, settings, now + 5 * HOUR)

    end(store, second, at=now)
    set_rules(store, domain, cool_down="off", weekly_runs="2")
    approve(store, domain, 3, 20)
    assert fire(store, settings, now) == []
    assert "budget of 2 triggered runs" in held(store, settings, domain)
    assert len(fire(store, settings, now + due.WEEK_US + HOUR)) == 1


def test_the_budget_of_hours_counts_what_triggered_runs_took(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, pairs="3", weekly_hours="2")
    approve(store, domain, 3)
    (queued,) = fire(store, settings)
    end(store, queued)
    sql = "UPDATE runs SET started_at = ?, finished_at = ? WHERE id = ?"
    approve(store, domain, 3, 10)
    with store.write() as db:
        db.execute(sql, [now_us() - 2 * HOUR, now_us(), queued.id])
    assert fire(store, settings) == []
    assert "budget of 2 hours" in held(store, settings, domain)
    with store.write() as db:
        db.execute(sql, [now_us() - HOUR, now_us(), queued.id])
    assert len(fire(store, settings)) == 1


def test_a_run_that_ended_in_the_future_does_not_hold_others_back_for_long(
    store: Store, domain: Domain, settings: Settings
) -> None:
    """The clock was set back by a year since."""
    set_rules(store, domain, pairs="3", cool_down="5")
    approve(store, domain, 3)
    (queued,) = fire(store, settings)
    end(store, queued, at=now_us() + 24 * 365 * HOUR)
    approve(store, domain, 3, 10)
    assert len(fire(store, settings)) == 1


def test_two_workers_queue_one_run(store: Store, domain: Domain, settings: Settings) -> None:
    set_rules(store, domain, pairs="3")
    approve(store, domain, 3)
    plans = [firing.plans(store.db, settings, now_us()) for _ in range(2)]
    queued = []
    for ((_, plan),) in plans:
        with store.write() as db:
            queued.append(firing.fire(db, domain, plan, now_us()))
            db.execute("UPDATE runs SET state = 'done'")  # the first worker is fast
    assert [run is not None for run in queued] == [True, False]


def test_a_plan_under_other_rules_is_not_carried_out(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, pairs="3")
    approve(store, domain, 3)
    ((_, plan),) = firing.plans(store.db, settings, now_us())
    set_rules(store, domain, pairs="off")
    with store.write() as db:
        assert firing.fire(db, domain, plan, now_us()) is None
    assert value(store.db, "SELECT count(*) FROM runs") == 0


# The other triggers


def test_a_fall_of_the_rating_queues_a_run_once_there_is_something_to_learn(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, ratings="on")
    with store.write() as db:
        for number in range(150):
            person = f"slack:T1/U{number}"
            feedback.thumb(db, given.reply(db, domain, person), person, number < 75)
    assert fire(store, settings) == []
    assert "no new approved pairs" in held(store, settings, domain)
    approve(store, domain, 1)
    (queued,) = fire(store, settings)
    assert queued.requested_by == "trigger:ratings"
    assert queued.why.startswith("The mean rating has fallen")
    end(store, queued)
    approve(store, domain, 1, 10)
    assert fire(store, settings) == [], "only later ratings count now"


def test_a_topic_that_people_asked_about_in_vain_queues_a_run_once_it_is_answered(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, topic="3")
    with store.write() as db:
        asked = [given.reply(db, domain, f"slack:T1/U{n}", "Where is the lift?") for n in range(3)]
        again = given.reply(db, domain, "slack:T1/U9", "Who makes the soup?")
        for reply in (*asked[:2], again, given.reply(db, domain, "slack:T1/U9", "Who makes soup?")):
            unanswered.add(db, reply, domain)
    approve(store, domain, 1)
    assert fire(store, settings) == [], "two people asked about one topic"
    with store.write() as db:
        unanswered.add(db, asked[2], domain)
    assert fire(store, settings) == []
    (state,) = due.plan(store.db, settings, domain, now_us()).triggers
    assert state.why.startswith("3 people asked about one topic in vain. Answer it first")
    with store.write() as db:
        unanswered.answer(db, domain, asked, "Behind the stairs.", ANN)
    (queued,) = fire(store, settings)
    assert queued.requested_by == "trigger:topic"


def test_a_new_base_model_queues_a_full_run_once(
    store: Store, domain: Domain, settings: Settings
) -> None:
    set_rules(store, domain, base="on")
    approve(store, domain, 3)
    with store.write() as db:
        live = registry.register(
            db, domain, version=1, sha256="x", path="x", base_model=settings.base.model, rank=8,
            size_bytes=1, recipe={}, scores={}, dataset_id=datasets.freeze(db, domain).id,
        )  # fmt: skip
        registry.promote(db, live, ANN)
    assert fire(store, settings) == []
    other = settings.model_copy(
        update={"base": settings.base.model_copy(update={"model": "other", "path": "other"})}
    )
    (queued,) = fire(store, other)
    assert (queued.kind, queued.requested_by) == ("full", "trigger:base")
    end(store, queued)
    assert fire(store, other) == []


# Setting them


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pairs", "many"), ("pairs", "-1"), ("pairs", "²"), ("schedule", "daily"),
        ("time-zone", "Berlin"), ("quiet-hours", "night"), ("cool-down", "nan"), ("ratings", "2"),
        ("weekly-hours", "-3"), ("then", "hope"), ("speed", "3"), ("weekly-runs", "9" * 30),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_refused(store: Store, domain: Domain, name: str, text: str) -> None:
    with store.write() as db, pytest.raises(Invalid):
        rules.change(db, domain, {"pairs": "5", name: text}, ANN)
    assert rules.of_domain(store.db, domain.id) == rules.TriggerRules()


def test_what_was_set_is_shown_as_it_is_set(store: Store, domain: Domain) -> None:
    given_rules = {
        "schedule": "0 3 * * 1", "time-zone": "Europe/Berlin", "pairs": "20", "ratings": "on",
        "topic": "5", "base": "on", "quiet-hours": "08:00-18:00", "cool-down": "2.5",
        "weekly-runs": "3", "weekly-hours": "10", "then": "compare",
    }  # fmt: skip
    with store.write() as db:
        changed = rules.change(db, domain, given_rules, ANN)
        assert rules.shown(changed) == given_rules
        off = rules.change(db, domain, dict.fromkeys(given_rules, "off"), ANN)
    assert rules.shown(off) == {"then": "ask"}
