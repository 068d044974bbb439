"""Teaching: the "Teach this" shortcut on any message, and "Teach more" after 👍.

Both open a form prefilled with a question and its answer: from the store if the message is a
question to the bot or one of its answers, otherwise from the thread. The submitted form becomes a
pending pair (`data/feedback/suggestions.py`). A form's trigger expires after three seconds, so the
lookup may take half of that, and the person types in what is missing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from sqlite_utils import Database

from bot.slack.client.stream import SlackPlace
from bot.slack.client.web_api import Transport, failure
from bot.slack.inbound import thread
from bot.slack.payloads import person, place_of, shown_at, team_of
from bot.slack.render import form_fields, message_text
from bot.slack.render.blocks import Block, context, escape, section, shorten
from bot.slack.workspace.context import STORE_BUSY, WorkspaceContext
from data import domains
from data.conversations import conversations
from data.feedback import suggestions
from data.feedback.suggestions import OptedOut, SuggestedPair, SuggestionResult
from data.pairs import pairs
from data.pairs.pairs import Turn
from data.people import consent
from data.store.errors import Invalid, Unavailable, UnderstudyError

log = logging.getLogger(__name__)

Ack = Callable[..., Awaitable[Any]]
TEACH = "teach"  # the form's callback id
QUESTION, ANSWER, BEFORE = "question", "answer", "before"
LOOK_UP_S = 1.5
STORE_WAIT_S = 2.0
MAX_TURNS = 6  # earlier questions with their answers
MAX_METADATA = 2_900  # characters; Slack accepts 3,000


@dataclass(frozen=True)
class FormState:
    """What the form carries in its metadata until it is submitted."""

    channel: str
    thread_ts: str
    ts: str
    domain: str
    reply_id: str = ""  # of the bot's answer that the form starts from
    people: tuple[str, ...] = ()  # the authors of the prefilled text
    turns: tuple[tuple[str, str], ...] = ()  # of a thread that is not in the store

    def dump(self) -> str:
        """The state as JSON."""
        return orjson.dumps(asdict(self)).decode()

    def fitting(self) -> "FormState":
        """The state without the oldest turns that exceed the size limit."""
        kept = self
        while kept.turns and len(kept.dump()) > MAX_METADATA:
            kept = replace(kept, turns=kept.turns[2:])
        return kept


@dataclass(frozen=True)
class Prefilled:
    question: str
    answer: str
    turns: tuple[Turn, ...] = ()
    note: str = ""  # why some text is left out


# -- opening the form ------------------------------------------------------------------------


async def shortcut(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A person chose *Teach this* on a message."""
    await ack()
    workspace.tasks.start(_teach_this(workspace, body), "teach this")


