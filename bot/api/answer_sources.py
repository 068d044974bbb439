"""What an answer rests on, as JSON: the fields `outcome`, `sources` and `nearest`."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from bot.answering.events import Started
from data.pairs.reply_sources import Source


def grounds_as_json(started: Started) -> dict[str, Any]:
    """The fields of a started answer. The sources of a refusal are only its nearest questions."""
    declined = started.outcome == "declined"
    return {
        "outcome": "task" if started.task else started.outcome,
        "sources": [] if declined else sources_as_json(started.sources),
        "references_sent": started.layout > 0,
        "nearest": list(started.suggestions),
        "confidence": None if started.confidence is None else round(started.confidence, 3),
        "uncertain": started.uncertain,
    }


def sources_as_json(sources: Iterable[Source]) -> list[dict[str, Any]]:
    """Each source with the person who approved it, and when (ISO 8601, UTC)."""
    return [
        {
            "pair_id": s.pair_id,
            "prompt": s.prompt,
            "approved_by": s.approved_by or None,
            "approved_at": _time(s.approved_at),
            "similarity": round(s.similarity, 3),
        }
        for s in sources
    ]


def _time(us: int) -> str:
    at = datetime.fromtimestamp(us // 1_000_000, UTC)
    return at.isoformat().replace("+00:00", "Z")
