"""Two blinded answers to one question, for comparisons that ask for a preference.

The person's own variant answers in the conversation, as usual. Another variant answers the same
question in a separate conversation, so that later turns continue from the person's own variant.
Both answers are shown in random order and without the names of their variants; the person's choice
is stored by `feedback.prefer`. Unless both answers are complete, differ, and each was written by
its own variant, the person sees only their own variant's answer.

`answer` does all of this. Front ends that show single answers in their own way use `wanted` and
`both`.
"""

import asyncio
import logging
import secrets
from dataclasses import dataclass, replace

from sqlite_utils import Database

from bot.answering import routing
from bot.answering.chat import Chat
from bot.answering.events import Ended, Started
from bot.answering.prompt import Ask
from data.adapters import placements
from data.conversations import conversations, side_by_side
from data.conversations.side_by_side import Pairing
from data.experiments import assignments, experiments, testers
from data.pairs.pairs import normalise
from data.store.db import Store
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)
RANDOM = secrets.SystemRandom()


@dataclass(frozen=True)
class BlindedAnswer:
    started: Started
    text: str
    ended: Ended


def wanted(db: Database, ask: Ask, turns: int) -> Ask | None:
    """The same question for another variant; None: this question gets one answer.

    It carries the last `turns` turns of the conversation. People outside the comparison and
    testers, whose variant was chosen for them, are never asked for a preference; nor is anybody
    whose answers are not stored, because they could not be compared."""
    if ask.pinned is not None or not ask.plain or not ask.store or ask.task is not None:
        return None
    known = conversations.find(db, ask.thread)
    running = experiments.running(db, known.domain_id if known else ask.domain.id)
    if running is None or RANDOM.random() >= running.pairwise:
        return None
    assigned = assignments.current_assignment(db, running, ask.person)
    if assigned is None or testers.is_tester(db, running, ask.person):
        return None
    if not routing.all_held(running, placements.holders(db)):
        return None
    history = ask.history
    if history is None:
        history = tuple(conversations.history(db, known.id, turns)) if known else ()
    reply_id = conversations.new_reply_id()
    return replace(
        ask,
        second_variant=RANDOM.choice([v.label for v in running.variants if v != assigned.variant]),
        thread=f"{ask.thread}/beside/{reply_id}",
        history=history,
        reply_id=reply_id,
        external_id="",
    )


def pair(db: Database, own: str, other: str) -> Pairing | None:
    """Pair two ended answers, given by their reply ids, in random order. Returns None, and the
    person sees only their own variant's answer, unless both are complete, differ, and were written
    by variants of the same comparison."""
    replies = [conversations.reply(db, reply_id) for reply_id in (own, other)]
    if any(r.status != "done" or r.variant_id is None for r in replies):
        return None
    one, two = (normalise(conversations.exchange(db, r.id)[1]) for r in replies)
    if one == two:  # there is nothing to choose
        return None
    experiment_id = experiments.of_variant(db, replies[0].variant_id)
    if experiment_id != experiments.of_variant(db, replies[1].variant_id):
        return None
    first, second = RANDOM.sample([own, other], 2)
    return side_by_side.open_pairing(db, experiment_id, replies[0].person, first, second)


async def answer(chat: Chat, store: Store, ask: Ask, turns: int) -> list[BlindedAnswer]:
    """One answer, or two in the order in which to show them. Raises the errors of `Chat.answer` for
    the person's own variant."""
    other = await store.read(lambda db: wanted(db, ask, turns))
    if other is None:
        return [await _complete_answer(chat, ask)]
    return await both(chat, store, ask, other)


async def both(chat: Chat, store: Store, ask: Ask, other: Ask) -> list[BlindedAnswer]:
    """Like `answer`, with the question for the other variant already known."""
    second_task = asyncio.create_task(_second_answer(chat, other))
    try:
        own = await _complete_answer(chat, ask)
        second = await second_task
    finally:
        if not second_task.done():
            second_task.cancel()
            await asyncio.wait({second_task})
    if second is None:
        return [own]
    pairing = await store.submit(lambda db: pair(db, ask.reply_id, other.reply_id))
    if pairing is None:
        return [own]
    return [own, second] if pairing.first_reply == ask.reply_id else [second, own]


async def _second_answer(chat: Chat, ask: Ask) -> BlindedAnswer | None:
    """The other variant's answer. If it fails, the person gets one answer."""
    try:
        return await _complete_answer(chat, ask)
    except UnderstudyError as error:
        log.info("There is no second answer, %s failed: %s", ask.reply_id, error)
        return None


async def _complete_answer(chat: Chat, ask: Ask) -> BlindedAnswer:
    return BlindedAnswer(*await chat.complete(ask))
