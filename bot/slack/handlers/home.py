"""The Home tab: what the bot knows, a person's questions and feedback, and their data controls.

The tab is rebuilt from the store each time it is opened and after each button press, by a pure
function of the data read. Requests that arrive while a tab is being published are merged into one.
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
from bot.slack.handlers.recent_questions import RecentQuestion
from bot.slack.payloads import person, team_of
from bot.slack.render import form_fields
from bot.slack.render.blocks import (
    Block,
    ago,
    context,
    escape,
    one_line,
    section,
    sentence,
    shorten,
)
from bot.slack.workspace.context import WorkspaceContext
from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.pairs import datasets, pairs
from data.privacy import contributions, personal_data
from data.privacy.contributions import Contribution
from data.privacy.personal_data import PersonalDataSummary
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

Ack = Callable[..., Awaitable[Any]]
DOMAIN = "home_domain"
SEE, EXPORT, FORGET, LEARNING = "home_see", "home_export", "home_forget", "home_learning"
BUTTONS = (SEE, EXPORT, FORGET, LEARNING)
DEFAULT_DOMAIN = "*"  # value of the menu's default option; not a valid domain name
MAX_CONTRIBUTIONS, MAX_DOMAINS = 8, 20
MAX_OPTIONS = 100  # of a menu
STORE_WAIT_S = 1.0  # then a press is acknowledged, stored or not, as Slack waits three seconds


@dataclass(frozen=True)
class DomainSummary:
    """A domain as members see it."""

    domain: Domain
    live: Adapter | None
    trained: int  # pairs that the live adapter was trained on
    pending: int  # pairs that are pending review


@dataclass(frozen=True)
class HomePage:
    """Everything that a person's Home tab shows."""

    seen: PersonalDataSummary
    domains: list[DomainSummary]
    answering: Domain | None  # the domain that answers the person in direct messages
    questions: list[RecentQuestion]
    contributions: list[Contribution]


# -- publishing ------------------------------------------------------------------------------


async def opened(workspace: WorkspaceContext, team: str, user: str) -> None:
    """A person opened the Home tab."""
    place = SlackPlace(team, "", "", user)
    async with workspace.report_errors(place):
        await publish(workspace, team, user)


async def publish(workspace: WorkspaceContext, team: str, user: str) -> None:
    """Publish the current tab. If it is being published already, it is published once more."""
    if user in workspace.publishing_home:
        workspace.publishing_home[user] = True
        return
    workspace.publishing_home[user] = repeat = True
    try:
        while repeat:
            workspace.publishing_home[user] = False
            shown = await _current(workspace, team, user)
            await workspace.api.throttled(
                workspace.api.quick.views_publish, user_id=user, view=shown
            )
            repeat = workspace.publishing_home[user]
    except Transport as error:
        log.info("A Home tab was not published: %s", failure(error).code)
    finally:
        del workspace.publishing_home[user]


async def _current(workspace: WorkspaceContext, team: str, user: str) -> Block:
    who, store = person(team, user), workspace.service.store
    if refused := await workspace.roles.refused_to_act(team, user):
        return refused_view(refused, await store.read(lambda db: personal_data.summarise(db, who)))
    page = await store.read(lambda db: read(db, who))
    return view(page, await admin_home.part(workspace, team, user))


