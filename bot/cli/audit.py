"""`understudy audit`: the audit log, newest first."""

import click

from bot.cli.context import App, json_option, pass_app, print_json, print_table
from data.store import audit as store
from data.store.clock import iso


@click.command()
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=30,
    show_default=True,
    help="Show at most this many entries.",
)
@click.option("--actor", default="", metavar="TEXT", help="Only of people whose id contains this.")
@click.option("--action", default="", metavar="TEXT", help="Only actions that contain this.")
@click.option("--subject", default="", metavar="TEXT", help="Only about what contains this.")
@json_option
@pass_app
def audit(app: App, limit: int, actor: str, action: str, subject: str, as_json: bool) -> None:
    """Show who did what, and when."""
    found = store.recent(app.store.db, limit, actor=actor, action=action, subject=subject)
    if as_json:
        return print_json(found)
    lines = [
        (
            iso(e.at),
            e.actor,
            e.action,
            e.subject,
            ", ".join(f"{key}={value}" for key, value in e.detail.items()),
        )
        for e in found
    ]
    headers = ("time", "actor", "action", "subject", "details")
    return print_table(headers, lines, "The audit log is empty.")
