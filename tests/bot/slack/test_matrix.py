"""Role x command x way x transport x replay: nobody does what they may not, and nothing is done
twice, whichever way it comes and however often Slack delivers it."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bot.commands import commands
from bot.commands import registry as verbs
from bot.experiments import decider
from bot.slack.commands import dialect
from bot.slack.commands import forms as forms_of
from bot.slack.render.admin_forms import Origin
from data.adapters import placements, registry
from data.experiments import experiments
from data.feedback import feedback
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.people import roles
from tests.bot.conftest import add_adapter
from tests.bot.experiments.test_decider import rate
from tests.bot.slack.conftest import ADMIN, MEMBER, REVIEWER, Bot
from tests.data import given
from tests.fake_slack.workspace import BOT_USER, Message

TIMES = 3  # each delivery comes so often
RANK = {"nobody": 0, "member": 1, "reviewer": 2, "admin": 3}
PEOPLE = {  # user -> what they may do, and what Slack says of them
    ADMIN: ("admin", {}),
    REVIEWER: ("reviewer", {}),
    MEMBER: ("member", {}),
    "U4": ("admin", {}),  # by a grant
    "U5": ("nobody", {"is_restricted": True}),  # with a grant
    "U6": ("nobody", {"team_id": "T9", "is_stranger": True}),  # with a grant
    "U7": ("nobody", {"is_bot": True}),  # with a grant
}
# command -> the role that it needs, and what the audit log says of it, in an order in which each
# can be done once
CHANGES = {
    "retrain": ("admin", "retrain"),
    "cancel 1": ("admin", "cancel"),
    "retrain --full": ("admin", "retrain"),
    "cancel 2": ("admin", "cancel"),
    "retrain --preferences": ("admin", "retrain"),
    "cancel 3": ("admin", "cancel"),
    "ab start 1 2 --split 20": ("admin", "ab start"),
    "ab ramp 40": ("admin", "ab ramp"),
    "ab tester <@U8> B": ("admin", "ab tester"),
    "ab stop": ("admin", "ab stop"),
    "ab start live helpdesk@3 --pairwise": ("admin", "ab start"),
    "ab stop helpdesk": ("admin", "ab stop"),
    "policy auto": ("admin", "domain policy"),
    "triggers set pairs 20": ("admin", "triggers set"),
    "triggers set schedule 0 3 * * 1 --domain helpdesk": ("admin", "triggers set"),
    "promote 2": ("admin", "promote"),
    "rollback": ("admin", "rollback"),
    "retire 3": ("admin", "retire"),
    "roles add <@U8> reviewer": ("admin", "grant role"),
    "roles remove <@U8>": ("admin", "revoke role"),
    "channel listen all": ("admin", "channel listen"),
    "channel domain helpdesk": ("admin", "domain bind"),
    "channel listen mentions": ("admin", "channel listen"),
    "forget <@U8>": ("admin", "forget"),
}
LOOKS = {
    "channel": "member",
    "help": "member",
    "ab decisions": "reviewer",
    "ab explain 1": "reviewer",
    "policy": "reviewer",
    "triggers": "reviewer",
    "adapters lineage 1": "reviewer",
    "pairs lineage 1": "reviewer",
    "retrain --preferences --dry-run": "reviewer",
    "status": "member",
    "domains": "member",
    "adapters": "member",
    "roles": "member",
    "runs": "reviewer",
    "retrain --dry-run": "reviewer",
    "ab status": "reviewer",
}
# each command as the help names it, with something for what stands in capitals
CAPITALS = {
    "MODE": "off",
    "QUESTION": "why",
    "RUN": "1",
    "PAIR": "1",
    "A": "1",
    "B": "2",
    "VERSION": "1",
    "DECISION": "1",
}
CAPITALS |= {
    "@PERSON": "<@U8>",
    "ROLE": "reviewer",
    "PERCENT": "40",
    "VARIANT": "B",
    "NAME": "auto",
    "SETTING": "pairs",
    "VALUE": "20",
}
# command -> the role that it needs; each opens a form
OPEN = {
    "": "member",
    "review": "reviewer",
    "unanswered": "reviewer",
    "promote": "admin",
    "promote 2": "admin",
    "retire": "admin",
    "ab start": "admin",
    "policy set": "admin",
    "forget": "admin",
    "forget <@U8>": "admin",
    "roles add": "admin",
    "roles remove": "admin",
}
EVERY = ["", "promote"]
for verb in verbs.listed():
    words = re.sub(r"\[[^\]]*\]", "", verb.usage).split()
    EVERY.append(" ".join(CAPITALS.get(word, word) for word in words))
REFUSED = (
    "Only admins",
    "Only reviewers",
    "You are a guest",
    "from another organisation",
    "from apps",
)
CHANGED = (
    "audit", "adapters", "promotions", "runs", "experiments", "variants", "stages", "testers",
    "experiment_policies", "trigger_rules", "roles", "forgettings", "pairs", "review_leases",
)  # fmt: skip

Way = Callable[[Bot, str, str], Awaitable[None]]


async def typed(bot: Bot, user: str, text: str) -> None:
    before = len(bot.slack.views)
    await bot.slack.command(user, "C1", text, TIMES)
    await bot.settled()
    if len(bot.slack.views) > before:  # it asks first
        await bot.slack.submit(user, bot.slack.views[-1], TIMES)


async def opened(bot: Bot, user: str, text: str) -> None:
    await bot.slack.command(user, "C1", text, TIMES)


async def clicked(bot: Bot, user: str, text: str) -> None:
    """A button of one of our messages, with whatever value."""
    message = bot.slack.add(Message("C1", bot.slack.next_ts(), BOT_USER))
    await bot.slack.click(user, message, f"command:{text}", text, TIMES)


async def pressed(bot: Bot, user: str, text: str) -> None:
    """A button of the menu, with whatever value."""
    button = {"type": "button", "action_id": "command:x:X", "value": text}
    button["text"] = {"type": "plain_text", "text": "X"}  # type: ignore[assignment]
    where = Origin("C1", "", bot.slack.response_url()).dump()
    view = {"id": "V0", "type": "modal", "callback_id": "menu", "private_metadata": where}
    shown: dict[str, Any] = {**view, "blocks": [{"type": "actions", "elements": [button]}]}
    await bot.slack.press_in(user, shown, "X", TIMES)


async def sent(bot: Bot, user: str, text: str) -> None:
    """The form that asks before a command, with whatever command in it."""
    where = Origin("C1", "", bot.slack.response_url(), command=text).dump()
    view = {"id": f"V{bot.slack.next_id()}", "callback_id": "confirm_command"}
    view |= {"type": "modal", "private_metadata": where}
    await bot.slack.submit(user, {**view, "blocks": []}, TIMES)


def state(bot: Bot) -> dict[str, list[dict[str, Any]]]:
    """Everything that commands can change."""
    return {table: bot.rows(f"SELECT * FROM {table}") for table in CHANGED}


def prepare(bot: Bot) -> None:
    bot.slack.per_minute = {}  # all in one channel, at once
    bot.slack.users |= {user: f"Person {user}" for user in PEOPLE}
    bot.slack.profiles = {user: about for user, (_, about) in PEOPLE.items()}
    drafts = [Draft(f"Question {n}?", f"Answer {n}.") for n in range(3)]

    def write(db: Any) -> None:
        for user in ("U4", "U5", "U6", "U7"):
            roles.grant(db, f"slack:T1/{user}", "admin", "test")
        made = [add_adapter(db, bot.domain, version) for version in (1, 2, 3)]
        registry.promote(db, made[0], "test")
        pairs.add(db, bot.domain, drafts, source="test", status="approved")
        db.execute("DELETE FROM audit")
        for adapter in made:
            placements.record_loaded(db, "fake", adapter.id, 1.0)
        judged(db, bot, made)
        db.execute("DELETE FROM audit")

    bot.write(write)


def judged(db: Any, bot: Bot, made: list[Any]) -> None:
    """Enough thumbs to learn from, and a comparison of before about which something was decided."""
    for number in range(8):
        person = f"slack:T1/U{100 + number}"
        reply = given.reply(db, bot.domain, person, f"Thumb {number}?", f"Answer {number}.")
        feedback.thumb(db, reply, person, number % 2 == 0)
    before = given.same_sides(db, experiments.start(db, bot.domain, made[0], made[1], "test"))
    rate(db, before, {"A": 0.2, "B": 0.9}, 60)
    considered = decider.evaluate_experiment(db, before)
    assert considered is not None
    assert decider.apply_verdict(db, considered) is not None
    experiments.stop(db, before, "test")


def test_every_command_is_in_the_matrix() -> None:
    assert {type(dialect.parse(text, "T1")) for text in CHANGES} == {
        verb.command for verb in verbs.verbs() if verb.effect == "change"
    }
    known = {type(dialect.parse(text, "T1")) for text in (*CHANGES, *LOOKS, *OPEN)}
    every = {type(dialect.parse(usage, "T1")) for usage in EVERY}
    assert known == every - {commands.AskPrivately}  # which has a test of its own, below
    for text, needs in {**LOOKS, **OPEN, **{d: needs for d, (needs, _) in CHANGES.items()}}.items():
        assert needs == dialect.parse(text, "T1").needs


@pytest.mark.parametrize("way", [typed, clicked, pressed, sent])
@pytest.mark.parametrize("user", PEOPLE)
async def test_a_change_is_made_once_by_those_who_may_and_never_by_others(
    bot: Bot, user: str, way: Way
) -> None:
    prepare(bot)
    has = RANK[PEOPLE[user][0]]
    for text, (needs, action) in CHANGES.items():
        before = state(bot)
        await way(bot, user, text)
        await bot.settled()
        done = state(bot)
        entries = done["audit"][len(before["audit"]) :]
        if has >= RANK[needs]:
            assert [(e["actor"], e["action"]) for e in entries] == [(f"slack:T1/{user}", action)]
        else:
            assert done == before, text
    said = bot.slack.told(user) + "".join(str(v["blocks"]) for v in bot.slack.views)
    refusals = [sentence for sentence in REFUSED if sentence in said]
    assert bool(refusals) == (has < RANK["admin"])
    assert bot.rows("SELECT * FROM deeds WHERE state <> 'told'") == []


@pytest.mark.parametrize("way", [typed, clicked, pressed])
@pytest.mark.parametrize("user", PEOPLE)
async def test_a_report_is_shown_only_with_the_role_and_changes_nothing(
    bot: Bot, user: str, way: Way
) -> None:
    prepare(bot)
    before, has = state(bot), RANK[PEOPLE[user][0]]
    for text, needs in LOOKS.items():
        told = len(bot.slack.responses)
        await way(bot, user, text)
        await bot.settled()
        (answer,) = bot.slack.responses[told:]
        refused = any(sentence in str(answer) for sentence in REFUSED)
        assert refused == (has < RANK[needs]), text
    assert state(bot) == before


async def test_only_the_caller_sees_a_reply_except_for_run_messages(
    bot: Bot,
) -> None:
    prepare(bot)
    for text in (*LOOKS, *CHANGES, "promte 3", "ask", "promote 9", "ask why?"):
        answers, acks = len(bot.slack.responses), len(bot.slack.acks)
        messages = len(bot.slack.from_bot())
        await typed(bot, ADMIN, text)
        await bot.settled()
        said = [a.payload for a in bot.slack.acks[acks:] if a.payload.get("text")]
        said += bot.slack.responses[answers:]
        in_channel = text in CHANGES and text.startswith("retrain")
        assert {m["response_type"] for m in said} == (set() if in_channel else {"ephemeral"}), text
        assert len(bot.slack.from_bot()) - messages == in_channel, text


@pytest.mark.parametrize("way", [opened, clicked])
@pytest.mark.parametrize("user", PEOPLE)
async def test_a_form_opens_once_and_only_with_the_role_and_changes_nothing(
    bot: Bot, user: str, way: Way
) -> None:
    prepare(bot)
    before, has = state(bot), RANK[PEOPLE[user][0]]
    for text, needs in OPEN.items():
        if way is clicked and forms_of.needs_confirmation(dialect.parse(text, "T1")):
            continue  # the button has asked already
        forms, told = len(bot.slack.views), len(bot.slack.responses)
        await way(bot, user, text)
        await bot.settled()
        assert len(bot.slack.views) - forms == (has >= RANK[needs]), text
        refused = [r for r in bot.slack.responses[told:] if any(s in str(r) for s in REFUSED)]
        assert len(refused) == (has < RANK[needs]), text
    assert state(bot) == before


@pytest.mark.parametrize("user", PEOPLE)
async def test_a_question_is_asked_once_and_only_if_allowed(bot: Bot, user: str) -> None:
    prepare(bot)
    await bot.slack.command(user, "C1", "ask why?", TIMES)
    await bot.settled()
    assert len(bot.engine.asked) == (RANK[PEOPLE[user][0]] >= RANK["member"])


# a form with what was chosen in it -> what the audit log says of it
CHOSEN: dict[str, tuple[dict[str, str], str]] = {
    "promote": ({"version": "helpdesk@2"}, "promote"),
    "ab start": ({"a": "helpdesk@2", "b": "helpdesk@1", "split": "20"}, "ab start"),
    "ab ramp": ({"split": "40"}, "ab ramp"),
    "ab tester": ({"person": "U8", "b": "B"}, "ab tester"),
    "policy set": ({"policy": "auto"}, "domain policy"),
    "roles add": ({"person": "U8", "role": "admin"}, "grant role"),
    "roles remove": ({"person": "U8"}, "revoke role"),
    "retire": ({"version": "helpdesk@3"}, "retire"),
    "forget": ({"person": "U8"}, "forget"),
}


@pytest.mark.parametrize("user", PEOPLE)
async def test_a_submitted_form_takes_effect_once_and_only_with_the_role(
    bot: Bot, user: str
) -> None:
    """Whoever opened the form: an admin."""
    prepare(bot)
    has = RANK[PEOPLE[user][0]]
    for what, (chosen, action) in CHOSEN.items():
        before = state(bot)
        if what in ("ab ramp", "ab tester") and has < RANK["admin"]:
            continue  # no comparison has begun, so no form opens
        await bot.slack.command(ADMIN, "C1", what)
        await bot.settled()
        ack = await bot.slack.submit(user, bot.slack.views[-1], TIMES, **chosen)
        if ack.payload.get("response_action") == "update":
            await bot.slack.submit(user, bot.slack.views[-1], TIMES)
        await bot.settled()
        done = state(bot)
        entries = done["audit"][len(before["audit"]) :]
        if has >= RANK["admin"]:
            assert [(e["actor"], e["action"]) for e in entries] == [(f"slack:T1/{user}", action)]
        else:
            assert done == before, what


@pytest.mark.parametrize("user", PEOPLE)
async def test_a_pair_is_decided_once_and_only_with_the_role(bot: Bot, user: str) -> None:
    prepare(bot)
    drafts = [Draft(f"How {n}?", f"So {n}.") for n in range(2)]
    bot.write(lambda db: pairs.add(db, bot.domain, drafts, source="correction"))
    where = Origin(pair_id=4).dump()
    view: dict[str, Any] = {"id": "V0", "type": "modal", "private_metadata": where, "blocks": []}
    before = state(bot)
    button = {"type": "button", "action_id": "review:approve", "value": "approve 4"}
    button["text"] = {"type": "plain_text", "text": "X"}  # type: ignore[assignment]
    shown = {**view, "blocks": [{"type": "actions", "elements": [button]}]}
    await bot.slack.press_in(user, shown, "X", TIMES)
    reject = {**view, "callback_id": "review_reject"}
    reject["private_metadata"] = Origin(pair_id=5).dump()
    await bot.slack.submit(user, reject, TIMES)
    await bot.settled()
    if RANK[PEOPLE[user][0]] < RANK["reviewer"]:
        assert state(bot) == before
        return
    statuses = [pairs.get(bot.store.db, number).status for number in (4, 5)]
    assert statuses == ["approved", "rejected"]
    entries = bot.rows("SELECT actor, subject FROM audit ORDER BY id")
    assert [(e["actor"], e["subject"]) for e in entries] == [
        (f"slack:T1/{user}", "pair 4"),
        (f"slack:T1/{user}", "pair 5"),
    ]


async def test_a_question_repeated_after_a_restart_is_not_asked_again(bot: Bot) -> None:
    payload = {
        "command": "/understudy", "text": "ask why?", "user_id": MEMBER, "team_id": "T1",
        "channel_id": "C1", "trigger_id": "the same", "response_url": bot.slack.response_url(),
    }  # fmt: skip
    for _ in range(2):
        await bot.slack.transport.send("slash_commands", payload, 0, "")
        await bot.settled()
        await bot.restart()
    assert len(bot.engine.asked) == 1
