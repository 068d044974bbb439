"""What people decide about their data on the Home tab, over both transports."""

import orjson
from sqlite_utils import Database

from bot.slack.handlers import home, privacy
from data.feedback import feedback
from data.pairs import datasets, review_status
from data.people import consent as store
from data.privacy import erasure
from data.privacy.erasure import ErasureReceipt
from data.store import audit
from data.store.db import Store
from tests.bot.conftest import add_adapter
from tests.bot.slack.conftest import ADMIN, MEMBER, Bot
from tests.data.privacy.test_erasure import in_files
from tests.fake_slack import rules
from tests.fake_slack.workspace import Message

WHO = f"slack:T1/{MEMBER}"
SECRET = "xylophone"


async def ask(bot: Bot) -> str:
    """A question of the member's with secret words; returns its reply's id."""
    bot.says(f"The {SECRET} is in the cellar.")
    said = await bot.slack.say(MEMBER, f"D{MEMBER}", f"Where is my {SECRET}?")
    await bot.slack.answer_to(said)
    await bot.settled()
    return str(bot.row("SELECT id FROM replies")["id"])


async def press(bot: Bot, action_id: str) -> None:
    await bot.slack.open_home(MEMBER)
    await bot.settled()
    await bot.slack.press_home(MEMBER, action_id)
    await bot.settled()


def told(bot: Bot, user: str) -> list[Message]:
    """What the bot said to somebody in direct messages, without answers."""
    direct = [m for m in bot.slack.from_bot() if m.channel == f"D{user}"]
    return [m for m in direct if not m.elements("feedback")]


async def test_a_person_can_view_their_data(bot: Bot) -> None:
    reply = await ask(bot)
    bot.write(lambda db: feedback.thumb(db, reply, WHO, up=True))
    await press(bot, home.SEE)
    (view,) = bot.slack.views
    assert "questions: 1" in str(view)
    assert "👍 and 👎: 1" in str(view)


async def test_a_person_can_export_their_data(bot: Bot) -> None:
    await ask(bot)
    await press(bot, home.EXPORT)
    (file,) = bot.slack.files.values()
    assert (file["channel"], file["name"]) == (f"D{MEMBER}", "understudy-U2.json")
    found = orjson.loads(file["content"])
    (conversation,) = found["conversations"]
    assert conversation["messages"][0]["text"] == f"Where is my {SECRET}?"


async def test_a_file_that_slack_rejects_is_explained(bot: Bot) -> None:
    bot.slack.faults["files.getUploadURLExternal"] = ["500"]
    await press(bot, home.EXPORT)
    assert "did not accept the file" in told(bot, MEMBER)[-1].notes


async def test_learning_can_be_switched_off_and_on(bot: Bot) -> None:
    reply = await ask(bot)
    bot.write(lambda db: feedback.correction(db, reply, WHO, "In the attic."))
    await press(bot, home.LEARNING)
    assert not store.may_learn(bot.store.db, WHO)
    assert told(bot, MEMBER)[-1].notes == (
        "I no longer learn from you. I withdrew one suggestion of yours from review."
    )
    text = bot.slack.home_text(MEMBER)
    assert "I do not learn from anything that you write." in text
    assert "your correction was withdrawn by you" in text
    await press(bot, home.LEARNING)
    assert store.may_learn(bot.store.db, WHO)
    assert "I may learn from your suggestions" in bot.slack.home_text(MEMBER)


async def test_deleting_asks_for_confirmation_and_removes_every_word(
    bot: Bot, store: Store
) -> None:
    reply = await ask(bot)
    bot.write(lambda db: feedback.correction(db, reply, WHO, f"The {SECRET} is in the attic."))
    await press(bot, home.FORGET)
    forget = next(
        e
        for b in bot.slack.homes[MEMBER]["blocks"]
        for e in b.get("elements", [])
        if e.get("action_id") == home.FORGET
    )
    assert "cannot be undone" in forget["confirm"]["text"]["text"]
    assert in_files(store, SECRET) == []
    said = told(bot, MEMBER)[-1].notes
    assert "Removed from the database and its files: 2 messages, 1 rating and 1 pair." in said
    assert "I cannot reach backups" in said
    assert SECRET not in bot.slack.home_text(MEMBER)
    assert "None yet." in bot.slack.home_text(MEMBER)
    (entry,) = [e for e in audit.recent(store.db) if e.action == "forget"]
    assert entry.actor == "themselves"
    assert told(bot, ADMIN) == []


async def test_the_admins_are_told_which_adapters_to_retrain(bot: Bot) -> None:
    reply = await ask(bot)

    def learn(db: Database) -> None:
        pair_id = feedback.correction(db, reply, WHO, f"The {SECRET}!").pair_id
        assert pair_id is not None
        review_status.set_status(db, pair_id, "approved", "cli:test")
        add_adapter(db, bot.domain, 1, dataset_id=datasets.freeze(db, bot.domain).id)

    bot.write(learn)
    await press(bot, home.FORGET)
    (message,) = told(bot, ADMIN)
    assert "helpdesk@1" in message.notes
    assert "retrain --full" in message.notes
    assert MEMBER not in message.notes
    assert "Trained on your words: helpdesk@1" in told(bot, MEMBER)[-1].notes


async def test_after_a_deletion_a_new_question_is_answered(bot: Bot) -> None:
    await ask(bot)
    await press(bot, home.FORGET)
    await ask(bot)
    assert erasure.preview(bot.store.db, WHO).messages == 2


def test_the_messages_after_a_deletion_are_valid() -> None:
    many = tuple(f"helpdesk@{n}" for n in range(900))
    done = ErasureReceipt("0a" * 6, 10**9, 10**9, 10**9, 10**9, many, tuple(range(900)))
    none = ErasureReceipt("0a" * 6, 1, 0, 1, 0, (), ())
    for message in (done, none):
        assert rules.blocks(privacy.forgotten(message)) == []
        assert rules.blocks(privacy.retrain_notice(message)) == []
    assert ": 1 message, 0 ratings and 1 pair." in str(privacy.forgotten(none))
