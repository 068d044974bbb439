"""`understudy chat`: talk to a domain from the terminal, through the same flow as everyone."""

import asyncio
import secrets

import click

from bot.cli.context import App, pass_app
from data import domains
from data.errors import UnderstudyError


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
    asyncio.run(_talk(app, subject, adapter))


async def _talk(app: App, subject: domains.Domain, adapter: str | None) -> None:
    from bot.chat import Ask, Chat, Delta, Started
    from serving.client import EngineClient

    engine = EngineClient()
    talk = Chat(app.store, engine, app.settings)
    thread = f"cli:{secrets.token_hex(8)}"
    try:
        while question := await asyncio.to_thread(_question):
            ask = Ask(
                person=app.actor, thread=thread, text=question, domain=subject, pinned=adapter
            )
            try:
                async for event in talk.answer(ask):
                    if isinstance(event, Started):
                        click.secho(f"{event.adapter}: ", bold=True, nl=False)
                    elif isinstance(event, Delta):
                        click.echo(event.text, nl=False)
                click.echo()
            except UnderstudyError as error:
                click.secho(f"\n{error}", fg="red", err=True)
    finally:
        await engine.close()


def _question() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
