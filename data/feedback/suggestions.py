"""What people teach of their own accord: a question with its answer becomes a pending pair.

Teaching is meant to be learned from, so a taught pair is always for training. One that says the
same words as a pair that is there already makes no second one.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data.conversations import conversations
from data.domains import Domain
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft, Pair, Turn
from data.pairs.question import fact_of_prompt
from data.people import consent
from data.store.db import rows
from data.store.errors import Conflict


@dataclass(frozen=True)
class SuggestedPair:
    """What somebody teaches, and whose words besides theirs it holds."""

    question: str
    answer: str
    turns: tuple[Turn, ...] = ()  # that came before the question
    people: tuple[str, ...] = ()
    about: str = ""  # the question of an answer that it rephrases: the same fact
    source_ref: str = ""  # a reply's id, or where it was said


@dataclass(frozen=True)
class SuggestionResult:
    pair: Pair
    known: bool  # the pair was there already


class NotWanted(Conflict):
    """Somebody whose words these are has opted out of learning."""


def teach(
    db: Database, domain: Domain, person: str, training_set: SuggestedPair
) -> SuggestionResult:
    """Make a pending pair of it. Raises Invalid for what can't be a pair, NotWanted when the
    person, or somebody whose words it holds, has opted out of learning."""
    if not consent.may_learn(db, person):
        raise NotWanted("You have opted out of learning. Your Home tab lets you teach again.")
    if not consent.may_learn(db, *training_set.people, person):
        raise NotWanted("Somebody whose words these are has opted out of learning.")
    fact = fact_of_prompt(db, domain, training_set.question)
    if not fact and training_set.about:
        fact = fact_of_prompt(db, domain, training_set.about)
    draft = Draft(
        prompt=training_set.question,
        response=training_set.answer,
        turns=training_set.turns,
        fact=fact,
        split="train",
    )
    added = pairs.add(
        db, domain, [draft], source="teach", source_ref=training_set.source_ref, author=person
    )
    if added.ids:
        others = [p for p in training_set.people if p != person]
        pairs.hold_words(db, added.ids[0], others)
        return SuggestionResult(pairs.get(db, added.ids[0]), known=False)
    known = review_status.given_again(db, domain.id, draft)
    if known is None:
        raise Conflict("These words were changed at the same moment; try again.")
    return SuggestionResult(known, known=True)


def earlier_turns(db: Database, reply_id: str, most: int) -> tuple[list[Turn], list[str]]:
    """The last `most` questions and answers before a reply's, and who asked them."""
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
    """An answer of ours as a lesson to begin with, and whether all whose words it holds may be
    learned from. Raises NotFound."""
    reply = conversations.reply(db, reply_id)
    question, answer = conversations.exchange(db, reply_id)
    turns, people = earlier_turns(db, reply_id, most_turns)
    everybody = tuple(sorted({reply.person, *people}))
    training_set = SuggestedPair(question, answer, tuple(turns), everybody, question, reply_id)
    return reply, training_set, consent.may_learn(db, *everybody)
