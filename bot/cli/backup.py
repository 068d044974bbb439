"""`understudy backup FILE`: a snapshot of the store and every adapter in one tar file."""

import tarfile
import tempfile
from pathlib import Path

import click

from bot.cli import terminal
from bot.cli.context import App, pass_app
from data.config.settings import Settings
from data.store.errors import Conflict, Unavailable


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@pass_app
def backup(app: App, file: Path) -> None:
    """Save the store and the adapters to FILE (.tar) while the service is running.

    Only the adapters that the store knows at that moment are saved; retrains may go on.

    To restore, unpack the file into an empty home folder. It does not contain understudy.toml, the
    logs or the reports of runs.
    """
    from data.store.db import sqlite3

    if file.exists():
        raise Conflict(f"{file} already exists; nothing was changed.")
    unfinished = file.with_name(file.name + ".unfinished")
    try:
        with tempfile.TemporaryDirectory(dir=file.resolve().parent) as scratch:
            snapshot = Path(scratch) / app.settings.store_path.name
            app.store.db.execute("VACUUM INTO ?", [str(snapshot)])
            unfinished.touch(mode=0o600)
            with tarfile.open(unfinished, "w") as tar:
                folders = _adapters(snapshot, app.settings)
                tar.add(snapshot, snapshot.name)
                for folder in folders:
                    tar.add(folder, folder.relative_to(app.settings.home))
        unfinished.rename(file)
    except (OSError, sqlite3.Error) as error:  # SQLite itself writes the copy of the store
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Unavailable(f"{file} could not be written: {reason}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    terminal.echo(f"Saved {file} ({file.stat().st_size / 1e6:.1f} MB).")


def _adapters(snapshot: Path, settings: Settings) -> list[Path]:
    """The folders of the adapters that the copy of the store knows; says which are missing. What is
    being made or deleted at this moment is not among them. The copy forgets the engines: where it
    is restored, none runs."""
    from data.adapters import placements, registry
    from data.store.db import Store

    with Store(snapshot) as store:
        with store.write() as db:
            placements.delete_others(db, ())
        known = [a for a in registry.list_adapters(store.db) if a.removal_asked_at is None]
    found = []
    for adapter in reversed(known):
        folder = adapter.folder(settings.home)
        if folder.is_dir():
            found.append(folder)
        else:
            terminal.echo(f"{adapter.name} is left out: there is no folder {folder}.", err=True)
    return found
