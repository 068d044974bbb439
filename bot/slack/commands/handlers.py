"""Handlers for `/understudy`, buttons and forms.

The value of a button is a command, so all three go the same way. A command that changes something
is queued before Slack is acknowledged. It runs afterwards, once, and the role is checked at that
moment (`delivery.py`, `bot/commands/executor.py`). The result of a command that only shows
something is looked up and delivered. A command that opens a form opens it at once, because Slack
allows that for three seconds.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from sqlite_utils import Database

from bot.commands import commands, executor
from bot.commands.perform import Context
from bot.commands.registry import Command
from bot.slack.client.stream import SlackPlace
from bot.slack.commands import argument_forms, delivery, dialect, forms
from bot.slack.payloads import place_of, team_of
from bot.slack.render import admin_forms, blocks, form_fields, results
from bot.slack.render.admin_forms import Origin
from bot.slack.render.blocks import Block
from bot.slack.workspace.context import WorkspaceContext
from data.command_queue import Audience, DeliveryAddress
from data.slack import question_queue
from data.store.clock import now_us
from data.store.errors import Invalid, UnderstudyError

Ack = Callable[..., Awaitable[Any]]
# `promote` and `start_comparison` are buttons in messages of early versions
BUTTON = re.compile(rf"^({admin_forms.COMMAND}:.*|promote|start_comparison)$")
FORM_S = 2.0  # to prepare the next form: Slack waits for three seconds in all
THINKING = "One moment, I am thinking…"


async def slash_command(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """`/understudy …`: acknowledged once it is understood and, if it changes something, queued."""
    place, response_url = place_of(body), str(body.get("response_url") or "")
    text, trigger = str(body.get("text") or ""), str(body.get("trigger_id") or "")
    try:
        command = dialect.parse(text, place.team)
        if isinstance(command, commands.AskPrivately):
            await ask(workspace, place, response_url, command.question, trigger)
            await ack(response_type="ephemeral", text=THINKING)
            workspace.queue.wake()
            return
        command_id = None
        if forms.changes(command) and not forms.needs_confirmation(command):
            key = f"command:{trigger}"
            command_id = await _enqueue(workspace, place, key, command, response_url)
            if command_id is None:
                await ack()
                return
    except UnderstudyError as error:
        await ack(response_type="ephemeral", text=blocks.sentence(str(error)))
        return
    await ack()
    where = Origin(place.channel, "", response_url)
    if command_id is not None:
        workspace.tasks.start(delivery.deliver(workspace, command_id), f"command {command_id}")
    elif forms.opens_form(command):
        workspace.tasks.start(forms.open_for(workspace, place, where, command, trigger), "form")
    else:
        workspace.tasks.start(_show(workspace, place, response_url, command), "command")


async def command_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A button whose value is a command. The result goes to the message's thread, to the form that
    has the button, or, from the Home tab, to direct messages."""
    view = body.get("view") or {}
    where = admin_forms.origin(view) if view.get("type") == "modal" else None
    place = place_of(body)
    if where is not None:
        place = SlackPlace(place.team, where.channel, where.thread_ts, place.user)
    response_url = where.response_url if where else str(body.get("response_url") or "")
    text, trigger = str(body["actions"][0].get("value") or ""), str(body.get("trigger_id") or "")
    try:
        command = dialect.parse(text, place.team)
        command_id = None
        if forms.changes(command):
            audience: Audience = "thread" if body.get("message") else "private"
            command_id = await _enqueue(
                workspace, place, f"click:{trigger}", command, response_url, audience
            )
            if command_id is None:
                await ack()
                return
    except UnderstudyError as error:
        await ack()
        workspace.tasks.start(workspace.tell(place, str(error), response_url), "refusal")
        return
    await ack()
    show = forms.menu_updater(workspace, place, where, str(view.get("id"))) if where else None
    if command_id is not None:
        workspace.tasks.start(
            delivery.deliver(workspace, command_id, show), f"command {command_id}"
        )
    elif forms.opens_form(command):
        origin = where or Origin(place.channel, place.thread_ts, response_url)
        view_id = str(view["id"]) if where else ""
        work = forms.open_for(workspace, place, origin, command, trigger, view_id)
        workspace.tasks.start(work, "form")
    else:
        workspace.tasks.start(_show(workspace, place, response_url, command, show), "button")


