"""Intercom: articles, macros, and conversations with their parts.

https://developers.intercom.com/docs/references/rest-api/api.intercom.io/articles/article
https://developers.intercom.com/docs/references/rest-api/api.intercom.io/macros/macro
https://developers.intercom.com/docs/references/rest-api/api.intercom.io/conversations/conversation
"""

from collections.abc import Iterator, Mapping
from typing import Any

from data.pair_files.html_text import html_text
from data.pair_files.sources.support_conversation import (
    By,
    SupportMessage,
    first_exchange,
    text_of,
)
from data.pair_files.sources.translation import Given, Record, RecordSource, Translation, without
from data.pair_files.sources.zendesk import canned_reply

ARTICLE = frozenset({
    "type", "id", "workspace_id", "title", "description", "body", "author_id", "state",
    "created_at", "updated_at", "url", "parent_id", "parent_ids", "parent_type", "default_locale",
    "translated_content", "statistics", "tags",
})  # fmt: skip
MACRO = frozenset({
    "type", "id", "name", "body", "body_text", "created_at", "updated_at", "visible_to",
    "visible_to_team_ids", "available_on",
})  # fmt: skip
PUBLIC = frozenset({"comment", "open", "close"})  # parts that people on both sides see
CUSTOMERS = frozenset({"user", "lead", "contact"})


def _article(record: Record, given: Given) -> Translation:
    text = html_text(str(record.get("body") or ""))
    if not text:
        return Translation(left_out="the article has no text")
    row = {"prompt": record["title"], "response": text, **without(record, ARTICLE)}
    if record.get("state") != "published":
        row["status"] = "pending"
    return Translation((row,))


def _macro(record: Record, given: Given) -> Translation:
    text = text_of(record.get("body"), record.get("body_text"))
    return canned_reply(record["name"], text, without(record, MACRO))


def _conversation(record: Record, given: Given) -> Translation:
    parts = record.get("conversation_parts") or {}
    if "conversation_parts" not in parts:
        return Translation(left_out="the file has no replies of the conversation")
    source = record["source"]
    authors = [source.get("author"), *(part.get("author") for part in parts["conversation_parts"])]
    names = [author.get("name") for author in authors if isinstance(author, Mapping)]
    subject = html_text(str(source.get("subject") or record.get("title") or ""))
    return first_exchange(_messages(source, parts["conversation_parts"]), subject, names)


def _messages(source: Record, parts: Any) -> Iterator[SupportMessage]:
    yield SupportMessage(_author(source.get("author")), text_of(source.get("body"), ""))
    for part in parts:
        by = _author(part.get("author")) if part.get("part_type") in PUBLIC else "nobody"
        yield SupportMessage(by, text_of(part.get("body"), ""))


def _author(author: Any) -> By:
    """Who wrote a part. What a bot or a campaign sends is no answer of an agent."""
    kind = (author or {}).get("type")
    if kind in CUSTOMERS:
        return "customer"
    by_model = (author or {}).get("from_ai_agent") or (author or {}).get("is_ai_answer")
    return "agent" if kind == "admin" and not by_model else "nobody"


def _list(record: Record, given: Given) -> Translation:
    found = tuple(record["conversations"])
    if any(each["type"] == "conversation.list" for each in found):
        raise ValueError("a list in a list")
    return Translation(records=found)


SOURCES = (
    RecordSource(
        "articles of Intercom",
        lambda keys: {"type", "title", "body", "state"} <= set(keys),
        _article,
        lambda record: record["type"] in ("article", "internal_article"),
    ),
    RecordSource(
        "macros of Intercom",
        lambda keys: {"type", "name", "body"} <= set(keys),
        _macro,
        lambda record: record["type"] == "macro",
    ),
    RecordSource(
        "conversations of Intercom",
        lambda keys: {"type", "source"} <= set(keys),
        _conversation,
        lambda record: record["type"] == "conversation" and isinstance(record["source"], Mapping),
    ),
    RecordSource(
        "",
        lambda keys: {"type", "conversations"} <= set(keys),
        _list,
        lambda record: record["type"] == "conversation.list",
    ),
)
