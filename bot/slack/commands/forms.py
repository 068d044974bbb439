"""Opens forms: the menu, the arguments of a command, confirmations, the review.

The content of a form is read from the store, after the role check. A form changes nothing until it
is sent. A form that is already open is updated in place.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Any

from sqlite_utils import Database

from bot.commands import admin, commands, grammar, roles
from bot.commands.registry import Command
from bot.commands.requester import Requester
from bot.slack.client.stream import SlackPlace
from bot.slack.commands import argument_forms, delivery
from bot.slack.handlers import review, unanswered_form
from bot.slack.render import admin_forms, reports
from bot.slack.render.admin_forms import Origin
from bot.slack.render.blocks import Block, section, sentence
from bot.slack.workspace import views
from bot.slack.workspace.context import WorkspaceContext
from data import domains
from data.adapters import registry
from data.domains import Domain
from data.experiments import experiments
from data.privacy import erasure
from data.store.errors import Invalid, UnderstudyError

log = logging.getLogger(__name__)

LOOKUP_S = 1.0  # for the person's profile, of the three seconds in which a form can be opened
WAITING = "One moment, Slack has not told me yet who you are…"
ASK_FIRST = (commands.Promote, commands.Forget)
OPENING = (
    commands.Menu,
    commands.ReviewCommand,
    commands.AnswerUnanswered,
    commands.Incomplete,
    *ASK_FIRST,
)


def needs_confirmation(command: Command) -> bool:
    """Whether a typed command is confirmed in a form before it runs."""
    return isinstance(command, ASK_FIRST)


def changes(command: Command) -> bool:
    """Whether the command changes something, so that it is queued."""
    return not isinstance(command, commands.Incomplete) and command.verb.effect == "change"


def opens_form(command: Command) -> bool:
    """Whether the command opens a form."""
    return isinstance(command, OPENING)


async def open_for(
    workspace: WorkspaceContext,
    place: SlackPlace,
    where: Origin,
    command: Command,
    trigger: str,
    view_id: str = "",
) -> None:
    """Open the form of a command, or turn the open one into it. If it cannot be opened, tell the
    person why; in the menu, if that is open."""
    async with workspace.report_errors(place, where.response_url):
        looking = asyncio.create_task(workspace.roles.requester(place.team, place.user))
        await asyncio.wait({looking}, timeout=LOOKUP_S)
        waiting = "" if looking.done() or view_id else await _open_waiting(workspace, trigger)
        requester = await looking
        try:
            view = await _content(workspace, place, where, command, requester)
        except UnderstudyError as error:
            said = [section(sentence(str(error)))]
            if waiting:
                await views.show(workspace, admin_forms.notice(said), "", waiting)
            elif not view_id or not await menu_updater(workspace, place, where, view_id)(said):
                raise
            return
        await views.show(workspace, view, trigger, waiting or view_id)


async def _open_waiting(workspace: WorkspaceContext, trigger: str) -> str:
    """Open a form that says to wait, while its trigger is valid. Returns its id."""
    return await views.show(workspace, admin_forms.notice([section(WAITING)]), trigger)


async def _content(
    workspace: WorkspaceContext,
    place: SlackPlace,
    where: Origin,
    command: Command,
    requester: Requester,
) -> Block:
    """The form of a command. Raises an UnderstudyError."""
    store = workspace.service.store

    def build(db: Database) -> Block:
        roles.check(db, requester, command.needs)
        return _form(db, workspace, place, where, command, requester)

    if isinstance(command, commands.AnswerUnanswered):
        await store.read(lambda db: roles.check(db, requester, command.needs))
        name = command.domain or where.domain
        subject = await store.read(lambda db: _domain(db, place, name, requester))
        return await unanswered_form.next_form(workspace, replace(where, domain=subject.name))
    # a review takes a lease, so it is a write
    if isinstance(command, commands.ReviewCommand):
        return await review.with_older_answer(workspace, await store.submit(build))
    return await store.read(build)


async def confirmation_form(
    workspace: WorkspaceContext, place: SlackPlace, where: Origin, command: Command
) -> Block:
    """The form that asks for the confirmation of a command. Raises an UnderstudyError."""
    requester = await workspace.roles.requester(place.team, place.user)

    def build(db: Database) -> Block:
        roles.check(db, requester, command.needs)
        return _form(db, workspace, place, where, command, requester)

    return await workspace.service.store.read(build)


def menu_updater(
    workspace: WorkspaceContext, place: SlackPlace, where: Origin, view_id: str
) -> delivery.Show:
    """Shows a result in the open menu; False if the menu was closed."""

    async def shown(said: list[Block]) -> bool:
        requester = await workspace.roles.requester(place.team, place.user)
        read = workspace.service.store.read
        try:
            view = await read(lambda db: _menu(db, workspace, place, where, requester, said))
            await views.show(workspace, view, "", view_id)
        except UnderstudyError as error:  # the form is gone, or nothing is shown to this person
            log.info("%s", error)
            return False
        return True

    return shown


async def domain_chosen(workspace: WorkspaceContext, ack: Any, body: dict[str, Any]) -> None:
    """Another domain was chosen in the menu."""
    await ack()
    view, place = body["view"], _place(body)
    chosen = str((body["actions"][0].get("selected_option") or {}).get("value") or "")
    where = replace(admin_forms.origin(view), domain=chosen)
    workspace.tasks.start(_redraw(workspace, place, where, str(view["id"])), "menu")


async def _redraw(
    workspace: WorkspaceContext, place: SlackPlace, where: Origin, view_id: str
) -> None:
    async with workspace.report_errors(place, where.response_url):
        await menu_updater(workspace, place, where, view_id)([])


def _place(body: dict[str, Any]) -> SlackPlace:
    where = admin_forms.origin(body["view"])
    team = str((body.get("team") or {}).get("id") or "")
    return SlackPlace(team, where.channel, where.thread_ts, str(body["user"]["id"]))


def _form(
    db: Database,
    workspace: WorkspaceContext,
    place: SlackPlace,
    where: Origin,
    command: Command,
    requester: Requester,
) -> Block:
    match command:
        case commands.Menu():
            return _menu(db, workspace, place, where, requester, [])
        case commands.Promote():
            return _ask_promotion(db, place, where, command, requester)
        case commands.Forget():
            return _ask_deletion(db, where, command)
        case commands.Incomplete():
            domain = _domain(db, place, command.domain or where.domain, requester)
            return argument_forms.form(db, where, domain, command)
        case commands.ReviewCommand():
            named = domains.get(db, command.domain).name if command.domain else ""
            return review.next_form(db, replace(where, domain=named), requester.person)
    raise Invalid("This command opens no form.")


def _menu(
    db: Database,
    workspace: WorkspaceContext,
    place: SlackPlace,
    where: Origin,
    requester: Requester,
    result: list[Block],
) -> Block:
    roles.check(db, requester, "member")
    domain = _domain(db, place, where.domain, requester)
    head = reports.domain_state(admin.domain_status(db, domain))
    role = roles.role_of(db, requester)
    chosen = replace(where, domain=domain.name)
    return admin_forms.menu(role, chosen, domains.list_domains(db), head, result)


def _domain(db: Database, place: SlackPlace, name: str | None, requester: Requester) -> Domain:
    """The domain of that name, or the one that answers in this place. Raises NotFound."""
    if name:
        return domains.get(db, name)
    return domains.answering(db, requester.person, place.team, place.channel)


def _ask_promotion(
    db: Database, place: SlackPlace, where: Origin, command: commands.Promote, requester: Requester
) -> Block:
    domain = _domain(db, place, command.domain, requester)
    adapter = registry.get(db, command.version, domain)
    admin.refuse_promotion(db, domain, adapter)
    said = reports.before_promotion(
        adapter, registry.live(db, domain.id), experiments.running(db, domain.id)
    )
    asked = replace(where, command=f"promote {adapter.name} --yes", domain=domain.name)
    return admin_forms.confirmation(asked, "Promote?", said, "Promote")


def _ask_deletion(db: Database, where: Origin, command: commands.Forget) -> Block:
    asked = replace(where, command=grammar.spell(command))
    found = erasure.preview(db, command.person)
    said = reports.before_forgetting(command.person, found, retrain=command.retrain)
    return admin_forms.confirmation(asked, "Delete the data?", said, "Delete for good")
