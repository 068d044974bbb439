"""`understudy chat`: talk to a domain in the terminal."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING

import click

from bot.cli import terminal
from bot.cli.context import App, pass_app
from data import domains
from data.store.errors import UnderstudyError

if TYPE_CHECKING:
    from bot.answering.events import Event, Started

NOTICE_AFTER_S = 3.0  # how long to wait for the first word before showing a notice


@click.command()
@click.argument("domain", required=False)
@click.option("--adapter", help="Use this adapter, such as helpdesk@2 or helpdesk@base.")
@pass_app
def chat(app: App, domain: str | None, adapter: str | None) -> None:
    """Talk to DOMAIN, or to the default domain.

    Answers come from the adapter if an engine is running (`understudy up` starts one), and
    otherwise from the approved pairs, word for word.
    """
    db = app.store.db
    named = domain or (adapter.partition("@")[0] if adapter else None)
    subject = domains.get(db, named) if named else domains.default(db)
    terminal.echo(f"Talking to {subject.title}. To exit, enter an empty line or press Ctrl-D.")
    _talk(app, subject, adapter)


def _talk(app: App, subject: domains.Domain, adapter: str | None) -> None:
    """Read questions and print answers in turn. The event loop does not run while a question is
    typed, so that Ctrl-C ends the input immediately."""
    from bot.answering.chat import Chat
    from bot.answering.prompt import Ask
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
                    runner.run(_print_answer(talk.answer(ask), subject=subject.name))
                except UnderstudyError as error:
                    terminal.secho(f"\n{error}", fg="red", err=True)
        finally:
            runner.run(engine.close())


async def _print_answer(
    answer: "AsyncGenerator[Event, None]",
    notice_after_s: float = NOTICE_AFTER_S,
    subject: str = "bot",
) -> None:
    """Print an answer while it is written, and a notice if its first word takes longer than
    `notice_after_s` seconds. `subject` is who speaks where no adapter does."""
    from bot.answering.events import Delta, Started, fallback_note

    note, begun = "", None
    waiting = "Waiting for an engine. To see its state: `understudy status` in another terminal."
    notice = asyncio.get_running_loop().call_later(
        notice_after_s, partial(terminal.secho, waiting, dim=True)
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(notice.cancel)
        events = await stack.enter_async_context(contextlib.aclosing(answer))
        async for event in events:
            notice.cancel()
            if isinstance(event, Started):
                note = fallback_note(event.adapter, event.instead_of)
                begun = event
                terminal.secho(f"{event.adapter or subject}: ", bold=True, nl=False)
            elif isinstance(event, Delta):
                terminal.echo(event.text, nl=False)
    terminal.echo()
    if note:
        terminal.secho(note, dim=True)
    for line in _below(begun) if begun is not None else ():
        terminal.secho(line, dim=True)


def _below(started: "Started") -> list[str]:
    """The lines under an answer: its sources, or the questions to ask instead."""
    from bot.answering import source_wording

    if started.suggestions:
        asked = [f"  {question}" for question in started.suggestions]
        return [f"{source_wording.SUGGESTIONS}:", *asked]
    if not started.sources or started.outcome == "declined":
        return []
    title = source_wording.heading(started.outcome, started.layout, uncertain=started.uncertain)
    found = [f"  {s.prompt} ({source_wording.approval(s)})" for s in started.sources]
    return [f"{title}:", *found]


def _question() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
