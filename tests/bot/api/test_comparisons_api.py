"""Comparisons over HTTP: variants, ramps, testers, policies, decisions, raters, two answers."""

from typing import Any

import pytest

from data.conversations import side_by_side
from data.experiments import assignments, experiments
from data.experiments.counted_people import NOTES
from data.experiments.experiments import Experiment
from data.feedback import feedback
from tests.bot.conftest import Bot
from tests.data import given
from tests.serving.fake_vllm import refusal, words

ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "What is a run?"}]}


def start(bot: Bot, **more: Any) -> Experiment:
    body = {"a": "1", "b": "2"} | more
    answer = bot.http("admin").post("/v1/experiments", json=body)
    assert answer.status_code == 201, answer.text
    begun = experiments.get(bot.store.db, answer.json()["id"])
    same: Experiment = bot.write(lambda db: given.same_sides(db, begun))
    return same


def rate(bot: Bot, experiment: Experiment, people: int = 200) -> None:
    """People on A like every answer, those on B every fifth."""

    def write(db: Any) -> None:
        for n in range(people):
            person = f"slack:T1/U{n}"
            variant = assignments.variant_for(experiment, person)
            assignments.expose(db, experiment.id, person, variant.id, experiment.stage)
            reply = given.reply(db, bot.domain, person, variant=variant)
            feedback.thumb(db, reply, person, variant.label == "A" or n % 5 == 0)

    bot.write(write)


def answers(bot: Bot, **more: Any) -> list[dict[str, Any]]:
    answer = bot.http("member").post("/v1/chat/answers", json=ASK | more)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


# Variants, ramps and testers


def test_a_comparison_of_anyone_says_who_decides(bot: Bot) -> None:
    admin = bot.http("admin")
    first = admin.post("/v1/experiments", json={"a": "1", "b": "2"}).json()
    assert "note" not in first
    admin.post(f"/v1/experiments/{first['id']}/stop")
    begun = admin.post("/v1/experiments", json={"a": "1", "b": "2", "people": "anyone"}).json()
    assert begun["note"] == NOTES["anyone"]
    found = admin.get(f"/v1/experiments/{begun['id']}").json()
    assert NOTES["anyone"] in found["results"]["sentence"], "and the page shows it"


def test_variants_may_differ_only_in_prompt_or_sampling(bot: Bot) -> None:
    sides = [
        {"adapter": "live"},
        {"adapter": "live", "system_prompt": "Be kind."},
        {"adapter": "live", "sampling": {"temperature": 0.3}},
    ]
    bot.http("admin").post("/v1/experiments", json={"sides": sides})

    seen = {}
    for n in range(30):
        body = ASK | {"user": f"u{n}"}
        about = bot.http("member").post("/v1/chat/completions", json=body).json()["understudy"]
        asked = bot.vllm.asked[-1]
        seen[about["variant"]] = (asked["messages"][0]["content"], asked["temperature"])

    assert seen == {
        "A": ("Answer briefly.", 0.0),
        "B": ("Be kind.", 0.0),
        "C": ("Answer briefly.", 0.3),
    }


def test_grounded_is_compared_with_ungrounded(bot: Bot) -> None:
    sides = [{"adapter": "live", "answers": "grounded"}, {"adapter": "live:ungrounded"}]
    started = bot.http("admin").post("/v1/experiments", json={"sides": sides}).json()
    refused = [{"adapter": "live:quoted"}, {"adapter": "live"}]

    assert [v["answer_mode"] for v in started["variants"]] == ["grounded", "adapter"]
    bot.http("admin").post(f"/v1/experiments/{started['id']}/stop")
    again = bot.http("admin").post("/v1/experiments", json={"sides": refused})
    assert again.status_code == 400
    assert "choose from: grounded, ungrounded" in again.text


def test_the_design_is_set_at_the_start(bot: Bot) -> None:
    begun = start(bot, expected_people=70, novelty_days=3, minimum_effect=0.05)
    assert (begun.terms["expected_people"], begun.terms["novelty_days"]) == (70, 3)
    assert begun.terms["minimum_effect"] == 0.05
    bot.http("admin").post(f"/v1/experiments/{begun.id}/stop")
    begun = start(bot)
    assert (begun.terms["expected_people"], begun.terms["novelty_days"]) == (1000, 7)


def test_guardrails_are_set_at_the_start(bot: Bot) -> None:
    begun = start(bot, guardrails={"failed": 0.1, "latency": None})

    assert begun.terms["guardrails"] == {"failed": 0.1, "correction": 0.05, "slow": 0.02}
    for wrong in ({"rating": 0.1}, {"heat": 1}, {"failed": -1}):
        body = {"a": "1", "b": "2", "guardrails": wrong}
        assert bot.http("admin").post("/v1/experiments", json=body).status_code in (400, 422)


