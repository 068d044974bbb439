"""Freshdesk: solution articles, canned responses, and tickets with their conversations.

https://developers.freshdesk.com/api/#solution-articles
https://developers.freshdesk.com/api/#canned-responses
https://developers.freshdesk.com/api/#view_a_ticket (with `include=conversations`)
"""

from collections.abc import Iterator, Mapping

from data.pair_files.sources.support_conversation import (
    By,
    SupportMessage,
    first_exchange,
    text_of,
)
from data.pair_files.sources.translation import Given, Record, RecordSource, Translation, without
from data.pair_files.sources.zendesk import canned_reply

ARTICLE = frozenset({
    "id", "type", "category_id", "folder_id", "hierarchy", "thumbs_up", "thumbs_down", "hits",
    "tags", "seo_data", "agent_id", "title", "description", "description_text", "status",
    "created_at", "updated_at", "suggested", "feedback_count", "path", "modified_at", "modified_by",
    "language_id", "approval_data", "outdated", "platforms", "attachments", "cloud_files",
})  # fmt: skip
CANNED = frozenset({
    "id", "title", "folder_id", "content", "content_html", "created_at", "updated_at", "visibility",
    "group_ids", "attachments",
})  # fmt: skip
PUBLISHED = 2


def _article(record: Record, given: Given) -> Translation:
    text = text_of(record.get("description"), record.get("description_text"))
    if not text:
        return Translation(left_out="the article has no text")
    row = {"prompt": record["title"], "response": text, **without(record, ARTICLE)}
    if record.get("status") != PUBLISHED:
        row["status"] = "pending"
    return Translation((row,))


def _canned(record: Record, given: Given) -> Translation:
    text = text_of(record.get("content_html"), record.get("content"))
    return canned_reply(record["title"], text, without(record, CANNED))


def _ticket(record: Record, given: Given) -> Translation:
    for mark in ("spam", "deleted"):
        if record.get(mark):
            return Translation(left_out=f"the ticket is {mark}")
    if "conversations" not in record:
        return Translation(left_out="the file has no replies of the ticket")
    people = [record.get(role) for role in ("requester", "responder")]
    names = [each.get("name") for each in people if isinstance(each, Mapping)]
    return first_exchange(_messages(record), str(record.get("subject") or ""), names)


def _messages(record: Record) -> Iterator[SupportMessage]:
    asked = text_of(record.get("description"), record.get("description_text"))
    yield SupportMessage("customer", asked)
    for each in record["conversations"]:
        by: By = "customer" if each.get("incoming") else "agent"
        text = text_of(each.get("body"), each.get("body_text"))
        yield SupportMessage("nobody" if each.get("private", True) else by, text)


SOURCES = (
    RecordSource(
        "articles of Freshdesk",
        lambda keys: {"title", "description", "folder_id"} <= set(keys),
        _article,
    ),
    RecordSource(
        "canned responses of Freshdesk",
        lambda keys: {"title", "content", "folder_id"} <= set(keys),
        _canned,
    ),
    RecordSource(
        "tickets of Freshdesk",
        lambda keys: (
            {"subject", "description_text", "requester_id"} <= set(keys)
            or {"subject", "requester_id", "responder_id"} <= set(keys)
        ),
        _ticket,
    ),
)
