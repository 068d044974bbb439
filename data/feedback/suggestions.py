"""Suggestions: a person teaches the bot a question with its answer, which becomes a pending pair.

A suggested pair is always in the training split. If the same pair exists already, no second one is
created.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data.conversations import conversations
from data.domains import Domain
from data.pairs import pairs
from data.pairs.pairs import Draft, Pair, Turn
from data.pairs.question import fact_of_prompt
from data.people import consent
from data.quality import private_words
from data.store.db import rows
from data.store.errors import Conflict


@dataclass(frozen=True)
class SuggestedPair:
    """A suggested question and answer, and the other people whose words it contains."""

    question: str
    answer: str
    turns: tuple[Turn, ...] = ()  # earlier turns of the conversation
    people: tuple[str, ...] = ()
    about: str = ""  # the original question, if this rephrases it: both share a fact
    source_ref: str = ""  # the id of a reply, or the location of the message


@dataclass(frozen=True)
class SuggestionResult:
    pair: Pair
    known: bool  # the pair existed already


class OptedOut(Conflict):
    """Somebody whose words the suggestion contains has opted out of learning."""


def teach(db: Database, domain: Domain, person: str, suggestion: SuggestedPair) -> SuggestionResult:
    """Create a pending pair, with contact data and secrets masked. Raises Invalid if the texts
    cannot be a pair, and OptedOut if the person, or somebody whose words the suggestion contains,
    has opted out of learning."""
    if not consent.may_learn(db, person):
        raise OptedOut("You have opted out of learning. You can opt in again on your Home tab.")
    if not consent.may_learn(db, *suggestion.people, person):
        raise OptedOut("Some of these words are from a person who has opted out of learning.")
    fact = fact_of_prompt(db, domain, suggestion.question)
    if not fact and suggestion.about:
        fact = fact_of_prompt(db, domain, suggestion.about)
    draft = Draft(
        prompt=suggestion.question,
        response=suggestion.answer,
        turns=suggestion.turns,
        fact=fact,
        split="train",
    )
    added = private_words.add_for_review(
        db, domain, draft, source="teach", source_ref=suggestion.source_ref, author=person
    )
    if added.pair is None:
        raise Conflict("This pair was changed at the same moment; try again.")
    if added.new:
        others = [p for p in suggestion.people if p != person]
        pairs.record_word_owners(db, added.pair.id, others)
    return SuggestionResult(added.pair, known=not added.new)


def earlier_turns(db: Database, reply_id: str, most: int) -> tuple[list[Turn], list[str]]:
    """The last `most` questions and answers before those of a reply, and the people who asked."""
    found = rows(
        db,
        "SELECT q.text AS question, a.text AS answer, q.person FROM messages m "
        "JOIN messages q ON q.conversation_id = m.conversation_id AND q.role = 'user' "
        "AND q.id < m.id JOIN replies r ON r.id = q.reply_id "
        "AND r.status IN ('done', 'partial', 'cancelled') "
        "JOIN messages a ON a.reply_id = q.reply_id AND a.role = 'assistant' "
        "WHERE m.reply_id = ? AND m.role = 'user' AND trim(a.text) <> '' "
        "ORDER BY q.id DESC LIMIT ?",
        [reply_id, most],
    )
    turns: list[Turn] = []
    for r in reversed(found):
        turns += [Turn("user", r["question"]), Turn("assistant", r["answer"])]
    return turns, sorted({r["person"] for r in found})


def of_reply(
    db: Database, reply_id: str, most_turns: int
) -> tuple[conversations.Reply, SuggestedPair, bool]:
    """A suggestion to start from, made of an answer of the bot, and whether everybody whose words
    it contains allows learning. Raises NotFound."""
    reply = conversations.reply(db, reply_id)
    question, answer = conversations.exchange(db, reply_id)
    turns, people = earlier_turns(db, reply_id, most_turns)
    everybody = tuple(sorted({reply.person, *people}))
    suggestion = SuggestedPair(question, answer, tuple(turns), everybody, question, reply_id)
    return reply, suggestion, consent.may_learn(db, *everybody)
