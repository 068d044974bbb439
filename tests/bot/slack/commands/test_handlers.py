"""`/understudy`, buttons and forms, over both transports: their effects and their messages."""

import pytest
from sqlite_utils import Database

from bot.commands import executor
from bot.commands.commands import GrantRole, Retire
from bot.experiments import decider
from bot.slack.commands import forms
from data import domains
from data.adapters import registry
from data.command_queue import DeliveryAddress
from data.experiments import experiments, policies
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.people import roles
from data.runs import runs
from tests.bot.conftest import add_adapter
from tests.bot.experiments.test_decider import rate
from tests.bot.slack.conftest import ADMIN, MEMBER, REVIEWER, Bot
from tests.data import given
from tests.fake_slack.workspace import Json


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
    bot.write(lambda db: registry.promote(db, made[0], "test"))
    bot.hold(*made)


def with_pairs(bot: Bot) -> None:
    drafts = [Draft(f"Question {n}?", f"Answer {n}.") for n in range(3)]
    bot.write(lambda db: pairs.add(db, bot.domain, drafts, source="test", status="approved"))


def form(bot: Bot) -> Json:
    """The form that was opened last."""
    return bot.slack.views[-1]


async def confirm(bot: Bot, user: str, times: int = 1) -> None:
    """Send the form that asks before a command is carried out."""
    for _ in range(times):
        await bot.slack.submit(user, form(bot))
    await bot.settled()


def said_in(view: Json) -> str:
    return str(view["blocks"])


async def test_help_lists_the_commands_of_the_persons_role(bot: Bot) -> None:
    assert "promote" not in await command(bot, MEMBER, "help")
    assert "promote VERSION" in await command(bot, ADMIN, "help")


async def test_a_typing_mistake_gets_the_nearest_command(bot: Bot) -> None:
    assert "Did you mean `/understudy rollback`?" in await command(bot, ADMIN, "rolback")


async def test_ask_answers_privately_with_rating_buttons(bot: Bot) -> None:
    bot.says("Because ", "it is.")
    told = await command(bot, MEMBER, "ask why?")
    assert "Because it is." in told
    reply = bot.row("SELECT id, person FROM replies")
    assert (f"up:{reply['id']}" in told, reply["person"]) == (True, f"slack:T1/{MEMBER}")
    assert bot.slack.from_bot() == []


async def test_status_shows_live_adapters_and_runs(bot: Bot) -> None:
    with_adapters(bot)
    told = await command(bot, MEMBER, "status")
    assert "answered by helpdesk@1" in told
    assert "engine fake: ready" in told


async def test_promote_asks_first_and_rollback_undoes_it(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "promote 2")
    assert "instead of *helpdesk@1*" in said_in(form(bot))
    assert bot.rows("SELECT * FROM deeds") == []
    assert live_version(bot) == 1
    await confirm(bot, ADMIN, times=2)
    assert live_version(bot) == 2
    assert "helpdesk@2* answers everyone" in bot.slack.told(ADMIN)
    told = await command(bot, ADMIN, "rollback helpdesk")
    assert "*helpdesk@1* answers again, instead of *helpdesk@2*" in told
    assert "`/understudy promote helpdesk@2` undoes this" in told
    assert live_version(bot) == 1
    done = bot.rows("SELECT actor, action FROM audit WHERE actor <> 'test' ORDER BY id")
    assert [d["action"] for d in done] == ["promote", "rollback"]
    assert {d["actor"] for d in done} == {f"slack:T1/{ADMIN}"}


async def test_a_roll_back_that_ends_a_comparison_asks_first(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "ab start 1 2")
    told = await command(bot, ADMIN, "rollback helpdesk")
    assert "This ends comparison 1 of helpdesk, helpdesk@1 with helpdesk@2" in told
    assert "No adapter was live before, so people get approved answers word for word" in told
    assert live_version(bot) == 1
    await command(bot, ADMIN, "rollback helpdesk --yes")
    assert live_version(bot) == 0


def live_version(bot: Bot) -> int:
    found = registry.live(bot.store.db, bot.domain.id)
    return found.version if found else 0


async def test_the_role_is_checked_again_when_the_form_is_sent(bot: Bot) -> None:
    with_adapters(bot)
    bot.write(lambda db: roles.grant(db, f"slack:T1/{MEMBER}", "admin", "test"))
    await command(bot, MEMBER, "promote 2")
    bot.write(lambda db: roles.revoke(db, f"slack:T1/{MEMBER}", "test"))
    await confirm(bot, MEMBER)
    assert live_version(bot) == 1
    assert "Only admins" in bot.slack.told(MEMBER)


