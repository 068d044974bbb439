"""How many declined questions ask about one topic, by meaning where there is an encoder."""

import functools
import logging
from dataclasses import dataclass

from sqlite_utils import Database

from data.config.settings import SearchSettings
from data.domains import Domain
from data.search import question_groups
from data.search.encoder import EncoderFailed, SentenceEncoder, open_encoder
from data.store.db import rows

log = logging.getLogger(__name__)

MOST = 300  # questions that are grouped, the newest ones: encoding them takes about a second

DECLINED = """
SELECT u.reply_id, u.state, m.text AS question, r.person
FROM unanswered u JOIN replies r ON r.id = u.reply_id
JOIN messages m ON m.reply_id = u.reply_id AND m.role = 'user'
WHERE u.domain_id = ? AND u.created_at > ? AND u.state <> 'dismissed'
ORDER BY u.created_at DESC, u.reply_id LIMIT ?
"""


@dataclass(frozen=True)
class DeclinedTopic:
    reply_id: str  # of its oldest question
    questions: int
    people: int
    waiting: int  # questions that nobody has answered yet


NONE = DeclinedTopic("", 0, 0, 0)


def largest(
    db: Database, domain: Domain, since: int, settings: SearchSettings, least: int = 1
) -> DeclinedTopic:
    """The topic that most people asked about since then, among the questions that the bot declined
    and nobody dismissed. A person who asks again counts once. `NONE` without encoding anything if
    fewer than `least` people asked at all."""
    found = rows(db, DECLINED, [domain.id, since, MOST])[::-1]
    if len({r["person"] for r in found}) < least or not found:
        return NONE
    groups = [[found[n] for n in members] for members in _groups(found, settings)]
    topics = [
        DeclinedTopic(
            group[0]["reply_id"],
            len(group),
            len({r["person"] for r in group}),
            sum(r["state"] == "open" for r in group),
        )
        for group in groups
    ]
    return max(topics, key=lambda topic: (topic.people, topic.questions))


def _groups(found: list[dict[str, str]], settings: SearchSettings) -> list[list[int]]:
    questions = [r["question"] for r in found]
    try:
        encoder = _encoder(settings)
        if encoder is not None:
            return question_groups.by_meaning(encoder.encode(questions, questions=True))
    except EncoderFailed as error:
        log.warning("Declined questions are compared by their words: %s", error)
    return question_groups.by_words(questions)


@functools.lru_cache(maxsize=1)
def _encoder(settings: SearchSettings) -> SentenceEncoder | None:
    return open_encoder(settings)
