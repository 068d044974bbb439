"""`understudy slack`: the app manifest to paste into Slack."""

import click

from bot.cli.context import print_json


@click.group()
def slack() -> None:
    """Set Slack up."""


@slack.command()
@click.option("--url", help="Where Slack reaches this bot (https://…); without it, Socket Mode.")
def manifest(url: str | None) -> None:
    """Print the manifest of the Slack app, to paste at api.slack.com/apps, "From a manifest"."""
    from bot.slack.manifest import manifest as build

    print_json(build(url))
