"""Questions that the bot declined, until a reviewer answers or dismisses them.

The table names replies; the words are those of the reply's question, so erasing the question takes
it out of the list. Answering a question adds an approved pair, which counts from the next question
on.
"""

from typing import Literal

from sqlite_utils import Database

from data.domains import Domain
from data.store.clock import now_us
from data.store.db import insert

State = Literal["open", "answered", "dismissed"]


def add(db: Database, reply_id: str, domain: Domain) -> None:
    """Add the question of a declined reply."""
    insert(
        db,
        "unanswered",
        reply_id=reply_id,
        domain_id=domain.id,
        state="open",
        created_at=now_us(),
    )
