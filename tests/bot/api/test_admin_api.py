"""The routes for admins and reviewers: runs, adapters, experiments, pairs, models."""

import pytest
from sqlite_utils import Database

from data import domains
from data.adapters import placements, registry
from data.feedback import feedback
from data.pairs import golden, pairs
from data.quality import private_words
from data.runs import runs
from data.store import audit
from tests.bot.conftest import Bot, add_adapter
from tests.data import given
from tests.evaluated import evaluated

ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "What is a run?"}]}


def add_pair(bot: Bot, prompt: str = "What is a pair?", status: pairs.Status = "approved") -> int:
    draft = pairs.Draft(prompt, f"{prompt} and its answer.")
    added = bot.write(lambda db: pairs.add(db, bot.domain, [draft], source="import", status=status))
    return int(added.ids[0])


def test_a_retrain_is_queued(bot: Bot) -> None:
    add_pair(bot)

    answer = bot.http("admin").post("/v1/runs", json={"domain": "helpdesk", "recipe": {"rank": 8}})

    assert answer.status_code == 202
    run = runs.get(bot.store.db, answer.json()["id"])
    assert (run.state, run.kind, run.recipe) == ("queued", "incremental", {"rank": 8})
    assert run.requested_by == "http:3"


@pytest.mark.parametrize("recipe", [{"rnk": 8}, {"rank": "much"}, {"rank": [8]}])
def test_an_invalid_recipe_is_refused_when_the_run_is_requested(
    bot: Bot, recipe: dict[str, object]
) -> None:
    add_pair(bot)

    answer = bot.http("admin").post("/v1/runs", json={"recipe": recipe})

    assert answer.status_code == 400
    assert next(iter(recipe)) in answer.json()["error"]["message"]
    assert runs.recent(bot.store.db) == []


def test_a_retrain_without_new_pairs_is_refused(bot: Bot) -> None:
    answer = bot.http("admin").post("/v1/runs", json={})

    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "nothing_new"
    assert "no new approved pairs" in answer.json()["error"]["message"]


def test_preference_tuning_trains_on_thumbs(bot: Bot) -> None:
    def rate(db: Database) -> None:
        for number in range(8):
            person = f"slack:T1/U{number}"
            feedback.thumb(db, given.reply(db, bot.domain, person), person, up=number < 4)

    assert bot.http("admin").post("/v1/runs", json={"preferences": True}).status_code == 409
    bot.write(rate)

    answer = bot.http("admin").post("/v1/runs", json={"preferences": True})

    assert (answer.status_code, answer.json()["learns"]) == (202, "preferences")
    both = bot.http("admin").post("/v1/runs", json={"preferences": True, "full": True})
    assert both.status_code == 400


def test_a_second_retrain_request_names_the_open_run(bot: Bot) -> None:
    add_pair(bot)
    bot.http("admin").post("/v1/runs", json={})

    answer = bot.http("admin").post("/v1/runs", json={})

    assert answer.status_code == 409
    assert "Run 1" in answer.json()["error"]["message"]


def test_a_run_is_shown_with_its_curve(bot: Bot) -> None:
    add_pair(bot)
    bot.http("admin").post("/v1/runs", json={})
    run = bot.write(lambda db: runs.claim(db, "a worker"))
    bot.write(lambda db: runs.progress(db, run, step=5, total_steps=10, loss=2.5))

    run = bot.http("reviewer").get("/v1/runs/1").json()

    assert (run["state"], run["step"], run["total_steps"]) == ("running", 5, 10)
    assert [(p["step"], p["loss"]) for p in run["curve"]] == [(5, 2.5)]
    assert [r["id"] for r in bot.http("reviewer").get("/v1/runs").json()["data"]] == [1]


def test_a_run_is_cancelled_once(bot: Bot) -> None:
    add_pair(bot)
    bot.http("admin").post("/v1/runs", json={})

    first = bot.http("admin").post("/v1/runs/1/cancel")
    second = bot.http("admin").post("/v1/runs/1/cancel")

    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert second.status_code == 409


def test_promoting_and_rolling_back_take_effect_on_the_next_message(bot: Bot) -> None:
    client = bot.http("admin")
    answering = []
    for move in (None, "/v1/adapters/helpdesk@2/promote", "/v1/domains/helpdesk/rollback"):
        if move is not None:
            assert client.post(move).status_code == 200
        answer = client.post("/v1/chat/completions", json=ASK)
        answering.append(answer.json()["understudy"]["adapter"])

    assert answering == ["helpdesk@1", "helpdesk@2", "helpdesk@1"]
    assert {e.actor for e in audit.recent(bot.store.db) if "@" in e.subject} >= {"http:3"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/adapters/helpdesk@9/promote", 404),
        ("/v1/adapters/helpdesk@1/promote", 409),
        ("/v1/adapters/..%2F..%2Fetc/promote", 404),
        ("/v1/domains/nothing/rollback", 404),
    ],
)
def test_an_impossible_promotion_or_roll_back_changes_nothing(
    bot: Bot, path: str, status: int
) -> None:
    assert bot.http("admin").post(path).status_code == status

    live = registry.live(bot.store.db, 1)
    assert live is not None
    assert live.name == "helpdesk@1"


