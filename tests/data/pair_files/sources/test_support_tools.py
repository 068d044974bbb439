"""Articles, macros and tickets of Zendesk, Intercom and Freshdesk, as their APIs give them."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.domains import Domain
from data.pair_files import importer
from data.pair_files.verdicts import CandidatePair, LeftOut
from data.pairs import masked_words, pairs
from data.pairs.pairs import Draft
from data.quality import private_words
from data.store.db import Store
from tests.data.pair_files.sources.given import read_records, read_with

BODY = "<p>Open <b>Settings</b>.</p><ol><li>Press Reset</li><li>Wait</li></ol>"
TEXT = "Open Settings.\n\n1. Press Reset\n2. Wait"
TITLE = "How do I reset it?"
ZENDESK_ARTICLE = {
    "id": 1635, "url": "https://x.zendesk.com/api/v2/help_center/articles/1635.json",
    "html_url": "https://x.zendesk.com/hc/en-us/articles/1635", "author_id": 3465, "draft": False,
    "comments_disabled": False, "promoted": False, "position": 0, "vote_sum": 0, "vote_count": 0,
    "section_id": 98838, "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z",
    "name": TITLE, "title": TITLE, "source_locale": "en-us", "locale": "en-us", "outdated": False,
    "outdated_locales": [], "edited_at": "2024-01-01T00:00:00Z", "user_segment_id": None,
    "permission_group_id": 123, "content_tag_ids": [], "label_names": [], "body": BODY,
}  # fmt: skip
INTERCOM_ARTICLE = {
    "type": "article", "id": "199", "workspace_id": "this_is_an_id", "title": TITLE,
    "description": "", "body": BODY, "author_id": 991, "state": "published", "created_at": 17,
    "updated_at": 17, "url": "http://help-centre.test/1", "parent_id": None, "parent_ids": [],
    "parent_type": None, "default_locale": "en", "translated_content": None, "statistics": None,
}  # fmt: skip
FRESHDESK_ARTICLE = {
    "id": 2, "type": 1, "category_id": 3, "folder_id": 4, "thumbs_up": 0, "thumbs_down": 0,
    "hits": 0, "tags": [], "seo_data": {}, "agent_id": 1, "title": TITLE, "description": BODY,
    "description_text": "Open Settings. Press Reset Wait", "status": 2,
    "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("article", "draft", "name"),
    [
        (ZENDESK_ARTICLE, {"draft": True}, "Zendesk"),
        (INTERCOM_ARTICLE, {"state": "draft"}, "Intercom"),
        (FRESHDESK_ARTICLE, {"status": 1}, "Freshdesk"),
    ],
)
def test_articles_are_pairs_and_their_drafts_wait(
    tmp_path: Path, article: dict[str, Any], draft: dict[str, Any], name: str
) -> None:
    file = tmp_path / "articles.json"
    file.write_text(json.dumps({"articles": [article, article | draft, article | {
        "body": "", "description": "", "description_text": ""}], "count": 3}))  # fmt: skip
    found, reading = read_with(file)
    assert found == [
        Draft(TITLE, TEXT), Draft(TITLE, TEXT, status="pending"),
        LeftOut(3, "the article has no text"),
    ]  # fmt: skip
    assert reading.columns.notes() == [f"Read as articles of {name}: 3."]
    assert reading.columns.unused == {}


def test_an_article_for_some_people_waits(tmp_path: Path) -> None:
    found = read_records(tmp_path, ZENDESK_ARTICLE | {"user_segment_id": 77})
    assert found == [Draft(TITLE, TEXT, status="pending")]


def test_the_mapping_goes_before_the_recognition(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps([ZENDESK_ARTICLE | {"draft": True}]))
    found, _ = read_with(file, "question=title,answer=body,ignore=draft")
    assert found == [Draft(TITLE, BODY)]


def macro(*actions: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "url": "u", "id": 25, "title": "Billing::Where is my refund?", "active": True,
        "updated_at": "2024-01-01T00:00:00Z", "created_at": "2024-01-01T00:00:00Z", "position": 1,
        "default": False, "description": None, "restriction": None, "raw_title": "x",
        "actions": [{"field": field, "value": value} for field, value in actions], **more,
    }  # fmt: skip


def test_macros_and_canned_replies(tmp_path: Path) -> None:
    asked = "Where is my refund?"
    intercom = {
        "type": "macro", "id": "7", "name": asked, "body": "<p>In 3 days.</p>",
        "body_text": "In 3 days.", "visible_to": "everyone", "available_on": ["inbox"],
    }  # fmt: skip
    freshdesk = {
        "id": 3, "title": asked, "folder_id": 1, "content": "In 3 days.",
        "content_html": "<div>In 3 days.</div>", "visibility": 0, "attachments": [],
    }  # fmt: skip
    assert read_records(
        tmp_path,
        macro(("status", "solved"), ("comment_value", ["channel:all", "In 3 days."])),
        macro(("comment_value_html", "<p>In 3 days.</p>")),
        macro(("comment_value", "Hi {{ticket.requester.first_name}}, soon.")),
        macro(("comment_value", "Check fraud."), ("comment_mode_is_public", "false")),
        macro(("comment_value", "In 3 days."), active=False),
        macro(("status", "solved")),
        intercom,
        freshdesk,
    ) == [
        Draft(asked, "In 3 days."),
        Draft(asked, "In 3 days."),
        Draft(asked, "Hi {{ticket.requester.first_name}}, soon.", status="pending"),
        LeftOut(4, "the macro writes an internal note"),
        LeftOut(5, "the macro is not active"),
        LeftOut(6, "it writes no reply"),
        Draft(asked, "In 3 days."),
        Draft(asked, "In 3 days."),
    ]


# (who, public, text): `c` the customer, `a` an agent, `b` a bot
SAID = [
    ("c", True, "Hi Ben,\nmy card 4111 1111 1111 1111 was refused. Ada"),
    ("b", True, "We got your message."),
    ("a", False, "She is a VIP, be nice."),
    ("a", True, "Dear Ada,\nuse another card.\n\nKind regards,\nBen"),
    ("a", True, "It takes a day."),
    ("c", True, "Thanks!"),
    ("a", True, "You are welcome."),
]
ASKED = "Hi Ben,\nmy card 4111 1111 1111 1111 was refused. Ada"
ANSWERED = "Dear Ada,\nuse another card.\n\nKind regards,\nBen\n\nIt takes a day."


def zendesk(said: list[tuple[str, bool, str]]) -> dict[str, Any]:
    ids = {"c": 1, "a": 2, "b": -1}
    return {
        "url": "u", "id": 9, "subject": "Card", "raw_subject": "Card", "description": said[0][2],
        "status": "solved", "priority": None, "requester_id": 1, "submitter_id": 1,
        "assignee_id": 2, "via": {"channel": "email"}, "tags": [], "collaborator_ids": [],
        "requester": {"id": 1, "name": "Ada Lovelace", "email": "ada@example.com"},
        "comments": [
            {"id": n, "type": "Comment", "author_id": ids[who], "body": text, "public": public,
             "html_body": f"<div><p>{text}</p></div>".replace("\n", "<br>"), "plain_body": text,
             "attachments": [], "created_at": "2024-01-01T00:00:00Z"}
            for n, (who, public, text) in enumerate(said)
        ],
    }  # fmt: skip


def intercom(said: list[tuple[str, bool, str]]) -> dict[str, Any]:
    authors = {
        "c": {"type": "user", "id": "5", "name": "Ada Lovelace", "email": "ada@example.com"},
        "a": {"type": "admin", "id": "6", "name": "Ben", "email": "ben@example.com"},
        "b": {"type": "bot", "id": "7", "name": "Fin", "email": "fin@intercom.io"},
    }  # fmt: skip

    def html(text: str) -> str:
        return f"<p>{text}</p>".replace("\n", "<br>")

    first = {"type": "conversation", "id": "1", "delivered_as": "customer_initiated",
             "subject": "", "body": html(said[0][2]), "author": authors["c"]}  # fmt: skip
    parts = [
        {"type": "conversation_part", "id": str(n), "part_type": "comment" if public else "note",
         "body": html(text), "author": authors[who], "attachments": [], "redacted": False}
        for n, (who, public, text) in enumerate(said[1:])
    ]  # fmt: skip
    assigned = {"type": "conversation_part", "id": "90", "part_type": "assignment", "body": None,
                "author": authors["b"]}  # fmt: skip
    listed = {"type": "conversation_part.list", "conversation_parts": [assigned, *parts]}
    return {"type": "conversation", "id": "1", "title": None, "source": first, "state": "closed",
            "conversation_parts": listed, "tags": {"type": "tag.list", "tags": []}}  # fmt: skip


def freshdesk(said: list[tuple[str, bool, str]]) -> dict[str, Any]:
    return {
        "id": 20, "subject": "Card",
        "description": f"<div>{said[0][2]}</div>".replace("\n", "<br>"),
        "description_text": said[0][2], "requester_id": 1, "responder_id": 2, "status": 4,
        "priority": 1, "source": 1, "spam": False, "tags": [],
        "requester": {"id": 1, "name": "Ada Lovelace", "email": "ada@example.com"},
        "conversations": [
            {"id": n, "body": f"<div>{text}</div>".replace("\n", "<br>"), "body_text": text,
             "incoming": who == "c", "private": not public, "user_id": 1 if who == "c" else 2}
            for n, (who, public, text) in enumerate(said[1:]) if who != "b"
        ],
    }  # fmt: skip


TICKETS = [zendesk, intercom, freshdesk]


@pytest.mark.parametrize("ticket", TICKETS)
def test_the_first_question_and_the_public_reply_wait_for_review(
    tmp_path: Path, ticket: Any
) -> None:
    (found,) = read_records(tmp_path, ticket(SAID))
    assert isinstance(found, CandidatePair)
    assert (found.prompt, found.response, found.status) == (ASKED, ANSWERED, "pending")
    assert "Ada Lovelace" in found.people


@pytest.mark.parametrize("ticket", TICKETS)
def test_internal_notes_are_never_answers(tmp_path: Path, ticket: Any) -> None:
    found = read_records(tmp_path, ticket([SAID[0], SAID[2]]))
    assert found == [LeftOut(1, "no agent answered in public")]


def test_tickets_without_their_replies_say_so(tmp_path: Path) -> None:
    zendesk_ticket, freshdesk_ticket, conversation = zendesk(SAID), freshdesk(SAID), intercom(SAID)
    del zendesk_ticket["comments"], freshdesk_ticket["conversations"]
    del conversation["conversation_parts"]
    found = read_records(tmp_path, zendesk_ticket, freshdesk_ticket, conversation)
    assert [each.reason for each in found if isinstance(each, LeftOut)] == [
        "the file has no comments of the ticket", "the file has no replies of the ticket",
        "the file has no replies of the conversation",
    ]  # fmt: skip


def test_spam_and_deleted_tickets_are_left_out(tmp_path: Path) -> None:
    found = read_records(
        tmp_path, zendesk(SAID) | {"status": "deleted"}, freshdesk(SAID) | {"spam": True}
    )
    assert [each.reason for each in found if isinstance(each, LeftOut)] == [
        "the ticket is deleted", "the ticket is spam",
    ]  # fmt: skip


def test_a_page_of_conversations(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    page = {"type": "conversation.list", "pages": {}, "conversations": [intercom(SAID)] * 2}
    file.write_text(json.dumps(page))
    found, reading = read_with(file)
    assert [type(each) for each in found] == [CandidatePair, CandidatePair]
    assert reading.columns.notes() == ["Read as conversations of Intercom: 2."]


def test_quoted_mail_is_no_part_of_an_answer(tmp_path: Path) -> None:
    reply = "Use another card.\n--\nBen, Support\n\nOn Mon, 1 Jan 2024, Ada wrote:\n> my card"
    (found,) = read_records(tmp_path, zendesk([SAID[0], ("a", True, reply)]))
    assert isinstance(found, CandidatePair)
    assert found.response == "Use another card."


@pytest.mark.parametrize("ticket", TICKETS)
def test_what_is_private_is_masked_in_the_store_until_a_reviewer_asks(
    store: Store, domain: Domain, tmp_path: Path, ticket: Any
) -> None:
    file = tmp_path / "tickets.json"
    file.write_text(json.dumps([ticket(SAID)]))
    shown = importer.preview_file(store, domain, file).shown[0]
    report = importer.import_file(store, domain, file)
    (pair,) = pairs.list_pairs(store.db, domain)
    assert (report.added, report.waiting, pair.status) == (1, 1, "pending")
    assert pair.prompt == "Hi [name],\nmy card [card number] was refused. [name]"
    assert pair.response == (
        "Dear [name],\nuse another card.\n\nKind regards,\n[name]\n\nIt takes a day."
    )
    assert (shown.prompt, shown.response) == (pair.prompt, pair.response)
    assert len(masked_words.of_pair(store.db, pair.id)) == 5
    with store.write() as db:
        revealed = private_words.reveal(db, pair.id, "ben")
    assert (revealed.prompt, revealed.response) == (ASKED, ANSWERED)
    assert importer.import_file(store, domain, file).added == 0
