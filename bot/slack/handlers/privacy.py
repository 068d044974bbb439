"""What people decide about their data in Slack: see it, take it along, have it forgotten, be
learned from or not. The buttons are on the Home tab (`home.py`); answers go to the person's own
direct messages. Who can be asked to unlearn is told as well: the admins, without saying whose data
it was.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from sqlite_utils import Database

from bot.slack.client.stream import SlackPlace
from bot.slack.client.web_api import Transport, failure
from bot.slack.handlers import home
from bot.slack.payloads import person, team_of
from bot.slack.render import form_fields
from bot.slack.render.blocks import Block, context, section
from bot.slack.workspace import upload
from bot.slack.workspace.context import WorkspaceContext
from data.people import roles
from data.privacy import erasure, opt_out, personal_data
from data.privacy.erasure import ErasureReceipt
from data.privacy.personal_data import Seen
from data.store.clock import iso
from data.store.errors import Unavailable, UnderstudyError

log = logging.getLogger(__name__)

Ack = Callable[..., Awaitable[Any]]
MOST_ADMINS = 5  # that are told
DECIDING = (home.FORGET, home.LEARNING)


async def privacy_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """One of the buttons on the Home tab. What it decides is stored before it is acknowledged."""
    action = body["actions"][0]
    action_id, value = str(action.get("action_id")), str(action.get("value") or "")
    place = SlackPlace(team_of(body), "", "", str(body["user"]["id"]))  # told in direct messages
    problem, withdrawn = None, 0
    if action_id in DECIDING:
        try:
            withdrawn = await workspace.service.store.submit(
                lambda db: _decide(db, person(place.team, place.user), action_id, value)
            )
        except UnderstudyError as error:
            problem = error
    await ack()
    workspace.tasks.start(_go_on(workspace, body, place, action_id, withdrawn, problem), action_id)


def _decide(db: Database, who: str, action_id: str, value: str) -> int:
    """Returns how many waiting pairs were withdrawn."""
    if action_id == home.FORGET:
        erasure.begin(db, who, who)
    elif value == "on":
        opt_out.opt_in(db, who)
    else:
        return opt_out.opt_out(db, who)
    return 0


async def _go_on(
    workspace: WorkspaceContext,
    body: dict[str, Any],
    place: SlackPlace,
    action_id: str,
    withdrawn: int,
    problem: UnderstudyError | None,
) -> None:
    async with workspace.telling(place):
        if problem is not None:
            raise problem
        if action_id == home.SEE:
            await _see(workspace, body, place)
        elif action_id == home.EXPORT:
            await _export(workspace, place)
        elif action_id == home.FORGET:
            await _forget(workspace, place)
        else:
            await _tell_learning(workspace, place, withdrawn)


async def _see(workspace: WorkspaceContext, body: dict[str, Any], place: SlackPlace) -> None:
    who = person(place.team, place.user)
    seen = await workspace.service.store.read(lambda db: personal_data.see(db, who))
    try:
        await workspace.api.quick.views_open(trigger_id=str(body["trigger_id"]), view=summary(seen))
    except Transport as error:
        code = failure(error).code
        raise Unavailable(f"Slack did not open it ({code}). Please try again.") from error


def summary(seen: Seen) -> Block:
    """What there is of somebody, as a form without inputs."""
    figures = {
        "questions": seen.questions,
        "thumbs": seen.thumbs,
        "reasons": seen.reasons,
        "better answers": seen.corrections,
        **{f"pairs, {status}": count for status, count in seen.pairs.items() if count},
    }
    lines = "\n".join(f"• {name}: {count:,}" for name, count in figures.items())
    since = f" since {iso(seen.since)[:10]}" if seen.since else ""
    return {
        "type": "modal",
        "title": form_fields.plain("What I keep of you"),
        "close": form_fields.plain("Close"),
        "blocks": [
            section(f"*Kept{since}*\n{lines}"),
            section(
                "Your questions with their answers, what you said about answers, and the pairs "
                "that were made of it. `Export` sends you every word."
            ),
            context(f"You are kept as `{seen.person}`, with no name."),
        ],
    }


async def _export(workspace: WorkspaceContext, place: SlackPlace) -> None:
    who = person(place.team, place.user)
    found = await workspace.service.store.read(
        lambda db: orjson.dumps(personal_data.export(db, who), option=orjson.OPT_INDENT_2)
    )
    posted = await workspace.post(
        place.user, [section("Here is everything I keep of you, as JSON.")]
    )
    name = f"understudy-{place.user}.json"
    if posted is None or not await upload.file(workspace, found, name, name, posted[0]):
        raise Unavailable("Slack did not take the file. Please try again in a minute.")


async def _tell_learning(workspace: WorkspaceContext, place: SlackPlace, withdrawn: int) -> None:
    if withdrawn:
        many = "A suggestion of yours" if withdrawn == 1 else f"{withdrawn} suggestions of yours"
        waited = "waited for review and is" if withdrawn == 1 else "waited for review and are"
        await workspace.tell(place, f"I no longer learn from you. {many} {waited} withdrawn.")
    await home.publish(workspace, place.team, place.user)


async def _forget(workspace: WorkspaceContext, place: SlackPlace) -> None:
    who = person(place.team, place.user)
    service = workspace.service
    done = await erasure.erase_person(service.store, service.settings.home, who, who)
    await workspace.respond(place, "", forgotten(done))
    await home.publish(workspace, place.team, place.user)
    if done.adapters or done.runs:
        for admin in await service.store.read(lambda db: _admins(db, workspace, place.team)):
            await workspace.post(admin, to_unlearn(done))


def _admins(db: Database, workspace: WorkspaceContext, team: str) -> list[str]:
    """User ids of the workspace's admins, those of the settings first."""
    here = f"slack:{team}/"
    admins = [g.person for g in roles.list_grants(db) if g.role == "admin"]
    granted = [p.removeprefix(here) for p in admins if p.startswith(here)]
    slack = workspace.service.settings.slack
    own = slack.admins if workspace.token == slack.bot_token.get_secret_value() else ()
    return list(dict.fromkeys([*own, *granted]))[:MOST_ADMINS]


def forgotten(done: ErasureReceipt) -> list[Block]:
    """What the person is told. It is said what could not be reached."""
    lines = [
        f"I have forgotten you: {done.figures} are removed from the store and its files.",
        "Figures of comparisons stay under a random name that nobody can trace back to you.",
    ]
    if done.adapters:
        names = ", ".join(done.adapters)
        lines.append(f"{names} learned from your words; the admins know that it has to be redone.")
    lines.append(
        "What stands in Slack stays there until you delete it, and I cannot reach backups that "
        "were made before today."
    )
    return [section("\n".join(lines)), context(f"receipt {done.receipt}")]


def to_unlearn(done: ErasureReceipt) -> list[Block]:
    """What admins are told, without saying who it was."""
    lines = ["Somebody had their data forgotten."]
    if done.adapters:
        lines.append(
            f"These adapters learned from it: {', '.join(done.adapters)}. "
            "`/understudy retrain --full` makes one that did not; the old ones can be removed then."
        )
    if done.runs:
        numbers = ", ".join(str(number) for number in done.runs)
        lines.append(f"Run {numbers} was learning from it and is cancelled; ask for it again.")
    return [section("\n".join(lines)), context(f"receipt {done.receipt}")]