def test_an_adapter_that_the_engine_refused_is_not_promoted(bot: Bot) -> None:
    bot.write(lambda db: add_adapter(db, bot.domain, 3))
    bot.write(lambda db: placements.record_failed(db, "here", 3, "It contains NaN."))

    refused = bot.http("admin").post("/v1/adapters/helpdesk@3/promote")

    assert refused.status_code == 409
    assert "NaN" in refused.json()["error"]["message"]


def test_a_refusal_by_a_removed_engine_does_not_block_an_adapter_that_another_holds(
    bot: Bot,
) -> None:
    bot.write(
        lambda db: placements.record_heartbeat(db, "old", "http://127.0.0.1:1", "pocket", "down")
    )
    bot.write(lambda db: placements.record_failed(db, "old", 2, "Its files cannot be read."))

    assert bot.http("admin").post("/v1/adapters/helpdesk@2/promote").status_code == 200


def test_what_ends_a_comparison_must_be_confirmed(bot: Bot) -> None:
    admin = bot.http("admin")
    begun = admin.post("/v1/experiments", json={"a": "1", "b": "2"})
    assert begun.status_code == 201
    for path in ("/v1/adapters/helpdesk@2/promote", "/v1/domains/helpdesk/rollback"):
        asked = admin.post(path)
        assert asked.status_code == 409
        assert "This ends comparison 1 of helpdesk" in asked.json()["error"]["message"]
        assert "send `?confirm=true`" in asked.json()["error"]["message"]
    assert admin.get("/v1/experiments/1").json()["state"] == "running"
    assert admin.post("/v1/adapters/helpdesk@2/promote?confirm=true").status_code == 200
    assert admin.get("/v1/experiments/1").json()["state"] == "stopped"
    assert admin.post("/v1/domains/helpdesk/rollback").json()["live"] == "helpdesk@1"
    base = admin.post("/v1/domains/helpdesk/rollback")
    assert (base.status_code, "bare base model" in base.text) == (409, True)
    confirmed = admin.post("/v1/domains/helpdesk/rollback?confirm=true")
    assert confirmed.json()["live"] == "helpdesk@base"


def test_adapters_are_listed_with_whether_they_are_loaded(bot: Bot) -> None:
    bot.write(lambda db: add_adapter(db, bot.domain, 3))

    listed = bot.http("reviewer").get("/v1/adapters?domain=helpdesk").json()["data"]

    assert [(a["name"], a["state"], a["loaded"]) for a in listed] == [
        ("helpdesk@3", "candidate", False),
        ("helpdesk@2", "candidate", True),
        ("helpdesk@1", "live", True),
    ]


def test_a_comparison_from_start_to_stop(bot: Bot) -> None:
    client = bot.http("admin")

    started = client.post("/v1/experiments", json={"a": "helpdesk@1", "b": "helpdesk@2"})
    assert started.status_code == 201
    assert [v["adapter"] for v in started.json()["variants"]] == ["helpdesk@1", "helpdesk@2"]
    seen = set()
    for n in range(20):
        answer = client.post("/v1/chat/completions", json=ASK | {"user": f"u{n}"}).json()
        seen.add((answer["understudy"]["variant"], answer["understudy"]["adapter"]))
        client.post("/v1/feedback", json={"id": answer["id"], "thumb": "up"})
    assert seen == {("A", "helpdesk@1"), ("B", "helpdesk@2")}
    shown = client.get(f"/v1/experiments/{started.json()['id']}").json()
    assert sum(v["raters"] for v in shown["results"]["variants"]) == 20
    assert 0 < shown["results"]["comparisons"][0]["chance_better"] < 1
    assert "not for decisions" in shown["results"]["sentence"]

    stopped = client.post(f"/v1/experiments/{started.json()['id']}/stop")
    assert stopped.json()["state"] == "stopped"
    again = client.post(f"/v1/experiments/{started.json()['id']}/stop")
    assert again.status_code == 409
    after = client.post("/v1/chat/completions", json=ASK | {"user": "u1"}).json()
    assert after["understudy"]["variant"] is None


