"""`understudy backup FILE`: a snapshot of the store and every adapter in one tar file."""

from pathlib import Path

import click

from bot.cli import terminal
from bot.cli.context import App, pass_app


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@pass_app
def backup(app: App, file: Path) -> None:
    """Save the store and the adapters to FILE (.tar) while the service is running.

    Only the adapters that the store knows at that moment are saved; retrains may go on.

    To restore, unpack the file into an empty home folder. It does not contain understudy.toml, the
    logs or the reports of runs.
    """
    from data import backups

    written = backups.write(app.store, app.settings, file)
    for sentence in written.missing:
        terminal.echo(sentence, err=True)
    terminal.echo(f"Saved {file} ({written.size / 1e6:.1f} MB).")
