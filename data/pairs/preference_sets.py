"""Preferences: answers that people liked or disliked, as a run learns from them.

A thumb says nothing about what would have been better, only whether this answer, to this question,
after these turns, was wanted. So a judged answer is worth something only if what the model was
asked can be put together again; `tuning/training/preference_set.py` compares the number of tokens
with the engine's.

What a run learns from is written down when it begins, so that one that goes on after a crash, or
is looked at years later, is about the same answers.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data.conversations import conversations
from data.conversations.conversations import Message
from data.domains import Domain
from data.store.db import rows, value
from data.store.errors import Conflict

LEAST = 4  # answers that were liked, and as many that were not: with fewer nothing can be learned
MOST = 20_000  # answers a run learns from, the newest ones

JUDGED = """
SELECT r.id AS reply_id, avg(f.value) > 0.5 AS liked
FROM feedback f JOIN replies r ON r.id = f.reply_id
WHERE r.domain_id = ? AND r.status = 'done' AND r.finish_reason = 'stop'
  AND f.kind = 'thumb' AND f.live = 1 AND f.counts = 1
  AND NOT EXISTS (SELECT 1 FROM opt_outs o WHERE o.person = f.person OR o.person IN
    (SELECT e.person FROM replies e WHERE e.conversation_id = r.conversation_id))
GROUP BY r.id HAVING avg(f.value) <> 0.5 ORDER BY r.created_at DESC LIMIT ?
"""


class TooFewRated(Conflict):
    """Not enough answers were rated, or all of them alike."""


@dataclass(frozen=True)
class RatedReply:
    """One answer, as it was given, and what people thought of it."""

    number: int  # among those of the run, from 1
    reply_id: str
    system: str | None  # the variant's own system prompt; None: the domain's
    turns: tuple[Message, ...]  # what was said before, oldest first
    question: str
    answer: str
    liked: bool
    prompt_tokens: int  # that the engine counted


def counts(db: Database, domain: Domain) -> tuple[int, int]:
    """How many answers of the domain people like, and dislike, on the whole.

    Answers judged by people who opted out of learning do not count, nor those of conversations
    that they took part in, nor votes in quarantine; an answer with as many thumbs up as down is
    neither."""
    found = rows(db, JUDGED, [domain.id, MOST])
    liked = sum(r["liked"] for r in found)
    return liked, len(found) - liked


def check(db: Database, domain: Domain) -> None:
    """Raises TooFewRated when there is nothing to learn from."""
    liked, disliked = counts(db, domain)
    if min(liked, disliked) < LEAST:
        raise TooFewRated(
            f"{domain.name} has {liked} answers that people liked and {disliked} that they did "
            f"not; learning from thumbs takes at least {LEAST} of each."
        )


def freeze(db: Database, run_id: int, domain: Domain) -> None:
    """Write down which answers the run learns from; a run that goes on keeps what it had."""
    sql = "SELECT count(*) FROM run_judgements WHERE run_id = ?"
    if not value(db, sql, [run_id]):
        db.execute(
            f"INSERT INTO run_judgements (run_id, reply_id, liked) SELECT ?, * FROM ({JUDGED})",
            [run_id, domain.id, MOST],
        )


def of_run(db: Database, run_id: int, history_turns: int) -> list[RatedReply]:
    """The answers of a run with their words, oldest first. Those whose words were removed since
    are left out. `history_turns` as the bot had it when it asked."""
    found = rows(
        db,
        "SELECT j.reply_id, j.liked, r.prompt_tokens, r.conversation_id, v.system_prompt, "
        "q.id AS asked_as, q.text AS question, a.text AS answer FROM run_judgements j "
        "JOIN replies r ON r.id = j.reply_id LEFT JOIN variants v ON v.id = r.variant_id "
        "JOIN messages q ON q.reply_id = r.id AND q.role = 'user' "
        "JOIN messages a ON a.reply_id = r.id AND a.role = 'assistant' "
        "WHERE j.run_id = ? AND a.text <> '' AND q.text <> '' ORDER BY r.created_at, r.id",
        [run_id],
    )
    return [
        RatedReply(
            number=number,
            reply_id=r["reply_id"],
            system=r["system_prompt"],
            turns=tuple(
                conversations.history(db, r["conversation_id"], history_turns, before=r["asked_as"])
            ),
            question=r["question"],
            answer=r["answer"],
            liked=bool(r["liked"]),
            prompt_tokens=r["prompt_tokens"],
        )
        for number, r in enumerate(found, start=1)
    ]
