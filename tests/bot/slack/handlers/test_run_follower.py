"""The message that follows a tuning run to its end, over both transports."""

from data.adapters import registry
from data.adapters.registry import Adapter
from data.experiments import experiments
from data.runs import runs
from data.runs.runs import Run
from tests.bot.conftest import add_adapter
from tests.bot.slack.commands.test_handlers import command, with_pairs
from tests.bot.slack.conftest import ADMIN, MEMBER, Bot
from tests.fake_slack.workspace import Message


async def retrained(bot: Bot, channel: str = "C1") -> Message:
    """`/understudy retrain`; returns the message that follows the run."""
    with_pairs(bot)
    await command(bot, ADMIN, "retrain", channel)
    (message,) = bot.slack.from_bot()
    return message


def claim(bot: Bot) -> Run:
    run: Run = bot.write(lambda db: runs.claim(db, "worker"))
    return run


SCORES = (
    '{"golden": {"n": 60, "exact": 0.75, "f1": 0.81, "base_exact": 0.0, "base_f1": 0.12},'
    ' "steps": 9}'
)


def step(bot: Bot, run: Run, number: int, loss: float) -> None:
    bot.write(
        lambda db: runs.progress(
            db, runs.get(db, run.id), step=number, total_steps=60, loss=loss, eta_s=60.0 - number
        )
    )


def finish(bot: Bot, run: Run, **more: object) -> Adapter:
    def end(db: object) -> Adapter:
        made = add_adapter(db, bot.domain, 1, run_id=run.id, **more)
        db.execute("UPDATE adapters SET scores = ?", [SCORES])
        runs.finish(db, runs.get(db, run.id), made.id)
        return made

    made: Adapter = bot.write(end)
    bot.hold(made)
    return made


async def test_it_follows_the_run_to_its_end(bot: Bot) -> None:
    message = await retrained(bot)
    assert "waiting for a worker" in message.notes
    assert "`/understudy cancel 1` stops it" in message.notes
    run = claim(bot)
    step(bot, run, 15, 2.5)
    await bot.slack.until(lambda: "25 %" in message.notes, "a quarter")
    assert "loss 2.500" in message.notes
    assert "about 45 s left" in message.notes
    step(bot, run, 45, 1.25)
    await bot.slack.until(lambda: "75 %" in message.notes, "three quarters")
    finish(bot, run)
    await bot.slack.until(lambda: "helpdesk@1* is ready" in message.notes, "the end")
    assert "75% of 60 held-out questions answered exactly (bare base 0%)" in message.notes
    assert [b["value"] for b in message.elements("command:promote")] == ["promote helpdesk@1"]
    await bot.slack.until(lambda: not runs.watchers(bot.store.db), "the end to be marked")
    assert len(bot.slack.from_bot()) == 1


async def test_it_says_why_a_run_failed(bot: Bot) -> None:
    message = await retrained(bot)
    run = claim(bot)
    bot.write(lambda db: runs.fail(db, runs.get(db, run.id), "The disk is full."))
    await bot.slack.until(lambda: "The disk is full." in message.notes, "the reason")
    assert message.elements("command:promote") == []


async def test_it_says_why_an_adapter_was_rejected(bot: Bot) -> None:
    message = await retrained(bot)
    finish(bot, claim(bot), state="rejected", state_reason="It forgot too much.")
    await bot.slack.until(lambda: "It forgot too much." in message.notes, "the reason")
    assert message.elements("command:promote") == []


async def test_it_continues_after_a_restart_of_the_bot(bot: Bot) -> None:
    message = await retrained(bot)
    run = claim(bot)
    step(bot, run, 15, 2.5)
    await bot.slack.until(lambda: "25 %" in message.notes, "a quarter")
    await bot.front.stop()
    finish(bot, run)
    await bot.restart()
    await bot.slack.until(lambda: "is ready" in message.notes, "the end")


async def test_it_survives_rate_limits_and_outages_of_slack(bot: Bot) -> None:
    message = await retrained(bot)
    bot.slack.faults["chat.update"] += ["limited", "500", "lost before", "lost after"]
    finish(bot, claim(bot))
    await bot.slack.until(lambda: "is ready" in message.notes, "the end")
    await bot.slack.until(lambda: not runs.watchers(bot.store.db), "the end to be marked")


async def test_a_deleted_message_is_no_longer_followed(bot: Bot) -> None:
    message = await retrained(bot)
    del bot.slack.messages[message.channel, message.ts]
    finish(bot, claim(bot))
    await bot.slack.until(lambda: not runs.watchers(bot.store.db), "the watcher to give up")
    assert bot.slack.from_bot() == []


async def test_outside_its_channels_the_bot_follows_in_a_direct_message(bot: Bot) -> None:
    with_pairs(bot)
    told = await command(bot, ADMIN, "retrain", "C9")
    assert "direct messages" in told
    (message,) = bot.slack.from_bot()
    assert message.channel == f"D{ADMIN}"
    finish(bot, claim(bot))
    await bot.slack.until(lambda: "is ready" in message.notes, "the end")


async def test_an_admin_promotes_with_the_button(bot: Bot) -> None:
    message = await retrained(bot)
    made = finish(bot, claim(bot))
    await bot.slack.until(lambda: message.elements("command:promote"), "the buttons")
    await bot.slack.press(ADMIN, message, "command:promote", times=2)
    await bot.settled()
    assert registry.by_id(bot.store.db, made.id).state == "live"
    (said,) = bot.slack.in_thread("C1", message.ts)
    assert "helpdesk@1* answers everyone" in said.notes
    assert f"<@{ADMIN}>" in said.notes


