"""How long the console's pages take with many pairs and replies.

    python benchmarks/console.py                          # about five minutes, 2 GB of disk
    python benchmarks/console.py --pairs 10000 --replies 10000 --repeat 20

A store is filled with generated pairs (a few of them pending or rejected, half of them facts with
four phrasings, thirty imports, findings) and replies in conversations. Rows are inserted without
the triggers of the search indexes, which are built at the end. Then each page is asked for in the
process of the service, without a network, one after the other: the times are those of the whole
request at the server, with its sign-in. CPU time is that of the whole process, so it is comparable
on a busy machine. The last line is JSON.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import report
from sqlite_utils import Database

from bot.app import create_app
from data import domains
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.people import console_sessions, roles
from data.store.clock import now_us
from data.store.db import Store, insert, rows, sqlite3

LONGEST_S = 20  # for one page; then no more requests are timed
DAY_US = 86_400 * 1_000_000
PERSON = "user:ann"
BASE = "/console/domains/helpdesk"
COMMON = ("how", "the", "password", "reset", "printer", "account", "can", "open", "where", "is")
SEARCHES = ("password", "how the", "printer account reset", "zzqqxx", "re", "drucker", "passwor")
PAGES = {
    "overview": "/console",
    "pairs, first page": f"{BASE}/pairs",
    "pairs, a page in the middle": f"{BASE}/pairs?before={{middle}}",
    "pairs, pending": f"{BASE}/pairs?status=pending",
    "pairs, filters that nothing fits": f"{BASE}/pairs?status=approved&split=golden&source=teach",
    "pairs of an import": f"{BASE}/pairs?batch=3",
    "pairs of a fact": f"{BASE}/pairs?fact=fact-7",
    "pairs with a finding": f"{BASE}/pairs?finding=emails",
    "one pair": f"{BASE}/pairs/{{middle}}",
    "facts": f"{BASE}/pairs/facts",
    "imports": f"{BASE}/pairs/imports",
    "quality findings": f"{BASE}/pairs/findings",
    "golden set": f"{BASE}/pairs/golden",
    "conversations": f"{BASE}/conversations",
    "versions": f"{BASE}/versions",
    "comparisons": f"{BASE}/comparisons",
    "tune": f"{BASE}/tune",
    "people": "/console/people",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--replies", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        with Store(settings.store_path) as store:
            began = time.monotonic()
            cookie = fill(store, given.pairs, given.replies)
            print(f"filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
            found = asyncio.run(measure(settings, store, cookie, given.pairs // 2, given.repeat))
    headers = ("page", "p50, ms", "p95, ms", "CPU p50, ms", "CPU p95, ms", "kB")
    report.table(headers, [(name, *(round(v, 1) for v in times)) for name, times in found.items()])
    report.finish(
        pairs=given.pairs, replies=given.replies, pages=found, sqlite=sqlite3.sqlite_version
    )


async def measure(
    settings: Settings, store: Store, cookie: str, middle: int, repeat: int
) -> dict[str, tuple[float, ...]]:
    """Milliseconds at p50 and p95, the same of CPU, and the size of each page."""
    app = create_app(settings, store)
    found = {}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=120
    ) as browser:
        browser.cookies.set("understudy_console", cookie)
        pages = {name: [path.format(middle=middle)] for name, path in PAGES.items()}
        pages["pairs, full-text search"] = [f"{BASE}/pairs?q={words}" for words in SEARCHES]
        pages |= {f"search “{words}”": [f"{BASE}/pairs?q={words}"] for words in SEARCHES}
        for name, paths in pages.items():
            times, used, size = [], [], 0
            since = time.monotonic()
            for number in range(repeat + 2):
                began, cpu = time.perf_counter(), time.process_time()
                answer = await browser.get(paths[number % len(paths)])
                taken = (time.perf_counter() - began) * 1_000
                if answer.status_code != 200:
                    raise SystemExit(f"{paths[0]}: {answer.status_code} {answer.text[:500]}")
                size = len(answer.content)
                if number >= 2:  # the first ones compile the template
                    times.append(taken)
                    used.append((time.process_time() - cpu) * 1_000)
                    if time.monotonic() - since > LONGEST_S:
                        break
            both = [f(of) for of in (times, used) for f in (report.median, _p95)]
            found[name] = (*both, size / 1_000)
            print(name, *(f"{v:.1f}" for v in found[name]), file=sys.stderr)
    return found


def _p95(values: Sequence[float]) -> float:
    return report.percentile(values, 0.95)


def fill(store: Store, pair_count: int, reply_count: int) -> str:
    """Fill the store; returns the cookie of an admin's session."""
    db = store.db
    triggers = rows(
        db, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'pairs'"
    )
    with store.write() as db:
        for trigger in triggers:
            db.execute(f"DROP TRIGGER {trigger['name']}")
        domain = domains.create(db, "helpdesk", "the help desk", "You help.")
        db.conn.executemany(INSERT_PAIR, _pairs(domain, pair_count))
        for number in range(1, 31):
            insert(
                db, "imports", id=number, domain_id=domain.id, name=f"file {number}",
                file=f"{number}.csv", author=PERSON, created_at=now_us(),
            )  # fmt: skip
        for trigger in triggers:
            db.execute(trigger["sql"])
        for table in ("pair_search", "other_pair_search"):
            db.execute(f"INSERT INTO {table} ({table}) VALUES ('rebuild')")  # noqa: S608 - ours
        _findings(db, domain)
    with store.write() as db:
        _replies(db, domain, reply_count)
        roles.grant(db, PERSON, "admin", "cli:benchmark")
        return console_sessions.begin(db, PERSON, "Firefox on Linux")


