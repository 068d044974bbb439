"""Asking two versions the same question, side by side: the bare base, live, a candidate, any two.

Of a question here, only figures are stored, as of any question: neither the words, nor a rating.
It is in no comparison. The page keeps the conversation itself, in a hidden field.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Form, Query, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.answering import source_wording
from bot.answering.prompt import Ask
from bot.api import problems
from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.console.shown import person
from bot.service import Service
from data import domains
from data.adapters import placements, registry
from data.conversations.conversations import Message, new_reply_id
from data.domains import Domain
from data.pairs.pairs import MAX_CHARS
from data.store.errors import Invalid

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Version = Annotated[str, Query(max_length=20)]
PATH = f"{HOME}/domains/{{domain}}/side-by-side"
BASE = "base"
MOST_SAID = 100_000  # characters of the conversation that the page keeps


@dataclass(frozen=True)
class SideAnswer:
    """The answer of one version, or why there is none."""

    version: str  # `2`, or `base`
    text: str = ""
    heading: str = ""  # what the sources are called
    sources: list[tuple[str, str]] = field(default_factory=list)  # question, and who approved it
    declined: bool = False
    problem: str = ""


@dataclass(frozen=True)
class SideBySideTurn:
    """A question and both answers."""

    question: str
    answers: tuple[str, str]  # the left one first


@dataclass(frozen=True)
class AskableVersions:
    """What can be asked in a domain."""

    domain: Domain
    choices: list[tuple[str, str]]  # value and name, the live version first, the base last


@router.get(PATH)
async def show(
    request: Request, domain: str, signed_in: Reviewer, left: Version = "", right: Version = ""
) -> Response:
    found = await _askable(request, domain)
    values = [value for value, _ in found.choices]
    left = left if left in values else values[0]
    right = right if right in values else next((v for v in values if v != left), BASE)
    return await rendering.page(
        request,
        "side_by_side.html",
        signed_in,
        found=found,
        left=left,
        right=right,
        turns=[],
        earlier="[]",
        answers=[],
    )


@router.post(PATH)
async def ask(
    request: Request,
    domain: str,
    signed_in: Reviewer,
    question: Annotated[str, Form(max_length=MAX_CHARS)],
    left: Annotated[str, Form(max_length=20)],
    right: Annotated[str, Form(max_length=20)],
    earlier: Annotated[str, Form(max_length=MOST_SAID)] = "[]",
) -> Response:
    """Both answers at once. Neither waits for the other, and one may fail alone."""
    service: Service = request.app.state.service
    found = await _askable(request, domain)
    known = dict(found.choices)
    if left not in known or right not in known:
        raise Invalid("This version does not answer here now. Choose another one.")
    turns = _turns(earlier)
    answers = await asyncio.gather(
        *(
            _answer(service, found.domain, signed_in, version, question, _history(turns, side))
            for side, version in enumerate((left, right))
        )
    )
    texts = answers[0].text, answers[1].text
    answered = not any(a.problem for a in answers)
    now = [*turns, SideBySideTurn(question, texts)] if answered else turns
    return await rendering.page(
        request,
        "side_by_side.html",
        signed_in,
        found=found,
        left=left,
        right=right,
        turns=turns,
        question=question,
        earlier=_packed(now, service.settings.bot.history_turns),
        answers=answers,
    )


async def _answer(
    service: Service,
    domain: Domain,
    signed_in: SignedIn,
    version: str,
    question: str,
    history: tuple[Message, ...],
) -> SideAnswer:
    asked = Ask(
        person=signed_in.person,
        thread=f"{signed_in.person}/side-by-side/{new_reply_id()}",
        text=question,
        domain=domain,
        pinned=f"{domain.name}@{version}",
        history=history,
        store=False,
    )
    try:
        started, text, _ = await service.chat.complete(asked)
    except Exception as error:
        if (problem := problems.problem_of(error)) is None:
            raise
        return SideAnswer(version, problem=problem.message)
    declined = started.outcome == "declined"
    shown = () if declined else started.sources
    return SideAnswer(
        version,
        text,
        source_wording.heading(started.outcome, started.layout, uncertain=started.uncertain),
        [(s.prompt, source_wording.approval(s, person(s.approved_by))) for s in shown],
        declined,
    )


async def _askable(request: Request, name: str) -> AskableVersions:
    service: Service = request.app.state.service

    def read(db: Database) -> AskableVersions:
        domain, held = domains.get(db, name), placements.loaded(db)
        versions = [
            a
            for a in registry.list_adapters(db, domain)
            if a.id in held and a.state not in ("evaluating", "rejected")
        ]
        versions.sort(key=lambda a: (a.state != "live", -a.version))
        named = [(str(a.version), f"{a.name} ({a.state})") for a in versions]
        return AskableVersions(domain, [*named, (BASE, "the bare base model")])

    return await service.store.read(read)


def _history(turns: list[SideBySideTurn], side: int) -> tuple[Message, ...]:
    return tuple(
        message
        for turn in turns
        for message in (Message("user", turn.question), Message("assistant", turn.answers[side]))
    )


def _packed(turns: list[SideBySideTurn], most: int) -> str:
    """The newest turns, as few as needed to fit into the field."""
    kept = turns[-most:] if most else []
    while len(packed := json.dumps([[t.question, *t.answers] for t in kept])) > MOST_SAID:
        kept = kept[1:]
    return packed


def _turns(earlier: str) -> list[SideBySideTurn]:
    """Raises Invalid for what this page has not made."""
    try:
        return [
            SideBySideTurn(str(question), (str(a), str(b)))
            for question, a, b in json.loads(earlier)
        ]
    except (ValueError, TypeError, RecursionError):
        raise Invalid("The earlier questions cannot be read. Begin again.") from None
