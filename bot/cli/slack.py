"""`understudy slack`: the Slack app manifest, and the workspaces that installed the app."""

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from data.slack import channels, installations
from data.store import audit
from data.store.clock import iso


@click.group(cls=Group)
def slack() -> None:
    """Set up the Slack app."""


@slack.command()
@click.option(
    "--url", help="Public address of this bot (https://…). Without it, the app uses Socket Mode."
)
@click.option("--oauth", is_flag=True, help="Allow several workspaces to install the app.")
def manifest(url: str | None, oauth: bool) -> None:
    """Print the manifest of the Slack app.

    Paste it at api.slack.com/apps under "From a manifest".
    """
    from bot.slack.workspace.manifest import manifest as build

    print_json(build(url, oauth))


@slack.command()
def key() -> None:
    """Print a new key for [slack] token_key, which encrypts the workspaces' tokens."""
    from bot.slack.client.token_encryption import new_key

    terminal.echo(new_key())


@slack.command()
@click.argument("team")
@click.argument("channel")
@click.argument("mode", type=click.Choice(channels.LISTENS), required=False)
@pass_app
def listen(app: App, team: str, channel: str, mode: channels.Listens | None) -> None:
    """Set what the bot answers in the CHANNEL (C…) of TEAM (T…); without MODE, show it.

    all answers every question, mentions (the default) only those that mention the bot, off nothing.
    """
    if mode is not None:
        with app.store.write() as db:
            channels.set_listens(db, team, channel, mode, app.actor)
            audit.record(db, app.actor, "channel listen", f"{team}/{channel}", to=mode)
    terminal.echo(channels.listens(app.store.db, team, channel))


@slack.command()
@json_option
@pass_app
def workspaces(app: App, as_json: bool) -> None:
    """List the workspaces that installed the app through Slack's OAuth page."""
    found = installations.list_installations(app.store.db)
    if as_json:
        fields = ("team", "name", "installed_by", "installed_at")
        return print_json([{name: getattr(i, name) for name in fields} for i in found])
    lines = [(i.team, i.name, i.installed_by, iso(i.installed_at)) for i in found]
    headers = ("team", "workspace", "installed by", "time")
    empty = "None yet. Workspaces install the app at /slack/install under your address."
    return print_table(headers, lines, empty)
