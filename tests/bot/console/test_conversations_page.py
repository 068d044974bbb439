"""The page about conversations: filters, sources and lineage, and who reads the words."""

import html
import re
from typing import Any

import pytest

from data.adapters import registry
from data.experiments import experiments
from data.feedback import feedback
from data.pairs import reply_sources
from data.pairs.pairs import Draft
from data.store.db import rows
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.data import given

PATH = "/console/domains/helpdesk/conversations"


@pytest.fixture
def replies(bot: Bot) -> dict[str, str]:
    """Name -> id of a reply."""

    def write(db: Any) -> dict[str, str]:
        one, two = (registry.get(db, v, bot.domain) for v in ("1", "2"))
        begun = experiments.start(db, bot.domain, one, two, "cli:ann")
        made = {
            "liked": given.reply(db, bot.domain, "slack:T1/U1", "Where is it?", "Here."),
            "wrong": given.reply(
                db, bot.domain, "slack:T1/U2", "How many SEATS?", "Über Three.", begun.variants[1]
            ),
        }
        feedback.thumb(db, made["liked"], "slack:T1/U1", up=True)
        feedback.correction(db, made["wrong"], "slack:T1/U2", "Forty-two.")
        db.execute("UPDATE replies SET confidence = 0.2 WHERE id = ?", [made["wrong"]])
        (pair,) = given.approved(db, bot.domain, Draft("Seats?", "42"))
        reply_sources.record(
            db,
            made["wrong"],
            reply_sources.describe(db, [reply_sources.FoundPair(pair, 1.0, 0.9)]),
        )
        return made

    found: dict[str, str] = bot.write(write)
    return found


def listed(text: str) -> list[str]:
    return re.findall(r"conversations/([^\"?]+)\"", text)


def test_answers_are_found_by_what_is_known_about_them(bot: Bot, replies: dict[str, str]) -> None:
    browser = client(bot)
    (variant,) = rows(bot.store.db, "SELECT id FROM variants WHERE label = 'B'")
    liked, wrong = [replies["liked"]], [replies["wrong"]]
    for filters, expected in (
        ({}, wrong + liked),
        ({"rating": "up"}, liked),
        ({"rating": "corrected"}, wrong),
        ({"rating": "down"}, []),
        ({"confidence": "low"}, wrong),
        ({"confidence": "unknown"}, liked),
        ({"version": "2"}, wrong),
        ({"version": "base"}, liked),
        ({"variant": str(variant["id"])}, wrong),
        ({"text": "seats"}, wrong),
        ({"text": "here."}, liked),
        ({"text": "ÜBER"}, wrong),
        ({"outcome": "declined"}, []),
    ):
        assert listed(browser.get(PATH, params=filters).text) == expected, filters
    assert browser.get(PATH, params={"version": "9"}).status_code == 404
    assert browser.get(PATH, params={"variant": "x"}).status_code == 400


def test_an_answer_shows_its_sources_and_its_lineage(bot: Bot, replies: dict[str, str]) -> None:
    text = html.unescape(client(bot).get(f"{PATH}/{replies['wrong']}").text)

    assert "How many SEATS?" in text
    assert "as variant B of" in text
    assert "Seats?" in text
    assert "Where helpdesk@2 comes from" in text
    assert client(bot).get(f"{PATH}/none").status_code == 404


def test_only_whom_the_settings_name_reads_words(bot: Bot, replies: dict[str, str]) -> None:
    reviewer = client(bot, "reviewer")

    pages = [reviewer.get(PATH), reviewer.get(f"{PATH}/{replies['wrong']}")]

    for page in pages:
        assert page.status_code == 200
        for words in ("SEATS", "Three.", "slack:T1"):
            assert words not in page.text
    assert "only admins read the words" in pages[0].text
    assert reviewer.get(PATH, params={"text": "seats"}).status_code == 403
