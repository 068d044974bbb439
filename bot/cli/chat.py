"""`understudy chat`: talk to a domain from the terminal, through the same flow as everyone."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING

import click

from bot.cli.context import App, pass_app
from data import domains
from data.store.errors import UnderstudyError

if TYPE_CHECKING:
    from bot.answering.chat import Event

SILENCE_S = 3.0  # without a word, before somebody wonders


@click.command()
@click.argument("domain", required=False)
@click.option("--adapter", help="A certain version, such as helpdesk@2 or helpdesk@base.")
@pass_app
def chat(app: App, domain: str | None, adapter: str | None) -> None:
    """Talk to DOMAIN (or the default one). The engine must be running: `understudy up`."""
    db = app.store.db
    named = domain or (adapter.partition("@")[0] if adapter else None)
    subject = domains.get(db, named) if named else domains.default(db)
    click.echo(f"Talking to {subject.title}. An empty line or Ctrl-D ends.")
    _talk(app, subject, adapter)


def _talk(app: App, subject: domains.Domain, adapter: str | None) -> None:
    """Ask and answer by turns. The event loop stands still while a question is typed, so that
    Ctrl-C ends the typing at once."""
    from bot.answering.chat import Ask, Chat
    from serving.client import EngineClient

    engine = EngineClient()
    talk = Chat(app.store, engine, app.settings)
    thread = f"cli:{secrets.token_hex(8)}"
    with asyncio.Runner() as runner:
        try:
            while question := _question():
                ask = Ask(
                    person=app.actor, thread=thread, text=question, domain=subject, pinned=adapter
                )
                try:
                    runner.run(_say(talk.answer(ask)))
                except UnderstudyError as error:
                    click.secho(f"\n{error}", fg="red", err=True)
        finally:
            runner.run(engine.close())


async def _say(answer: "AsyncGenerator[Event, None]", silence_s: float = SILENCE_S) -> None:
    """Print an answer as it comes. Whoever waits `silence_s` for its first word is told so."""
    from bot.answering.chat import Delta, Started, fallback_note

    note = ""
    waits = "Waiting for an engine; `understudy status` in another terminal shows how they are."
    told = asyncio.get_running_loop().call_later(silence_s, partial(click.secho, waits, dim=True))
    async with contextlib.AsyncExitStack() as leaving:
        leaving.callback(told.cancel)
        events = await leaving.enter_async_context(contextlib.aclosing(answer))
        async for event in events:
            told.cancel()
            if isinstance(event, Started):
                note = fallback_note(event.adapter, event.instead_of)
                click.secho(f"{event.adapter}: ", bold=True, nl=False)
            elif isinstance(event, Delta):
                click.echo(event.text, nl=False)
    click.echo()
    if note:
        click.secho(note, dim=True)


def _question() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
