"""What must hold in a store, whatever happens to the processes that write it."""

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load import Asked
from sqlite_utils import Database

from data.adapters import placements, registry
from data.conversations import conversations
from data.feedback import feedback
from data.store.db import rows
from data.store.errors import NotFound

NOTICE_S = 60.0
RUNNING = "SELECT id FROM experiments WHERE state = 'running'"


@dataclass
class Always:
    """Checked all the time: one live version, one open run and one running comparison a domain, one
    process a run; and what is recorded as held is held by the engine, or soon not recorded."""

    home: Path
    broken: set[str] = field(default_factory=set)
    compared: set[int] = field(default_factory=set)  # comparisons that were seen to run
    held: int = 0  # how often an engine was asked for an adapter that is recorded as held
    _both: dict[str, float] = field(default_factory=dict)  # run -> since when two processes do it
    _missing: dict[tuple[str, int, str], float] = field(default_factory=dict)  # since when

    def check(self, db: Database) -> None:
        for table, what in (
            ("adapters WHERE state = 'live'", "live adapters"),
            ("runs WHERE state IN ('queued', 'running')", "open runs"),
            ("experiments WHERE state = 'running'", "running comparisons"),
        ):
            sql = f"SELECT domain_id FROM {table} GROUP BY domain_id HAVING count(*) > 1"  # noqa: S608
            for found in rows(db, sql):
                self.broken.add(f"domain {found['domain_id']} has two {what}")

        self.compared |= {r["id"] for r in rows(db, RUNNING)}

    def check_held(self, db: Database) -> None:
        """Ask each ready engine what it holds. It may have forgotten an adapter a moment ago; by
        `NOTICE_S` that is noticed, and recorded."""
        now, missing = time.monotonic(), set()
        for replica in placements.ready(db):
            recorded = {
                registry.by_id(db, p.adapter_id).served_name
                for p in placements.placements_on(db, replica.name)
                if p.state == "loaded"
            }
            try:
                url = f"{replica.url}/v1/models"
                with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our engine's
                    listed = {card["id"] for card in json.load(answer)["data"]}
            except (OSError, ValueError):
                continue  # it is paused or has just ended
            self.held += len(recorded & listed)
            missing |= {(replica.name, replica.generation, name) for name in recorded - listed}
        self._missing = {each: self._missing.get(each, now) for each in missing}
        for (replica_name, _, name), since in self._missing.items():
            if now - since > NOTICE_S:
                self.broken.add(f"{name} is recorded as held by {replica_name}, and it is not")

    def check_processes(self) -> None:
        """One that has lost its run may take a while to notice, and to end."""
        now, doing = time.monotonic(), runs_in_progress(self.home)
        two = {run for run, workers in doing.items() if len(workers) > 1}
        self._both = {run: self._both.get(run, now) for run in two}
        for run, since in self._both.items():
            if now - since > NOTICE_S:
                self.broken.add(f"run {run} is done by {' and by '.join(sorted(doing[run]))}")


def runs_in_progress(home: Path) -> dict[str, set[str]]:
    """Run -> the workers for which a process does it that is not stopped."""
    found: dict[str, set[str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if "tuning.worker.child" in words and any(str(home) in w for w in words) and state != "T":
            run, worker = (words[words.index(name) + 1] for name in ("--run", "--worker"))
            found.setdefault(run, set()).add(worker)
    return found


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
