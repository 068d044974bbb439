"""The Home tab: what the bot knows, what became of a person's feedback, and their controls.

It is built anew from the store each time it is opened and after each press, by a pure function of
what was read. Opening it many times while one is being published makes one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from bot.slack.client.stream import SlackPlace
from bot.slack.client.web_api import Transport, failure
from bot.slack.handlers import admin_home, recent_questions
from bot.slack.handlers.feedback import time_us
from bot.slack.handlers.recent_questions import Asked
from bot.slack.payloads import person, team_of
from bot.slack.render import form_fields
from bot.slack.render.blocks import Block, ago, context, escape, one_line, section, shorten
from bot.slack.workspace.context import WorkspaceContext
from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.pairs import datasets, pairs
from data.privacy import contributions, personal_data
from data.privacy.contributions import Contribution
from data.privacy.personal_data import Seen
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

Ack = Callable[..., Awaitable[Any]]
DOMAIN = "home_domain"
SEE, EXPORT, FORGET, LEARNING = "home_see", "home_export", "home_forget", "home_learning"
BUTTONS = (SEE, EXPORT, FORGET, LEARNING)
BY_DEFAULT = "*"  # the choice of no domain; it names none
MOST_FATES, MOST_DOMAINS = 8, 20
MOST_OPTIONS = 100  # of a menu
STORE_WAIT_S = 1.0  # then a press is acknowledged, stored or not yet: Slack waits three seconds


@dataclass(frozen=True)
class Subject:
    """A domain as people see it."""

    domain: Domain
    live: Adapter | None
    trained: int  # pairs that the live adapter learned from
    waiting: int  # pairs that wait for review


@dataclass(frozen=True)
class Page:
    """All that a person's Home tab shows."""

    seen: Seen
    subjects: list[Subject]
    answering: Domain | None  # in direct messages
    asked: list[Asked]
    contributions: list[Contribution]


# -- publishing ------------------------------------------------------------------------------


async def opened(workspace: WorkspaceContext, team: str, user: str) -> None:
    """Somebody looks at the Home tab."""
    place = SlackPlace(team, "", "", user)
    async with workspace.telling(place):
        await publish(workspace, team, user)


async def publish(workspace: WorkspaceContext, team: str, user: str) -> None:
    """Show the tab as things are now; a press while it is being shown is in it."""
    if user in workspace.showing_home:
        workspace.showing_home[user] = True
        return
    who = person(team, user)
    workspace.showing_home[user] = again = True
    try:
        while again:
            workspace.showing_home[user] = False
            page = await workspace.service.store.read(lambda db: read(db, who))
            shown = view(page, await admin_home.part(workspace, team, user))
            await workspace.api.in_turn(workspace.api.quick.views_publish, user_id=user, view=shown)
            again = workspace.showing_home[user]
    except Transport as error:
        log.info("A Home tab was not shown: %s", failure(error).code)
    finally:
        del workspace.showing_home[user]


