"""Hostile texts in every message, form and Home tab: they notify nobody, link nowhere, and what
would change how they read is shown as symbols."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlite_utils import Database

from data.store.db import row, rows
from data.visible_text import SHOWN
from tests.bot.slack import member_scenes, pictures, scenes
from tests.bot.slack.conftest import MEMBER, REVIEWER, Bot
from tests.bot.slack.pictures import Block
from tests.fake_slack.workspace import BOT_USER
from tests.hostile_texts import EVIL, HOSTILE_TEXTS

TOKENS = ("<!", "<@UEVIL", "<#CEVIL", f"<{EVIL}", "<script", "<img")  # Slack obeys some of them
READ = ("text", "title", "label", "initial_value", "placeholder", "description", "hint", "alt_text")

# table -> the columns with words of people, models, engines and operators
WORDS = {
    "domains": ("title", "system_prompt", "refusal"),
    "pairs": ("prompt", "response", "review_reason", "source_ref"),
    "adapters": ("state_reason", "base_model"),
    "runs": ("error", "worker"),
    "messages": ("text",),
    "feedback": ("text",),
    "replicas": ("detail", "url", "precision"),
    "replies": ("error",),
    "api_keys": ("name",),
    "audit": ("subject",),
    "variants": ("system_prompt",),
}


def dangers(content: Any, key: str = "", kind: str = "") -> Iterator[str]:
    """Texts that Slack would obey, or that show a control character raw."""
    if isinstance(content, dict):
        kind = str(content.get("type", kind))
        for name, value in content.items():
            yield from dangers(value, name, kind or name)
    elif isinstance(content, list):
        for value in content:
            yield from dangers(value, key, kind)
    elif isinstance(content, str) and key in READ:
        if SHOWN.search(content):
            yield f"{kind} {key} raw: {content!r}"
        obeyed = kind == "mrkdwn" or kind.startswith(("chat.post", "chat.update"))
        if obeyed and any(token in content for token in TOKENS):
            yield f"{kind} {key} obeyed: {content!r}"


def test_what_slack_would_obey_is_found() -> None:
    assert [*dangers({"type": "mrkdwn", "text": "Hi <!channel>"})]
    assert [*dangers({"type": "plain_text", "text": "a\u202eb"})]
    assert [*dangers({"type": "plain_text", "text": "<!channel>"})] == []
    assert [*dangers({"type": "mrkdwn", "text": "&lt;!channel&gt; <@U1>"})] == []


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whatever is drawn: the blocks of messages and Home tabs, and the views of forms."""
    drawn: list[Any] = []

    def keep(content: Any, *_: Any, **__: Any) -> str:
        drawn.append(content)
        return ""

    for name in ("message", "form", "home"):
        monkeypatch.setattr(pictures, name, keep)
        monkeypatch.setattr(scenes, name, keep)
    return drawn


def poison(db: Database, text: str) -> None:
    """Put the text raw into every column of words, as if an older version had stored it."""
    for table, columns in WORDS.items():
        for column in columns:
            db.execute(f"UPDATE {table} SET {column} = ?", [text])
    db.execute("UPDATE domains SET suggested_prompts = ?", [orjson.dumps([text]).decode()])
    for adapter in rows(db, "SELECT id, scores FROM adapters"):
        scores = orjson.loads(adapter["scores"])
        for rule in scores.get("gate", {}).get("rules", []):
            rule["sentence"] = text
        db.execute(
            "UPDATE adapters SET scores = ? WHERE id = ?",
            [orjson.dumps(scores).decode(), adapter["id"]],
        )


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_no_message_or_form_for_reviewers_and_admins_obeys(
    text: str, shown: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add: Callable[[Database], None] = scenes._add_sample_data

    def add_hostile(db: Database) -> None:
        add(db)
        poison(db, text)

    monkeypatch.setattr(scenes, "_add_sample_data", add_hostile)
    scenes.scenes(tmp_path)
    assert len(shown) > 50
    assert [*dangers(shown)] == []


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_no_message_or_form_for_members_obeys(
    text: str, shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("QUESTION", "ANSWER", "BETTER"):
        monkeypatch.setattr(member_scenes, name, text)
    member_scenes.scenes()
    assert len(shown) > 20
    assert [*dangers(shown)] == []


@pytest.mark.parametrize("bot", ["http"], indirect=True)
@pytest.mark.parametrize(
    "text", [t for t in HOSTILE_TEXTS.values() if t.strip()], ids=HOSTILE_TEXTS
)
async def test_a_conversation_a_correction_and_its_review(bot: Bot, text: str) -> None:
    """The question, the answer, a name, the reason, the correction and the domain's title."""
    typed = text.replace("\x00", "").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    bot.slack.users[MEMBER] = bot.slack.users["U8"] = text
    bot.write(lambda db: db.execute("UPDATE domains SET title = ?", [text]))
    bot.says("Read: ", text)
    question = await bot.slack.say(MEMBER, "C1", f"<@{BOT_USER}> What does <@U8> say? {typed}")
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    assert not SHOWN.search(answer.words), "the text that was streamed"
    await bot.slack.thumb(MEMBER, answer, up=False)
    await bot.slack.until(lambda: bot.slack.views, "the form")
    said = {"reason": text.replace("\x00", ""), "better": text.replace("\x00", "")}
    await bot.slack.submit(MEMBER, bot.slack.views[-1], **said, learn=True)
    await bot.settled()
    assert row(bot.store.db, "SELECT 1 FROM pairs WHERE status = 'pending'"), "to be reviewed"
    for user in (MEMBER, REVIEWER):
        await bot.slack.open_home(user)
    await bot.slack.command(REVIEWER, "C1", "review")
    for command in ("status", "domains", f"ask {typed}", f"promte {typed}"):
        await bot.slack.command(REVIEWER, "C1", command)
        await bot.settled()
    sent = [{call.method: call.args} for call in bot.slack.calls if not call.error]
    assert any("views" in call.method for call in bot.slack.calls)
    seen: list[Block] = [*sent, *bot.slack.views, *bot.slack.responses, *bot.slack.homes.values()]
    assert [*dangers(seen)] == []
