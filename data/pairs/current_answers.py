"""Which answer counts now: a newer answer replaces the older ones.

- Of several pairs that ask the same question, only the newest counts.
- The newest answer of a fact counts for all its phrasings, however it came: as a correction, as a
  taught pair, or in another file.
- A correction that names another fact, or none, answers one question. The other phrasings of the
  corrected fact get its answer, too.

This applies only to named facts: pairs without a name are grouped by their answer, and pairs that
share a "Yes." are not about one fact. Nor does a name that hundreds of pairs share name one fact.
Where one import brings several answers for a fact (with other system prompts, or within a
conversation), they are all valid: then a newer answer replaces only the one that its own question
had.

Golden questions get newer answers like all others, but never replace one.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.pairs.pairs import SELECT, Pair, _pair, fact_of, normalise
from data.pairs.question import question_key_with_system
from data.store.db import Row, rows

MOST_PHRASINGS = 200  # pairs of a fact; a name that more pairs share is a topic


@dataclass(frozen=True)
class CurrentPairs:
    """Pairs with the answers that are valid now."""

    pairs: list[Pair]  # by id
    superseded: list[Pair]  # left out: the same question has a newer answer
    replaced_by: Mapping[int, Pair]
    """Ids of superseded pairs, and of those that were given a newer answer: the newer pair."""

    @property
    def reworded(self) -> list[int]:
        """Ids of the pairs that were given a newer answer of their fact."""
        return [pair.id for pair in self.pairs if pair.id in self.replaced_by]

    def reworded_since(self, known: Collection[int]) -> set[int]:
        """Those whose newer answer is not among the `known` pairs."""
        return {i for i in self.reworded if self.replaced_by[i].id not in known}


def current_pairs(pairs: Sequence[Pair], topics: Collection[str] = ()) -> CurrentPairs:
    """Keep the newest answer of each question, and give it to the other phrasings of its fact.
    Ids order pairs by age. `topics`: names that more than `MOST_PHRASINGS` pairs share, although
    fewer are given here."""
    newest: dict[str, Pair] = {}
    superseded: list[Pair] = []
    for pair in sorted(pairs, key=lambda p: p.id):
        key = question_key_with_system(pair)
        if key in newest:
            superseded.append(newest[key])
        newest[key] = pair
    answers = _Answers(pairs, topics)
    for old in superseded:
        answers.correct(old, newest[question_key_with_system(old)])
    for pair in newest.values():
        answers.state(pair)
    replaced_by: dict[int, Pair] = {}
    kept: list[Pair] = []
    # the newest first: a pair that replaces another one may itself have a newer answer
    for pair in sorted(newest.values(), key=lambda p: -p.id):
        found = answers.newer_than(pair)
        if found is None:
            kept.append(pair)
            continue
        last = replaced_by.get(found.id, found)
        if normalise(last.response) == normalise(pair.response):
            kept.append(pair)
            continue
        replaced_by[pair.id] = last
        kept.append(replace(pair, response=last.response))
    for old in superseded:
        new = newest[question_key_with_system(old)]
        replaced_by[old.id] = replaced_by.get(new.id, new)
    return CurrentPairs(kept[::-1], superseded, replaced_by)


class _Answers:
    """The newest answers of named facts."""

    def __init__(self, pairs: Sequence[Pair], topics: Collection[str]) -> None:
        phrasings = Counter(pair.fact for pair in pairs)
        self._topics = {fact for fact, count in phrasings.items() if count > MOST_PHRASINGS}
        self._topics.update(topics)
        self._of_import: dict[tuple[str, int], set[str]] = {}
        for pair in pairs:
            if is_named(pair):
                self._of_import.setdefault(_origin(pair), set()).add(normalise(pair.response))
        self._corrected: dict[tuple[str, str], Pair] = {}  # fact and old answer -> the newest pair
        self._stated: dict[str, Pair] = {}  # fact -> the newest pair

    def correct(self, old: Pair, new: Pair) -> None:
        """`new` asks the same question as `old`."""
        key = (old.fact, normalise(old.response))
        known = self._corrected.get(key, old)
        if is_named(old) and new.split != "golden" and new.id > known.id:
            self._corrected[key] = new

    def state(self, pair: Pair) -> None:
        """`pair` is valid."""
        known = self._stated.get(pair.fact)
        if pair.split != "golden" and self._alone(pair) and (known is None or pair.id > known.id):
            self._stated[pair.fact] = pair

    def newer_than(self, pair: Pair) -> Pair | None:
        """The pair whose answer replaces that of `pair`."""
        if not is_named(pair) or pair.fact in self._topics:
            return None
        found = [self._corrected.get((pair.fact, normalise(pair.response)))]
        if self._alone(pair):
            found.append(self._stated.get(pair.fact))
        return max(
            (new for new in found if new is not None and new.id > pair.id),
            key=lambda new: new.id,
            default=None,
        )

    def _alone(self, pair: Pair) -> bool:
        """Whether it came with one answer for its fact."""
        return len(self._of_import.get(_origin(pair), ())) == 1


def _origin(pair: Pair) -> tuple[str, int]:
    """Equal for pairs of one fact that one import brought."""
    return pair.fact, -pair.id if pair.import_id is None else pair.import_id


def is_named(pair: Pair) -> bool:
    """Whether the pair names its fact; a pair that does not is grouped by its answer."""
    return pair.fact != fact_of(pair.response)


def replacements(db: Database, domain: Domain, pair_ids: Collection[int]) -> Mapping[int, Pair]:
    """Which of these approved pairs have a newer answer, and the newer pair of each. Usually none,
    which takes a few looks at an index for each pair and each phrasing of its fact. Of a fact with
    newer answers, only the pairs that decide which one counts are read."""
    asked = rows(db, ASKED, {"ids": _json(pair_ids)})
    facts = {pair["fact"] for pair in asked if pair["fact"] != fact_of(pair["response"])}
    ids = {pair["id"] for pair in asked}
    given: dict[str, Any] = {"domain": domain.id, "ids": _json(ids)}
    topics = _topics(db, domain, facts)
    if not _any_newer(db, asked, given | {"facts": _json(facts - topics)}):
        return {}
    while True:
        given["facts"] = _json(facts - topics)
        decide = {pair_id for (pair_id,) in db.execute(f"{SUPERSEDED} UNION {DECIDING}", given)}
        related = [_pair(r) for r in rows(db, RELATED, given | {"ids": _json(ids | decide)})]
        replaced_by = current_pairs(related, topics).replaced_by
        # the newer pair may state another fact, which has a newer answer still
        others = {new.fact for new in replaced_by.values() if is_named(new)} - facts
        if not others:
            return {i: replaced_by[i] for i in ids if i in replaced_by}
        facts |= others
        topics |= _topics(db, domain, others)


def _topics(db: Database, domain: Domain, facts: Collection[str]) -> set[str]:
    """Those that are no facts, because too many pairs share them."""
    found = db.execute(TOPICS, {"domain": domain.id, "facts": _json(facts)})
    return {fact for (fact,) in found}


def _any_newer(db: Database, asked: Sequence[Row], given: dict[str, Any]) -> bool:
    """False: none of the pairs has a newer answer. True: perhaps."""
    newest = dict(db.execute(NEWEST, given).fetchall())
    if any(newest.get(pair["fact"], pair["response"]) != pair["response"] for pair in asked):
        return True
    return db.execute(f"{SUPERSEDED} LIMIT 1", given).fetchone() is not None


def _json(values: Iterable[int | str]) -> str:
    return orjson.dumps(list(values)).decode()


def _counts(pair: str) -> str:
    return (
        f"{pair}.status = 'approved' AND {pair}.forgotten_at IS NULL AND {pair}.split <> 'golden'"
    )


COUNTS = _counts("p")
ASKED = "SELECT id, fact, response FROM pairs WHERE id IN (SELECT value FROM json_each(:ids))"
TOPICS = f"""
SELECT value FROM json_each(:facts) WHERE (
    SELECT count(*) FROM (
        SELECT 1 FROM pairs p WHERE p.domain_id = :domain AND p.fact = value
        AND p.status = 'approved' LIMIT {MOST_PHRASINGS + 1}
    )
) > {MOST_PHRASINGS}
"""


def _newer(old: str, new: str) -> str:
    """SQL for the pairs that have the prompt of `old` and are newer."""
    return (
        f"SELECT 1 FROM pairs {new} WHERE {new}.domain_id = :domain AND {_counts(new)} "
        f"AND {new}.prompt_digest = {old}.prompt_digest AND {new}.id > {old}.id"
    )


# pairs, of those asked for and of their facts, whose prompt a newer pair has, too
SUPERSEDED = f"""
SELECT old.id FROM pairs old WHERE old.id IN (SELECT value FROM json_each(:ids))
AND EXISTS ({_newer("old", "new")})
UNION
SELECT old.id FROM json_each(:facts) CROSS JOIN pairs old
WHERE old.domain_id = :domain AND old.fact = value AND {_counts("old")}
AND EXISTS ({_newer("old", "new")})
"""
NEWEST = f"""
SELECT value, (
    SELECT p.response FROM pairs p
    WHERE p.domain_id = :domain AND p.fact = value AND {COUNTS} ORDER BY p.id DESC LIMIT 1
) FROM json_each(:facts)
"""
OF_FACTS = f"""
FROM json_each(:facts) CROSS JOIN pairs p
WHERE p.domain_id = :domain AND p.fact = value AND {COUNTS}
"""
# the newest valid pair that each import brought of a fact, and the newest that came alone; and two
# pairs of each import that tell whether it brought several answers
DECIDING = f"""
SELECT max(p.id) {OF_FACTS}
AND NOT EXISTS ({_newer("p", "new")})
GROUP BY p.fact, p.import_id
UNION
SELECT id FROM (
    SELECT p.id, min(lower(p.response)) {OF_FACTS}
    AND p.import_id IS NOT NULL GROUP BY p.fact, p.import_id
)
UNION
SELECT id FROM (
    SELECT p.id, max(lower(p.response)) {OF_FACTS}
    AND p.import_id IS NOT NULL GROUP BY p.fact, p.import_id
)
"""
# with all that have the same prompts
RELATED = f"""
{SELECT} AS p WHERE id IN (SELECT value FROM json_each(:ids)) OR id IN (
    SELECT p.id FROM json_each(:ids) CROSS JOIN pairs old ON old.id = value
    CROSS JOIN pairs p ON p.domain_id = :domain AND p.prompt_digest = old.prompt_digest
    WHERE {COUNTS}
)
"""
