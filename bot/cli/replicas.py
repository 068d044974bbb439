"""`understudy replicas`: the engines that answer, and restarting them without a gap."""

import time
from typing import Any

import click
from sqlite_utils import Database

from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from data.adapters import placements, registry
from data.adapters.placements import Replica
from data.conversations import conversations
from data.store.clock import now_us
from data.store.db import Store
from data.store.errors import Conflict, NotFound, Unavailable

POLL_S = 0.3
LONGEST_S = 1800.0  # that `--wait` waits for each


@click.group(cls=Group)
def replicas() -> None:
    """Engine replicas: list, restart."""


@replicas.command("list")
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """Every replica: its state, its sizes, what it holds and how much it writes just now.

    Addresses and the base's precision are in `understudy status`, and here with --json.
    """
    db = app.store.db
    since = now_us() - (app.settings.bot.answer_timeout_s + 10) * 1_000_000
    found = [_described(db, replica, since) for replica in placements.replicas(db)]
    if as_json:
        return print_json(found)
    lines = [
        (
            r["name"],
            r["state"],
            _sizes(r),
            "\n".join(_held(h) for h in r["adapters"]),
            r["streams"],
            r["detail"],
        )
        for r in found
    ]
    headers = ("replica", "state", "room for", "adapters", "writing", "")
    return print_table(headers, lines, "No replicas yet: `understudy serve` makes some.")


@replicas.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--wait", is_flag=True, help="Follow until all are done.")
@pass_app
def restart(app: App, names: tuple[str, ...], wait: bool) -> None:
    """Restart replicas (all of our own when none is named), one at a time.

    Nobody new is sent to one that is to restart, and the answers that it is writing end first.
    """
    with app.store.write() as db:
        chosen = [placements.replica(db, name) for name in dict.fromkeys(names)]
        if not names:
            chosen = [r for r in placements.replicas(db) if r.ours]
        if not chosen:
            raise NotFound("There is no replica to restart: `understudy serve` makes some.")
        silent = next((r.name for r in chosen if r.stale), None)
        if silent is not None:
            raise Conflict(
                f"{silent} has not been heard of for a while, so nobody can restart it. Is "
                "`understudy serve` running?"
            )
        for replica in chosen:
            placements.ask_restart(db, replica.name, app.actor)
    asked = ", ".join(r.name for r in chosen)
    if not wait:
        click.echo(f"Asked for: {asked}. See `understudy replicas list`.")
        return
    try:
        for replica in chosen:
            _follow(app.store, replica.name)
    except KeyboardInterrupt:
        click.echo("\nThe restart goes on. See `understudy replicas list`.", err=True)
        raise


def _follow(store: Store, name: str) -> None:
    """Tell of each state until it is done. One that was alone is gone then: another took its
    place."""
    told, deadline = "", time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        known = {r.name: r for r in placements.replicas(store.db)}
        if name not in known:
            click.echo(f"{name}: done; {', '.join(known) or 'nobody'} answers.")
            return
        replica = known[name]
        now = replica.state if not replica.detail else f"{replica.state}, {replica.detail}"
        if replica.restart_asked_at is None:
            click.echo(f"{name}: done, {now}")
            return
        if replica.stale:
            raise Unavailable(f"{name} is not heard of any more. Is `understudy serve` running?")
        if now != told:
            click.echo(f"{name}: {now}")
            told = now
        time.sleep(POLL_S)
    raise Unavailable(f"{name} has not been restarted within {LONGEST_S / 60:.0f} minutes.")


def _described(db: Database, replica: Replica, since_us: int) -> dict[str, Any]:
    rows = placements.of_replica(db, replica.name)
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
        "streams": conversations.being_written(db, replica.name, since_us),
        "generation": replica.generation,
        "restart_asked_by": replica.restart_asked_by,
        "detail": replica.detail,
    }


def _held(row: dict[str, Any]) -> str:
    return row["adapter"] if row["state"] == "loaded" else f"{row['adapter']} ({row['state']})"


def _sizes(replica: dict[str, Any]) -> str:
    """`5 at once, 32 kept, rank 32`; nothing for an engine that does not tell."""
    if not replica["max_loras"]:
        return ""
    return (
        f"{replica['max_loras']} at once, {replica['max_cpu_loras']} kept, "
        f"rank {replica['max_rank']}"
    )
