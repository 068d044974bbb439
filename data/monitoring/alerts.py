"""Alerts: one list of current problems for the terminal, Slack, HTTP and metrics.

An alert means that people are not served as they should be: no engine answers, a fallback answers,
answers fail, Slack refuses the bot, an engine refuses an adapter, or a comparison gives people
worse answers. Alerts are computed from the store on request. An alert disappears with its cause;
there is nothing to acknowledge.
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
from data.slack import problems
from data.store.clock import now_us
from data.store.db import row, rows
from data.store.errors import Invalid

HOUR_US = 3600 * 1_000_000
FAILED_ANSWERS = 3  # in an hour; fewer may be bad luck
LEAST_FREE = (
    200_000_000  # bytes free on the store's disk; answers that cannot be stored are refused
)

Kind = Literal[
    "disk",
    "no_engine",
    "slack",
    "replica",
    "files",
    "refused",
    "not_held",
    "stood_in",
    "failed",
    "unequal",
    "slow_adapters",
    "comparison",
    "unforgotten",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Alert:
    kind: Kind
    subject: str  # the name of a replica or an adapter
    text: str  # the problem and what to do about it, in one or two sentences


def alerts(db: Database) -> list[Alert]:
    """All current alerts, the most serious first."""
    known = placements.replicas(db)
    able = [r for r in known if r.state == "ready" and not r.stale]
    return [
        *_disk(db),
        *_no_engine(known, able),
        *_slack(db),
        *_replicas(known),
        *_not_held(db, able),
        *_files(db),
        *_refused(db),
        *_fallbacks(db),
        *_failed(db),
        *_unequal(able),
        *_slow_adapters(able),
        *_comparisons(db),
        *_trained_on_erased(db),
    ]


def _home(db: Database) -> Path | None:
    """The home folder; None for a store in memory."""
    found = row(db, "SELECT file FROM pragma_database_list WHERE name = 'main'")
    return Path(found["file"]).parent if found is not None and found["file"] else None


def _disk(db: Database, least: int = LEAST_FREE) -> Iterator[Alert]:
    folder = _home(db)
    if folder is None:
        return
    free = shutil.disk_usage(folder).free
    if free < least:
        text = (
            f"{folder} has {free / 1e6:,.0f} MB of disk space left. The bot stops answering when "
            "the disk is full. Free some space."
        )
        yield Alert("disk", str(folder), text)


def _no_engine(known: list[Replica], able: list[Replica]) -> Iterator[Alert]:
    if not known:
        text = (
            "No engine is running, so the bot cannot answer. Start one with `understudy up` or "
            "`understudy serve`."
        )
        yield Alert("no_engine", "", text)
    elif not able:
        states = ", ".join(r.described for r in known)
        yield Alert("no_engine", "", f"No engine is ready, so the bot cannot answer: {states}.")


def _slack(db: Database) -> Iterator[Alert]:
    """Workspaces whose token Slack rejects, and channels in which the bot may not answer."""
    for problem in problems.current(db):
        yield Alert("slack", f"{problem.team}/{problem.channel}".rstrip("/"), problem.text)


def _replicas(known: list[Replica]) -> Iterator[Alert]:
    for r in known:
        if r.stale:
            text = f"{r.name} has sent no heartbeat for a while. Is `understudy serve` running?"
            yield Alert("replica", r.name, text)
        elif r.state == "down":
            yield Alert("replica", r.name, r.described)


def _not_held(db: Database, able: list[Replica]) -> Iterator[Alert]:
    """Adapters that should answer people but are loaded in no engine."""
    if not able:
        return  # `_no_engine` reports this
    held = placements.holders(db)
    for domain in domains.list_domains(db):
        live = registry.live(db, domain.id)
        previous = registry.previous_live(db, domain.id)
        instead = previous if previous is not None and previous.id in held else None
        if live is not None and live.id not in held:
            who = instead.name if instead else "The bare base"
            text = f"{live.name} is live, but no engine has it loaded. {who} answers instead."
            yield Alert("not_held", live.name, text)
        comparison = experiments.running(db, domain.id)
        for variant in comparison.variants if comparison else ():
            if variant.adapter_id is not None and variant.adapter_id not in held:
                text = (
                    f"{variant.adapter} is in a comparison of {domain.name}, but no engine has it "
                    "loaded. Until one does, nobody new joins the comparison, and a fallback "
                    "answers the people on this variant, which counts as its failure."
                )
                yield Alert("not_held", variant.adapter, text)


def _files(db: Database) -> Iterator[Alert]:
    """Adapters in use whose folder is gone. An engine that has them loaded answers until it is
    started again."""
    home = _home(db)
    if home is None:
        return
    for adapter in registry.wanted_adapters(db):
        try:
            is_there = adapter.folder(home).is_dir()
        except Invalid as error:
            yield Alert("files", adapter.name, str(error))
            continue
        if not is_there:
            text = (
                f"The files of {adapter.name} are missing ({adapter.path}), so no engine can load "
                "it when it starts. Put them back from a backup, or replace the adapter with "
                f"`understudy tune {adapter.domain} --full`."
            )
            yield Alert("files", adapter.name, text)


def _refused(db: Database) -> Iterator[Alert]:
    """Adapters that should be loaded and that an engine refused."""
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
                f"After fixing this, run `understudy adapters retry {adapter.name}`."
            )
            yield Alert("refused", adapter.name, text)


def _fallbacks(db: Database) -> Iterator[Alert]:
    """Adapters that could not answer in the last hour, and how often a fallback did."""
    found = rows(
        db,
        "SELECT d.name || '@' || a.version AS name, count(*) AS n FROM replies r "
        "JOIN adapters a ON a.id = r.instead_of JOIN domains d ON d.id = a.domain_id "
        "WHERE r.instead_of IS NOT NULL AND r.status <> 'failed' AND r.created_at > ? "
        "GROUP BY a.id ORDER BY n DESC",
        [now_us() - HOUR_US],
    )
    for r in found:
        answers = "answer" if r["n"] == 1 else "answers"
        text = f"{r['name']} could not answer: a fallback gave {r['n']} {answers} in the last hour."
        yield Alert("stood_in", r["name"], text)


FAILED = (
    "SELECT error FROM replies INDEXED BY replies_failed "
    "WHERE status = 'failed' AND created_at > ? ORDER BY created_at DESC, rowid DESC"
)


def _failed(db: Database) -> Iterator[Alert]:
    """Questions of the last hour that nobody answered, with the latest reason."""
    found = rows(db, FAILED, [now_us() - HOUR_US])
    if len(found) >= FAILED_ANSWERS:
        why = f" The last reason: {found[0]['error']}" if found[0]["error"] else ""
        yield Alert("failed", "", f"{len(found)} questions of the last hour got no answer.{why}")


def _unequal(able: list[Replica]) -> Iterator[Alert]:
    """Replicas that would answer the same question differently."""
    kinds = {(r.base_model, r.precision) for r in able}
    if len(kinds) > 1:
        each = ", ".join(f"{r.name}: {r.base_model} in {r.precision or 'unknown'}" for r in able)
        text = f"The engines serve different base models, so answers depend on chance: {each}."
        yield Alert("unequal", "", text)


def _slow_adapters(able: list[Replica]) -> Iterator[Alert]:
    """Replicas that compute adapters with vLLM's own operations, though they should not."""
    for r in able:
        if r.lora_problem:
            text = (
                f"{r.name} answers slowly with adapters: vLLM's own LoRA operations are used, "
                f"because {r.lora_problem}."
            )
            yield Alert("slow_adapters", r.name, text)


def _comparisons(db: Database) -> Iterator[Alert]:
    """Comparisons in which a candidate is worse, breaks a guardrail, or the split of people is
    broken, where the domain's policy leaves the decision to a person."""
    for domain in domains.list_domains(db):
        running = experiments.running(db, domain.id)
        last = decisions.latest(db, running.id) if running else None
        if running is None or last is None or last.action != "advise":
            continue
        states = {c["state"] for c in last.results["comparisons"]}
        if states & {"worse", "unhealthy"}:
            text = f"Comparison {running.id} of {domain.name}: {last.sentence}"
            yield Alert("comparison", domain.name, f"{text} `understudy ab stop {domain.name}`.")


def _trained_on_erased(db: Database) -> Iterator[Alert]:
    """Adapters in use that were trained on words of people who have since been erased."""
    for name in provenance.adapters_to_retrain(db):
        text = (
            f"{name} is in use, but was trained on words of a person who has since been erased. "
            f"Run `understudy tune {name.partition('@')[0]} --full` to replace it."
        )
        yield Alert("unforgotten", name, text)


def _is_live(adapter: Adapter | None) -> bool:
    return adapter is not None and adapter.state == "live"
