"""Finds the pairs of an import whose question has another answer already."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.pairs.pairs import SELECT, Draft, _pair, normalise, prompt_digest
from data.pairs.question import question_key_with_system
from data.store.db import rows


@dataclass(frozen=True)
class ConflictingAnswer:
    """A row whose question has another answer. The newer answer, that of the row, counts."""

    line: int
    question: str
    answer: str
    pair_id: int  # with the other answer
    other_answer: str


def find(
    db: Database, domain: Domain, given: Sequence[tuple[int, Draft]]
) -> list[ConflictingAnswer]:
    """The rows, by line, whose question an approved pair answers differently. Pairs that are stored
    count up to the row itself."""
    digests = orjson.dumps([prompt_digest(draft.prompt) for _, draft in given]).decode()
    known: dict[str, list[tuple[int, str, str]]] = {}
    for r in rows(db, SAME_PROMPTS, [domain.id, digests]):
        pair = _pair(r)
        answers = known.setdefault(question_key_with_system(pair), [])
        answers.append((pair.id, pair.response, normalise(pair.response)))
    found = []
    for line, draft in given:
        said = normalise(draft.response)
        for pair_id, other, words in known.get(question_key_with_system(draft), ()):
            if words == said:
                break
            found.append(ConflictingAnswer(line, draft.prompt, draft.response, pair_id, other))
            break
    return found


SAME_PROMPTS = f"""
{SELECT} WHERE domain_id = ? AND status = 'approved'
    AND prompt_digest IN (SELECT value FROM json_each(?)) ORDER BY id
"""
