"""Asks again: for another answer to the same question, or for the rest of one that was cut.

The engine gets the same question with the same history. Another answer is sampled at a higher
temperature. The rest continues the text so far, with the same adapter if it is still served.
"""

from dataclasses import replace

from sqlite_utils import Database

from bot.answering.prompt import Ask
from data import domains
from data.adapters import registry
from data.config.settings import BotSettings
from data.conversations import conversations
from data.conversations.conversations import Reply, ReplyWithQuestion
from data.domains import Domain
from data.experiments import experiments

TEMPERATURE = 0.8  # at least, so that another answer differs from the first
SERVED = ("candidate", "live")


def another_answer(
    db: Database, reply_id: str, person: str, domain: Domain, bot: BotSettings
) -> Ask:
    """The request for another answer. Raises NotFound if the first one was deleted."""
    found = conversations.reply_with_question(db, reply_id)
    sampling = {"temperature": max(bot.temperature, TEMPERATURE)}
    ask = _same_question(db, found, person, domain, bot)
    return replace(ask, sampling=sampling, regenerates=found.reply.id)


def rest_of(db: Database, reply_id: str, person: str, domain: Domain, bot: BotSettings) -> Ask:
    """The request for the rest of an answer. Raises NotFound if its beginning was deleted."""
    found = conversations.reply_with_question(db, reply_id)
    return replace(
        _same_question(db, found, person, domain, bot),
        pinned=_pinned(db, found.reply),
        system=_system(db, found.reply),
        continues=found.reply.id,
        prefix=found.text,
    )


def _same_question(
    db: Database, found: ReplyWithQuestion, person: str, domain: Domain, bot: BotSettings
) -> Ask:
    known = conversations.find(db, found.thread)
    turns = bot.history_turns
    history = conversations.history(db, known.id, turns, found.message_id) if known else []
    return Ask(
        person=person,
        thread=found.thread,
        text=found.question,
        domain=domain,
        history=tuple(history),
        external_id=found.asked_at,
    )


def _pinned(db: Database, reply: Reply) -> str | None:
    """The adapter that wrote the beginning; None if it is no longer served, and another one
    continues."""
    if reply.adapter_id is None:
        return f"{domains.by_id(db, reply.domain_id).name}@base"
    adapter = registry.by_id(db, reply.adapter_id)
    return adapter.name if adapter.state in SERVED else None


def _system(db: Database, reply: Reply) -> str | None:
    """The system prompt of the variant that wrote the beginning; None for the domain's own."""
    known = experiments.list_experiments(db, domains.by_id(db, reply.domain_id))
    variants = (variant for experiment in known for variant in experiment.variants)
    return next((v.system_prompt for v in variants if v.id == reply.variant_id), None)
