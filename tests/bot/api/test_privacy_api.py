"""A person's own data over HTTP and on the web page: all of theirs, and nobody else's."""

import httpx
import pytest
from sqlite_utils import Database

from data.conversations import conversations
from data.domains import Domain
from data.feedback import feedback
from data.pairs import pairs
from data.people import consent as store
from data.privacy import erasure, personal_data
from data.store import audit
from tests.bot.conftest import Bot
from tests.conftest import wait_until
from tests.data.privacy.test_erasure import in_files

SECRET = "xylophone"


def said_by(db: Database, domain: Domain, person: str, question: str) -> str:
    reply_id = conversations.new_reply_id()
    thread = conversations.open_thread(db, f"{person}/{reply_id}", domain.id, person)
    conversations.ask(
        db,
        reply_id=reply_id,
        conversation=thread,
        person=person,
        text=question,
        adapter_id=None,
        variant_id=None,
    )
    conversations.finish_reply(db, reply_id, f"So: {question}", status="done")
    return reply_id


@pytest.fixture
def ann(bot: Bot) -> str:
    """A user of the member's key, who asked a question and corrected the answer."""
    key_id = bot.store.db.execute("SELECT id FROM api_keys WHERE role = 'member'").fetchone()[0]
    person = f"http:{key_id}/ann lee"

    def live(db: Database) -> None:
        reply = said_by(db, bot.domain, person, f"Where is the {SECRET}?")
        feedback.correction(db, reply, person, f"The {SECRET} is here.")
        said_by(db, bot.domain, f"http:{key_id}/bob", "Bob's own question")

    bot.write(live)
    return person


ANN = {"user": "ann lee"}


def test_a_person_sees_counts(bot: Bot, ann: str) -> None:
    seen = bot.http("member").get("/v1/people/me", params=ANN).json()
    assert (seen["object"], seen["person"], seen["questions"]) == ("person", ann, 1)
    assert (seen["corrections"], seen["pairs"]["pending"], seen["learning"]) == (1, 1, True)


def test_a_person_exports_everything_they_wrote(bot: Bot, ann: str) -> None:
    found = bot.http("member").get("/v1/people/me/export", params=ANN)
    assert found.json()["conversations"][0]["messages"][0]["text"] == f"Where is the {SECRET}?"
    assert found.json()["pairs"][0]["became"] == "is waiting for review"
    assert "Bob" not in found.text


def test_the_key_itself_is_a_separate_person(bot: Bot, ann: str) -> None:
    assert bot.http("member").get("/v1/people/me").json()["questions"] == 0


@pytest.mark.parametrize("role", ["reviewer", "admin"])
def test_another_key_has_separate_users(bot: Bot, ann: str, role: str) -> None:
    client = bot.http(role)
    assert client.get("/v1/people/me", params=ANN).json()["questions"] == 0
    assert client.delete("/v1/people/me", params=ANN).json()["messages"] == 0
    assert personal_data.summarise(bot.store.db, ann).questions == 1


def test_learning_is_switched_off_and_on(bot: Bot, ann: str) -> None:
    client = bot.http("member")
    off = client.put("/v1/people/me/learning", params=ANN, json={"learning": False})
    assert off.json() == {"object": "person", "learning": False, "withdrawn": 1}
    assert client.get("/v1/people/me", params=ANN).json()["learning"] is False
    client.put("/v1/people/me/learning", params=ANN, json={"learning": True})
    assert store.may_learn(bot.store.db, ann)


def test_a_person_is_erased(bot: Bot, ann: str) -> None:
    assert in_files(bot.store, SECRET)
    gone = bot.http("member").delete("/v1/people/me", params=ANN)
    assert gone.status_code == 200
    found = gone.json()
    assert (found["messages"], found["judgements"], found["pairs"]) == (2, 1, 1)
    assert "Backups" in found["note"]
    assert in_files(bot.store, SECRET) == []
    assert pairs.list_pairs(bot.store.db, bot.domain) == []
    (entry,) = [e for e in audit.recent(bot.store.db) if e.action == "forget"]
    assert entry.subject == f"receipt {found['receipt']}"


def test_a_correction_can_be_given_without_learning(bot: Bot, ann: str) -> None:
    reply = bot.store.db.execute("SELECT id FROM replies WHERE person = ?", [ann]).fetchone()[0]
    client = bot.http("member")
    given = {"reply_id": reply, "correction": "There.", "learn": False}
    assert client.post("/v1/feedback", json=given).json()["pair_id"] is None


def test_an_invalid_request_is_refused(bot: Bot) -> None:
    client = bot.http("member")
    assert client.put("/v1/people/me/learning", json={"learning": "perhaps"}).status_code == 400
    assert client.get("/v1/people/me", params={"user": "x" * 257}).status_code == 400
    assert bot.http().delete("/v1/people/me").status_code == 401


def test_the_web_page_does_the_same_for_its_session(bot: Bot) -> None:
    page: httpx.Client = bot.http()
    page.get("/")
    asked = {"conversation": "a1b2c3d4e5f6", "text": f"Where is the {SECRET}?"}
    assert page.post("/web/ask", json=asked).status_code == 200
    assert page.get("/web/me").json()["questions"] == 1
    assert SECRET in page.get("/web/me/export").text
    assert page.put("/web/me/learning", json={"learning": False}).json()["learning"] is False
    assert page.delete("/web/me").json()["messages"] == 2
    assert page.get("/web/conversations/a1b2c3d4e5f6").json()["messages"] == []
    assert bot.http().get("/web/me").status_code == 401
    assert in_files(bot.store, SECRET) == []


def test_an_erasure_that_was_only_recorded_is_completed(bot: Bot, ann: str) -> None:
    """A crash and a Slack command both leave it in this state."""
    bot.write(lambda db: erasure.begin(db, ann, "cli:root"))
    wait_until(lambda: in_files(bot.store, SECRET) == [], "the words to be gone", 20)
    wait_until(
        lambda: not bot.store.db.execute("SELECT 1 FROM forgettings").fetchone(), "the end", 20
    )