def test_a_ramp_moves_nobody_who_has_had_an_answer(bot: Bot) -> None:
    experiment = start(bot, share=0.05)
    client = bot.http("member")

    def variants() -> dict[str, str]:
        found = {}
        for n in range(30):
            body = ASK | {"user": f"u{n}"}
            answer = client.post("/v1/chat/completions", json=body).json()
            found[f"u{n}"] = answer["understudy"]["variant"]
        return found

    before = variants()
    ramp = f"/v1/experiments/{experiment.id}/ramp"
    widened = bot.http("admin").post(ramp, json={"share": 0.9})
    assert (widened.status_code, widened.json()["stage"]) == (200, 2)

    assert variants() == before
    assert bot.http("admin").post(ramp, json={"share": 0.1}).status_code == 400


def test_a_tester_gets_the_chosen_variant(bot: Bot) -> None:
    experiment = start(bot)
    for label, adapter in (("A", "helpdesk@1"), ("B", "helpdesk@2")):
        put = bot.http("admin").post(
            f"/v1/experiments/{experiment.id}/testers",
            json={"person": "http:1/me", "variant": label},
        )
        assert put.json() == {"testers": {"http:1/me": label}}
        body = ASK | {"user": "me"}
        answer = bot.http("member").post("/v1/chat/completions", json=body).json()
        assert answer["understudy"]["adapter"] == adapter
    shown = bot.http("admin").get(f"/v1/experiments/{experiment.id}").json()
    assert [v["people"] for v in shown["results"]["variants"]] == [0, 0]


# Policies and decisions


def test_a_worse_candidate_is_rolled_back_with_the_next_answer(bot: Bot) -> None:
    """End to end: ratings arrive, the background task decides, and the routing changes."""
    from tests.conftest import wait_until

    rules = bot.http("admin").post("/v1/policies", json={"policy": "auto-roll-back"})
    assert rules.json() == {"domain": "helpdesk", "policy": "auto-roll-back", "holdout": 0.0}
    experiment = start(bot)
    on_b = next(
        n for n in range(99) if assignments.variant_for(experiment, f"http:1/u{n}").label == "B"
    )
    body = ASK | {"user": f"u{on_b}"}
    before = bot.http("member").post("/v1/chat/completions", json=body).json()
    assert before["understudy"]["adapter"] == "helpdesk@2"

    rate(bot, experiment)
    ended = f"/v1/experiments/{experiment.id}/decisions"
    client = bot.http("reviewer")
    wait_until(lambda: bool(client.get(ended).json()["data"]), "a decision", 20)

    after = bot.http("member").post("/v1/chat/completions", json=body).json()
    assert after["understudy"]["adapter"] == "helpdesk@1"
    (made,) = client.get(ended).json()["data"]
    assert (made["action"], made["state"], made["variant"]) == ("roll back", "worse", "B")
    again = client.get(f"/v1/decisions/{made['id']}").json()
    assert again["differing"] == []
    assert again["again"]["action"] == "roll back"


def test_a_candidate_that_never_answers_is_rolled_back_as_failing(bot: Bot) -> None:
    """A fallback answers its people; that adds no ratings and does not break the split."""
    from tests.conftest import wait_until

    bot.http("admin").post("/v1/policies", json={"policy": "auto-promote"})
    bot.vllm.say = lambda body: (
        refusal(500, "broken") if body["model"].startswith("helpdesk@2") else words(body["model"])
    )
    experiment = start(bot)
    client = bot.http("member")
    for n in range(100):
        answer = client.post("/v1/chat/completions", json=ASK | {"user": f"u{n}"})
        assert answer.json()["understudy"]["adapter"] == "helpdesk@1"

    ended = f"/v1/experiments/{experiment.id}/decisions"
    reviewer = bot.http("reviewer")
    wait_until(lambda: bool(reviewer.get(ended).json()["data"]), "a decision", 20)

    (made,) = reviewer.get(ended).json()["data"]
    assert (made["action"], made["state"]) == ("roll back", "unhealthy")
    assert "more of its answers fail" in made["sentence"]


def test_the_holdout_gets_the_live_adapter(bot: Bot) -> None:
    bot.http("admin").post("/v1/policies", json={"holdout": 0.5})
    start(bot)

    variants = [
        bot.http("member")
        .post("/v1/chat/completions", json=ASK | {"user": f"u{n}"})
        .json()["understudy"]["variant"]
        for n in range(30)
    ]

    assert 3 < variants.count(None) < 27
    listed = bot.http("reviewer").get("/v1/policies").json()["data"]
    assert listed == [{"domain": "helpdesk", "policy": "advise", "holdout": 0.5}]


@pytest.mark.parametrize("given", [{"policy": "brave"}, {"holdout": 0.9}, {"domain": "nothing"}])
def test_an_invalid_policy_is_refused(bot: Bot, given: dict[str, Any]) -> None:
    answer = bot.http("admin").post("/v1/policies", json=given)
    assert answer.status_code in (400, 404)


