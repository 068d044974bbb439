"""Stack Exchange's data dump: `Posts.xml`, questions with the answers that their askers accepted.

A question (PostTypeId 1) names its AcceptedAnswerId; the answer (PostTypeId 2) follows later. The
prompt is the title with the body, the response the answer; both are HTML and become text. Questions
wait for their answers in a temporary database, so a dump of any size is read in bounded memory.

https://meta.stackexchange.com/questions/2677/database-schema-documentation-for-the-public-data-dump-and-sede
"""

import re
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

import orjson
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined] # the SQLite of the store

from data.pair_files.html_text import html_text
from data.pair_files.reading import Lines, PairFormat, Reading
from data.pair_files.rows import read_row
from data.pair_files.verdicts import BadRow, LeftOut, NumberedRow
from data.pair_files.xml_events import read_xml
from data.store.errors import Invalid

STARTS = re.compile(rb"(?:<\?xml[^>]*>\s*)?<posts>", re.IGNORECASE)
QUESTION, ANSWER = "1", "2"
AT_ONCE = 1024 * 1024  # bytes
MOST_SCORES = 100_000  # that the report's median is taken from


def is_posts(start: bytes) -> bool:
    return STARTS.match(start.lstrip()) is not None


def read_posts(lines: Lines, reading: Reading) -> Iterator[NumberedRow]:
    """Each accepted answer with its question. Raises Invalid for what is no XML from its first row
    on; later damage is a bad row."""
    if not lines.peek(1):
        return
    waiting = sqlite3.connect("")  # a temporary file, which SQLite deletes
    waiting.execute("CREATE TABLE questions (answer TEXT PRIMARY KEY, line INTEGER, row TEXT)")
    scores: list[int] = []
    licences: Counter[str] = Counter()
    line = 0
    try:
        for event in read_xml(iter(partial(lines.file.read, AT_ONCE), b""), reading.path,
                              only_starts=True):  # fmt: skip
            if event.name != "row":
                continue
            line = event.line
            lines.read = lines.file.tell()
            post = event.attributes
            kind = post.get("PostTypeId", "")
            if kind == QUESTION and (accepted := post.get("AcceptedAnswerId")):
                row = orjson.dumps(_question(post)).decode()
                waiting.execute(
                    "INSERT OR REPLACE INTO questions VALUES (?, ?, ?)", (accepted, line, row)
                )
            elif kind == QUESTION:
                yield NumberedRow(line, LeftOut(line, "a question without an accepted answer"))
            elif kind == ANSWER:
                found = waiting.execute(
                    "DELETE FROM questions WHERE answer = ? RETURNING line, row",
                    (post.get("Id", ""),),
                ).fetchone()
                if found is None:
                    yield NumberedRow(line, LeftOut(line, "an answer that was not accepted"))
                    continue
                score = _score(post)
                if len(scores) < MOST_SCORES:
                    scores.append(score)
                licences[post.get("ContentLicense", "")] += 1
                given = orjson.loads(found[1]) | {"response": html_text(post.get("Body", ""))}
                if score < 0:
                    given["status"] = "pending"
                yield from read_row(given, found[0], reading.columns)
            else:
                yield NumberedRow(line, LeftOut(line, "neither a question nor an answer"))
        for (at,) in waiting.execute("SELECT line FROM questions ORDER BY line"):
            reason = "its accepted answer does not follow it in the file"
            yield NumberedRow(at, BadRow(at, reason))
    except Invalid as error:
        if not line:
            raise
        yield NumberedRow(line, BadRow(line, f"nothing is read after this row: {error}"))
    finally:
        waiting.close()
    if scores:
        reading.notes.append(
            f"Scores of the accepted answers in {reading.path.name}: median "
            f"{statistics.median_low(scores)}, lowest {min(scores)}, highest {max(scores)}. Those "
            "below 0 wait for review."
        )
    if named := {licence: count for licence, count in licences.items() if licence}:
        shown = ", ".join(f"{licence} ({count:,})" for licence, count in named.items())
        reading.notes.append(f"The answers carry a licence that asks for attribution: {shown}.")


def _question(post: Mapping[str, str]) -> dict[str, str]:
    body = html_text(post.get("Body", ""))
    prompt = "\n\n".join(part for part in (post.get("Title", "").strip(), body) if part)
    found = {"prompt": prompt, "Tags": post.get("Tags", "")}
    if post.get("ClosedDate"):
        found["status"] = "pending"  # a duplicate, or off topic
    return found


def _score(post: Mapping[str, str]) -> int:
    try:
        return int(post.get("Score", "0"))
    except ValueError:
        return 0


STACK_EXCHANGE = PairFormat(starts=is_posts, read=read_posts)
