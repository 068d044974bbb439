"""`understudy slack`: the app manifest to paste into Slack, and who has installed the app."""

import click

from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from data.slack import installations
from data.store.clock import iso


@click.group(cls=Group)
def slack() -> None:
    """Set Slack up."""


@slack.command()
@click.option("--url", help="Where Slack reaches this bot (https://…); without it, Socket Mode.")
@click.option("--oauth", is_flag=True, help="For an app that several workspaces install.")
def manifest(url: str | None, oauth: bool) -> None:
    """Print the manifest of the Slack app, to paste at api.slack.com/apps, "From a manifest"."""
    from bot.slack.workspace.manifest import manifest as build

    print_json(build(url, oauth))


@slack.command()
def key() -> None:
    """Print a new key for [slack] token_key, which encrypts the tokens of workspaces."""
    from bot.slack.client.token_encryption import new_key

    click.echo(new_key())


@slack.command()
@json_option
@pass_app
def workspaces(app: App, as_json: bool) -> None:
    """The workspaces that have installed the bot through Slack's OAuth page."""
    found = installations.list_installations(app.store.db)
    if as_json:
        kept = ("team", "name", "installed_by", "installed_at")
        return print_json([{name: getattr(i, name) for name in kept} for i in found])
    lines = [(i.team, i.name, i.installed_by, iso(i.installed_at)) for i in found]
    headers = ("team", "workspace", "installed by", "at")
    return print_table(headers, lines, "None: they install it at /slack/install of your address.")
