"""How many bytes of questions and answers are stored, by the kind of the people who asked."""

from collections import Counter

from sqlite_utils import Database

from data.store.db import rows


def stored_bytes(db: Database, after: int = 0) -> tuple[Counter[str], int]:
    """The bytes of the messages with an id above `after`, by the prefix of the asker's id (`slack`,
    `http`, `web`, ...), and the largest id. They are counted as UTF-8, as SQLite stores them."""
    found = rows(
        db,
        "SELECT substr(r.person, 1, instr(r.person, ':') - 1) AS kind, "
        "sum(octet_length(m.text)) AS bytes, max(m.id) AS newest "
        "FROM messages m CROSS JOIN replies r ON r.id = m.reply_id WHERE m.id > ? GROUP BY kind",
        [after],
    )
    return Counter({r["kind"]: r["bytes"] for r in found}), max(
        (r["newest"] for r in found), default=after
    )
