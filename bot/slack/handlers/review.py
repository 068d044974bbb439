"""The form in which reviewers decide on pending pairs.

The queue, its leases and its idempotent decisions are in `data/pairs/review_queue.py`. A decision
is stored before Slack is acknowledged and before the next pair is shown, and the reviewer's role is
checked in the same transaction.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from sqlite_utils import Database

from bot.commands import roles
from bot.slack.client.stream import SlackPlace
from bot.slack.payloads import team_of
from bot.slack.render import admin_forms, form_fields
from bot.slack.render.admin_forms import Origin
from bot.slack.render.blocks import Block, plain, sentence
from bot.slack.workspace import views
from bot.slack.workspace.context import STORE_BUSY, WorkspaceContext
from data import domains
from data.pairs import masked_words, pairs, review_queue
from data.quality import private_words
from data.search import fact_proposals
from data.store.errors import Conflict, Invalid, NotFound, UnderstudyError

Ack = Callable[..., Awaitable[Any]]
BUTTON = re.compile(rf"^{admin_forms.DECIDE}:")
STORE_WAIT_S = 2.0  # Slack waits three seconds for the answer to a form
TEXT_IS_KEPT = "Nothing was changed. Your text stays here until you close this form."
Decide = Callable[[Database, str], str]  # stores a reviewer's decision and returns a note


def next_form(db: Database, where: Origin, reviewer: str, note: str = "", after: int = 0) -> Block:
    """The form with the next pair for this reviewer."""
    domain = domains.get(db, where.domain) if where.domain else None
    pair = review_queue.take_next(db, reviewer, domain, after)
    if pair is not None and pair.id == after:
        note = note or "This is the only pair left for you."
    return _shown(db, where, pair, domain, note)


def _shown(
    db: Database, where: Origin, pair: pairs.Pair | None, domain: domains.Domain | None, note: str
) -> Block:
    """The form with a pair, which may be of any domain; with no pair, the end of the queue."""
    left = review_queue.pending(db, domain)
    shown_of = domains.by_id(db, pair.domain_id).title if pair else ""
    masked = private_words.sentence(masked_words.of_pair(db, pair.id)) if pair else ""
    return admin_forms.reviewed(
        replace(where, pair_id=pair.id if pair else 0), pair, shown_of, left, note, masked
    )


async def review_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """Approve, Edit, Reject, Next or Show masked words was pressed under a pair."""
    verb, *numbers = str(body["actions"][0].get("value") or "").split()
    view, pair_id = body["view"], int(numbers[0])
    where = replace(admin_forms.origin(view), pair_id=pair_id)
    match verb:
        case "approve":
            storing = _store(workspace, body, _form_after(where, _approve(pair_id)))
        case "newer":
            decide = _approve(pair_id, older=int(numbers[1]))
            storing = _store(workspace, body, _form_after(where, decide))
        case "next":
            storing = _store(
                workspace, body, lambda db, who: next_form(db, where, who, "", pair_id)
            )
        case "unmask":
            storing = _store(workspace, body, lambda db, who: _unmasked(db, where, who))
        case _:
            form = admin_forms.edited if verb == "edit" else admin_forms.rejected
            storing = _store(workspace, body, lambda db, who: _opened(db, where, who, form))
    place = SlackPlace(team_of(body), where.channel, where.thread_ts, str(body["user"]["id"]))
    try:
        shown = await with_older_answer(workspace, await storing)  # stored before the ack
    except UnderstudyError as error:
        shown = admin_forms.said(where, f":warning: {sentence(str(error))}")
    await ack()
    workspace.tasks.start(_update(workspace, place, where, str(view["id"]), shown), "review")


async def review_form_sent(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """The form for an edit or a rejection was submitted. It then shows the next pair."""
    view = body["view"]
    where, callback = admin_forms.origin(view), view["callback_id"]
    if callback == admin_forms.EDIT:
        decide = _edit(where.pair_id, view)
        field = _last_input(view)
    else:
        decide = _reject(where.pair_id, form_fields.typed(view, admin_forms.REASON))
        field = admin_forms.REASON
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            shown = await _store(workspace, body, _form_after(where, decide))
            shown = await with_older_answer(workspace, shown)
    except TimeoutError:
        await ack(response_action="errors", errors={field: STORE_BUSY})
    except UnderstudyError as error:
        await ack(response_action="errors", errors={field: plain(str(error))})
    else:
        await ack(response_action="update", view=shown)


async def with_older_answer(workspace: WorkspaceContext, view: Block) -> Block:
    """A review form, with the answer that its pair perhaps replaces, if the search finds one."""
    pair_id = admin_forms.origin(view).pair_id
    if view["callback_id"] != admin_forms.DECIDE or not pair_id:
        return view

    def read(db: Database) -> tuple[pairs.Pair, domains.Domain]:
        pair = pairs.get(db, pair_id)
        return pair, domains.by_id(db, pair.domain_id)

    pair, domain = await workspace.service.store.read(read)
    search = workspace.service.chat.search
    found = await asyncio.to_thread(fact_proposals.propose, search, domain, pair)
    if found is None:
        return view
    return admin_forms.with_older_answer(view, pair_id, found.prompt, found.response, found.pair_id)


def _approve(pair_id: int, older: int = 0) -> Decide:
    """`older`: a pair whose fact it states, so that it replaces the answer to it."""

    def decide(db: Database, who: str) -> str:
        fact = pairs.get(db, older).fact if older else ""
        review_queue.decide(db, pair_id, "approved", who, fact=fact)
        return f":white_check_mark: Pair {pair_id} is approved. The next retrain will learn it."

    return decide


def _reject(pair_id: int, reason: str) -> Decide:
    def decide(db: Database, who: str) -> str:
        review_queue.decide(db, pair_id, "rejected", who, reason)
        return f":no_entry_sign: Pair {pair_id} is rejected."

    return decide


def _last_input(view: dict[str, Any]) -> str:
    """The input below which a form shows an error."""
    return [str(block["block_id"]) for block in view["blocks"] if block["type"] == "input"][-1]


def _edit(pair_id: int, view: dict[str, Any]) -> Decide:
    def decide(db: Database, who: str) -> str:
        old = pairs.get(db, pair_id)
        prompt = admin_forms.written(view, admin_forms.PROMPT, old.prompt)
        response = admin_forms.written(view, admin_forms.RESPONSE, old.response)
        try:
            new = review_queue.edit(db, pair_id, prompt, response, who)
        except Conflict as error:
            # showing the next pair would lose the text
            raise Invalid(f"{error} {TEXT_IS_KEPT}") from error
        return (
            f":white_check_mark: Your edit is approved as pair {new.id}. "
            "The next retrain will learn it."
        )

    return decide


def _form_after(where: Origin, decide: Decide) -> Callable[[Database, str], Block]:
    """Store a decision, then build the form for the next pair. If someone else decided meanwhile,
    a note above that pair says so."""

    def write(db: Database, who: str) -> Block:
        try:
            with db.atomic():
                note = decide(db, who)
        except (Conflict, NotFound) as error:
            note = f":warning: {sentence(str(error))}"
        return next_form(db, where, who, note, where.pair_id)

    return write


def _opened(
    db: Database, where: Origin, who: str, form: Callable[[Origin, pairs.Pair], Block]
) -> Block:
    """A form for a pair that this reviewer now holds."""
    try:
        pair = review_queue.hold(db, where.pair_id, who)
    except (Conflict, NotFound) as error:
        note = f":warning: {sentence(str(error))}"
        return next_form(db, where, who, note, where.pair_id)
    return form(where, pair)


def _unmasked(db: Database, where: Origin, who: str) -> Block:
    """The form of the same pair with its masked words, which this reviewer now holds."""
    domain = domains.get(db, where.domain) if where.domain else None
    try:
        with db.atomic():
            review_queue.hold(db, where.pair_id, who)
            pair = private_words.reveal(db, where.pair_id, who)
    except (Conflict, NotFound) as error:
        return next_form(db, where, who, f":warning: {sentence(str(error))}", where.pair_id)
    return _shown(db, where, pair, domain, "The masked words are shown. The audit log says so.")


async def _store(
    workspace: WorkspaceContext, body: dict[str, Any], write: Callable[[Database, str], Block]
) -> Block:
    """Run `write` for the reviewer, checking their role in the same transaction."""
    requester = await workspace.roles.requester(team_of(body), str(body["user"]["id"]))

    def checked(db: Database) -> Block:
        roles.check(db, requester, "reviewer")
        return write(db, requester.person)

    return await workspace.service.store.submit(checked)


async def _update(
    workspace: WorkspaceContext, place: SlackPlace, where: Origin, view_id: str, shown: Block
) -> None:
    """Show the next form. If that fails, the decision is stored anyway, and opening the review
    again shows the next pair."""
    async with workspace.report_errors(place, where.response_url):
        await views.show(workspace, shown, "", view_id)
