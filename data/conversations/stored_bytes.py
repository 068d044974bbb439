"""How many bytes people's questions, answers, feedback and corrections take, by the kind of the
people."""

from collections import Counter
from typing import NamedTuple

from sqlite_utils import Database

from data.store.db import row, rows

ROW = 200  # bytes of a row without its text and of its entries in the indexes: a thumb's


class Newest(NamedTuple):
    """The largest id of each table that was counted."""

    message: int = 0
    feedback: int = 0
    pair: int = 0


WHO = "substr({0}, 1, instr({0}, ':') - 1) AS who"
COUNTS = (
    f"SELECT {WHO.format('r.person')}, sum(octet_length(m.text)) AS bytes "
    "FROM messages m CROSS JOIN replies r ON r.id = m.reply_id "
    "WHERE m.id > ? AND m.id <= ? GROUP BY who",
    f"SELECT {WHO.format('person')}, sum(octet_length(text) + {ROW}) AS bytes "
    "FROM feedback WHERE id > ? AND id <= ? GROUP BY who",
    f"SELECT {WHO.format('author')}, sum(octet_length(prompt) + octet_length(response)) AS bytes "
    "FROM pairs WHERE id > ? AND id <= ? AND source = 'correction' GROUP BY who",
)
OPT_OUTS = f"SELECT {WHO.format('person')}, count(*) * {ROW} AS bytes FROM opt_outs GROUP BY who"
NOTHING = Newest()


def stored_bytes(db: Database, after: Newest = NOTHING) -> tuple[Counter[str], Newest]:
    """The bytes of what has an id above `after`, by the prefix of the person's id (`slack`, `http`,
    `web`, ...), and the largest ids: messages, feedback that is current or was replaced, and the
    pairs that corrections became; without `after`, opt-outs as
    well. Texts are counted as UTF-8, as SQLite stores them."""
    found = row(
        db,
        "SELECT (SELECT max(id) FROM messages) AS message, "
        "(SELECT max(id) FROM feedback) AS feedback, (SELECT max(id) FROM pairs) AS pair",
    )
    newest = Newest(**{name: largest or 0 for name, largest in (found or {}).items()})
    counted: Counter[str] = Counter()
    for sql, first, last in zip(COUNTS, after, newest, strict=True):
        for each in rows(db, sql, [first, last]):
            counted[each["who"]] += each["bytes"]
    if after == NOTHING:  # opting out needs no text: they are few, and have no running number
        for each in rows(db, OPT_OUTS):
            counted[each["who"]] += each["bytes"]
    return counted, newest