INSERT_PAIR = (
    "INSERT INTO pairs (domain_id, prompt, response, fact, source, status, fingerprint, "
    "created_at, import_id, prompt_digest, author, split) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _pairs(domain: Domain, count: int) -> Iterator[tuple[Any, ...]]:
    chance = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(3, 9))) for _ in range(5_000)]

    def text(length: int) -> str:
        return " ".join(
            chance.choice(COMMON)
            if chance.random() < 0.4
            else words[int(chance.random() ** 3 * 5_000)]
            for _ in range(length)
        )

    began = now_us() - 90 * DAY_US
    for number in range(count):
        prompt, response = f"{text(10)} {number}?", text(40)
        fact = f"fact-{number // 4}" if number % 2 else pairs.fact_of(response)
        status = "approved" if number % 20 else ("pending", "rejected")[number // 20 % 2]
        split = "golden" if number % 500 == 1 else "auto"
        batch = 1 + number * 30 // count
        yield (
            domain.id, prompt, response, fact, "import", status,
            pairs.fingerprint(Draft(prompt, response)), began + number, batch,
            pairs.prompt_digest(prompt), PERSON, split,
        )  # fmt: skip


def _findings(db: Database, domain: Domain) -> None:
    for check, every in (("emails", 50), ("near-duplicates", 100), ("thin-facts", 2)):
        sql = (
            "INSERT INTO quality_marks (domain_id, check_name, pair_id) "
            "SELECT ?, ?, id FROM pairs WHERE id % ? = 0"
        )
        db.execute(sql, [domain.id, check, every])
    insert(
        db, "quality_checked", domain_id=domain.id, pairs=95_000,
        not_checked=orjson.dumps({}).decode(), at=now_us(),
    )  # fmt: skip


def _replies(db: Database, domain: Domain, count: int) -> None:
    """Conversations of four questions each, over the last hundred days."""
    now = now_us()
    given = {"domain": domain.id, "count": count, "began": now - 100 * DAY_US}
    given["step"] = 100 * DAY_US // max(1, count)
    db.execute(CONVERSATIONS, given)
    db.execute(REPLIES, given)
    for role, said in (("user", "Where is printer "), ("assistant", "It is in the hall, ")):
        db.execute(MESSAGES, {**given, "role": role, "said": said})
    db.execute(
        "INSERT INTO feedback (reply_id, person, kind, value, created_at) SELECT id, person, "
        "'thumb', rowid % 4 > 0, created_at FROM replies WHERE rowid % 20 = 0"
    )


CONVERSATIONS = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count / 4)
INSERT INTO conversations (id, domain_id, thread, person, created_at)
SELECT i + 1, :domain, 'slack:T1/C1/' || i, 'slack:T1/U' || (i % 900), :began + i * 4 * :step FROM n
"""
REPLIES = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
INSERT INTO replies (id, conversation_id, domain_id, person, status, finish_reason,
    completion_tokens, latency_us, created_at, outcome, confidence)
SELECT printf('reply%010d', i), i / 4 + 1, :domain, 'slack:T1/U' || (i / 4 % 900), 'done', 'stop',
    60, 900000, :began + i * :step, iif(i % 50, 'generated', 'declined'), (i % 100) / 100.0
FROM n
"""
MESSAGES = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
INSERT INTO messages (conversation_id, role, text, person, reply_id, created_at)
SELECT i / 4 + 1, :role, :said || i, iif(:role = 'user', 'slack:T1/U' || (i / 4 % 900), ''),
    printf('reply%010d', i), :began + i * :step FROM n
"""


if __name__ == "__main__":
    main()
