"""What somebody should look at, read from the store when they ask: one list for the terminal, for
Slack, for HTTP and for metrics.

An alert is about people being served: nobody answers, somebody else answers than should, an engine
refuses an adapter, a comparison gives people what they should not get. It stands as long as its
cause does; there is nothing to acknowledge.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sqlite_utils import Database

from data import domains
from data.adapters import placements, registry
from data.adapters.placements import Replica
from data.adapters.registry import Adapter
from data.experiments import decisions, experiments
from data.privacy import provenance
from data.store.clock import now_us
from data.store.db import row, rows

HOUR_US = 3600 * 1_000_000
LEAST_FREE = 200_000_000  # bytes of the store's disk; no answer is given that cannot be recorded

Kind = Literal[
    "disk",
    "no_engine",
    "replica",
    "refused",
    "not_held",
    "stood_in",
    "unequal",
    "comparison",
    "unforgotten",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Alert:
    kind: Kind
    subject: str  # a replica's name, or an adapter's
    text: str  # what is wrong and what to do, in one or two sentences


def alerts(db: Database) -> list[Alert]:
    """All alerts that stand now, the gravest first."""
    known = placements.replicas(db)
    able = [r for r in known if r.state == "ready" and not r.stale]
    return [
        *_disk(db),
        *_no_engine(known, able),
        *_replicas(known),
        *_not_held(db, able),
        *_refused(db),
        *_stood_in(db),
        *_unequal(able),
        *_comparisons(db),
        *_unforgotten(db),
    ]


def _disk(db: Database, least: int = LEAST_FREE) -> Iterator[Alert]:
    found = row(db, "SELECT file FROM pragma_database_list WHERE name = 'main'")
    if found is None or not found["file"]:
        return  # in memory
    folder = Path(found["file"]).parent
    free = shutil.disk_usage(folder).free
    if free < least:
        text = (
            f"{folder} has {free / 1e6:,.0f} MB of disk left. Nobody is answered when there is "
            "none. Free some."
        )
        yield Alert("disk", str(folder), text)


def _no_engine(known: list[Replica], able: list[Replica]) -> Iterator[Alert]:
    if not known:
        text = (
            "No engine is running, so nobody is answered. Start one: `understudy up`, or "
            "`understudy serve` alone."
        )
        yield Alert("no_engine", "", text)
    elif not able:
        states = ", ".join(f"{r.name} is {r.condition}" for r in known)
        yield Alert("no_engine", "", f"No engine is ready, so nobody is answered: {states}.")


def _replicas(known: list[Replica]) -> Iterator[Alert]:
    for r in known:
        if r.stale:
            text = f"{r.name} has not been heard of for a while. Is `understudy serve` running?"
            yield Alert("replica", r.name, text)
        elif r.state == "down":
            why = f": {r.detail}" if r.detail else ""
            yield Alert("replica", r.name, f"{r.name} is down{why}")


def _not_held(db: Database, able: list[Replica]) -> Iterator[Alert]:
    """The adapters that should answer people and are held by no engine."""
    if not able:
        return  # said already
    held = placements.holders(db)
    for domain in domains.list_domains(db):
        live = registry.live(db, domain.id)
        previous = registry.previous_live(db, domain.id)
        instead = previous if previous is not None and previous.id in held else None
        if live is not None and live.id not in held:
            who = instead.name if instead else "the bare base"
            text = f"{live.name} is live and no engine holds it; {who} answers instead."
            yield Alert("not_held", live.name, text)
        comparison = experiments.running(db, domain.id)
        for variant in comparison.variants if comparison else ():
            if variant.adapter_id is not None and variant.adapter_id not in held:
                text = (
                    f"{variant.adapter} is compared in {domain.name} and no engine holds it; "
                    "nobody new is given a variant until one does, and its people are answered by "
                    "a stand-in, which counts as its failure."
                )
                yield Alert("not_held", variant.adapter, text)


def _refused(db: Database) -> Iterator[Alert]:
    """What an engine would not load, of all that should be loaded."""
    wanted = {a.id: a for a in registry.wanted_adapters(db)}
    found = rows(
        db,
        "SELECT replica, adapter_id, attempts, error FROM placements WHERE state = 'failed' "
        "ORDER BY adapter_id DESC, replica",
    )
    for r in sorted(found, key=lambda r: not _is_live(wanted.get(r["adapter_id"]))):
        adapter = wanted.get(r["adapter_id"])
        if adapter is not None:
            times = f", {r['attempts']} times" if r["attempts"] > 1 else ""
            text = (
                f"{r['replica']} cannot serve {adapter.name}{times}: {r['error'].rstrip('.')}. "
                f"Once that is mended: `understudy adapters retry {adapter.name}`."
            )
            yield Alert("refused", adapter.name, text)


def _stood_in(db: Database) -> Iterator[Alert]:
    """Who could not answer in the last hour, and how often."""
    found = rows(
        db,
        "SELECT d.name || '@' || a.version AS name, count(*) AS n FROM replies r "
        "JOIN adapters a ON a.id = r.instead_of JOIN domains d ON d.id = a.domain_id "
        "WHERE r.instead_of IS NOT NULL AND r.created_at > ? GROUP BY a.id ORDER BY n DESC",
        [now_us() - HOUR_US],
    )
    for r in found:
        answers = "answer was" if r["n"] == 1 else "answers were"
        text = f"{r['name']} could not answer: {r['n']} {answers} a stand-in's in the last hour."
        yield Alert("stood_in", r["name"], text)


def _unequal(able: list[Replica]) -> Iterator[Alert]:
    """Replicas that would answer one question differently."""
    kinds = {(r.base_model, r.precision) for r in able}
    if len(kinds) > 1:
        each = ", ".join(f"{r.name}: {r.base_model} in {r.precision or 'unknown'}" for r in able)
        text = f"The engines do not serve the same base, so answers depend on chance: {each}."
        yield Alert("unequal", "", text)


def _comparisons(db: Database) -> Iterator[Alert]:
    """Where a candidate is worse, breaks a guardrail, or people are not divided as agreed, and the
    domain's policy leaves it to a person."""
    for domain in domains.list_domains(db):
        running = experiments.running(db, domain.id)
        last = decisions.latest(db, running.id) if running else None
        if running is None or last is None or last.action != "advise":
            continue
        states = {c["state"] for c in last.results["comparisons"]}
        if states & {"worse", "unhealthy"}:
            text = f"Comparison {running.id} of {domain.name}: {last.sentence}"
            yield Alert("comparison", domain.name, f"{text} `understudy ab stop {domain.name}`.")


def _unforgotten(db: Database) -> Iterator[Alert]:
    """Who answers with what was learned from people that were forgotten since."""
    for name in provenance.to_redo(db):
        text = (
            f"{name} answers people, and learned from somebody who was forgotten since. "
            f"`understudy tune {name.partition('@')[0]} --full` makes one that did not."
        )
        yield Alert("unforgotten", name, text)


def _is_live(adapter: Adapter | None) -> bool:
    return adapter is not None and adapter.state == "live"
