"""The data controls of the Home tab: view, export, delete, and opt out of learning.

The buttons are on the Home tab (`home.py`), and replies go to the person's direct messages. After a
deletion, the admins are told which adapters to retrain, but not whose data was deleted.
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
from data.privacy.personal_data import PersonalDataSummary
from data.store.clock import iso
from data.store.errors import Unavailable, UnderstudyError

log = logging.getLogger(__name__)

Ack = Callable[..., Awaitable[Any]]
MAX_ADMINS = 5  # that are notified
CHANGING = (home.FORGET, home.LEARNING)  # the buttons that change something


async def privacy_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """One of the data buttons was pressed. A change is stored before the press is acknowledged."""
    action = body["actions"][0]
    action_id, value = str(action.get("action_id")), str(action.get("value") or "")
    place = SlackPlace(team_of(body), "", "", str(body["user"]["id"]))  # a direct message
    problem, withdrawn = None, 0
    if action_id in CHANGING:
        try:
            withdrawn = await workspace.service.store.submit(
                lambda db: _decide(db, person(place.team, place.user), action_id, value)
            )
        except UnderstudyError as error:
            problem = error
    await ack()
    workspace.tasks.start(_go_on(workspace, body, place, action_id, withdrawn, problem), action_id)


def _decide(db: Database, who: str, action_id: str, value: str) -> int:
    """Store the change. Returns how many pending pairs were withdrawn."""
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
    async with workspace.report_errors(place):
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
    seen = await workspace.service.store.read(lambda db: personal_data.summarise(db, who))
    try:
        await workspace.api.quick.views_open(trigger_id=str(body["trigger_id"]), view=summary(seen))
    except Transport as error:
        code = failure(error).code
        raise Unavailable(f"Slack could not open the form ({code}). Please try again.") from error


def summary(seen: PersonalDataSummary) -> Block:
    """A form without inputs that summarises what is stored about a person."""
    figures = {
        "questions": seen.questions,
        "👍 and 👎": seen.thumbs,
        "comments": seen.reasons,
        "better answers": seen.corrections,
        **{f"pairs, {status}": count for status, count in seen.pairs.items() if count},
    }
    lines = "\n".join(f"• {name}: {count:,}" for name, count in figures.items())
    since = f" since {iso(seen.since)[:10]}" if seen.since else ""
    return {
        "type": "modal",
        "title": form_fields.plain("What I store about you"),
        "close": form_fields.plain("Close"),
        "blocks": [
            section(f"*Stored{since}*\n{lines}"),
            section(
                "These are your questions with their answers, your feedback, and the training "
                "pairs made from it. *Export* sends you the full text."
            ),
            context(f"You are stored as `{seen.person}`, without your name."),
        ],
    }


async def _export(workspace: WorkspaceContext, place: SlackPlace) -> None:
    who = person(place.team, place.user)
    found = await workspace.service.store.read(
        lambda db: orjson.dumps(personal_data.export(db, who), option=orjson.OPT_INDENT_2)
    )
    posted = await workspace.post(
        place.user, [section("Here is everything that I store about you, as JSON.")]
    )
    name = f"understudy-{place.user}.json"
    if posted is None or not await upload.file(workspace, found, name, name, posted[0]):
        raise Unavailable("Slack did not accept the file. Please try again in a minute.")


async def _tell_learning(workspace: WorkspaceContext, place: SlackPlace, withdrawn: int) -> None:
    if withdrawn:
        what = "one suggestion" if withdrawn == 1 else f"{withdrawn} suggestions"
        text = f"I no longer learn from you. I withdrew {what} of yours from review."
        await workspace.tell(place, text)
    await home.publish(workspace, place.team, place.user)


async def _forget(workspace: WorkspaceContext, place: SlackPlace) -> None:
    who = person(place.team, place.user)
    service = workspace.service
    done = await erasure.erase_person(service.store, service.settings.home, who, who)
    await workspace.respond(place, "", forgotten(done))
    await home.publish(workspace, place.team, place.user)
    if done.adapters or done.runs:
        for admin in await service.store.read(lambda db: _admins(db, workspace, place.team)):
            await workspace.post(admin, retrain_notice(done))


def _admins(db: Database, workspace: WorkspaceContext, team: str) -> list[str]:
    """User ids of the workspace's admins, starting with those named in the settings."""
    here = f"slack:{team}/"
    admins = [g.person for g in roles.list_grants(db) if g.role == "admin"]
    granted = [p.removeprefix(here) for p in admins if p.startswith(here)]
    slack = workspace.service.settings.slack
    own = slack.admins if workspace.token == slack.bot_token.get_secret_value() else ()
    return list(dict.fromkeys([*own, *granted]))[:MAX_ADMINS]


def forgotten(done: ErasureReceipt) -> list[Block]:
    """What the person is told after a deletion, including what could not be deleted."""
    lines = [
        f"I have deleted your data. Removed from the database and its files: {done.figures}.",
        "The counts of A/B comparisons stay, under a digest instead of your name. I recognise you "
        "by it if you come back, so that nobody counts twice.",
    ]
    if done.adapters:
        names = ", ".join(done.adapters)
        lines.append(
            f"Trained on your words: {names}. I am asking the admins to retrain without them."
        )
    lines.append(
        "Messages in Slack stay until you delete them. I cannot reach backups made before today."
    )
    return [section("\n".join(lines)), context(f"receipt {done.receipt}")]


def retrain_notice(done: ErasureReceipt) -> list[Block]:
    """What admins are told after a deletion, without naming the person."""
    lines = ["A person had their data deleted."]
    if done.adapters:
        lines.append(
            f"These versions were trained on it: {', '.join(done.adapters)}. "
            "`/understudy retrain --full` trains one without it. Then the old ones can be removed."
        )
    if done.runs:
        numbers = ", ".join(str(number) for number in done.runs)
        lines.append(f"Cancelled because they trained on it: run {numbers}. Please start again.")
    return [section("\n".join(lines)), context(f"receipt {done.receipt}")]