def test_the_salt_of_a_comparison_is_not_shown(bot: Bot) -> None:
    started = bot.http("admin").post("/v1/experiments", json={"a": "1", "b": "2"})
    listed = bot.http("reviewer").get("/v1/experiments")
    everything = bot.http("admin").get("/v1/status")

    assert started.status_code == 201
    assert everything.json()["domains"][0]["experiment"]["state"] == "running"
    assert "salt" not in started.text + listed.text + everything.text


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"a": "1", "b": "1"}, 400),
        ({"a": "1", "b": "9"}, 404),
        ({"a": "1", "b": "2", "share": 1.5}, 400),
        ({"a": "1"}, 400),
        ({"a": "1", "b": "2", "sides": [{"adapter": "1"}, {"adapter": "2"}]}, 400),
        ({"sides": [{"adapter": "1"}]}, 400),
        ({"sides": [{"adapter": "1"}, {"adapter": "1", "sampling": {"heat": 1}}]}, 400),
        ({"a": "1", "b": "2", "adaptive": 0.7}, 400),
        ({"a": "1", "b": "2", "fresh": True}, 404),
        ({"a": "1", "b": "2", "domain": "nothing"}, 404),
    ],
)
def test_an_invalid_comparison_is_refused(bot: Bot, given: dict[str, object], status: int) -> None:
    assert bot.http("admin").post("/v1/experiments", json=given).status_code == status
    assert bot.http("admin").get("/v1/experiments").json()["data"] == []


def test_a_pair_that_asks_a_golden_question_is_not_approved(bot: Bot) -> None:
    bot.write(lambda db: golden.add(db, bot.domain, "What is a pair?", "Two things.", "cli:ann"))
    waiting = add_pair(bot, "What is the pair, please?", "pending")

    answer = bot.http("reviewer").post(f"/v1/pairs/{waiting}/review", json={"status": "approved"})

    assert answer.status_code == 409
    assert "nearly the same as golden question 1" in answer.json()["error"]["message"]
    assert pairs.get(bot.store.db, waiting).status == "pending"


def test_a_reviewer_confirms_which_fact_a_pair_states(bot: Bot) -> None:
    old = pairs.Draft("When may I fly?", "From six hours on.", fact="flights")
    new = pairs.Draft("When may I take a plane?", "From eight hours on.")
    bot.write(lambda db: pairs.add(db, bot.domain, [old], source="test", status="approved"))
    (waiting,) = bot.write(lambda db: pairs.add(db, bot.domain, [new], source="correction")).ids
    client = bot.http("reviewer")

    proposed = client.get(f"/v1/pairs/{waiting}/fact").json()
    assert (proposed["fact"], proposed["prompt"]) == ("flights", old.prompt)
    given = {"status": "approved", "fact": "planes"}
    assert client.post(f"/v1/pairs/{waiting}/review", json=given).status_code == 404
    given["fact"] = proposed["fact"]
    reviewed = client.post(f"/v1/pairs/{waiting}/review", json=given)

    assert (reviewed.json()["status"], reviewed.json()["fact"]) == ("approved", "flights")
    assert client.get(f"/v1/pairs/{waiting}/fact").json() == {"object": "pair.fact", "fact": None}


def test_a_pair_is_reviewed(bot: Bot) -> None:
    waiting = add_pair(bot, "What waits?", "pending")
    add_pair(bot)
    client = bot.http("reviewer")

    listed = client.get("/v1/pairs?status=pending").json()["data"]
    assert [p["id"] for p in listed] == [waiting]
    reviewed = client.post(f"/v1/pairs/{waiting}/review", json={"status": "approved"})

    assert reviewed.json()["status"] == "approved"
    assert client.get("/v1/pairs?status=pending").json()["data"] == []
    newest = audit.recent(bot.store.db, 1)[0]
    assert (newest.actor, newest.action, newest.subject) == ("http:2", "review", f"pair {waiting}")


def test_models_are_listed_for_the_official_client(bot: Bot) -> None:
    listed = bot.openai().models.list().data

    assert [m.id for m in listed] == ["helpdesk", "helpdesk@base", "helpdesk@2", "helpdesk@1"]
    assert bot.openai().models.retrieve("helpdesk@2").id == "helpdesk@2"
    assert bot.http("member").get("/v1/models/gpt-4").status_code == 404


@pytest.mark.parametrize("name", ["helpdesk@", "helpdesk@02", "helpdesk@2@2", "@2"])
def test_a_model_has_one_name(bot: Bot, name: str) -> None:
    asked = bot.http("member").post("/v1/chat/completions", json=ASK | {"model": name})

    assert bot.http("member", timeout=5).get(f"/v1/models/{name}").status_code == 404
    assert asked.status_code == 404


