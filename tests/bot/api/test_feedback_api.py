"""`POST /v1/feedback`: who may rate which replies, and what is stored."""

import subprocess
import sys
from typing import Any

from data.experiments import experiments, metric_sums
from data.feedback import feedback
from data.pairs import pairs
from data.people import keys
from tests.bot.conftest import Bot
from tests.data import given
from tests.serving.fake_vllm import CUT, words

ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "What is a run?"}]}


def asked(bot: Bot, role: str = "member", **more: Any) -> str:
    """A reply's id."""
    answer = bot.http(role).post("/v1/chat/completions", json=ASK | more)
    return str(answer.json()["id"])


def rate(bot: Bot, role: str = "member", **given: Any) -> Any:
    return bot.http(role).post("/v1/feedback", json=given)


def test_a_thumb(bot: Bot) -> None:
    reply_id = asked(bot, user="alice")

    answer = rate(bot, id=reply_id, thumb="up")

    assert answer.status_code == 201
    assert answer.json() == {
        "reply_id": reply_id,
        "thumb": "up",
        "helped": None,
        "prefer": None,
        "pair_id": None,
    }
    stored = feedback.live(bot.store.db, reply_id, "http:1/alice", "thumb")
    assert stored is not None
    assert stored.value == 1


def test_a_changed_thumb_counts_once(bot: Bot) -> None:
    reply_id = asked(bot)

    rate(bot, reply_id=reply_id, thumb="up")
    rate(bot, reply_id=reply_id, thumb="down")

    assert feedback.counts(bot.store.db, 1) == {"up": 0, "down": 1, "corrections": 0}


def test_a_withdrawn_thumb_no_longer_counts(bot: Bot) -> None:
    reply_id = asked(bot)
    rate(bot, id=reply_id, thumb="down")

    answer = rate(bot, id=reply_id, thumb="none")

    assert answer.json()["thumb"] is None
    assert feedback.counts(bot.store.db, 1)["down"] == 0


def test_the_later_question_whether_it_helped_does_not_change_the_thumb(bot: Bot) -> None:
    reply_id = asked(bot)
    rate(bot, id=reply_id, thumb="up")

    assert rate(bot, id=reply_id, helped="no").json()["helped"] == "no"
    assert rate(bot, id=reply_id, helped="yes").json()["thumb"] == "up"
    assert rate(bot, id=reply_id, helped="none").json()["helped"] is None


