"""`/health` and `/metrics`."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlite_utils import Database

from data.adapters import placements
from data.slack import problems
from tests.bot.conftest import Bot

ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "What is a run?"}]}


def samples(page: str) -> dict[str, float]:
    """`name{label=value,…}` -> value."""
    return {
        f"{s.name}{{{','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))}}}": s.value
        for family in text_string_to_metric_families(page)
        for s in family.samples
    }


def test_healthy(bot: Bot) -> None:
    answer = bot.http().get("/health")

    expected = {"status": "ok", "missing": [], "warnings": []}
    assert (answer.status_code, answer.json()) == (200, expected)


def test_a_token_that_slack_rejects_is_a_warning_and_http_goes_on(bot: Bot) -> None:
    bot.write(lambda db: problems.record(db, "T1", "", "token_revoked"))
    bot.write(lambda db: problems.record(db, "T1", "C1", "is_archived"))

    answer = bot.http().get("/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    (warning,) = answer.json()["warnings"]
    assert "T1 (token_revoked)" in warning
    bot.write(lambda db: problems.clear(db, "T1"))
    assert bot.http().get("/health").json()["status"] == "ok"


def test_the_missing_part_is_named(bot: Bot) -> None:
    bot.write(lambda db: db.execute("UPDATE replicas SET heartbeat_at = 1"))

    answer = bot.http().get("/health")

    assert answer.status_code == 503
    assert answer.json()["missing"] == ["No engine is ready (here is silent)."]


HANGS = "http://here hangs (it wrote no token in 30 s). It is not ours to start again."


def test_why_an_engine_is_down_is_said(bot: Bot) -> None:
    def go_down(db: Database) -> None:
        placements.record_heartbeat(db, "here", bot.vllm.url, "pocket", "down", HANGS)

    bot.write(go_down)
    answer = bot.http().get("/health")

    assert answer.status_code == 503
    assert answer.json()["missing"] == [f"No engine is ready (here is down: {HANGS})."]


def test_an_engine_that_is_down_beside_another_is_a_warning(bot: Bot) -> None:
    def add(db: Database) -> None:
        placements.record_heartbeat(db, "other", "http://127.0.0.1:1", "pocket", "down", HANGS)
        placements.record_heartbeat(db, "old", "http://127.0.0.1:1", "pocket", "down", "stopped")

    bot.write(add)
    answer = bot.http().get("/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["warnings"] == [f"other is down: {HANGS}"]


def test_answers_are_counted(bot: Bot) -> None:
    reply = bot.http("member").post("/v1/chat/completions", json=ASK).json()
    bot.http("member").post("/v1/feedback", json={"id": reply["id"], "thumb": "up"})
    bot.http("member").post("/v1/chat/completions", json=ASK)

    found = samples(bot.http().get("/metrics").text)

    who = "adapter=helpdesk@1,domain=helpdesk"
    assert found[f"understudy_answers_total{{{who},status=done}}"] == 2
    assert found[f"understudy_tokens_total{{{who.replace(',', ',')},kind=completion}}"] == 4
    assert found[f"understudy_first_token_seconds_count{{{who}}}"] == 2
    assert found[f"understudy_answer_seconds_count{{{who}}}"] == 2
    assert found["understudy_feedback{domain=helpdesk,kind=up}"] == 1
    assert found["understudy_replicas{state=ready}"] == 1
    assert found["understudy_runs{state=queued}"] == 0
    assert found["understudy_placements_failed{}"] == 0
    assert found["understudy_answers_in_flight{}"] == 0
    assert found["understudy_store_queue{}"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example:8080"},
    ],
)
def test_requests_that_only_look_local_need_a_key_for_metrics(
    bot: Bot, headers: dict[str, str]
) -> None:
    assert bot.http().get("/metrics", headers=headers).status_code == 401
    assert bot.http("member").get("/metrics", headers=headers).status_code == 403
    assert bot.http("admin").get("/metrics", headers=headers).status_code == 200


def test_alerts_and_the_queue_are_counted(bot: Bot) -> None:
    bot.write(
        lambda db: placements.record_heartbeat(db, "old", "http://127.0.0.1:1", "pocket", "down")
    )

    found = samples(bot.http().get("/metrics").text)

    assert found["understudy_alerts{kind=replica}"] == 1
    assert found["understudy_alerts{kind=no_engine}"] == 0
    assert found["understudy_replicas{state=down}"] == 1
    assert found["understudy_questions_waiting{}"] == 0
    assert found["understudy_questions_refused{}"] == 0


def test_fallbacks_are_counted_by_the_adapter_that_could_not_answer(bot: Bot) -> None:
    bot.write(lambda db: placements.record_failed(db, "here", 1, "It is gone."))
    bot.http("member").post("/v1/chat/completions", json=ASK)

    found = samples(bot.http().get("/metrics").text)

    who = "adapter=base,domain=helpdesk,instead_of=helpdesk@1"
    assert found[f"understudy_stand_ins_total{{{who}}}"] == 1
    assert found["understudy_alerts{kind=refused}"] == 1
    assert found["understudy_alerts{kind=stood_in}"] == 1