async def confirmation(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A form that asked before a command was confirmed: queue the command, then close the form."""
    view = body["view"]
    where, user = admin_forms.origin(view), str(body["user"]["id"])
    place = SlackPlace(team_of(body), where.channel, where.thread_ts, user)
    key = f"form:{view['id']}"
    try:
        command = dialect.parse(where.command, place.team)
        command_id = await _enqueue(workspace, place, key, command, where.response_url)
    except UnderstudyError as error:
        failed = [blocks.section(blocks.sentence(str(error)))]
        again = admin_forms.confirmation(where, "Not done", failed, "Try again")
        await ack(response_action="update", view=again)
        return
    await ack()
    if command_id is not None:
        workspace.tasks.start(delivery.deliver(workspace, command_id), f"command {command_id}")


async def argument_form_sent(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A form with the arguments of a command was sent: queue the command, then close the form. If
    the command needs a confirmation, show the form that asks for it instead."""
    view = body["view"]
    where, text = admin_forms.origin(view), argument_forms.command(view)
    place = SlackPlace(team_of(body), where.channel, where.thread_ts, str(body["user"]["id"]))
    command_id = None
    try:
        command = dialect.parse(text, place.team)
        if forms.needs_confirmation(command):
            async with asyncio.timeout(FORM_S):
                asking = await forms.confirmation_form(workspace, place, where, command)
            await ack(response_action="update", view=asking)
            return
        command_id = await _enqueue(
            workspace, place, f"form:{view['id']}", command, where.response_url
        )
    except (UnderstudyError, TimeoutError) as error:
        said = "That took too long. Send it again in a moment."
        problem = said if isinstance(error, TimeoutError) else blocks.plain(str(error))
        await ack(response_action="errors", errors={argument_forms.first_input(view): problem})
        return
    await ack()
    if command_id is not None:
        workspace.tasks.start(delivery.deliver(workspace, command_id), f"command {command_id}")


async def question_form_sent(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A question was sent from the menu."""
    view = body["view"]
    where, question = admin_forms.origin(view), form_fields.typed(view, admin_forms.QUESTION)
    place = SlackPlace(team_of(body), where.channel, where.thread_ts, str(body["user"]["id"]))
    if not question:
        await ack()
        return
    try:
        text = blocks.escape(question)  # as Slack writes what is typed elsewhere
        await ask(workspace, place, where.response_url, text, name=str(view["id"]))
    except UnderstudyError as error:
        await ack(response_action="errors", errors={admin_forms.QUESTION: blocks.plain(str(error))})
        return
    await ack()
    workspace.queue.wake()


async def ask(
    workspace: WorkspaceContext, place: SlackPlace, response_url: str, question: str, name: str = ""
) -> None:
    """Queue a question that only its author sees the answer to. `name` is Slack's id of the command
    or form, so that the question is asked once."""
    ts = f"ask/{place.user}/{name or now_us()}"
    await workspace.service.store.submit(
        lambda db: question_queue.add(
            db,
            team=place.team,
            channel=place.channel,
            ts=ts,
            thread_ts=ts,
            user=place.user,
            text=question,
            response_url=response_url,
        )
    )


async def _enqueue(
    workspace: WorkspaceContext,
    place: SlackPlace,
    key: str,
    command: Command,
    response_url: str,
    audience: Audience = "private",
) -> int | None:
    """Queue a command; None when it was queued before. Raises Invalid for one that changes
    nothing, StoreBusy, StoreFull."""
    if not forms.changes(command):
        raise Invalid("This is not a command that can be confirmed.")
    address = DeliveryAddress(place.team, place.channel, place.thread_ts, response_url)
    return await workspace.service.store.submit(
        lambda db: executor.enqueue(
            db, command, key=key, user=place.user, address=address, audience=audience
        )
    )


async def _show(
    workspace: WorkspaceContext,
    place: SlackPlace,
    response_url: str,
    command: Command,
    show: delivery.Show | None = None,
) -> None:
    """Look up what a command shows, and deliver it."""
    async with workspace.report_errors(place, response_url):
        requester = await workspace.roles.requester(place.team, place.user)
        settings = workspace.service.settings

        def look(db: Database) -> list[Block]:
            context = Context(db, settings, requester, place.team, place.channel)
            result = executor.run(context, command)
            return results.blocks(result, settings.slack, requester)

        try:
            said = await workspace.service.store.read(look)
        except UnderstudyError as error:
            said = [blocks.section(blocks.sentence(str(error)))]
        if show is None or not await show(said):
            await workspace.respond(place, response_url, said)