async def test_a_form_that_slack_does_not_open_is_reported(bot: Bot) -> None:
    with_adapters(bot)
    bot.slack.faults["views.open"] += ["expired_trigger_id"]
    assert "could not open the form" in await command(bot, ADMIN, "promote 2")
    assert live_version(bot) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("promote 9", "There is no adapter"),
        ("promote 2 legal", "There is no domain 'legal'"),
        ("retire 1", "is live"),
        ("retire 9", "There is no adapter"),
        ("adapters legal", "There is no domain 'legal'"),
        ("review legal", "There is no domain 'legal'"),
        ("retrain --preferences", "needs at least 4 of each"),
        ("roles remove <@U2>", "has no role that was granted"),
        ("rollback legal", "There is no domain 'legal'"),
        ("ab start 1 1", "two different adapters"),
        ("ab stop", "No comparison is running"),
        ("ab ramp 40", "No comparison is running"),
        ("ab ramp", "No comparison is running"),
        ("ab tester <@U2> B", "No comparison is running"),
        ("ab decisions", "has had no comparison yet: `/understudy ab start A B helpdesk`"),
        ("ab explain 4", "There is no decision 4"),
        ("policy legal", "There is no domain 'legal'"),
        ("cancel", "No run is queued or running"),
        ("cancel 5", "There is no run 5"),
        ("retrain", "no new approved pairs"),
    ],
)
async def test_errors_are_explained_in_words(bot: Bot, text: str, sentence: str) -> None:
    with_adapters(bot)
    assert sentence in await command(bot, ADMIN, text)


async def test_quoted_input_mentions_nobody(bot: Bot) -> None:
    told = await command(bot, ADMIN, "rollback <!channel>")
    assert "There is no domain '&lt;!channel&gt;'" in told
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


async def test_a_comparison_grows_and_shows_testers_without_counting_them(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "ab start 1 2 --split 20")
    assert "B: helpdesk@2 (40 %)" in await command(bot, ADMIN, "ab ramp 40")
    told = await command(bot, ADMIN, "ab ramp 30")
    assert "The share can only grow" in told
    assert "`/understudy ab stop helpdesk`" in told
    told = await command(bot, ADMIN, f"ab tester <@{MEMBER}> b")
    assert f"<@{MEMBER}> now gets answers from B (helpdesk@2)" in told
    assert "There is no variant 'C'" in await command(bot, ADMIN, f"ab tester <@{MEMBER}> C")
    bot.says("Because.")
    question = await bot.slack.say(MEMBER, f"D{MEMBER}", "Why?")
    await bot.slack.answer_to(question)
    assert bot.engine.asked[-1]["model"].startswith("helpdesk@2-")
    assert "helpdesk@2: 0 people" in await command(bot, REVIEWER, "ab status")


async def test_the_policy_of_a_domain_is_shown_and_changed(bot: Bot) -> None:
    assert "policy of *the help desk* is *advise*" in await command(bot, REVIEWER, "policy")
    assert "Only admins" in await command(bot, REVIEWER, "policy auto")
    assert "policy of *the help desk* is *auto*: better candidates go live" in await command(
        bot, ADMIN, "policy auto helpdesk"
    )
    assert policies.policy_of(bot.store.db, bot.domain.id).policy == "auto"


async def test_decisions_are_listed_and_recomputed(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "ab start 1 2")
    assert "No decision yet" in await command(bot, REVIEWER, "ab decisions")
    running = experiments.running(bot.store.db, bot.domain.id)
    assert running is not None
    running = bot.write(lambda db: given.same_sides(db, running))
    bot.write(lambda db: rate(db, running, {"A": 0.2, "B": 0.9}, 60))
    found = decider.evaluate_experiment(bot.store.db, running)
    assert found is not None
    made = bot.write(lambda db: decider.apply_verdict(db, found))
    told = await command(bot, REVIEWER, "ab decisions")
    assert f"decision {made.id}, " in told
    assert f"policy advise: *advise*. {made.sentence}" in told
    told = await command(bot, REVIEWER, f"ab explain {made.id}")
    assert "The recalculated decision matches in every number" in told
    sql = "UPDATE decisions SET state = 'worse'"
    bot.write(lambda db: db.execute(sql))
    told = await command(bot, REVIEWER, f"ab explain {made.id}")
    assert "The recalculated decision differs in: decision." in told


async def test_a_run_is_cancelled(bot: Bot) -> None:
    with_pairs(bot)
    await command(bot, ADMIN, "retrain")
    assert "is cancelled" in await command(bot, ADMIN, "cancel 1")
    assert runs.get(bot.store.db, 1).state == "cancelled"


async def test_a_command_that_is_delivered_twice_is_executed_once(bot: Bot) -> None:
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


