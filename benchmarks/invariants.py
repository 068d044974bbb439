"""What must hold in a store, whatever happens to the processes that write it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from load import Asked
from sqlite_utils import Database

from data.conversations import conversations
from data.feedback import feedback
from data.store.db import rows
from data.store.errors import NotFound


@dataclass
class Always:
    """Checked all the time: one owner a run, one live version and one open run a domain."""

    owners: dict[int, tuple[int, str]] = field(default_factory=dict)  # run -> attempt, worker
    broken: set[str] = field(default_factory=set)

    def check(self, db: Database) -> None:
        for table, what in (
            ("adapters WHERE state = 'live'", "live adapters"),
            ("runs WHERE state IN ('queued', 'running')", "open runs"),
        ):
            sql = f"SELECT domain_id FROM {table} GROUP BY domain_id HAVING count(*) > 1"  # noqa: S608
            for found in rows(db, sql):
                self.broken.add(f"domain {found['domain_id']} has two {what}")
        for run in rows(db, "SELECT id, attempts, worker FROM runs WHERE state = 'running'"):
            attempt, worker = self.owners.get(run["id"], (0, ""))
            if run["attempts"] < attempt:
                self.broken.add(f"run {run['id']} went back to attempt {run['attempts']}")
            if run["attempts"] == attempt and run["worker"] != worker:
                self.broken.add(f"attempt {attempt} of run {run['id']} has two owners")
            self.owners[run["id"]] = run["attempts"], run["worker"]


def answers(db: Database, asked: list[Asked]) -> Iterator[str]:
    """Answers that are not recorded as they were shown. `load.Asked.text` of an answer that broke
    off is what was shown before the service itself reported the error."""
    for one in asked:
        if not one.reply_id:
            continue
        try:
            reply = conversations.reply(db, one.reply_id)
        except NotFound:
            yield f"the answer {one.reply_id} is lost: {one}"
            continue
        _, text = conversations.exchange(db, one.reply_id)
        if text != one.text:
            yield f"recorded {text!r}: {one}"
        if not one.error and reply.status != "done":
            yield f"recorded as {reply.status}: {one}"


def votes(db: Database, acknowledged: Mapping[tuple[str, str], bool]) -> Iterator[str]:
    """Acknowledged votes, by reply and person, that are not on record."""
    for (reply_id, person), up in acknowledged.items():
        found: Any = feedback.live(db, reply_id, person, "thumb")
        if found is None or found.value != float(up):
            yield f"the vote of {person} on {reply_id} is {found}, not {up}"
