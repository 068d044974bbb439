"""Zendesk: articles of the help centre, macros, and tickets with their comments.

https://developer.zendesk.com/api-reference/help_center/help-center-api/articles/
https://developer.zendesk.com/api-reference/ticketing/business-rules/macros/
https://developer.zendesk.com/api-reference/ticketing/tickets/ticket_comments/
https://support.zendesk.com/hc/en-us/articles/4408886165402 (the account's JSON export)
"""

from collections.abc import Iterator, Mapping
from typing import Any

from data.pair_files.html_text import html_text
from data.pair_files.sources.support_conversation import SupportMessage, first_exchange, text_of
from data.pair_files.sources.translation import Given, Record, RecordSource, Translation, without

ARTICLE = frozenset({
    "id", "url", "html_url", "author_id", "comments_disabled", "draft", "promoted", "position",
    "vote_sum", "vote_count", "section_id", "created_at", "updated_at", "name", "title",
    "source_locale", "locale", "outdated", "outdated_locales", "edited_at", "user_segment_id",
    "user_segment_ids", "permission_group_id", "content_tag_ids", "label_names", "body",
})  # fmt: skip
MACRO = frozenset({
    "id", "url", "title", "active", "actions", "description", "position", "default", "restriction",
    "created_at", "updated_at", "raw_title",
})  # fmt: skip
RESTRICTED = "Articles that only some people may read wait for review."
HELD_BACK = "Replies with placeholders such as {{ticket.requester.name}} wait for review."


def _article(record: Record, given: Given) -> Translation:
    text = html_text(str(record.get("body") or ""))
    if not text:
        return Translation(left_out="the article has no text")
    row = {"prompt": record["title"], "response": text, **without(record, ARTICLE)}
    restricted = record.get("user_segment_id") is not None
    if record.get("draft") or restricted:
        row["status"] = "pending"
    return Translation((row,), note=RESTRICTED if restricted else "")


def _macro(record: Record, given: Given) -> Translation:
    if record.get("active") is False:
        return Translation(left_out="the macro is not active")
    values = {each.get("field"): each.get("value") for each in record["actions"]}
    if str(values.get("comment_mode_is_public", "true")).casefold() == "false":
        return Translation(left_out="the macro writes an internal note")
    plain, html = values.get("comment_value"), values.get("comment_value_html")
    if isinstance(plain, list):  # ["channel:all", text]
        plain = plain[-1] if plain else ""
    return canned_reply(record["title"], text_of(html, plain), without(record, MACRO))


def canned_reply(title: Any, text: str, rest: Mapping[str, Any]) -> Translation:
    """A reply that agents insert. One with placeholders waits for review. Titles such as
    `Billing::Refunds` name folders; the last part is the title."""
    if not text:
        return Translation(left_out="it writes no reply")
    row = {"prompt": str(title).rpartition("::")[2].strip(), "response": text, **rest}
    unfilled = "{{" in text
    return Translation(
        ({**row, "status": "pending"} if unfilled else row,), note=HELD_BACK if unfilled else ""
    )


def _ticket(record: Record, given: Given) -> Translation:
    if record.get("status") in ("deleted", "spam"):
        return Translation(left_out=f"the ticket is {record['status']}")
    if not record.get("comments"):
        return Translation(left_out="the file has no comments of the ticket")
    people = [record.get(role) for role in ("requester", "submitter", "assignee")]
    names = [each.get("name") for each in people if isinstance(each, Mapping)]
    return first_exchange(_messages(record), str(record.get("subject") or ""), names)


def _messages(record: Record) -> Iterator[SupportMessage]:
    customer = record["requester_id"]
    others = {
        *(record.get("collaborator_ids") or ()),
        *(record.get("email_cc_ids") or ()),
    } - {record.get("assignee_id")}  # fmt: skip
    for comment in record["comments"]:
        author = comment.get("author_id")
        text = text_of(comment.get("html_body"), comment.get("plain_body") or comment.get("body"))
        if not comment.get("public", False) or author in others or author == -1:
            yield SupportMessage("nobody", text)
        else:
            yield SupportMessage("customer" if author == customer else "agent", text)


SOURCES = (
    RecordSource(
        "articles of Zendesk", lambda keys: {"title", "body", "section_id"} <= set(keys), _article
    ),
    RecordSource(
        "macros of Zendesk",
        lambda keys: {"title", "actions"} <= set(keys),
        _macro,
        lambda record: (
            isinstance(record["actions"], list)
            and all(isinstance(each, Mapping) and "field" in each for each in record["actions"])
        ),
    ),
    RecordSource(
        "tickets of Zendesk",
        lambda keys: {"subject", "requester_id", "submitter_id"} <= set(keys),
        _ticket,
    ),
)