async def test_an_admin_starts_the_comparison_with_the_button(bot: Bot) -> None:
    message = await retrained(bot)
    finish(bot, claim(bot))
    await bot.slack.until(lambda: message.elements("command:ab"), "the buttons")
    await bot.slack.press(ADMIN, message, "command:ab")
    await bot.settled()
    running = experiments.running(bot.store.db, bot.domain.id)
    assert running is not None
    assert [v.adapter for v in running.variants] == ["base", "helpdesk@1"]


async def test_the_role_is_checked_again_at_the_click(bot: Bot) -> None:
    message = await retrained(bot)
    made = finish(bot, claim(bot))
    await bot.slack.until(lambda: message.elements("command:promote"), "the buttons")
    await bot.slack.press(MEMBER, message, "command:promote")
    await bot.settled()
    assert registry.by_id(bot.store.db, made.id).state == "candidate"
    assert "Only admins" in bot.slack.told(MEMBER)


async def test_a_discarded_candidate_leaves_the_message_without_buttons(bot: Bot) -> None:
    message = await retrained(bot)
    made = finish(bot, claim(bot))
    await bot.slack.until(lambda: message.elements("command:retire"), "the buttons")
    await bot.slack.press(ADMIN, message, "command:retire")
    await bot.settled()
    assert registry.by_id(bot.store.db, made.id).state == "retired"
    await bot.slack.until(lambda: "is out of service" in message.notes, "the message to say so")
    assert message.elements("command:promote") == []


async def test_the_message_shows_a_change_of_the_live_version_by_anyone(bot: Bot) -> None:
    message = await retrained(bot)
    first = finish(bot, claim(bot))
    await bot.slack.until(lambda: "Compare with base" in str(message.blocks), "the buttons")
    bot.write(lambda db: registry.promote(db, first, "cli"))
    await bot.slack.until(lambda: "helpdesk@1 is live" in message.notes, "it to be live")
    second = bot.write(lambda db: add_adapter(db, bot.domain, 2))
    bot.write(lambda db: registry.promote(db, second, "policy:auto"))
    await bot.slack.until(lambda: "helpdesk@1 is out of service" in message.notes, "it to be out")
    bot.write(lambda db: registry.roll_back(db, bot.domain, "web"))
    await bot.slack.until(lambda: "helpdesk@1 is live" in message.notes, "it to be back")


async def test_a_candidate_is_compared_with_the_current_live_version(bot: Bot) -> None:
    other = bot.write(lambda db: add_adapter(db, bot.domain, 2))
    message = await retrained(bot)
    finish(bot, claim(bot))
    await bot.slack.until(lambda: message.elements("command:ab"), "the buttons")
    await bot.slack.until(lambda: not runs.watchers(bot.store.db), "the end to be marked")
    bot.write(lambda db: registry.promote(db, other, "cli"))
    await bot.slack.until(
        lambda: message.elements("command:ab")[0]["value"] == "ab start helpdesk@2 helpdesk@1",
        "the button to compare it with the new live one",
    )


async def test_an_overridden_rejection_shows_the_buttons(bot: Bot) -> None:
    message = await retrained(bot)
    made = finish(bot, claim(bot), state="rejected", state_reason="It forgot too much.")
    await bot.slack.until(lambda: "result was rejected" in message.notes, "the reason")
    assert "helpdesk@1 answers nobody; the base model keeps answering" in message.notes
    bot.write(lambda db: registry.accept(db, made, "cli", "It will do."))
    await bot.slack.until(lambda: message.elements("command:promote"), "the buttons")


def trained(bot: Bot) -> Adapter:
    """A run with a curve, from its claim to its end."""
    run = claim(bot)
    for number in range(1, 13):
        step(bot, run, number, 3.0 / number)
    return finish(bot, run)


async def test_the_loss_is_a_sparkline_and_finally_a_picture(bot: Bot) -> None:
    message = await retrained(bot)
    trained(bot)
    await bot.slack.until(lambda: not runs.watchers(bot.store.db), "the end to be marked")
    assert "loss `█" in message.notes
    assert "3.000 → 0.250" in message.notes
    (picture,) = bot.slack.files.values()
    assert (picture["channel"], picture["thread_ts"]) == ("C1", message.ts)
    assert picture["content"].startswith(b"\x89PNG")
    assert picture["name"] == "helpdesk-run-1.png"


async def test_the_picture_is_posted_at_most_once_despite_failures(bot: Bot) -> None:
    await retrained(bot)
    bot.slack.faults["files.completeUploadExternal"] += ["lost after"]
    trained(bot)
    await bot.slack.until(lambda: not runs.watchers(bot.store.db), "the end to be marked")
    made = registry.get(bot.store.db, "helpdesk@1")
    bot.write(lambda db: registry.promote(db, made, "test"))
    await bot.slack.until(lambda: not runs.watchers(bot.store.db), "the end to be marked again")
    assert len(bot.slack.called("files.completeUploadExternal")) == 1


async def test_without_a_picture_the_message_still_shows_the_end(bot: Bot) -> None:
    message = await retrained(bot)
    bot.slack.faults["files.getUploadURLExternal"] += ["missing_scope"]
    trained(bot)
    await bot.slack.until(lambda: not runs.watchers(bot.store.db), "the end to be marked")
    assert "is ready" in message.notes
    assert bot.slack.files == {}
