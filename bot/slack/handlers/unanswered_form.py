"""The form in which reviewers answer the questions that the bot declined, one group at a time.

The groups and what happens to them are those of every front end
(`bot/answering/unanswered_groups.py`). An answer is stored before Slack is acknowledged; the form
then shows the next group.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from bot.answering import unanswered_groups
from bot.answering.unanswered_groups import UnansweredGroup
from bot.commands import roles
from bot.slack.client.stream import SlackPlace
from bot.slack.payloads import team_of
from bot.slack.render import admin_forms, form_fields, unanswered_forms
from bot.slack.render.admin_forms import Origin
from bot.slack.render.blocks import Block, plain, sentence
from bot.slack.workspace import views
from bot.slack.workspace.context import STORE_BUSY, WorkspaceContext
from data import domains
from data.domains import Domain
from data.store.errors import Conflict, NotFound, UnderstudyError

Ack = Callable[..., Awaitable[Any]]
T = TypeVar("T")
STORE_WAIT_S = 2.0  # Slack waits three seconds for the answer to a form


async def next_form(
    workspace: WorkspaceContext, where: Origin, note: str = "", after: str = ""
) -> Block:
    """The form with the group after that id, or the first one. Raises NotFound."""
    domain = await _domain(workspace, where)
    found = await _off_loop(workspace, unanswered_groups.list_groups, domain, 0)
    group = _after(found, after)
    if group is not None:
        group = await _off_loop(workspace, unanswered_groups.with_draft, domain, group)
    return unanswered_forms.group_form(
        replace(where, domain=domain.name), group, domain.title, len(found), note
    )


async def answer_sent(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """The form was sent: the group becomes a pair."""
    view = body["view"]
    where = admin_forms.origin(view)
    response = form_fields.typed(view, unanswered_forms.ANSWER)
    question = form_fields.typed(view, unanswered_forms.QUESTION)
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            who = await _reviewer(workspace, body)
            domain = await _domain(workspace, where)
            group = await _off_loop(workspace, unanswered_groups.find, domain, where.command)
            own_words = "" if question.strip() == group.question.strip() else question
            pair = await _off_loop(
                workspace,
                unanswered_groups.answer,
                domain,
                where.command,
                response,
                who,
                own_words,
            )
            note = f":white_check_mark: Pair {pair.id} answers this from the next question on."
            shown = await next_form(workspace, where, note)
    except TimeoutError:
        await ack(response_action="errors", errors={unanswered_forms.ANSWER: STORE_BUSY})
    except UnderstudyError as error:
        await ack(response_action="errors", errors={unanswered_forms.ANSWER: plain(str(error))})
    else:
        await ack(response_action="update", view=shown)


async def group_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """Dismiss or Next was pressed."""
    verb, _, group_id = str(body["actions"][0].get("value") or "").partition(" ")
    view = body["view"]
    where = admin_forms.origin(view)
    try:
        who = await _reviewer(workspace, body)
        note = ""
        if verb == "dismiss":
            domain = await _domain(workspace, where)
            await _off_loop(workspace, unanswered_groups.dismiss, domain, group_id, who)
            note = ":no_entry_sign: Dismissed."
        shown = await next_form(workspace, where, note, group_id)
    except (Conflict, NotFound) as error:
        shown = await next_form(workspace, where, f":warning: {sentence(str(error))}")
    except UnderstudyError as error:
        shown = unanswered_forms.said(where, f":warning: {sentence(str(error))}")
    await ack()
    place = SlackPlace(team_of(body), where.channel, where.thread_ts, str(body["user"]["id"]))
    workspace.tasks.start(_update(workspace, place, where, str(view["id"]), shown), "unanswered")


def _after(found: list[UnansweredGroup], group_id: str) -> UnansweredGroup | None:
    """The group after that one; after the last one, the first."""
    ids = [group.id for group in found]
    start = ids.index(group_id) + 1 if group_id in ids else 0
    return found[start % len(found)] if found else None


async def _domain(workspace: WorkspaceContext, where: Origin) -> Domain:
    return await workspace.service.store.read(
        lambda db: domains.get(db, where.domain) if where.domain else domains.default(db)
    )


async def _off_loop(
    workspace: WorkspaceContext, work: Callable[..., T], domain: Domain, *more: object
) -> T:
    """Run a function of `unanswered_groups`, which blocks."""
    service = workspace.service
    return await asyncio.to_thread(work, service.store, service.chat.search, domain, *more)


async def _reviewer(workspace: WorkspaceContext, body: dict[str, Any]) -> str:
    """The person who pressed. Raises Forbidden unless they are a reviewer."""
    requester = await workspace.roles.requester(team_of(body), str(body["user"]["id"]))
    await workspace.service.store.read(lambda db: roles.check(db, requester, "reviewer"))
    return requester.person


async def _update(
    workspace: WorkspaceContext, place: SlackPlace, where: Origin, view_id: str, shown: Block
) -> None:
    async with workspace.report_errors(place, where.response_url):
        await views.show(workspace, shown, "", view_id)
