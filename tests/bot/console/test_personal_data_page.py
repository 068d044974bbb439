"""What is stored about a person, in the console: export, opting out, forgetting."""

from data.feedback import feedback
from data.people import consent
from data.store.db import rows, value
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.data import given

PATH, EVE = "/console/people/data", "slack:T1/U7"


def test_a_persons_data_is_shown_exported_and_forgotten(bot: Bot) -> None:
    def write(db: object) -> None:
        reply = given.reply(db, bot.domain, EVE, "My own words?", "Yes.")  # type: ignore[arg-type]
        feedback.thumb(db, reply, EVE, up=True)  # type: ignore[arg-type]

    bot.write(write)
    browser = client(bot)
    assert "1 question, 1 rating, 0 corrections" in browser.get(PATH, params={"person": EVE}).text
    exported = browser.get(f"{PATH}/export", params={"person": EVE})
    assert exported.headers["content-disposition"].startswith("attachment")
    assert "My own words?" in exported.text

    stopped = browser.post(f"{PATH}/learning", data={"person": EVE, "learning": "false"})
    assert "no longer learns from slack:T1/U7" in stopped.text
    assert not consent.may_learn(bot.store.db, EVE)
    browser.post(f"{PATH}/learning", data={"person": EVE, "learning": "true"})
    assert consent.may_learn(bot.store.db, EVE)
    actions = rows(bot.store.db, "SELECT actor, action FROM audit ORDER BY id DESC LIMIT 3")
    assert [(a["actor"], a["action"]) for a in actions] == [
        ("user:admin", "opt in"),
        ("user:admin", "opt out"),
        ("user:admin", "people export"),
    ]
    gone = browser.post(f"{PATH}/forget", data={"person": EVE})

    assert "Deleted: 2 messages, 1 rating and 0 pairs." in gone.text
    assert value(bot.store.db, "SELECT count(*) FROM messages") == 0
    assert value(bot.store.db, "SELECT count(*) FROM audit WHERE subject = ?", [EVE]) == 0
    unknown = browser.get(PATH, params={"person": "nobody"})
    assert unknown.status_code == 400
    assert "An id is slack:TEAM/USER, user:NAME, http:KEY/USER" in unknown.text
