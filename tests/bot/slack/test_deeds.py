"""`/understudy` and buttons, over both transports: who may do what, and what happens then."""

import pytest

from data import adapters, experiments, pairs, runs
from data.pairs import Draft
from tests.bot.conftest import add_adapter
from tests.bot.slack.conftest import ADMIN, MEMBER, REVIEWER, Bot

FOR_ADMINS = ["retrain", "cancel 1", "promote 1", "rollback", "ab start base 1", "ab stop"]
FOR_REVIEWERS = ["runs", "ab status"]
FOR_ALL = ["help", "status", "ask why?"]


async def command(bot: Bot, user: str, text: str, channel: str = "C1") -> str:
    """Type a command; returns what its caller was told."""
    before = len(bot.slack.responses)
    ack = await bot.slack.command(user, channel, text)
    assert ack.status == 200
    await bot.settled()
    told = [str(ack.payload.get("text", ""))]
    told += [str(r["blocks"]) for r in bot.slack.responses[before:]]
    return "\n".join(told)


def with_adapters(bot: Bot, count: int = 2) -> None:
    """helpdesk@1 is live, helpdesk@2 a candidate; the engine holds both."""
    made = [bot.write(lambda db, v=v: add_adapter(db, bot.domain, v)) for v in range(1, count + 1)]
    bot.write(lambda db: adapters.promote(db, made[0], "test"))
    bot.hold(*made)


def with_pairs(bot: Bot) -> None:
    drafts = [Draft(f"Question {n}?", f"Answer {n}.") for n in range(3)]
    bot.write(lambda db: pairs.add(db, bot.domain, drafts, source="test", status="approved"))


@pytest.mark.parametrize("text", [*FOR_ADMINS, *FOR_REVIEWERS])
async def test_a_member_is_refused_and_told_who_may(bot: Bot, text: str) -> None:
    told = await command(bot, MEMBER, text)
    assert "Only" in told
    assert f"<@{ADMIN}>" in told
    assert bot.rows("SELECT * FROM audit") == []


@pytest.mark.parametrize("text", FOR_ADMINS)
async def test_a_reviewer_may_not_change_what_answers(bot: Bot, text: str) -> None:
    assert "Only admins" in await command(bot, REVIEWER, text)
    assert bot.rows("SELECT * FROM audit") == []


@pytest.mark.parametrize("text", FOR_ALL)
async def test_everybody_may_ask_for_help_status_and_an_answer(bot: Bot, text: str) -> None:
    assert "Only" not in await command(bot, MEMBER, text)
    assert len(bot.slack.responses) == 1


@pytest.mark.parametrize("user", [ADMIN, REVIEWER])
async def test_reviewers_and_admins_see_runs_and_comparisons(bot: Bot, user: str) -> None:
    assert "Nothing has been tuned yet" in await command(bot, user, "runs")
    assert "no comparison yet" in await command(bot, user, "ab status")


async def test_help_lists_what_its_caller_may_do(bot: Bot) -> None:
    assert "promote" not in await command(bot, MEMBER, "help")
    assert "promote VERSION" in await command(bot, ADMIN, "help")


async def test_a_typing_mistake_gets_the_nearest_command(bot: Bot) -> None:
    assert "Did you mean `/understudy rollback`?" in await command(bot, ADMIN, "rolback")


async def test_ask_answers_only_its_caller_with_thumbs(bot: Bot) -> None:
    bot.says("Because ", "it is.")
    told = await command(bot, MEMBER, "ask why?")
    assert "Because it is." in told
    reply = bot.row("SELECT id, person FROM replies")
    assert (f"up:{reply['id']}" in told, reply["person"]) == (True, f"slack:T1/{MEMBER}")
    assert bot.slack.from_bot() == []


async def test_status_says_what_answers_and_what_runs(bot: Bot) -> None:
    with_adapters(bot)
    told = await command(bot, MEMBER, "status")
    assert "helpdesk@1 answers" in told
    assert "engine fake ready" in told


async def test_promote_and_rollback_move_what_is_live(bot: Bot) -> None:
    with_adapters(bot)
    assert "helpdesk@2" in await command(bot, ADMIN, "promote 2")
    live = adapters.live(bot.store.db, bot.domain.id)
    assert live is not None
    assert live.version == 2
    assert "helpdesk@1" in await command(bot, ADMIN, "rollback helpdesk")
    live = adapters.live(bot.store.db, bot.domain.id)
    assert live is not None
    assert live.version == 1
    actors = {r["actor"] for r in bot.rows("SELECT actor FROM audit WHERE actor <> 'test'")}
    assert actors == {f"slack:T1/{ADMIN}"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("promote 9", "There is no adapter"),
        ("promote 1", "is live already"),
        ("promote 2 legal", "There is no domain 'legal'"),
        ("rollback legal", "There is no domain 'legal'"),
        ("ab start 1 1", "two different adapters"),
        ("ab stop", "No comparison is running"),
        ("cancel 5", "There is no run 5"),
        ("retrain", "no new approved pairs"),
    ],
)
async def test_what_cannot_be_done_is_said_in_words(bot: Bot, text: str, sentence: str) -> None:
    with_adapters(bot)
    assert sentence in await command(bot, ADMIN, text)


async def test_what_was_typed_comes_back_as_text_that_calls_nobody(bot: Bot) -> None:
    told = await command(bot, ADMIN, "rollback <!channel>")
    assert "&lt;!channel&gt;" in told
    assert "<!channel>" not in told


async def test_a_comparison_is_started_shown_and_stopped(bot: Bot) -> None:
    with_adapters(bot)
    assert "B: helpdesk@2 (20 %)" in await command(bot, ADMIN, "ab start 1 2 --split 20")
    running = experiments.running(bot.store.db, bot.domain.id)
    assert running is not None
    assert [v.share for v in running.variants] == [0.8, 0.2]
    assert "running" in await command(bot, ADMIN, "ab status")
    assert "stopped" in await command(bot, ADMIN, "ab stop")
    assert experiments.running(bot.store.db, bot.domain.id) is None


async def test_a_run_is_cancelled(bot: Bot) -> None:
    with_pairs(bot)
    await command(bot, ADMIN, "retrain")
    assert "is cancelled" in await command(bot, ADMIN, "cancel 1")
    assert runs.get(bot.store.db, 1).state == "cancelled"


async def test_a_command_that_is_delivered_twice_is_done_once(bot: Bot) -> None:
    with_pairs(bot)
    payload = {
        "command": "/understudy",
        "text": "retrain",
        "user_id": ADMIN,
        "team_id": "T1",
        "channel_id": "C1",
        "trigger_id": "the same",
        "response_url": bot.slack.response_url(),
    }
    for _ in range(3):
        await bot.slack.transport.send("slash_commands", payload, 0, "")
    await bot.settled()
    assert len(bot.slack.from_bot()) == 1
    assert bot.slack.responses == []


async def test_a_stand_ins_private_answer_says_so(bot: Bot) -> None:
    bot.write(lambda db: adapters.promote(db, add_adapter(db, bot.domain, 1), "test"))

    told = await command(bot, MEMBER, "ask where is it?")

    assert "helpdesk@1 could not answer; the bare base did." in told
