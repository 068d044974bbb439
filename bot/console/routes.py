"""The routes of the web chat: its static files, and the calls of its script under `/web`."""

from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlite_utils import Database
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bot.answering import again, side_by_side, source_wording
from bot.answering.events import Delta, Ended, Started, fallback_note
from bot.answering.prompt import Ask
from bot.api import auth, relay
from bot.api.domain_field import DomainName, domain_of
from bot.api.feedback import FeedbackRequest
from bot.api.feedback import store as store_feedback
from bot.api.problems import Problem
from bot.api.rate_bounds import RateBounds, bound_writes
from bot.console import access
from bot.console.files import File
from bot.service import Service
from data import domains
from data.config.settings import BotSettings
from data.conversations import conversations
from data.conversations.conversations import Outcome
from data.feedback import feedback
from data.pairs import reply_sources
from data.pairs.reply_sources import Source
from data.store.db import Row

router = APIRouter(dependencies=[Depends(auth.known_host)])
Visitor = Annotated[str, Depends(auth.visitor)]


MAX_CHATS = 50  # that are listed

PAGE, SCRIPT, MINE = (File(name) for name in ("chat.html", "chat.js", "mine.js"))
CONSOLE_LINK = b'  <a id="console" href="console">Console</a>\n'
PUBLIC_PAGE = File("chat.html", remove=CONSOLE_LINK)  # for whoever is not signed in


@router.get("/")
async def page(request: Request) -> Response:
    signed_in = await access.signed_in(request)
    response = (PAGE if signed_in else PUBLIC_PAGE).response(request)
    response.headers["Vary"] = "Accept-Encoding, Cookie"
    await auth.begin_session(request, response)
    return response


@router.get("/web/chat.js")
async def script(request: Request) -> Response:
    return SCRIPT.response(request)


@router.get("/web/mine.js")
async def own_data_script(request: Request) -> Response:
    return MINE.response(request)


@router.get("/web/domains")
async def list_domains(request: Request, _: Visitor) -> list[dict[str, Any]]:
    """The domains to choose from, the default one first."""
    service: Service = request.app.state.service
    found = await service.store.read(domains.list_domains)
    return [
        {"name": d.name, "title": d.title, "suggested_prompts": d.suggested_prompts}
        for d in sorted(found, key=lambda d: not d.is_default)
    ]


class WebQuestionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    conversation: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]  # chosen by the page
    text: str = ""
    domain: DomainName | None = None
    regenerates: Annotated[str, Field(max_length=100)] | None = None  # an answer of this session


@router.post("/web/ask")
async def ask(request: Request, given: WebQuestionRequest, visitor: Visitor) -> Response:
    service: Service = request.app.state.service
    bounds: RateBounds = request.app.state.rate_bounds
    await bounds.question(auth.client_address(request))
    domain = await service.store.read(lambda db: domain_of(db, given.domain))
    address = auth.client_address(request)
    if (first := given.regenerates) is not None:
        bot = service.settings.bot
        question = await service.store.read(lambda db: _again(db, first, visitor, domain, bot))
        return AnswerLine(service, replace(question, address=address))
    thread = f"{visitor}/{given.conversation}"
    question = Ask(person=visitor, thread=thread, text=given.text, domain=domain, address=address)
    turns = service.settings.bot.history_turns
    other = await service.store.read(lambda db: side_by_side.wanted(db, question, turns))
    if other is None:
        return AnswerLine(service, question)
    return TwoAnswers(service, question, other)


def _again(
    db: Database, reply_id: str, visitor: str, domain: domains.Domain, bot: BotSettings
) -> Ask:
    """Raises Forbidden if somebody else asked the question."""
    feedback.require_asker(db, reply_id, visitor)
    return again.another_answer(db, reply_id, visitor, domain, bot)


class WebFeedbackRequest(FeedbackRequest):
    reply_id: Annotated[str, Field(max_length=100)]


@router.post("/web/feedback", status_code=201, dependencies=[Depends(bound_writes)])
async def give_feedback(
    request: Request, given: WebFeedbackRequest, visitor: Visitor
) -> dict[str, Any]:
    """Store feedback on an answer. A session can only rate answers to its own questions."""
    service: Service = request.app.state.service
    await service.chat.storage.check(visitor)

    def write(db: Database) -> dict[str, Any]:
        feedback.require_asker(db, given.reply_id, visitor)
        return store_feedback(db, given.reply_id, visitor, given)

    return await service.store.submit(write)


@router.get("/web/conversations")
async def chats(request: Request, visitor: Visitor) -> dict[str, Any]:
    """This session's conversations, the latest first, each by its first question."""
    service: Service = request.app.state.service
    found = await service.store.read(lambda db: conversations.of_person(db, visitor, MAX_CHATS))
    prefix = f"{visitor}/"
    return {
        "conversations": [
            {"conversation": c.thread.removeprefix(prefix), "question": c.question, "at": c.at}
            for c in found
            if c.thread.startswith(prefix) and "/" not in c.thread.removeprefix(prefix)
        ]
    }