async def test_a_version_that_went_live_meanwhile_is_reported_at_submission(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "promote 2")
    bot.write(lambda db: registry.promote(db, registry.get(db, "helpdesk@2"), "test"))
    await confirm(bot, ADMIN)
    assert "is already live" in bot.slack.told(ADMIN)


async def test_an_unpromotable_version_is_refused_before_the_confirmation(bot: Bot) -> None:
    with_adapters(bot)
    assert "is already live" in await command(bot, ADMIN, "promote 1")
    sql = "UPDATE adapters SET state = 'rejected', state_reason = 'It forgot.' WHERE version = 2"
    bot.write(lambda db: db.execute(sql))
    told = await command(bot, ADMIN, "promote 2")
    assert "was rejected: It forgot." in told
    assert "adapters accept helpdesk@2 --reason TEXT` (" not in told
    assert "run on the command line of the machine that hosts me" in told
    assert bot.slack.views == []


async def test_a_candidate_is_retired(bot: Bot) -> None:
    with_adapters(bot)
    assert "helpdesk@2* is discarded" in await command(bot, ADMIN, "retire 2")
    assert registry.get(bot.store.db, "helpdesk@2").state == "retired"


async def test_domains_and_adapters_are_listed(bot: Bot) -> None:
    assert "has no version yet" in await command(bot, MEMBER, "adapters")
    with_adapters(bot)
    told = await command(bot, MEMBER, "adapters")
    assert "helpdesk@2*, candidate" in told
    assert "helpdesk@1*, live" in told
    assert "the help desk* (`helpdesk`), used here" in await command(bot, MEMBER, "domains")


async def test_a_dry_run_says_what_a_retrain_would_do_and_does_nothing(bot: Bot) -> None:
    assert "there are no new approved pairs" in await command(bot, REVIEWER, "retrain --dry-run")
    with_pairs(bot)
    told = await command(bot, REVIEWER, "retrain --dry-run")
    assert "start from the base model and train on 3 new approved pairs" in told
    assert "A tiny base memorises 3 pairs" in told
    assert runs.recent(bot.store.db) == []


async def test_a_comparison_may_ask_for_answers_in_pairs(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "ab start 1 2 --pairwise")
    assert bot.row("SELECT pairwise FROM experiments") == {"pairwise": 0.1}


async def test_a_person_is_erased_after_confirmation(bot: Bot) -> None:
    question = await bot.slack.say(MEMBER, f"D{MEMBER}", "my secret is 42")
    await bot.slack.answer_to(question)
    await bot.settled()
    await command(bot, ADMIN, f"forget <@{MEMBER}|grace>")
    assert "2 questions and answers" in said_in(form(bot))
    assert "this can't be undone" in said_in(form(bot))
    assert bot.rows("SELECT * FROM forgettings") == []
    await confirm(bot, ADMIN, times=2)
    assert "Grace" not in bot.slack.told(ADMIN)
    assert "is deleted" in bot.slack.told(ADMIN)
    await bot.slack.until(lambda: bot.rows("SELECT * FROM forgettings") == [], "the end of it")
    assert bot.rows("SELECT * FROM messages WHERE text LIKE '%secret%'") == []
    (entry,) = bot.rows("SELECT actor FROM audit WHERE action = 'forget'")
    assert entry["actor"] == f"slack:T1/{ADMIN}"


async def test_a_stale_command_is_refused_after_a_restart(bot: Bot) -> None:
    with_adapters(bot)
    await bot.front.stop()

    def left_over(db: Database) -> None:
        for key, left in (("1", Retire("2")), ("2", GrantRole("slack:T1/U2", "reviewer"))):
            address = DeliveryAddress("T1", "C1")
            executor.enqueue(db, left, key=key, user=ADMIN, address=address)
        db.execute("UPDATE deeds SET created_at = created_at - 7200000000 WHERE key = '1'")

    bot.write(left_over)
    await bot.restart()
    untold = "SELECT 1 FROM deeds WHERE state <> 'told'"
    await bot.slack.until(lambda: bot.rows(untold) == [], "both to be told")
    assert registry.get(bot.store.db, "helpdesk@2").state == "candidate"
    assert (
        "`retire 2` did not run, because the bot was down. You sent it 2 hours"
        in bot.slack.told(ADMIN)
    )
    assert "is now a reviewer" in bot.slack.told(ADMIN)


# -- the form that `/understudy` opens -----------------------------------------------------------


def labels(view: Json) -> list[str]:
    elements = [e for b in view["blocks"] for e in b.get("elements", []) if e["type"] == "button"]
    return [e["text"]["text"] for e in elements]


