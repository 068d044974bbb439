"""The pairs of a domain: search, filters, decisions on many at once, one pair with its history, and
facts with their phrasings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Form, Path, Query, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.console import access, pair_filter, pair_history, rendering
from bot.console.access import SignedIn
from bot.console.entered_words import Words
from bot.console.pair_history import PairEvent
from bot.console.rendering import HOME, ConsoleRouter
from bot.console.shown import count
from bot.service import Service
from data import domains
from data.domains import Domain
from data.pairs import bulk_reviews, masked_words, pair_edits, pairs
from data.pairs.bulk_reviews import BulkReview
from data.pairs.pairs import SPLITS, STATUSES, Pair, Status
from data.privacy import lineage
from data.quality import check_results, checks, private_words
from data.search import pair_pages
from data.search.pair_pages import FactPhrasings, PairFilter, PairPage
from data.store.clock import now_us
from data.store.errors import Conflict, Invalid, NotFound, UnderstudyError

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Id = Annotated[int, Path(ge=1, lt=2**63)]
Action = Literal["approve", "reject", "restore"]
PATH = f"{HOME}/domains/{{domain}}/pairs"
STATUS_OF: dict[Action, Status] = {
    "approve": "approved",
    "reject": "rejected",
    "restore": "pending",
}
DID: dict[Status, str] = {
    "approved": "approved",
    "rejected": "rejected",
    "pending": "put back for review",
}
COUNTED = 1_000  # pairs that a search counts; counting more takes long
SHOWN_LEFT = 3  # reasons why pairs were left as they are, in a message
SHOWN_PHRASINGS = 20


@dataclass(frozen=True)
class PairDetails:
    """One pair, with what is known of it."""

    pair: Pair
    seen: str
    fact: str  # that it names; '' if it names none
    decision: str
    masked: str  # what is masked in it; '' if nothing is
    findings: list[str]  # what the last check found in it
    phrasings: list[Pair]  # other approved pairs that state the same fact
    history: list[PairEvent]
    lineage: tuple[str, ...]


@router.get(PATH)
async def show_list(
    request: Request,
    domain: str,
    signed_in: Reviewer,
    before: Annotated[int, Query(ge=1, lt=2**63)] = pair_pages.NEWEST,
    undo: Annotated[int, Query(ge=0, lt=2**63)] = 0,
) -> Response:
    """`before`: the page with the pairs before this one. `undo`: a decision that can be undone."""
    service: Service = request.app.state.service
    wanted = pair_filter.read(request.query_params)
    most = COUNTED if wanted.words else pair_pages.MOST_COUNTED

    def read(db: Database) -> tuple[PairPage, int, dict[str, int], list[str], list[str], int]:
        subject = domains.get(db, domain)
        return (
            pair_pages.page(db, subject, wanted, before),
            pair_pages.count(db, subject, wanted, most) if wanted.given else 0,
            pairs.counts(db, subject),
            pair_pages.sources(db, subject),
            check_results.names(db, subject),
            _undoable(db, subject, undo) if undo else 0,
        )

    found, fitting, counts, sources, findings, undoable = await service.store.read(read)
    total = sum(counts.values())
    return await rendering.page(
        request,
        "pairs.html",
        signed_in,
        found=found,
        fitting=fitting if wanted.given else total,
        capped=wanted.given and fitting == most,
        total=total,
        counts=counts,
        wanted=wanted,
        fields=pair_filter.fields(wanted),
        following=pair_filter.query(wanted, before=found.following) if found.following else "",
        first=pair_filter.query(wanted) if before != pair_pages.NEWEST else None,
        statuses=STATUSES,
        splits=SPLITS,
        sources=sources,
        findings=[checks.by_name(name) for name in findings],
        as_of=now_us(),
        undo=undo,
        undoable=undoable,
    )


def _undoable(db: Database, domain: Domain, batch: int) -> int:
    try:
        return bulk_reviews.begin_undo(db, domain, batch)
    except UnderstudyError:  # it was undone meanwhile
        return 0


@router.post(f"{PATH}/bulk")
async def decide_on_many(
    request: Request,
    domain: str,
    action: Annotated[Action, Form()],
    as_of: Annotated[int, Form(ge=0, lt=2**63)],
    signed_in: Reviewer,
    scope: Annotated[Literal["ticked", "all"], Form()] = "ticked",
    pair: Annotated[list[int] | None, Form(max_length=pair_pages.PAGE)] = None,
    expected: Annotated[int, Form(ge=0)] = 0,
) -> Response:
    """Decide on the ticked pairs, or on all that fit the filter: then a page names their number
    first. `as_of`: when the list was shown."""
    service: Service = request.app.state.service
    wanted = pair_filter.read(_form(await request.form()))
    path = PATH.format(domain=domain)

    def read(db: Database) -> tuple[Domain, list[int]]:
        subject = domains.get(db, domain)
        return subject, pair_pages.ids(db, subject, wanted) if scope == "all" else pair or []

    subject, chosen = await service.store.read(read)
    if not chosen:
        raise Invalid("Tick the pairs first, or choose all that fit the filter.")
    if scope == "all" and not expected:
        return await rendering.page(
            request,
            "confirm_bulk.html",
            signed_in,
            chosen=len(chosen),
            capped=len(chosen) == pair_pages.MOST_COUNTED,
            action=action,
            did=DID[STATUS_OF[action]],
            as_of=as_of,
            fields=pair_filter.fields(wanted),
            back=f"{path}{pair_filter.query(wanted)}",
        )
    if scope == "all" and len(chosen) != expected:
        raise Conflict(
            f"{count(len(chosen), 'pair')} fit the filter by now, not {expected:,}. Nothing was "
            "changed; look at the list again."
        )
    done = BulkReview()
    for start in range(0, len(chosen), bulk_reviews.AT_ONCE):
        some, batch = chosen[start : start + bulk_reviews.AT_ONCE], done.batch

        def decide(db: Database, some: list[int] = some, batch: int = batch) -> BulkReview:
            status, who = STATUS_OF[action], signed_in.person
            return bulk_reviews.review(db, subject, some, status, who, as_of=as_of, batch=batch)

        part = await service.store.submit(decide)
        done.batch = part.batch
        done.changed += part.changed
        done.same += part.same
        done.left += part.left
    undo = {"undo": done.batch} if done.batch else {}
    said = _said(done, DID[STATUS_OF[action]])
    return rendering.done(request, f"{path}{pair_filter.query(wanted, **undo)}", said)


@router.post(f"{PATH}/bulk/{{batch}}/undo")
async def undo_many(request: Request, domain: str, batch: Id, signed_in: Reviewer) -> Response:
    """Give the pairs of a decision on many the status that they had."""
    service: Service = request.app.state.service
    wanted = pair_filter.read(_form(await request.form()))

    def begin(db: Database) -> tuple[Domain, int]:
        subject = domains.get(db, domain)
        return subject, bulk_reviews.begin_undo(db, subject, batch)

    subject, number = await service.store.read(begin)
    while await service.store.submit(
        lambda db: bulk_reviews.undo(db, subject, batch, signed_in.person)
    ):
        pass
    path = f"{PATH.format(domain=domain)}{pair_filter.query(wanted)}"
    return rendering.done(request, path, f"Undone for {count(number, 'pair')}.")


@router.get(f"{PATH}/facts")
async def show_facts(
    request: Request,
    domain: str,
    signed_in: Reviewer,
    after: Annotated[str, Query(max_length=pair_edits.MAX_FACT)] = "",
) -> Response:
    """Facts that several pairs state; `after`: those whose names come after this one."""
    service: Service = request.app.state.service

    def read(db: Database) -> list[FactPhrasings]:
        return pair_pages.facts(db, domains.get(db, domain), after, FACTS + 1)

    found = await service.store.read(read)
    return await rendering.page(
        request,
        "facts.html",
        signed_in,
        facts=[(one, pair_filter.query(PairFilter(fact=one.fact))) for one in found[:FACTS]],
        following=found[FACTS - 1].fact if len(found) > FACTS else "",
        named=lambda one: bool(one.pairs) and one.fact == pair_edits.named_fact(one.pairs[0]),
        first=not after,
    )


FACTS = 25  # on a page


@router.get(f"{PATH}/{{pair_id}}")
async def show(request: Request, domain: str, pair_id: Id, signed_in: Reviewer) -> Response:
    service: Service = request.app.state.service

    def read(db: Database) -> PairDetails:
        pair = _pair(db, domain, pair_id)
        subject = domains.get(db, domain)
        phrasings = pair_pages.stating(db, subject, pair.fact, SHOWN_PHRASINGS + 1)
        return PairDetails(
            pair,
            pair_edits.seen(pair),
            pair_edits.named_fact(pair),
            pair_history.decision(pair),
            private_words.sentence(masked_words.of_pair(db, pair_id)),
            [checks.by_name(name).title for name in check_results.of_pair(db, pair_id)],
            [other for other in phrasings if other.id != pair_id][:SHOWN_PHRASINGS],
            pair_history.of_pair(db, pair),
            tuple(lineage.of_pair(db, pair_id).sentences),
        )

    details = await service.store.read(read)
    return await rendering.page(
        request,
        "pair.html",
        signed_in,
        details=details,
        pair=details.pair,
        statuses=STATUSES,
        max_fact=pair_edits.MAX_FACT,
    )


@router.post(f"{PATH}/{{pair_id}}")
async def edit(
    request: Request,
    domain: str,
    pair_id: Id,
    prompt: Words,
    response: Words,
    status: Annotated[Status, Form()],
    seen: Annotated[str, Form(max_length=100)],
    signed_in: Reviewer,
    fact: Annotated[str, Form(max_length=pair_edits.MAX_FACT)] = "",
) -> Response:
    """Change a pair, unless somebody else did since it was shown."""
    service: Service = request.app.state.service

    def change(db: Database) -> Pair:
        _pair(db, domain, pair_id)
        return pair_edits.edit(
            db,
            pair_id,
            seen,
            signed_in.person,
            prompt=prompt,
            response=response,
            fact=fact,
            status=status,
        )

    changed = await service.store.submit(change)
    said = f"Saved: the pair is {DID.get(changed.status, changed.status)}."
    if changed.id != pair_id:
        said = f"Saved as pair {changed.id}; pair {pair_id}, with the words before, is rejected."
    return rendering.done(request, f"{PATH.format(domain=domain)}/{changed.id}", said)


@router.post(f"{PATH}/{{pair_id}}/unmask")
async def unmask(request: Request, domain: str, pair_id: Id, signed_in: Reviewer) -> Response:
    """Show the contact data and secrets that were masked; the audit log records who asked."""
    service: Service = request.app.state.service

    def reveal(db: Database) -> None:
        _pair(db, domain, pair_id)
        private_words.reveal(db, pair_id, signed_in.person)

    await service.store.submit(reveal)
    path = f"{PATH.format(domain=domain)}/{pair_id}"
    return rendering.done(request, path, "The masked words are shown.")


def _pair(db: Database, domain: str, pair_id: int) -> Pair:
    """Raises NotFound, also for a pair of another domain."""
    pair = pairs.get(db, pair_id)
    if pair.domain_id != domains.get(db, domain).id:
        raise NotFound(f"{domain} has no pair {pair_id}.")
    return pair


def _form(given: Mapping[str, object]) -> dict[str, object]:
    return {name: given.get(name) for name in pair_filter.NAMES}


def _said(done: BulkReview, did: str) -> str:
    said = [f"{count(done.changed, 'pair')} {did}."]
    if done.same:
        said.append(f"{count(done.same, 'pair')} had that status already.")
    if done.left:
        said.append(f"{count(len(done.left), 'pair')} left as they were: ")
        said[-1] += " ".join(done.left[:SHOWN_LEFT])
    return " ".join(said)
