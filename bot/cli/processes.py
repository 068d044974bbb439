"""`understudy up`, and its parts `serve`, `worker` and `bot`."""

import click

from bot.cli.context import App, base_option, pass_app, threads_option, with_threads


@click.command()
@base_option
@pass_app
def up(app: App) -> None:
    """Run the engine, the tuning worker and the bot, and restart any that crashes.

    Ctrl-C stops all of them.
    """
    from bot.runtime.supervisor import Supervisor

    _protected(app)
    environ = {"UNDERSTUDY_BASE_MODEL": app.settings.base.model} if app.base else {}
    raise SystemExit(Supervisor(app.settings, environ=environ).run())


@click.command()
@base_option
@pass_app
def serve(app: App) -> None:
    """Run the vLLM engines on loopback, and load the adapters that the store lists.

    When it is stopped, the engines finish the answers that they are writing.
    """
    _protected(app)
    from serving import serve as serving

    raise SystemExit(serving.run(app.settings, stop=None))


@click.command()
@click.option("--once", is_flag=True, help="Exit when the queue is empty.")
@threads_option
@base_option
@pass_app
def worker(app: App, once: bool, threads: int | None) -> None:
    """Run the tuning worker, which executes each queued run in a separate process."""
    _protected(app)
    from tuning.worker import worker as tuning

    raise SystemExit(tuning.run(with_threads(app.settings, threads), once=once))


@click.command()
@pass_app
def bot(app: App) -> None:
    """Run the bot: the HTTP API, the web chat and, if configured, Slack."""
    _protected(app)
    from bot import app as http

    raise SystemExit(http.run(app.settings))


def _protected(app: App) -> None:
    """Open the store, and make the home folder private. Raises NotFound when there is no store."""
    from data import private_files

    _ = app.store
    private_files.protect(app.settings)
