"""How the sources under an answer are described, for every front end.

The words say what the pairs are: given to the model, quoted, or found next to an answer that the
model gave on its own. They never call a pair the proof of an answer.
"""

from datetime import UTC, datetime

from data.conversations.conversations import Outcome
from data.pairs.reply_sources import Source

QUOTED = "Approved answer to"
GIVEN = "Based on"
RELATED = "Related approved answers, which the model was not given"
SUGGESTIONS = "You could ask"
UNCERTAIN = "I am not sure that this answers your question."


def heading(outcome: Outcome, layout: int, *, uncertain: bool = False) -> str:
    """What the list of sources is called; `layout` is 0 if the model was not given them.
    `uncertain`: the best of them may well not answer the question."""
    known = QUOTED if outcome == "quoted" else GIVEN if layout else RELATED
    return f"{UNCERTAIN} {known}" if uncertain else known


def approval(source: Source, name: str | None = None) -> str:
    """`approved by ann on 3 Nov 2026`; `name` replaces the id of the person who approved it."""
    day = datetime.fromtimestamp(source.approved_at / 1e6, UTC)
    when = f"{day.day} {day:%b %Y}"
    who = name if name is not None else source.approved_by
    return f"approved by {who} on {when}" if who else f"approved on {when}"
