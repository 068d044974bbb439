"""Two blinded answers to one question, in a comparison that asks for them now and then.

The person's own variant answers in the conversation, as always. Another variant answers the same
question beside it, in a conversation of its own, so that what is said later goes on from the
person's own variant. The two are shown in random order without a word on whose they are; the choice
is `feedback.prefer`. Where either did not come from its variant, whole, the own answer is shown
alone.

`wanted` and `both` are for front ends that show one answer their own way; `answer` does it all.
"""

import asyncio
import contextlib
import logging
import secrets
from dataclasses import dataclass, replace

from sqlite_utils import Database

from bot.answering import assignment
from bot.answering.chat import Ask, Chat, Delta, Ended, Started
from data.adapters import placements
from data.conversations import conversations, side_by_side
from data.conversations.side_by_side import Pairing
from data.experiments import assignments, experiments, testers
from data.store.db import Store
from data.store.errors import Unavailable, UnderstudyError

log = logging.getLogger(__name__)
RANDOM = secrets.SystemRandom()


@dataclass(frozen=True)
class BlindedAnswer:
    started: Started
    text: str
    ended: Ended


def wanted(db: Database, ask: Ask, turns: int) -> Ask | None:
    """What another variant is to be asked beside `ask`; None: this question gets one answer.

    `turns` of the conversation go with it. Nobody is asked to choose who is in no comparison, or
    chose their variant themselves."""
    if ask.pinned is not None:
        return None
    known = conversations.find(db, ask.thread)
    running = experiments.running(db, known.domain_id if known else ask.domain.id)
    if running is None or RANDOM.random() >= running.pairwise:
        return None
    place = assignments.place(db, running, ask.person)
    if place is None or testers.is_one(db, running, ask.person):
        return None
    if not assignment.all_held(running, placements.holders(db)):
        return None
    history = ask.history
    if history is None:
        history = tuple(conversations.history(db, known.id, turns)) if known else ()
    reply_id = conversations.new_reply_id()
    return replace(
        ask,
        beside=RANDOM.choice([v.label for v in running.variants if v != place.variant]),
        thread=f"{ask.thread}/beside/{reply_id}",
        history=history,
        reply_id=reply_id,
        external_id="",
    )


def pair(db: Database, own: str, beside: str) -> Pairing | None:
    """Put two answers that have ended side by side, in random order, by their replies' ids. None,
    and the own one is shown alone, unless each came whole from its variant of one comparison."""
    replies = [conversations.reply(db, reply_id) for reply_id in (own, beside)]
    if any(r.status != "done" or r.variant_id is None for r in replies):
        return None
    experiment_id = experiments.of_variant(db, replies[0].variant_id)
    if experiment_id != experiments.of_variant(db, replies[1].variant_id):
        return None
    first, second = RANDOM.sample([own, beside], 2)
    return side_by_side.open_pairing(db, experiment_id, replies[0].person, first, second)


async def answer(chat: Chat, store: Store, ask: Ask, turns: int) -> list[BlindedAnswer]:
    """One answer, or two in the order in which they are to be shown. Raises what `Chat.answer` does
    for the person's own one."""
    other = await store.read(lambda db: wanted(db, ask, turns))
    if other is None:
        return [await _whole(chat, ask)]
    return await both(chat, store, ask, other)


async def both(chat: Chat, store: Store, ask: Ask, other: Ask) -> list[BlindedAnswer]:
    """As `answer`, when it is known what another variant is to be asked."""
    beside = asyncio.create_task(_quietly(chat, other))
    try:
        own = await _whole(chat, ask)
        found = await beside
    finally:
        if not beside.done():
            beside.cancel()
            await asyncio.wait({beside})
    if found is None:
        return [own]
    made = await store.submit(lambda db: pair(db, ask.reply_id, other.reply_id))
    if made is None:
        return [own]
    return [own, found] if made.first_reply == ask.reply_id else [found, own]


async def _quietly(chat: Chat, ask: Ask) -> BlindedAnswer | None:
    """Who answers beside may fail: then there is one answer."""
    try:
        return await _whole(chat, ask)
    except UnderstudyError as error:
        log.info("No second answer beside %s: %s", ask.reply_id, error)
        return None


async def _whole(chat: Chat, ask: Ask) -> BlindedAnswer:
    started: Started | None = None
    text: list[str] = []
    async with contextlib.aclosing(chat.answer(ask)) as events:
        async for event in events:
            match event:
                case Started():
                    started = event
                case Delta():
                    text.append(event.text)
                case Ended() if started is not None:
                    return BlindedAnswer(started, "".join(text), event)
    raise Unavailable("The answer has no end. Please ask again.")
