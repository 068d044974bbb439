"""Teaching: "Teach this" on any message, and "Teach more" below an answer that was liked.

Both open a form with a question and its answer filled in as far as they are known: from the store
when the message is a question to us or an answer of ours, else from the thread. Sent, it becomes a
pending pair (`data/feedback/suggestions.py`). The trigger of a form lives for three seconds, so
looking things up may take half of that; what is not known by then is left for the person to type.
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
from bot.slack.workspace.context import WorkspaceContext
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
TEACH = "teach"  # the form
QUESTION, ANSWER, BEFORE = "question", "answer", "before"
LOOK_UP_S = 1.5
STORE_WAIT_S = 2.0
MOST_TURNS = 6  # questions with their answers before the one that is taught
MOST_METADATA = 2_900  # characters; Slack takes 3,000


@dataclass(frozen=True)
class Begun:
    """What the form begins with, and what it has to remember until it is sent."""

    channel: str
    thread_ts: str
    ts: str
    domain: str
    reply_id: str = ""  # of the answer of ours that it began with
    people: tuple[str, ...] = ()  # whose words are filled in
    turns: tuple[tuple[str, str], ...] = ()  # of a thread that the store does not have

    def dump(self) -> str:
        """As JSON that a form carries."""
        return orjson.dumps(asdict(self)).decode()

    def fitting(self) -> "Begun":
        """Without the oldest turns, as far as a form cannot carry them."""
        kept = self
        while kept.turns and len(kept.dump()) > MOST_METADATA:
            kept = replace(kept, turns=kept.turns[2:])
        return kept


@dataclass(frozen=True)
class Filled:
    question: str
    answer: str
    turns: tuple[Turn, ...] = ()
    note: str = ""  # why something is not filled in


# -- opening the form ------------------------------------------------------------------------


async def shortcut(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """Somebody uses *Teach this* on a message."""
    await ack()
    workspace.tasks.start(_teach_this(workspace, body), "teach this")


async def more(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """Somebody who liked an answer wants to teach more."""
    await ack()
    workspace.tasks.start(_teach_more(workspace, body), "teach more")


async def _teach_this(workspace: WorkspaceContext, body: dict[str, Any]) -> None:
    place, message = place_of(body), body["message"]
    async with workspace.telling(place, str(body.get("response_url") or "")):
        ts = str(message.get("ts") or body.get("message_ts") or "")
        known = await workspace.service.store.read(lambda db: _known(db, place, ts))
        if known is None:
            known = await _from_thread(workspace, place, ts, message)
        await _open(workspace, str(body["trigger_id"]), *known)


async def _teach_more(workspace: WorkspaceContext, body: dict[str, Any]) -> None:
    place = place_of(body)
    async with workspace.telling(place, str(body.get("response_url") or "")):
        reply_id = str(body["actions"][0].get("value") or "")
        known = await workspace.service.store.read(lambda db: _of_reply(db, place, "", reply_id))
        await _open(workspace, str(body["trigger_id"]), *known)


async def _open(workspace: WorkspaceContext, trigger: str, begun: Begun, filled: Filled) -> None:
    try:
        await workspace.api.quick.views_open(trigger_id=trigger, view=form(begun, filled))
    except Transport as error:
        code = failure(error).code
        raise Unavailable(f"Slack did not open the form ({code}). Please try again.") from error


def _known(db: Database, place: SlackPlace, ts: str) -> tuple[Begun, Filled] | None:
    """The exchange that a message belongs to, as the question or as the answer."""
    where = shown_at(place.team, place.channel, ts)
    reply_id = conversations.shown_reply(db, where) or conversations.asked_in(db, where)
    return None if reply_id is None else _of_reply(db, place, ts, reply_id)


def _of_reply(db: Database, place: SlackPlace, ts: str, reply_id: str) -> tuple[Begun, Filled]:
    reply, suggestion, allowed = suggestions.of_reply(db, reply_id, MOST_TURNS)
    begun = Begun(
        channel=place.channel,
        thread_ts=place.thread_ts,
        ts=ts,
        domain=domains.by_id(db, reply.domain_id).name,
        reply_id=reply_id if allowed else "",
        people=suggestion.people if allowed else (),
    )
    if not allowed:
        return begun, Filled("", "", note=LEFT_OUT)
    return begun, Filled(suggestion.question, suggestion.answer, suggestion.turns)


async def _from_thread(
    workspace: WorkspaceContext, place: SlackPlace, ts: str, message: dict[str, Any]
) -> tuple[Begun, Filled]:
    """A message that the store does not know: an answer when something stands before it in its
    thread, else a question."""
    lines, found = [thread.Line(str(message.get("user") or ""), str(message.get("text") or ""))], []
    if place.thread_ts not in ("", ts):
        try:
            async with asyncio.timeout(LOOK_UP_S):
                found = await thread.before(workspace, place, ts)
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
) -> tuple[Begun, Filled]:
    """Raises Invalid when the message has no words."""
    if not lines[-1].text:
        raise Invalid("That message has no words to learn from.")
    here = person(place.team, place.user)
    domain = domains.answering(db, here, place.team, place.channel)
    authors = {line.user: person(place.team, line.user) for line in lines}
    kept = [
        line if consent.may_learn(db, authors[line.user]) else replace(line, text="")
        for line in lines
    ]
    note = LEFT_OUT if kept != lines else ""
    question, answer, turns = thread.read(kept, me)
    begun = Begun(
        channel=place.channel,
        thread_ts=place.thread_ts,
        ts=ts,
        domain=domain.name,
        people=tuple(sorted({authors[x.user] for x in kept if x.text and x.user not in ("", me)})),
        turns=tuple((t.role, t.content) for t in turns),
    ).fitting()
    carried = turns[len(turns) - len(begun.turns) :]
    return begun, Filled(question, answer, carried, note)


# -- the form --------------------------------------------------------------------------------


LEFT_OUT = "Something is not filled in: whoever wrote it has opted out of learning."
SAID = {"user": "asked", "assistant": "answered"}
WAITS = (
    "Thank you. What you taught waits for a reviewer; once approved, I learn from it. Your Home "
    "tab shows what becomes of it."
)
TOO_LONG = "Leave it empty to keep it as it is: it is too long for a form."


def form(begun: Begun, filled: Filled) -> Block:
    """A question and its answer, both to be changed as wanted."""
    shown = [context(f"For *{escape(begun.domain)}*. A reviewer reads it before I learn it.")]
    if filled.note:
        shown.append(context(filled.note))
    for block_id, label, placeholder, text in (
        (QUESTION, "Question", "As people ask it, perhaps in other words", filled.question),
        (ANSWER, "Answer", "As you would like to read it", filled.answer),
    ):
        long = bool(begun.reply_id) and len(text) > form_fields.MAX_LENGTH
        hint = TOO_LONG if long else ""
        shown.append(
            form_fields.text_input(block_id, label, placeholder, text, hint=hint, optional=long)
        )
    if filled.turns:
        said = "\n".join(
            f"_{SAID[t.role]}_: {escape(shorten(t.content, 150))}" for t in filled.turns
        )
        shown.append(section(shorten(f"*Said before that*\n{said}", 2_900)))
        shown.append(
            form_fields.checkbox(BEFORE, "What was said before", "It belongs to the question", True)
        )
    return form_fields.modal(TEACH, "Teach", shown, begun.dump(), "Teach", "Not now")


async def teach_form_sent(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """The form closes only when the pair is stored."""
    view = body["view"]
    given = orjson.loads(view["private_metadata"])
    begun = Begun(
        **{**given, "people": tuple(given["people"]), "turns": tuple(map(tuple, given["turns"]))}
    )
    who = person(team_of(body), str(body["user"]["id"]))
    question, answer = form_fields.typed(view, QUESTION), form_fields.typed(view, ANSWER)
    turns = form_fields.ticked(view, BEFORE)
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            taught = await workspace.service.store.submit(
                lambda db: _teach(db, begun, team_of(body), who, question, answer, turns=turns)
            )
    except UnderstudyError as error:
        await ack(response_action="errors", errors={ANSWER: str(error)})
        return
    except TimeoutError:
        busy = "The store is busy. Send it again in a moment."
        await ack(response_action="errors", errors={ANSWER: busy})
        return
    await ack()
    place = SlackPlace(team_of(body), begun.channel, begun.thread_ts, str(body["user"]["id"]))
    workspace.tasks.start(_thank(workspace, place, taught), "thanks")


def _teach(
    db: Database, begun: Begun, team: str, who: str, question: str, answer: str, *, turns: bool
) -> SuggestionResult:
    ref = shown_at(team, begun.channel, begun.ts)
    suggestion = SuggestedPair(question, answer, people=begun.people, source_ref=ref)
    domain = domains.get(db, begun.domain)
    if begun.reply_id:
        _, known, allowed = suggestions.of_reply(db, begun.reply_id, MOST_TURNS)
        if not allowed:
            raise OptedOut("Some of these words are from a person who has opted out of learning.")
        suggestion = replace(
            known,
            question=question or known.question,
            answer=answer or known.answer,
            turns=known.turns if turns else (),
        )
    elif turns:
        said = tuple(Turn(role, text) for role, text in begun.turns)  # type: ignore[arg-type]
        suggestion = replace(suggestion, turns=said)
    return suggestions.teach(db, domain, who, suggestion)


async def _thank(workspace: WorkspaceContext, place: SlackPlace, taught: SuggestionResult) -> None:
    async with workspace.telling(place):
        await workspace.tell(place, thanks(taught))


def thanks(taught: SuggestionResult) -> str:
    """What is said when the form was sent."""
    if not taught.known or taught.pair.status == "pending":
        return WAITS
    came: dict[pairs.Status, str] = {
        "approved": "I have these words already, and a reviewer approved them.",
        "rejected": "These words were suggested before, and a reviewer rejected them.",
        "quarantined": "These words were suggested before, and are being looked at.",
    }
    return f"Thank you. {came.get(taught.pair.status, '')}".strip()