@router.get("/web/conversations/{conversation}")
async def transcript(request: Request, conversation: str, visitor: Visitor) -> dict[str, Any]:
    """The messages of a conversation of this session; empty if there is no such conversation."""
    service: Service = request.app.state.service
    thread = f"{visitor}/{conversation}"

    def find(db: Database) -> list[dict[str, Any]]:
        stored = conversations.transcript(db, thread, visitor)
        sources = reply_sources.of_replies(db, {m["reply_id"] for m in stored})
        messages = [_message(m, sources.get(m["reply_id"], ())) for m in stored]
        if messages and messages[-1]["role"] == "assistant":  # the page asks whether it helped
            helped = feedback.live(db, messages[-1]["reply_id"], visitor, "follow_up")
            messages[-1]["helped"] = None if helped is None else helped.value == 1
        return messages

    return {"messages": await service.store.read(find)}


class JsonLines:
    """Encodes events as one JSON object per line, for the page's script."""

    content_type = b"application/x-ndjson; charset=utf-8"

    def begin(self, started: Started) -> bytes:
        note = fallback_note(started.adapter, started.instead_of)
        about = _grounds(
            started.outcome,
            started.layout,
            started.sources,
            started.suggestions,
            started.uncertain,
        )
        return _line(
            type="started",
            reply_id=started.reply_id,
            adapter=started.adapter,
            note=note,
            **about,
        )

    def delta(self, delta: Delta) -> bytes:
        return _line(type="delta", text=delta.text)

    def end(self, ended: Ended) -> bytes:
        return _line(type="ended", finish_reason=ended.finish_reason)

    def error(self, problem: Problem) -> bytes:
        retry = problem.status >= 500 or problem.status == 429
        return _line(type="error", message=problem.message, retry=retry)


class AnswerLine(Response):
    """Streams an answer while it is written; stops when the page is closed."""

    def __init__(self, service: Service, question: Ask) -> None:
        self.background = None
        self._service = service
        self._question = question

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        events = self._service.chat.answer(self._question)
        limit_s = self._service.settings.bot.answer_timeout_s
        work = relay.stream(scope, send, events, JsonLines(), limit_s)
        await relay.unless_disconnected(receive, work)


class TwoAnswers(Response):
    """Two blinded answers, once both are complete; one answer if the second one failed."""

    def __init__(self, service: Service, question: Ask, other: Ask) -> None:
        self.background = None
        self._service = service
        self._asks = question, other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = side_by_side.both(self._service.chat, self._service.store, *self._asks)
        answers = await relay.unless_disconnected(receive, work)
        encoder = JsonLines()
        if len(answers) == 1:
            (only,) = answers
            parts = [
                encoder.begin(only.started),
                encoder.delta(Delta(only.text)),
                encoder.end(only.ended),
            ]
        else:
            blinded = [{"reply_id": a.started.reply_id, "text": a.text} for a in answers]
            parts = [_line(type="two", answers=blinded)]
        response = Response(b"".join(parts), media_type=encoder.content_type.decode())
        response.headers["cache-control"] = "no-store"
        await response(scope, receive, send)


def _message(stored: Row, sources: tuple[Source, ...]) -> dict[str, Any]:
    """A stored message as the page shows it."""
    note = fallback_note(stored["adapter"], stored["instead_of"])
    if stored["role"] == "user":
        return {**stored, "note": note}
    suggestions = tuple(s.prompt for s in sources) if stored["outcome"] == "declined" else ()
    return {
        **stored,
        "note": note,
        **_grounds(
            stored["outcome"], stored["layout"], sources, suggestions, bool(stored["uncertain"])
        ),
    }


def _grounds(
    outcome: Outcome,
    layout: int,
    sources: tuple[Source, ...],
    suggestions: tuple[str, ...],
    uncertain: bool,
) -> dict[str, Any]:
    """What an answer rests on, in words for the page."""
    shown = () if outcome == "declined" else sources
    return {
        "outcome": outcome,
        "heading": source_wording.heading(outcome, layout, uncertain=uncertain) if shown else "",
        "sources": [
            {"prompt": s.prompt, "approval": source_wording.approval(s, _name(s.approved_by))}
            for s in shown
        ],
        "suggestions": suggestions,
    }


def _name(person: str) -> str:
    """A person's name for visitors of the page; ids of other front ends say nothing to them."""
    front, _, name = person.partition(":")
    if not person:
        return ""
    return name if front == "cli" else "a reviewer"


def _line(**event: Any) -> bytes:
    return orjson.dumps(event) + b"\n"