async def more(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A person pressed *Teach more* after 👍."""
    await ack()
    workspace.tasks.start(_teach_more(workspace, body), "teach more")


async def _teach_this(workspace: WorkspaceContext, body: dict[str, Any]) -> None:
    place, message = place_of(body), body["message"]
    async with workspace.report_errors(place, str(body.get("response_url") or "")):
        ts = str(message.get("ts") or body.get("message_ts") or "")
        known = await workspace.service.store.read(lambda db: _known(db, place, ts))
        if known is None:
            known = await _from_thread(workspace, place, ts, message)
        await _open(workspace, str(body["trigger_id"]), *known)


async def _teach_more(workspace: WorkspaceContext, body: dict[str, Any]) -> None:
    place = place_of(body)
    async with workspace.report_errors(place, str(body.get("response_url") or "")):
        reply_id = str(body["actions"][0].get("value") or "")
        known = await workspace.service.store.read(lambda db: _of_reply(db, place, "", reply_id))
        await _open(workspace, str(body["trigger_id"]), *known)


async def _open(
    workspace: WorkspaceContext, trigger: str, state: FormState, prefilled: Prefilled
) -> None:
    try:
        await workspace.api.quick.views_open(trigger_id=trigger, view=form(state, prefilled))
    except Transport as error:
        code = failure(error).code
        raise Unavailable(f"Slack could not open the form ({code}). Please try again.") from error


def _known(db: Database, place: SlackPlace, ts: str) -> tuple[FormState, Prefilled] | None:
    """The exchange whose question or answer the message is; None if the store has none."""
    where = shown_at(place.team, place.channel, ts)
    reply_id = conversations.reply_shown_at(db, where) or conversations.reply_to_question_at(
        db, where
    )
    return None if reply_id is None else _of_reply(db, place, ts, reply_id)


def _of_reply(
    db: Database, place: SlackPlace, ts: str, reply_id: str
) -> tuple[FormState, Prefilled]:
    reply, suggestion, allowed = suggestions.of_reply(db, reply_id, MAX_TURNS)
    state = FormState(
        channel=place.channel,
        thread_ts=place.thread_ts,
        ts=ts,
        domain=domains.by_id(db, reply.domain_id).name,
        reply_id=reply_id if allowed else "",
        people=suggestion.people if allowed else (),
    )
    if not allowed:
        return state, Prefilled("", "", note=LEFT_OUT)
    return state, Prefilled(suggestion.question, suggestion.answer, suggestion.turns)


async def _from_thread(
    workspace: WorkspaceContext, place: SlackPlace, ts: str, message: dict[str, Any]
) -> tuple[FormState, Prefilled]:
    """The form for a message that is not in the store: an answer if other messages come before it
    in its thread, otherwise a question."""
    lines, found = [thread.Line(str(message.get("user") or ""), str(message.get("text") or ""))], []
    if place.thread_ts not in ("", ts):
        try:
            async with asyncio.timeout(LOOK_UP_S):
                found = await thread.messages_before(workspace, place, ts)
        except (TimeoutError, *Transport) as error:
            log.info("A thread was not looked up: %s", type(error).__name__)
    lines = [*found, *lines]
    names = await _names(
        workspace, {user for line in lines for user in message_text.people_in(line.text)}
    )
    me = workspace.identity.bot_user
    plain = [replace(line, text=message_text.plain_text(line.text, me, names)) for line in lines]
    return await workspace.service.store.read(lambda db: _begin(db, place, ts, plain, me))


async def _names(workspace: WorkspaceContext, users: set[str]) -> dict[str, str]:
    try:
        async with asyncio.timeout(LOOK_UP_S / 2):
            return await workspace.names.of(users - {workspace.identity.bot_user})
    except TimeoutError:
        return {}


def _begin(
    db: Database, place: SlackPlace, ts: str, lines: list[thread.Line], me: str
) -> tuple[FormState, Prefilled]:
    """Raises Invalid when the message has no words."""
    if not lines[-1].text:
        raise Invalid("That message has no text to learn from.")
    here = person(place.team, place.user)
    domain = domains.answering(db, here, place.team, place.channel)
    authors = {line.user: person(place.team, line.user) for line in lines}
    kept = [
        line if consent.may_learn(db, authors[line.user]) else replace(line, text="")
        for line in lines
    ]
    note = LEFT_OUT if kept != lines else ""
    question, answer, turns = thread.read(kept, me)
    state = FormState(
        channel=place.channel,
        thread_ts=place.thread_ts,
        ts=ts,
        domain=domain.name,
        people=tuple(sorted({authors[x.user] for x in kept if x.text and x.user not in ("", me)})),
        turns=tuple((t.role, t.content) for t in turns),
    ).fitting()
    carried = turns[len(turns) - len(state.turns) :]
    return state, Prefilled(question, answer, carried, note)


# -- the form --------------------------------------------------------------------------------


LEFT_OUT = "Some text is left out because its author has opted out of learning."
TURN_LABELS = {"user": "Question", "assistant": "Answer"}
PENDING = (
    "Thank you. Your suggestion is waiting for review. Once it is approved, I will learn from it. "
    "You can follow its status on your Home tab."
)
TOO_LONG = "The text is too long for a form. Leave this empty to keep it unchanged."


def form(state: FormState, prefilled: Prefilled) -> Block:
    """The form with a question and its answer, both editable."""
    about = f"Domain: *{escape(state.domain)}*. A reviewer checks this before I learn it."
    shown = [context(about)]
    if prefilled.note:
        shown.append(context(prefilled.note))
    for block_id, label, placeholder, text in (
        (QUESTION, "Question", "The question, as people would ask it", prefilled.question),
        (ANSWER, "Answer", "The answer that you would like to get", prefilled.answer),
    ):
        long = bool(state.reply_id) and len(text) > form_fields.MAX_LENGTH
        hint = TOO_LONG if long else ""
        shown.append(
            form_fields.text_input(block_id, label, placeholder, text, hint=hint, optional=long)
        )
    if prefilled.turns:
        earlier = "\n".join(
            f"_{TURN_LABELS[t.role]}_: {escape(shorten(t.content, 150))}" for t in prefilled.turns
        )
        shown.append(section(shorten(f"*Earlier in the conversation*\n{earlier}", 2_900)))
        shown.append(
            form_fields.checkbox(BEFORE, "Earlier messages", "Include them as context", True)
        )
    return form_fields.modal(TEACH, "Teach", shown, state.dump(), "Teach", "Not now")


async def teach_form_sent(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """The form was submitted. It closes only after the pair is stored."""
    view = body["view"]
    given = orjson.loads(view["private_metadata"])
    state = FormState(
        **{**given, "people": tuple(given["people"]), "turns": tuple(map(tuple, given["turns"]))}
    )
    who = person(team_of(body), str(body["user"]["id"]))
    question, answer = form_fields.typed(view, QUESTION), form_fields.typed(view, ANSWER)
    turns = form_fields.ticked(view, BEFORE)
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            taught = await workspace.service.store.submit(
                lambda db: _teach(db, state, team_of(body), who, question, answer, turns=turns)
            )
    except UnderstudyError as error:
        await ack(response_action="errors", errors={ANSWER: str(error)})
        return
    except TimeoutError:
        await ack(response_action="errors", errors={ANSWER: STORE_BUSY})
        return
    await ack()
    place = SlackPlace(team_of(body), state.channel, state.thread_ts, str(body["user"]["id"]))
    workspace.tasks.start(_thank(workspace, place, taught), "thanks")


def _teach(
    db: Database, state: FormState, team: str, who: str, question: str, answer: str, *, turns: bool
) -> SuggestionResult:
    ref = shown_at(team, state.channel, state.ts)
    suggestion = SuggestedPair(question, answer, people=state.people, source_ref=ref)
    domain = domains.get(db, state.domain)
    if state.reply_id:
        _, known, allowed = suggestions.of_reply(db, state.reply_id, MAX_TURNS)
        if not allowed:
            raise OptedOut("Some of this text is by a person who has opted out of learning.")
        suggestion = replace(
            known,
            question=question or known.question,
            answer=answer or known.answer,
            turns=known.turns if turns else (),
        )
    elif turns:
        turns_before = tuple(Turn(role, text) for role, text in state.turns)  # type: ignore[arg-type]
        suggestion = replace(suggestion, turns=turns_before)
    return suggestions.teach(db, domain, who, suggestion)


async def _thank(workspace: WorkspaceContext, place: SlackPlace, taught: SuggestionResult) -> None:
    async with workspace.report_errors(place):
        await workspace.tell(place, thanks(taught))


def thanks(taught: SuggestionResult) -> str:
    """The reply to a submitted form."""
    if not taught.known or taught.pair.status == "pending":
        return PENDING
    outcomes: dict[pairs.Status, str] = {
        "approved": "I already have this answer, and a reviewer approved it.",
        "rejected": "This was suggested before, and a reviewer rejected it.",
        "quarantined": "This was suggested before and is being checked.",
    }
    return f"Thank you. {outcomes.get(taught.pair.status, '')}".strip()
