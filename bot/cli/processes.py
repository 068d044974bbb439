"""`understudy up`, and its three parts one by one: `serve`, `worker`, `bot`."""

import click

from bot.cli.context import App, pass_app


@click.command()
@pass_app
def up(app: App) -> None:
    """Run the engine, the tuning worker and the bot; restart what crashes; Ctrl-C stops all."""
    from bot.runtime.supervisor import Supervisor

    _ = app.store  # made by init; says so when it is missing
    raise SystemExit(Supervisor(app.settings).run())


@click.command()
@pass_app
def serve(app: App) -> None:
    """Run vLLM on loopback, or several, and make each hold the adapters that the store says.

    Ends when it is told to, once the answers that are being written have ended.
    """
    _ = app.store
    from serving import serve as serving

    raise SystemExit(serving.run(app.settings, stop=None))


@click.command()
@click.option("--once", is_flag=True, help="Do what is queued, then end.")
@pass_app
def worker(app: App, once: bool) -> None:
    """Take queued tuning runs and do each in a process of its own."""
    _ = app.store
    from tuning.worker import worker as tuning

    raise SystemExit(tuning.run(app.settings, once=once))


@click.command()
@pass_app
def bot(app: App) -> None:
    """Answer over HTTP and, when it is set up, in Slack."""
    _ = app.store
    from bot import app as http

    raise SystemExit(http.run(app.settings))