async def test_without_arguments_a_menu_for_the_role_opens(bot: Bot) -> None:
    await command(bot, MEMBER, "")
    assert labels(form(bot)) == ["Status", "Versions", "Domains", "Roles"]
    assert "answered by the base model" in said_in(form(bot))
    await command(bot, REVIEWER, "")
    assert "Review" in labels(form(bot))
    assert "Retrain" not in labels(form(bot))
    await command(bot, ADMIN, "")
    assert {"Review", "Retrain", "Roll back"} <= set(labels(form(bot)))


async def test_a_button_of_the_form_shows_its_result_in_the_form(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, MEMBER, "")
    await bot.slack.press_in(MEMBER, form(bot), "Versions")
    await bot.settled()
    assert "helpdesk@2*, candidate" in said_in(form(bot))
    assert "Status" in labels(form(bot))
    assert bot.slack.responses == []


async def test_a_retrain_from_the_form_is_followed_in_the_channel(bot: Bot) -> None:
    with_pairs(bot)
    await command(bot, ADMIN, "", "C2")
    await bot.slack.press_in(ADMIN, form(bot), "Retrain", times=3)
    await bot.settled()
    (message,) = bot.slack.from_bot()
    assert (message.channel, len(runs.watchers(bot.store.db))) == ("C2", 1)
    assert "You can follow its progress in <#C2>" in said_in(form(bot))


async def test_a_retrain_asked_for_in_direct_messages_is_followed_there(bot: Bot) -> None:
    """Slack shows no link to a direct message."""
    with_pairs(bot)
    await command(bot, ADMIN, "", "DU1")
    await bot.slack.press_in(ADMIN, form(bot), "Retrain")
    await bot.settled()
    assert [message.channel for message in bot.slack.from_bot()] == ["DU1"]
    assert "You can follow its progress in our direct messages" in said_in(form(bot))


async def test_a_question_in_the_form_is_answered_privately(bot: Bot) -> None:
    bot.says("Because.")
    await command(bot, MEMBER, "")
    await bot.slack.submit(MEMBER, form(bot), question="why is 1 < 2?")
    await bot.settled()
    assert "Because." in str(bot.slack.responses)
    asked = bot.engine.asked[-1]["messages"][-1]["content"]
    assert asked == "why is 1 < 2?"
    assert bot.slack.from_bot() == []


async def test_another_domain_is_chosen_in_the_form(bot: Bot) -> None:
    bot.write(lambda db: domains.create(db, "legal", "the law", "Answer."))
    await command(bot, ADMIN, "")
    option = {"text": {"type": "plain_text", "text": "the law (legal)"}, "value": "legal"}
    await bot.slack.press_in(ADMIN, form(bot), "menu_domain", selected_option=option)
    await bot.settled()
    assert "*the law*" in said_in(form(bot))
    await bot.slack.press_in(ADMIN, form(bot), "Retrain")
    await bot.settled()
    assert "legal has no new approved pairs" in said_in(form(bot))


async def test_the_result_is_delivered_although_the_form_was_closed(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "")
    form(bot)["closed"] = True  # in Slack; its last press is on the way
    bot.write(lambda db: registry.promote(db, registry.get(db, "helpdesk@2"), "test"))
    await bot.slack.press_in(ADMIN, form(bot), "Roll back")
    await bot.settled()
    assert live_version(bot) == 1
    assert "helpdesk@1* answers again" in bot.slack.told(ADMIN)


async def test_a_private_answer_by_a_fallback_says_so(bot: Bot) -> None:
    bot.write(lambda db: registry.promote(db, add_adapter(db, bot.domain, 1), "test"))

    told = await command(bot, MEMBER, "ask where is it?")

    assert "helpdesk@1 could not answer; the bare base did." in told


# -- a slow Slack --------------------------------------------------------------------------------


async def test_a_form_opens_while_slack_is_slow_to_say_who_asks(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "LOOKUP_S", 0.1)
    bot.slack.api.delays["users.info"] = 0.6
    bot.slack.trigger_lifetime_s = 0.5
    await bot.slack.command(MEMBER, "C1", "")
    await bot.slack.until(lambda: bot.slack.views, "a form that says to wait")
    assert forms.WAITING in said_in(form(bot))
    await bot.settled()
    assert "Ask a question" in said_in(form(bot))
    assert len(bot.slack.called("views.open")) == 1


async def test_a_refusal_after_a_slow_lookup_is_shown_in_the_form(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "LOOKUP_S", 0.1)
    bot.slack.api.delays["users.info"] = 0.3
    await bot.slack.command(MEMBER, "C1", "promote")
    await bot.settled()
    (view,) = bot.slack.views
    assert [forms.WAITING in said_in(view), "admin" in said_in(view)] == [False, True]