# Raters


def test_a_rater_is_quarantined_listed_and_released(bot: Bot) -> None:
    experiment = start(bot)
    bot.write(lambda db: feedback.thumb(db, given.reply(db, bot.domain), "web:rater", True))
    who = {"person": "web:rater"}

    done = bot.http("admin").post("/v1/voters/quarantine", json=who | {"why": "a bot"})
    page = bot.http("reviewer").get(f"/v1/experiments/{experiment.id}/voters").json()

    assert page == done.json() | {"quarantined_by_variant": {"A": 0, "B": 0}}
    assert [(v["person"], v["state"], v["why"]) for v in page["data"]] == [
        ("web:rater", "quarantined", "a bot")
    ]
    released = bot.http("admin").post("/v1/voters/release", json=who)
    assert [v["state"] for v in released.json()["data"]] == ["released"]
    assert bot.http("admin").post("/v1/voters/release", json=who).status_code == 409
    assert len(bot.http("reviewer").get("/v1/voters?all=true").json()["data"]) == 1


# Two answers


def test_without_a_comparison_there_is_one_answer_with_its_adapter(bot: Bot) -> None:
    (only,) = answers(bot)
    about = {"outcome", "sources", "references_sent", "nearest", "confidence", "uncertain"}
    about |= {"history_dropped"}
    assert (only["adapter"], set(only)) == ("helpdesk@1", {"id", "content", "adapter"} | about)


def test_two_blinded_answers_and_a_preference(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], body["model"].split("-")[0])
    experiment = start(bot, pairwise=1.0)
    firsts = set()
    for n in range(24):
        two = answers(bot, user=f"u{n}")
        assert [set(a) for a in two] == [{"id", "content"}] * 2
        assert {a["content"] for a in two} == {"helpdesk@1", "helpdesk@2"}
        firsts.add(two[0]["content"])
        chosen = bot.http("member").post(
            "/v1/feedback", json={"id": two[1]["id"], "user": f"u{n}", "prefer": "second"}
        )
        assert chosen.json()["prefer"] == "second"
        pairing = side_by_side.of_reply(bot.store.db, two[0]["id"])
        assert (pairing.first_reply, pairing.second_reply) == (two[0]["id"], two[1]["id"])
    assert len(firsts) == 2  # the order is random
    counted = given.counts(bot.store.db, experiment)
    assert sum(c.people for c in counted) == 24  # each person is on one variant and sees both


def test_two_equal_answers_are_shown_as_one(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(
        body["model"], "The  same." if body["model"].startswith("helpdesk@1") else "The same."
    )
    start(bot, pairwise=1.0)

    (only,) = answers(bot, user="u1")

    refused = bot.http("member").post(
        "/v1/feedback", json={"id": only["id"], "user": "u1", "prefer": "tie"}
    )
    assert refused.status_code == 404


def test_a_share_of_the_questions_gets_two_answers(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], body["model"].split("-")[0])
    start(bot, pairwise=0.4)
    counts = [len(answers(bot, user=f"u{n}")) for n in range(60)]
    assert 8 < counts.count(2) < 45


def on(experiment: Experiment, label: str) -> str:
    """A user of the member's key who is on this variant."""
    users = [f"u{n}" for n in range(99)]
    return next(
        u for u in users if assignments.variant_for(experiment, f"http:1/{u}").label == label
    )


def test_if_the_other_variant_cannot_answer_there_is_one_answer(bot: Bot) -> None:
    experiment = start(bot, pairwise=1.0)
    bot.vllm.say = lambda body: (
        refusal(500, "broken") if body["model"].startswith("helpdesk@2") else words(body["model"])
    )

    (only,) = answers(bot, user=on(experiment, "A"))

    assert only["adapter"] == "helpdesk@1"
    refused = bot.http("member").post(
        "/v1/feedback", json={"id": only["id"], "user": on(experiment, "A"), "prefer": "first"}
    )
    assert refused.status_code == 404


def test_a_fallbacks_answer_is_never_paired(bot: Bot) -> None:
    experiment = start(bot, pairwise=1.0)
    bot.vllm.say = lambda body: (
        refusal(500, "broken") if body["model"].startswith("helpdesk@2") else words(body["model"])
    )

    (only,) = answers(bot, user=on(experiment, "B"))

    assert only["adapter"] == "helpdesk@1"
    assert given.counts(bot.store.db, experiment)[1].replies == 0


def test_two_answers_are_not_streamed(bot: Bot) -> None:
    answer = bot.http("member").post("/v1/chat/answers", json=ASK | {"stream": True})
    assert answer.status_code == 400
    assert "not streamed" in answer.json()["error"]["message"]
