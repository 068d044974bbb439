"""`understudy backup FILE`: a snapshot of the store and every adapter in one tar file."""

import tarfile
import tempfile
from pathlib import Path

import click

from bot.cli import terminal
from bot.cli.context import App, pass_app
from data.store.errors import Conflict, Unavailable


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@pass_app
def backup(app: App, file: Path) -> None:
    """Save the store and the adapters to FILE (.tar) while the service is running.

    To restore, unpack the file into an empty home folder. It does not contain understudy.toml, the
    logs or the reports of runs.
    """
    from data.store.db import sqlite3

    if file.exists():
        raise Conflict(f"{file} already exists; nothing was changed.")
    unfinished = file.with_name(file.name + ".unfinished")
    adapters = app.settings.adapters_path
    try:
        with tempfile.TemporaryDirectory(dir=file.resolve().parent) as scratch:
            snapshot = Path(scratch) / app.settings.store_path.name
            app.store.db.execute("VACUUM INTO ?", [str(snapshot)])
            unfinished.touch(mode=0o600)
            with tarfile.open(unfinished, "w") as tar:
                tar.add(snapshot, snapshot.name)
                if adapters.is_dir():
                    tar.add(adapters, adapters.name)
        unfinished.rename(file)
    except (OSError, sqlite3.Error) as error:  # SQLite itself writes the copy of the store
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Unavailable(f"{file} could not be written: {reason}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    terminal.echo(f"Saved {file} ({file.stat().st_size / 1e6:.1f} MB).")