async def domain_chosen(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """Another domain in the menu: stored, then acknowledged."""
    name = str((body["actions"][0].get("selected_option") or {}).get("value") or "")
    team, user = team_of(body), str(body["user"]["id"])
    problem = None
    try:
        await workspace.service.store.submit(lambda db: _choose(db, person(team, user), name))
    except UnderstudyError as error:
        problem = error
    await ack()
    workspace.tasks.start(_show_choice(workspace, team, user, problem), "choice")


def _choose(db: Database, who: str, name: str) -> None:
    if name == BY_DEFAULT:
        domains.unchoose(db, who)
    else:
        domains.choose(db, domains.get(db, name), who)


async def _show_choice(
    workspace: WorkspaceContext, team: str, user: str, problem: UnderstudyError | None
) -> None:
    async with workspace.telling(SlackPlace(team, "", "", user)):
        if problem is not None:
            raise problem
        await publish(workspace, team, user)


async def rating_outcomes(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """Whether an answer helped, said with one of the buttons: stored, acknowledged, shown."""
    action, team, user = body["actions"][0], team_of(body), str(body["user"]["id"])
    at = time_us(str(action.get("action_ts") or ""))

    def write(db: Database) -> None:
        reply_id, helped = recent_questions.helped_button(action)
        recent_questions.say(db, reply_id, person(team, user), helped, at)

    storing = asyncio.ensure_future(workspace.service.store.submit(write))
    await asyncio.wait([storing], timeout=STORE_WAIT_S)
    await ack()
    workspace.tasks.start(_show_judged(workspace, team, user, storing), "helped")


async def _show_judged(
    workspace: WorkspaceContext, team: str, user: str, storing: "asyncio.Future[None]"
) -> None:
    async with workspace.telling(SlackPlace(team, "", "", user)):
        try:
            await storing
        finally:
            await publish(workspace, team, user)


# -- reading ---------------------------------------------------------------------------------


def read(db: Database, who: str) -> Page:
    """What the person's tab shows now."""
    known = domains.list_domains(db)
    return Page(
        seen=personal_data.see(db, who),
        subjects=[_subject(db, domain) for domain in known],
        answering=domains.answering(db, who) if known else None,
        asked=recent_questions.read(db, who),
        contributions=contributions.contributions_of(db, who, MOST_FATES),
    )


def _subject(db: Database, domain: Domain) -> Subject:
    live = registry.live(db, domain.id)
    trained = 0
    if live is not None and live.dataset_id is not None:
        trained = datasets.by_id(db, live.dataset_id).train
    return Subject(domain, live, trained, pairs.counts(db, domain)["pending"])


# -- showing ---------------------------------------------------------------------------------


def view(page: Page, more: Sequence[Block] = ()) -> Block:
    """The tab as Slack takes it: at most 100 blocks. `more` is for reviewers and admins."""
    own = [
        *_knows(page),
        _header("Your recent questions"),
        *recent_questions.shown(page.asked),
        *_became(page),
        *_controls(page.seen),
    ]
    return {"type": "home", "blocks": [*own, *more]}


def _knows(page: Page) -> list[Block]:
    shown: list[Block] = [_header("What I know")]
    if page.answering is None:
        return [*shown, section("Nothing yet: no domain has been set up.")]
    shown += [section(_in_words(s)) for s in page.subjects[:MOST_DOMAINS]]
    if len(page.subjects) > MOST_DOMAINS:
        shown.append(context(f"… and {len(page.subjects) - MOST_DOMAINS} domains more"))
    if len(page.subjects) > 1:
        shown.append(_choice(page))
    prompts = "\n".join(f"• {escape(shorten(q, 200))}" for q in page.answering.suggested_prompts)
    if prompts:
        shown.append(section(f"*Ask me in Messages, for example*\n{prompts}"))
    return shown


def _in_words(subject: Subject) -> str:
    """`*the help desk*: helpdesk@3 answers. It went live 3 h ago, and learned from 120 pairs.`"""
    title = f"*{escape(shorten(subject.domain.title, 200))}*"
    said = "the bare model answers; nothing has been learned yet."
    if subject.live is not None:
        learned = f"learned from {_many(subject.trained, 'pair')}"
        since = f"went live {ago(subject.live.live_at)}, and " if subject.live.live_at else ""
        said = f"{subject.live.name} answers. It {since}{learned}."
    if subject.waiting:
        waits = "waits" if subject.waiting == 1 else "wait"
        said += f" {_many(subject.waiting, 'suggestion')} {waits} for review."
    return f"{title}: {said}"


def _choice(page: Page) -> Block:
    default = {"text": form_fields.plain("The usual one"), "value": BY_DEFAULT}
    options = [default]
    for subject in page.subjects[: MOST_OPTIONS - 1]:
        text = form_fields.plain(shorten(subject.domain.title, 75))
        options.append({"text": text, "value": subject.domain.name})
    initial = next((o for o in options if o["value"] == page.seen.domain), default)
    menu: Block = {
        "type": "static_select",
        "action_id": DOMAIN,
        "options": options,
        "initial_option": initial,
    }
    where = "*Who answers you* here and where a channel has no domain of its own"
    return {**section(where), "accessory": menu}


def _became(page: Page) -> list[Block]:
    shown = [_header("Your feedback, and what became of it")]
    if not page.contributions:
        text = "Press :-1: below an answer to give a better one, or use *Teach this* on a message."
        return [*shown, section(text)]
    for one in page.contributions:
        what = "your correction" if one.source == "correction" else "what you taught"
        said = f"“{one_line(one.answer, 150)}”: {what} {escape(shorten(one.sentence, 400))}."
        shown.append(section(f"{said}\n_{one_line(one.question, 150)}_"))
    return shown


def _controls(seen: Seen) -> list[Block]:
    learning = (
        "What you suggest may be learned, once a reviewer approves it."
        if seen.learning
        else "Nothing that you write is learned from."
    )
    judged = seen.thumbs + seen.reasons + seen.corrections
    counted = ((seen.questions, "question"), (judged, "judgement"))
    parts = " and ".join(_many(number, noun) for number, noun in counted if number)
    answers = ", with the answers" if seen.questions else ""
    kept = f"I keep {parts} of yours{answers}." if parts else "I keep nothing of yours yet."
    toggle = form_fields.button(
        LEARNING,
        "Do not learn from me" if seen.learning else "Learn from me",
        "off" if seen.learning else "on",
    )
    forget = form_fields.button(FORGET, "Forget my data", "forget", "danger")
    forget["confirm"] = {
        "title": form_fields.plain("Forget your data?"),
        "text": form_fields.plain(
            "Your questions, their answers, your feedback and every pair with your words are "
            "deleted. This cannot be undone."
        ),
        "confirm": form_fields.plain("Forget it all"),
        "deny": form_fields.plain("Keep it"),
        "style": "danger",
    }
    buttons = [
        form_fields.button(SEE, "See", "see"),
        form_fields.button(EXPORT, "Export", "export"),
        toggle,
        forget,
    ]
    return [
        _header("Your data"),
        section(f"{kept} {learning}"),
        {"type": "actions", "elements": buttons},
    ]


def _header(text: str) -> Block:
    return {"type": "header", "text": form_fields.plain(text)}


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
