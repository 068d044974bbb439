"""`understudy init`: a settings file to edit, and an empty store."""

from pathlib import Path

import click

from data.store.errors import Conflict, Unavailable

TEMPLATE = """\
# Understudy's settings. Every one can also be given as UNDERSTUDY_SECTION_KEY in the environment,
# secrets also as UNDERSTUDY_SECTION_KEY_FILE, the path of a file that holds them.
# `understudy doctor` says what is missing.

home = "."                    # the store, adapter files and logs; relative to this file

[base]
model = "pocket"              # the small model that is shipped; for real use name a local folder
                              # or a model on a hub, such as "Qwen/Qwen3-4B-Instruct-2507"

[tuning]
auto_retrain_pairs = 0        # queue a retrain after so many newly approved pairs; 0: never

[gate]
margin = 0.02                 # token F1 that a new adapter may lose on what it knew

[serving]
port = 8100                   # vLLM, on loopback only
max_model_len = 1024          # tokens of a question with its history and answer
replicas = 1                  # engines; with two or more a restart or a crash is not noticed
# url = "http://127.0.0.1:8100"   # an engine that somebody else runs

[bot]
host = "127.0.0.1"
port = 8080
web_chat = true               # the page at / answers whoever can reach it

[slack]
mode = "off"                  # "socket" or "http"; `understudy slack manifest` helps to set it up
# admins = ["U0123456789"]
# The tokens belong into the environment: UNDERSTUDY_SLACK_BOT_TOKEN, UNDERSTUDY_SLACK_APP_TOKEN
# (Socket Mode), UNDERSTUDY_SLACK_SIGNING_SECRET (HTTP).
"""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
def init(folder: Path) -> None:
    """Write understudy.toml into FOLDER (here by default) and make the store."""
    from data.config.settings import FILE_NAME, load
    from data.store.db import Store

    file = folder / FILE_NAME
    if file.exists():
        raise Conflict(f"{file} is there already; nothing was changed.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(TEMPLATE, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror}.") from error
    settings = load(file)
    Store(settings.store_path).close()
    click.echo(f"Wrote {file} and made the store {settings.store_path}.")
    if folder.resolve() != Path.cwd():
        click.echo(f"Go there first:  cd {folder}")
    click.echo("Next:  understudy domains add NAME        a subject to answer on")
    click.echo("       understudy pairs import NAME FILE  what it should know")
    click.echo("       understudy tune NAME               its first adapter")
    click.echo("       understudy adapters promote NAME@1 make it answer")
    click.echo("       understudy up                      run everything")
