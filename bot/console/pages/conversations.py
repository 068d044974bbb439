"""What people asked and were answered: by version, variant, rating, confidence and text.

`[bot] conversation_readers` says who reads the words and the people's ids. Whoever may not sees the
figures, and cannot filter by words.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.answering import source_wording
from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.console.shown import person
from bot.service import Service
from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.conversations import answer_list
from data.conversations.answer_list import (
    CONFIDENCE_FILTERS,
    LOOKED_AT,
    OUTCOMES,
    RATING_FILTERS,
    AnswerFilter,
    ConfidenceFilter,
    ListedAnswer,
    RatingFilter,
)
from data.domains import Domain
from data.experiments import experiments
from data.experiments.experiments import Experiment
from data.pairs import reply_sources
from data.pairs.reply_sources import Source
from data.people.roles import Role, at_least
from data.privacy import lineage
from data.store.errors import Forbidden, Invalid, NotFound

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Text = Annotated[str, Query(max_length=200)]
Number = Annotated[int, Query(ge=0, lt=2**63)]
PATH = f"{HOME}/domains/{{domain}}/conversations"
SHOWN = 30  # answers on one page
BASE = "base"


@dataclass(frozen=True)
class ConversationsPage:
    """What the list needs."""

    answers: list[ListedAnswer]
    versions: list[Adapter]
    comparisons: list[Experiment]


@dataclass(frozen=True)
class AnswerWithSources:
    """An answer, what it rests on, and where its version comes from."""

    listed: ListedAnswer
    sources: tuple[Source, ...]
    line: list[str]  # sentences about the version; empty for the bare base


@router.get(PATH)
async def show_list(
    request: Request,
    domain: str,
    signed_in: Reviewer,
    version: Text = "",
    variant: Text = "",
    rating: Text = "",
    confidence: Text = "",
    outcome: Text = "",
    text: Text = "",
    before: Number = 0,
) -> Response:
    service: Service = request.app.state.service
    reads = may_read(service, signed_in.role)
    if text and not reads:
        raise Forbidden("You may not search people's words here (`[bot] conversation_readers`).")

    def read(db: Database) -> ConversationsPage:
        subject = domains.get(db, domain)
        wanted = AnswerFilter(
            adapter_id=_adapter_id(db, subject, version),
            variant_id=_number(variant),
            rating=_rating(rating),
            confidence=_confidence(confidence),
            outcome=next((o for o in OUTCOMES if o == outcome), ""),
            text=text,
        )
        found = answer_list.list_answers(db, subject.id, wanted, before or None, SHOWN + 1)
        return ConversationsPage(
            [a if reads else _without_words(a) for a in found],
            registry.list_adapters(db, subject),
            experiments.list_experiments(db, subject)[:5],
        )

    found = await service.store.read(read)
    shown = found.answers[:SHOWN]
    return await rendering.page(
        request,
        "conversations.html",
        signed_in,
        found=found,
        answers=shown,
        older=shown[-1].number if len(found.answers) > SHOWN else None,
        reads=reads,
        readers=service.settings.bot.conversation_readers,
        filters={
            "version": version,
            "variant": variant,
            "rating": rating,
            "confidence": confidence,
            "outcome": outcome,
            "text": text,
        },
        ratings=RATING_FILTERS,
        confidences=CONFIDENCE_FILTERS,
        outcomes=OUTCOMES,
        looked_at=LOOKED_AT,
    )


@router.get(f"{PATH}/{{reply_id}}")
async def show(
    request: Request,
    domain: str,
    reply_id: Annotated[str, Path(max_length=100)],
    signed_in: Reviewer,
) -> Response:
    service: Service = request.app.state.service
    reads = may_read(service, signed_in.role)

    def read(db: Database) -> AnswerWithSources:
        subject = domains.get(db, domain)
        listed = answer_list.get_answer(db, subject.id, reply_id)
        if listed is None:
            raise NotFound("There is no such answer.")
        written_by = registry.get(db, str(listed.version), subject) if listed.version else None
        return AnswerWithSources(
            listed if reads else _without_words(listed),
            reply_sources.of_reply(db, reply_id),
            lineage.of_adapter(db, written_by.id).sentences if written_by else [],
        )

    found = await service.store.read(read)
    return await rendering.page(
        request,
        "conversation.html",
        signed_in,
        found=found,
        answer=found.listed,
        reads=reads,
        approval=lambda source: source_wording.approval(source, person(source.approved_by)),
    )


def may_read(service: Service, role: Role) -> bool:
    """Whether somebody with this role reads people's words here."""
    readers = service.settings.bot.conversation_readers
    return readers != "nobody" and at_least(role, readers)


def _without_words(answer: ListedAnswer) -> ListedAnswer:
    return replace(answer, question="", answer="", person="")


def _adapter_id(db: Database, domain: Domain, version: str) -> int | None:
    if not version:
        return None
    return 0 if version == BASE else registry.get(db, version, domain).id


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Invalid("That is no variant.")
    return int(text)


def _rating(text: str) -> RatingFilter:
    return next((r for r in RATING_FILTERS if r == text), "")


def _confidence(text: str) -> ConfidenceFilter:
    return next((c for c in CONFIDENCE_FILTERS if c == text), "")
