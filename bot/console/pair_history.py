"""What happened to a pair, in words: its audit entries, and where it comes from."""

from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from bot.console.shown import person
from data.pairs import review_status
from data.pairs.pairs import Pair
from data.store import audit
from data.store.audit import Entry

SHOWN = 50  # entries, the newest first


@dataclass(frozen=True)
class PairEvent:
    """One line of a pair's history."""

    at: int
    text: str
    pair_id: int | None = None  # another pair that it names


def of_pair(db: Database, pair: Pair) -> list[PairEvent]:
    """The newest event first; the last one says where the pair comes from."""
    told = [_told(entry) for entry in audit.of_subject(db, f"pair {pair.id}", SHOWN)]
    ref = f" ({pair.source_ref})" if pair.source == "import" and pair.source_ref else ""
    by = f" by {person(pair.author)}" if pair.author else ""
    return [*told, PairEvent(pair.created_at, f"Added{by}: {pair.source}{ref}")]


def decision(pair: Pair) -> str:
    """Who gave a pair its status, or why; '' if nobody has."""
    by = review_status.review_of(pair)
    if by.reason is not None:
        return review_status.STORED[by.reason]
    said = f"by {person(by.person)}" if by.person else ""
    return f"{said}: {pair.review_reason}" if said and pair.review_reason else said


def _told(entry: Entry) -> PairEvent:
    detail: dict[str, Any] = entry.detail
    other = detail.get("pair") or detail.get("replaces")
    said = _did(entry.action, detail)
    if detail.get("fact"):
        said += f", with the fact {detail['fact']}"
    if detail.get("bulk"):
        said += ", with others at once"
    if detail.get("reason"):
        said += f": {detail['reason']}"
    text = f"{said[0].upper()}{said[1:]}, by {person(entry.actor)}"
    return PairEvent(entry.at, text, other if isinstance(other, int) else None)


def _did(action: str, detail: dict[str, Any]) -> str:
    status = detail.get("status", "")
    if action == "edit" and "replaces" in detail:
        return "made of another pair by an edit"
    if action == "edit" and "pair" in detail:
        return "replaced by other words"
    if action == "edit":
        return f"edited, now {status}" if status else "edited"
    if action == "review" and status == "edited":
        return "approved in other words"
    if action == "review" and detail.get("undone"):
        return f"{status} again, as a decision was undone"
    if action == "review":
        return "put back for review" if status == "pending" else str(status or "reviewed")
    return {
        "golden add": "added to the golden set",
        "golden release": "taken out of the golden set",
        "pairs show-masked": "masked words shown",
        "unanswered answer": "written as the answer to a declined question",
    }.get(action, action)