def test_another_domain_has_its_own_models(bot: Bot) -> None:
    other = bot.write(lambda db: domains.create(db, "garden"))
    bot.write(lambda db: add_adapter(db, other, 1, state="rejected", state_reason="worse"))

    answer = bot.http("member").post("/v1/chat/completions", json=ASK | {"model": "garden"})
    refused = bot.http("member").post("/v1/chat/completions", json=ASK | {"model": "garden@1"})

    assert answer.json()["understudy"]["adapter"] == "base"
    assert refused.status_code == 404
    assert "worse" in refused.json()["error"]["message"]


def test_the_status_has_the_domains_the_replicas_and_the_alerts(bot: Bot) -> None:
    bot.write(
        lambda db: placements.record_heartbeat(db, "old", "http://127.0.0.1:1", "pocket", "down")
    )

    answer = bot.http("admin").get("/v1/status")

    assert answer.status_code == 200
    found = answer.json()
    assert [a["subject"] for a in found["alerts"] if a["kind"] == "replica"] == ["old"]
    assert found["domains"][0]["live"]["version"] == 1
    assert {r["name"] for r in found["replicas"]} == {"here", "old"}
    assert bot.http("reviewer").get("/v1/status").status_code == 403


def test_reviewers_read_the_report_of_a_run(bot: Bot) -> None:
    run, _ = bot.write(lambda db: evaluated(db, "helpdesk", version=7))

    answer = bot.http("reviewer").get(f"/v1/runs/{run.id}/report")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "helpdesk@7" in answer.text
    assert "<script" not in answer.text
    assert bot.http("member").get(f"/v1/runs/{run.id}/report").status_code == 403
    assert bot.http("reviewer").get("/v1/runs/99/report").status_code == 404


def test_an_admin_overrules_the_gate_with_a_recorded_reason(bot: Bot) -> None:
    bot.write(lambda db: evaluated(db, "helpdesk", version=7, passed=False, reason="It is worse."))
    admin = bot.http("admin")

    refused = admin.post("/v1/adapters/helpdesk@7/promote")
    empty = admin.post("/v1/adapters/helpdesk@7/accept", json={"reason": ""})
    member = bot.http("reviewer").post("/v1/adapters/helpdesk@7/accept", json={"reason": "x"})
    accepted = admin.post("/v1/adapters/helpdesk@7/accept", json={"reason": "Golden is wrong."})

    assert (refused.status_code, empty.status_code, member.status_code) == (409, 400, 403)
    assert accepted.json()["state"] == "candidate"
    assert "Golden is wrong." in accepted.json()["state_reason"]
    assert [e.action for e in audit.recent(bot.store.db, 1)] == ["accept"]


def test_an_adapter_under_evaluation_cannot_be_used(bot: Bot) -> None:
    bot.write(lambda db: add_adapter(db, bot.domain, 7, state="evaluating"))

    names = [m["id"] for m in bot.http("member").get("/v1/models").json()["data"]]
    answer = bot.http("member").post("/v1/chat/completions", json=ASK | {"model": "helpdesk@7"})

    assert "helpdesk@7" not in names
    assert answer.status_code == 404
    assert "still being evaluated" in answer.json()["error"]["message"]


def test_masked_words_of_a_pending_pair_are_shown_on_request(bot: Bot) -> None:
    draft = pairs.Draft("Whom do I call?", "Call 0171 2345678 and wait.")
    how = {"source": "correction", "source_ref": "", "author": "slack:T1/U1"}
    bot.write(lambda db: private_words.add_for_review(db, bot.domain, draft, **how))
    client = bot.http("reviewer")
    (waiting,) = client.get("/v1/pairs?status=pending").json()["data"]
    assert waiting["response"] == "Call [phone number] and wait."

    shown = client.post(f"/v1/pairs/{waiting['id']}/unmask")

    assert shown.json()["response"] == "Call 0171 2345678 and wait."
    assert client.post(f"/v1/pairs/{waiting['id']}/unmask").status_code == 409
    assert bot.http("member").post(f"/v1/pairs/{waiting['id']}/unmask").status_code == 403


def test_reviewers_read_the_quality_of_the_pairs(bot: Bot) -> None:
    add_pair(bot, "Is this {{name}}?")
    client = bot.http("reviewer")

    found = client.get("/v1/domains/helpdesk/quality", timeout=100).json()

    assert (found["object"], found["domain"], found["pairs"]) == ("quality", "helpdesk", 1)
    by_check = {one["check"]: one for one in found["findings"]}
    assert by_check["placeholders"]["pair_ids"] == [1]
    one = client.get("/v1/domains/helpdesk/quality?only=emails", timeout=100).json()
    assert [f["check"] for f in one["findings"]] == ["emails"]
    assert client.get("/v1/domains/helpdesk/quality?only=x").status_code == 400
    assert client.get("/v1/domains/nothing/quality").status_code == 404
    assert bot.http("member").get("/v1/domains/helpdesk/quality").status_code == 403
