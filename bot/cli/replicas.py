"""`understudy replicas`: list engine replicas, and restart them without downtime."""

import time
from typing import Any

import click
from sqlite_utils import Database

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from data.adapters import placements, registry
from data.adapters.placements import Replica
from data.conversations import conversations
from data.store.db import Store
from data.store.errors import Conflict, NotFound, Unavailable

POLL_S = 0.3
MAX_WAIT_S = 1800.0  # of `--wait`, for each replica


@click.group(cls=Group)
def replicas() -> None:
    """List and restart engine replicas."""


@replicas.command("list")
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """List all replicas: state, capacity, adapters, and answers being written.

    `understudy status`, and --json here, also show addresses and the precision of the base model.
    """
    db = app.store.db
    within_s = app.settings.bot.answer_timeout_s + 10
    found = [_described(db, replica, within_s) for replica in placements.replicas(db)]
    if as_json:
        return print_json(found)
    lines = [
        (
            r["name"],
            r["state"],
            _capacity(r),
            "\n".join(_placement(p) for p in r["adapters"]),
            r["streams"],
            r["detail"],
        )
        for r in found
    ]
    headers = ("replica", "state", "capacity", "adapters", "writing", "")
    empty = "There are no replicas yet. Start some with `understudy serve`."
    return print_table(headers, lines, empty)


@replicas.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--wait", is_flag=True, help="Wait until all have restarted, and show the progress.")
@pass_app
def restart(app: App, names: tuple[str, ...], wait: bool) -> None:
    """Restart replicas one at a time; without NAME, all that `understudy serve` runs.

    A replica that restarts gets no new questions and first finishes the answers it is writing.
    """
    with app.store.write() as db:
        chosen = [placements.replica(db, name) for name in dict.fromkeys(names)]
        if not names:
            chosen = [r for r in placements.replicas(db) if r.ours]
        if not chosen:
            raise NotFound("There is no replica to restart. Start some with `understudy serve`.")
        silent = next((r.name for r in chosen if r.stale), None)
        if silent is not None:
            raise Conflict(
                f"{silent} has sent no heartbeat for a while, so it cannot be restarted. Is "
                "`understudy serve` running?"
            )
        for replica in chosen:
            placements.request_restart(db, replica.name, app.actor)
    if not wait:
        names_chosen = ", ".join(r.name for r in chosen)
        terminal.echo(
            f"Restart requested: {names_chosen}. To see the progress: `understudy replicas list`."
        )
        return
    try:
        for replica in chosen:
            _follow(app.store, replica.name)
    except KeyboardInterrupt:
        terminal.echo(
            "\nThe restart continues. To see the progress: `understudy replicas list`.", err=True
        )
        raise


def _follow(store: Store, name: str) -> None:
    """Print each new state until the restart is done. A replica that was the only one no longer
    exists then, because another has replaced it."""
    printed, deadline = "", time.monotonic() + MAX_WAIT_S
    while time.monotonic() < deadline:
        known = {r.name: r for r in placements.replicas(store.db)}
        if name not in known:
            if known:
                terminal.echo(f"{name}: done, replaced by {', '.join(known)}")
            else:
                terminal.echo(f"{name}: removed, and no replica is left")
            return
        replica = known[name]
        now = replica.state if not replica.detail else f"{replica.state}, {replica.detail}"
        if replica.restart_asked_at is None:
            terminal.echo(f"{name}: done, {now}")
            return
        if replica.stale:
            raise Unavailable(f"{name} sends no heartbeat. Is `understudy serve` running?")
        if now != printed:
            terminal.echo(f"{name}: {now}")
            printed = now
        time.sleep(POLL_S)
    raise Unavailable(f"{name} did not restart within {MAX_WAIT_S / 60:.0f} minutes.")


def _described(db: Database, replica: Replica, within_s: float) -> dict[str, Any]:
    rows = placements.placements_on(db, replica.name)
    return {
        "name": replica.name,
        "state": replica.condition,
        "url": replica.url,
        "base_model": replica.base_model,
        "precision": replica.precision,
        "max_loras": replica.max_loras,
        "max_cpu_loras": replica.max_cpu_loras,
        "max_rank": replica.max_rank,
        "adapters": [
            {
                "adapter": registry.by_id(db, row.adapter_id).name,
                "state": row.state,
                "load_ms": row.load_ms,
                "agreement": row.agreement,
                "attempts": row.attempts,
                "error": row.error,
            }
            for row in rows
        ],
        "streams": conversations.count_streaming(db, replica.name, within_s),
        "generation": replica.generation,
        "restart_asked_by": replica.restart_asked_by,
        "detail": replica.detail,
    }


def _placement(row: dict[str, Any]) -> str:
    return row["adapter"] if row["state"] == "loaded" else f"{row['adapter']} ({row['state']})"


def _capacity(replica: dict[str, Any]) -> str:
    """`5 at once, 32 in memory, rank 32`; '' for an engine that does not report its capacity."""
    if not replica["max_loras"]:
        return ""
    return (
        f"{replica['max_loras']} at once, {replica['max_cpu_loras']} in memory, "
        f"rank {replica['max_rank']}"
    )
