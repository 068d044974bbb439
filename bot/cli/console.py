"""`understudy console`: sign-in links and sessions of the console."""

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from data.people import console_sessions, sign_in_links
from data.people.roles import ROLES, Role
from data.store.clock import iso


@click.group(cls=Group)
def console() -> None:
    """Sign people in to the console, and out of it."""


@console.command()
@click.argument("name", required=False)
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="admin",
    show_default=True,
    help="The role that the link gives, unless the person has a higher one.",
)
@click.option(
    "--address",
    default="",
    metavar="URL",
    help="The address of the service as browsers reach it. Default: that of this machine.",
)
@json_option
@pass_app
def link(app: App, name: str | None, role: Role, address: str, as_json: bool) -> None:
    """Print a link that signs NAME in to the console, once. Default: your own name.

    NAME is a name or an e-mail address. The link expires after three days.
    """
    from bot.runtime.supervisor import console_link

    who = name or app.actor.partition(":")[2]
    with app.store.write() as db:
        made, secret = sign_in_links.create(db, who, role, app.actor)
    url = console_link(app.settings, secret, address)
    if as_json:
        shown = {"person": made.person, "role": made.role, "expires_at": iso(made.expires_at)}
        return print_json(shown | {"link": url})
    terminal.echo(f"Signs {made.person} in ({made.role}), once:", err=True)
    return terminal.echo(url)


@console.command()
@json_option
@pass_app
def sessions(app: App, as_json: bool) -> None:
    """List the browsers in which people are signed in."""
    found = console_sessions.list_sessions(app.store.db)
    if as_json:
        return print_json(found)
    lines = [(s.id, s.person, s.browser, iso(s.created_at), iso(s.used_at)) for s in found]
    headers = ("id", "person", "browser", "signed in", "last used")
    return print_table(headers, lines, "Nobody is signed in.")


@console.command("sign-out")
@click.argument("session_id", type=int, metavar="ID")
@pass_app
def sign_out(app: App, session_id: int) -> None:
    """End the session ID, starting with its next request."""
    with app.store.write() as db:
        session = console_sessions.end(db, session_id, app.actor)
    terminal.echo(f"{session.person} is signed out of {session.browser}.")
