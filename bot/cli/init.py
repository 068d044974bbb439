"""`understudy init`: writes a settings file and creates an empty store."""

from pathlib import Path

import click

from bot.cli import terminal
from data.store.errors import Conflict, Unavailable

TEMPLATE = """\
# Understudy's settings. An environment variable UNDERSTUDY_SECTION_KEY overrides a setting, and
# UNDERSTUDY_SECTION_KEY_FILE names a file that contains a secret.
# `understudy doctor` checks the installation.

home = "."                    # folder of the store, adapters and logs; relative to this file

[base]
model = "pocket"              # the small built-in model; for real use, one that `understudy base
                              # add` has added, a local folder, or a model on a hub

[tuning]
auto_retrain_pairs = 0        # queue a retrain after this many newly approved pairs; 0: never

[gate]
margin = 0.02                 # token F1 that a new adapter may lose on earlier knowledge

[serving]
port = 8100                   # vLLM, on loopback only
max_model_len = 1024          # context length: question, history and answer, in tokens
replicas = 1                  # engines; with two or more, restarts and crashes cause no downtime
# url = "http://127.0.0.1:8100"   # use an external engine instead

[bot]
host = "127.0.0.1"
port = 8080
web_chat = true               # serve the web chat at / to everyone who can reach it

[slack]
mode = "off"                  # "socket" or "http"; `understudy slack manifest` prints the manifest
# admins = ["U0123456789"]
# Set the tokens in the environment: UNDERSTUDY_SLACK_BOT_TOKEN, UNDERSTUDY_SLACK_APP_TOKEN
# (Socket Mode), UNDERSTUDY_SLACK_SIGNING_SECRET (HTTP).
"""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
def init(folder: Path) -> None:
    """Write understudy.toml to FOLDER (default: the current folder) and create the store."""
    from data.config.settings import FILE_NAME, check_name, load
    from data.store.db import Store

    file = folder / FILE_NAME
    if file.exists():
        raise Conflict(f"{file} already exists; nothing was changed.")
    check_name(folder.resolve())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(TEMPLATE, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror}.") from error
    settings = load(file)
    Store(settings.store_path).close()
    terminal.echo(f"Wrote {file} and created the store {settings.store_path}.")
    if folder.resolve() != Path.cwd():
        terminal.echo(f"Change to the folder:  cd {folder}")
    terminal.echo("Next:  understudy domains add NAME         add a domain, a topic to answer")
    terminal.echo("       understudy pairs import NAME FILE   import its training pairs")
    terminal.echo("       understudy tune NAME                train its first adapter")
    terminal.echo("       understudy adapters promote NAME@1  make the adapter live")
    terminal.echo("       understudy up                       run everything")