def test_acknowledged_feedback_is_on_disk(bot: Bot) -> None:
    """Another process that opens the file finds it while the service is still running."""
    reply_id = asked(bot)

    assert rate(bot, id=reply_id, thumb="down").status_code == 201

    sql = f"SELECT value FROM feedback WHERE reply_id = '{reply_id}' AND live = 1"
    code = (
        "import sys; from data.store.db import sqlite3\n"
        f"print(sqlite3.connect(sys.argv[1]).execute({sql!r}).fetchall())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bot.settings.store_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[(0.0,)]"


def test_an_answer_can_be_rated_the_moment_it_ends(bot: Bot) -> None:
    """The reply is recorded before the last event is sent, so feedback is never too early."""
    for _ in range(20):
        with bot.openai().chat.completions.create(**ASK, stream=True) as stream:
            reply_id = [chunk.id for chunk in stream][-1]
        assert rate(bot, id=reply_id, thumb="up").status_code == 201


def test_a_preference_needs_two_answers(bot: Bot) -> None:
    answer = rate(bot, id=asked(bot), prefer="first")

    assert answer.status_code == 404
    assert "shown alone" in answer.json()["error"]["message"]


def test_a_correction_becomes_a_pending_pair(bot: Bot) -> None:
    reply_id = asked(bot)

    answer = rate(bot, id=reply_id, thumb="down", reason="wrong", correction="One tuning job.")

    pair = pairs.get(bot.store.db, answer.json()["pair_id"])
    assert (pair.prompt, pair.response) == ("What is a run?", "One tuning job.")
    assert (pair.status, pair.source, pair.source_ref) == ("pending", "correction", reply_id)


def test_one_call_is_stored_completely_or_not_at_all(bot: Bot) -> None:
    reply_id = asked(bot)

    answer = rate(bot, id=reply_id, thumb="down", correction="  ")

    assert answer.status_code == 400
    assert feedback.counts(bot.store.db, 1)["down"] == 0


def test_a_thumb_counts_in_the_comparison(bot: Bot) -> None:
    started = bot.http("admin").post("/v1/experiments", json={"a": "1", "b": "2"}).json()
    reply_id = asked(bot)

    rate(bot, id=reply_id, thumb="up")

    sides = given.counts(bot.store.db, experiments.get(bot.store.db, started["id"]))
    assert sorted(s.ratings for s in sides) == [(), (1.0,)]


def test_a_members_key_cannot_rate_replies_to_another_key(bot: Bot) -> None:
    reply_id = asked(bot, "admin")

    answer = rate(bot, id=reply_id, thumb="down")

    assert answer.status_code == 403
    assert feedback.counts(bot.store.db, 1)["down"] == 0


def test_a_key_is_not_confused_with_one_whose_number_starts_the_same(bot: Bot) -> None:
    """Key 1 may not rate for `http:11`."""
    for n in range(8):
        secret = bot.write(lambda db, n=n: keys.create(db, f"k{n}", "member", "cli:test")[1])
    bot.secrets["eleventh"] = secret
    reply_id = asked(bot, "eleventh")
    assert bot.replies()[0].person == "http:11"

    assert rate(bot, id=reply_id, thumb="down").status_code == 403


def test_a_reviewer_may_rate_any_answer_as_themselves(bot: Bot) -> None:
    reply_id = asked(bot)

    assert rate(bot, "reviewer", id=reply_id, thumb="up").status_code == 201

    assert feedback.live(bot.store.db, reply_id, "http:2", "thumb") is not None


def test_what_others_say_about_an_answer_moves_no_comparison(bot: Bot) -> None:
    """Neither other users of the key, nor a reviewer's key, are the person who asked."""
    for number in (1, 2):
        bot.write(lambda db, n=number: keys.set_people(db, n, "vouched", "cli:test"))
    started = bot.http("admin").post("/v1/experiments", json={"a": "1", "b": "2"}).json()
    reply_id = asked(bot, user="ann")
    experiment = experiments.get(bot.store.db, started["id"])
    assert rate(bot, id=reply_id, user=" ann ", thumb="up").status_code == 201
    before = metric_sums.collect(bot.store.db, experiment)
    assert sum(c.of("rating").people for c in before.stages[0].cells) == 1
    more = {"thumb": "down", "helped": "no", "correction": "Otherwise."}
    others = ("member", "bob"), ("member", "Ann"), ("reviewer", "ann"), ("reviewer", None)
    for key, user in others:
        assert rate(bot, key, id=reply_id, user=user, **more).status_code == 201
    assert metric_sums.collect(bot.store.db, experiment) == before
    (line,) = bot.http("admin").get(f"/v1/experiments/{experiment.id}").json()["not_counted"]
    assert (line["reason"], line["ratings"], line["people"]) == ("bystander", 4, 4)


def test_an_answer_that_failed_cannot_be_rated(bot: Bot) -> None:
    bot.vllm.say = lambda body: [*words(body["model"])[:1], CUT]
    bot.http("member").post("/v1/chat/completions", json=ASK)
    (reply,) = bot.wait_closed()

    answer = rate(bot, id=reply.id, thumb="down")

    assert answer.status_code == 409
    assert "failed on our side" in answer.json()["error"]["message"]


def test_an_unknown_reply(bot: Bot) -> None:
    assert rate(bot, id="chatcmpl-0", thumb="up").status_code == 404


def test_empty_feedback_is_refused(bot: Bot) -> None:
    answer = rate(bot, id="chatcmpl-0")

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "The request is invalid: give at least one of 'thumb', 'reason', 'correction', 'helped', "
        "'prefer' and 'want_person'."
    )


def test_feedback_without_a_reply_is_refused(bot: Bot) -> None:
    answer = rate(bot, thumb="up")

    assert answer.status_code == 400
    assert "name the reply" in answer.json()["error"]["message"]
