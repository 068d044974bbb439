"""`POST /v1/feedback`: who may judge what, and what is stored."""

import subprocess
import sys
from typing import Any

from data.experiments import experiments
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


def judge(bot: Bot, role: str = "member", **given: Any) -> Any:
    return bot.http(role).post("/v1/feedback", json=given)


def test_a_thumb(bot: Bot) -> None:
    reply_id = asked(bot, user="alice")

    answer = judge(bot, id=reply_id, thumb="up")

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


def test_a_changed_mind_counts_once(bot: Bot) -> None:
    reply_id = asked(bot)

    judge(bot, reply_id=reply_id, thumb="up")
    judge(bot, reply_id=reply_id, thumb="down")

    assert feedback.counts(bot.store.db, 1) == {"up": 0, "down": 1, "corrections": 0}


def test_a_thumb_taken_back_counts_no_more(bot: Bot) -> None:
    reply_id = asked(bot)
    judge(bot, id=reply_id, thumb="down")

    answer = judge(bot, id=reply_id, thumb="none")

    assert answer.json()["thumb"] is None
    assert feedback.counts(bot.store.db, 1)["down"] == 0


def test_whether_it_helped_is_asked_later_and_counted_beside_the_thumb(bot: Bot) -> None:
    reply_id = asked(bot)
    judge(bot, id=reply_id, thumb="up")

    assert judge(bot, id=reply_id, helped="no").json()["helped"] == "no"
    assert judge(bot, id=reply_id, helped="yes").json()["thumb"] == "up"
    assert judge(bot, id=reply_id, helped="none").json()["helped"] is None


def test_what_was_acknowledged_is_on_disk(bot: Bot) -> None:
    """Another process that opens the file finds it, though the service has not been stopped."""
    reply_id = asked(bot)

    assert judge(bot, id=reply_id, thumb="down").status_code == 201

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


def test_an_answer_can_be_judged_the_moment_it_has_ended(bot: Bot) -> None:
    """The last event of the stream comes after the record, so no judgement is ever too early."""
    for _ in range(20):
        with bot.openai().chat.completions.create(**ASK, stream=True) as stream:
            reply_id = [chunk.id for chunk in stream][-1]
        assert judge(bot, id=reply_id, thumb="up").status_code == 201


def test_nothing_is_preferred_where_one_answer_was_shown(bot: Bot) -> None:
    answer = judge(bot, id=asked(bot), prefer="first")

    assert answer.status_code == 404
    assert "shown alone" in answer.json()["error"]["message"]


def test_a_correction_becomes_a_pending_pair(bot: Bot) -> None:
    reply_id = asked(bot)

    answer = judge(bot, id=reply_id, thumb="down", reason="wrong", correction="One tuning job.")

    pair = pairs.get(bot.store.db, answer.json()["pair_id"])
    assert (pair.prompt, pair.response) == ("What is a run?", "One tuning job.")
    assert (pair.status, pair.source, pair.source_ref) == ("pending", "correction", reply_id)


def test_what_one_call_says_is_stored_together_or_not_at_all(bot: Bot) -> None:
    reply_id = asked(bot)

    answer = judge(bot, id=reply_id, thumb="down", correction="  ")

    assert answer.status_code == 400
    assert feedback.counts(bot.store.db, 1)["down"] == 0


def test_a_thumb_moves_the_comparison(bot: Bot) -> None:
    started = bot.http("admin").post("/v1/experiments", json={"a": "1", "b": "2"}).json()
    reply_id = asked(bot)

    judge(bot, id=reply_id, thumb="up")

    sides = given.counts(bot.store.db, experiments.get(bot.store.db, started["id"]))
    assert sorted(s.ratings for s in sides) == [(), (1.0,)]


def test_a_members_key_cannot_judge_what_another_key_asked(bot: Bot) -> None:
    reply_id = asked(bot, "admin")

    answer = judge(bot, id=reply_id, thumb="down")

    assert answer.status_code == 403
    assert feedback.counts(bot.store.db, 1)["down"] == 0


def test_a_key_is_not_mistaken_for_one_whose_number_begins_alike(bot: Bot) -> None:
    """Key 1 may not judge for `http:11`."""
    for n in range(8):
        secret = bot.write(lambda db, n=n: keys.create(db, f"k{n}", "member", "cli:test")[1])
    bot.secrets["eleventh"] = secret
    reply_id = asked(bot, "eleventh")
    assert bot.replies()[0].person == "http:11"

    assert judge(bot, id=reply_id, thumb="down").status_code == 403


def test_a_reviewer_may_judge_any_answer_as_themselves(bot: Bot) -> None:
    reply_id = asked(bot)

    assert judge(bot, "reviewer", id=reply_id, thumb="up").status_code == 201

    assert feedback.live(bot.store.db, reply_id, "http:2", "thumb") is not None


def test_an_answer_that_failed_cannot_be_rated(bot: Bot) -> None:
    bot.vllm.say = lambda body: [*words(body["model"])[:1], CUT]
    bot.http("member").post("/v1/chat/completions", json=ASK)
    (reply,) = bot.wait_closed()

    answer = judge(bot, id=reply.id, thumb="down")

    assert answer.status_code == 409
    assert "failed on our side" in answer.json()["error"]["message"]


def test_a_reply_that_is_none(bot: Bot) -> None:
    assert judge(bot, id="chatcmpl-0", thumb="up").status_code == 404


def test_saying_nothing_is_refused(bot: Bot) -> None:
    answer = judge(bot, id="chatcmpl-0")

    assert answer.status_code == 400
    assert (
        "a thumb, a reason or a correction, 'helped' or 'prefer'"
        in answer.json()["error"]["message"]
    )


def test_naming_no_reply_is_refused(bot: Bot) -> None:
    answer = judge(bot, thumb="up")

    assert answer.status_code == 400
    assert "name the reply" in answer.json()["error"]["message"]