async def domain_chosen(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A person chose a domain from the menu: store the choice, then acknowledge."""
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
    if name == DEFAULT_DOMAIN:
        domains.unchoose(db, who)
    else:
        domains.choose(db, domains.get(db, name), who)


async def _show_choice(
    workspace: WorkspaceContext, team: str, user: str, problem: UnderstudyError | None
) -> None:
    async with workspace.report_errors(SlackPlace(team, "", "", user)):
        if problem is not None:
            raise problem
        await publish(workspace, team, user)


async def rating_outcomes(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A person pressed whether an answer helped: store it, acknowledge, and update the tab."""
    action, team, user = body["actions"][0], team_of(body), str(body["user"]["id"])
    at = time_us(str(action.get("action_ts") or ""))

    def write(db: Database) -> None:
        reply_id, helped = recent_questions.helped_button(action)
        recent_questions.record_helped(db, reply_id, person(team, user), helped, at)

    storing = asyncio.ensure_future(workspace.service.store.submit(write))
    await asyncio.wait([storing], timeout=STORE_WAIT_S)
    await ack()
    workspace.tasks.start(_show_rated(workspace, team, user, storing), "helped")


async def _show_rated(
    workspace: WorkspaceContext, team: str, user: str, storing: "asyncio.Future[None]"
) -> None:
    async with workspace.report_errors(SlackPlace(team, "", "", user)):
        try:
            await storing
        finally:
            await publish(workspace, team, user)


# -- reading ---------------------------------------------------------------------------------


def read(db: Database, who: str) -> HomePage:
    """The current content of a person's tab."""
    known = domains.list_domains(db)
    return HomePage(
        seen=personal_data.summarise(db, who),
        domains=[_summary(db, domain) for domain in known],
        answering=domains.answering(db, who) if known else None,
        questions=recent_questions.read(db, who),
        contributions=contributions.contributions_of(db, who, MAX_CONTRIBUTIONS),
    )


def _summary(db: Database, domain: Domain) -> DomainSummary:
    live = registry.live(db, domain.id)
    trained = 0
    if live is not None and live.dataset_id is not None:
        trained = datasets.by_id(db, live.dataset_id).train
    return DomainSummary(domain, live, trained, pairs.counts(db, domain)["pending"])


# -- showing ---------------------------------------------------------------------------------


def view(page: HomePage, more: Sequence[Block] = ()) -> Block:
    """The tab as a Slack view of at most 100 blocks. `more` is the part for reviewers and
    admins."""
    own = [
        *_domains(page),
        _header("Your recent questions"),
        *recent_questions.shown(page.questions),
        *_contributions(page),
        *_data_controls(page.seen),
    ]
    return {"type": "home", "blocks": [*own, *more]}


def refused_view(why: str, seen: PersonalDataSummary) -> Block:
    """The tab of a person who may not use the bot: the reason, and the controls of their data."""
    return {"type": "home", "blocks": [section(sentence(why)), *_data_controls(seen)]}


def _domains(page: HomePage) -> list[Block]:
    shown: list[Block] = [_header("What I know")]
    if page.answering is None:
        return [*shown, section("Nothing yet. No domain has been set up.")]
    shown += [section(_describe(one)) for one in page.domains[:MAX_DOMAINS]]
    if len(page.domains) > MAX_DOMAINS:
        shown.append(context(f"… and {len(page.domains) - MAX_DOMAINS} more domains"))
    if len(page.domains) > 1:
        shown.append(_domain_menu(page))
    prompts = "\n".join(f"• {escape(shorten(q, 200))}" for q in page.answering.suggested_prompts)
    if prompts:
        shown.append(section(f"*Ask me in the Messages tab, for example*\n{prompts}"))
    return shown


def _describe(one: DomainSummary) -> str:
    """`*the help desk*: helpdesk@3 answers. It went live 3 h ago and learned from 120 pairs.`"""
    title = f"*{escape(shorten(one.domain.title, 200))}*"
    text = "no version is live. The bot has not learned anything here yet."
    if one.live is not None:
        learned = f"learned from {_count(one.trained, 'pair')}"
        since = f"went live {ago(one.live.live_at)} and " if one.live.live_at else ""
        text = f"{one.live.name} answers. It {since}{learned}."
    if one.pending:
        is_pending = "is pending" if one.pending == 1 else "are pending"
        text += f" {_count(one.pending, 'suggestion')} {is_pending} review."
    return f"{title}: {text}"


def _domain_menu(page: HomePage) -> Block:
    default = {"text": form_fields.plain("Default"), "value": DEFAULT_DOMAIN}
    options = [default]
    for one in page.domains[: MAX_OPTIONS - 1]:
        text = form_fields.plain(shorten(one.domain.title, 75))
        options.append({"text": text, "value": one.domain.name})
    initial = next((o for o in options if o["value"] == page.seen.domain), default)
    menu: Block = {
        "type": "static_select",
        "action_id": DOMAIN,
        "options": options,
        "initial_option": initial,
    }
    label = "*Your domain*, for direct messages and for channels without a domain of their own"
    return {**section(label), "accessory": menu}


def _contributions(page: HomePage) -> list[Block]:
    shown = [_header("Your feedback and its status")]
    if not page.contributions:
        text = (
            "Press :-1: below an answer to suggest a better one, or choose *Teach this* in the "
            "menu of a message."
        )
        return [*shown, section(text)]
    for one in page.contributions:
        what = "your correction" if one.source == "correction" else "your suggestion"
        status = f"“{one_line(one.answer, 150)}”: {what} {escape(shorten(one.sentence, 400))}."
        shown.append(section(f"{status}\n_{one_line(one.question, 150)}_"))
    return shown


def _data_controls(seen: PersonalDataSummary) -> list[Block]:
    learning = (
        "I may learn from your suggestions after a reviewer approves them."
        if seen.learning
        else "I do not learn from anything that you write."
    )
    feedback = seen.thumbs + seen.reasons + seen.corrections
    parts = []
    if seen.questions:
        answers = "its answer" if seen.questions == 1 else "their answers"
        parts.append(f"{_count(seen.questions, 'question')} of yours with {answers}")
    if feedback:
        parts.append(f"{_count(feedback, 'piece')} of your feedback")
    stored = "I store nothing about you yet."
    if parts:
        stored = f"I store {', and '.join(parts)}."
    toggle = form_fields.button(
        LEARNING,
        "Do not learn from me" if seen.learning else "Learn from me",
        "off" if seen.learning else "on",
    )
    forget = form_fields.button(FORGET, "Delete my data", "forget", "danger")
    forget["confirm"] = {
        "title": form_fields.plain("Delete your data?"),
        "text": form_fields.plain(
            "This deletes your questions, their answers, your feedback and every pair that "
            "contains your words. It cannot be undone."
        ),
        "confirm": form_fields.plain("Delete it"),
        "deny": form_fields.plain("Keep it"),
        "style": "danger",
    }
    buttons = [
        form_fields.button(SEE, "View", "see"),
        form_fields.button(EXPORT, "Export", "export"),
        toggle,
        forget,
    ]
    return [
        _header("Your data"),
        section(f"{stored} {learning}"),
        {"type": "actions", "elements": buttons},
    ]


def _header(text: str) -> Block:
    return {"type": "header", "text": form_fields.plain(text)}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
