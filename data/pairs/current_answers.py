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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.pairs.pairs import SELECT, Pair, _pair, fact_of, normalise, prompt_digest
from data.pairs.question import question_key_with_system
from data.store.db import rows

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


def current_pairs(pairs: Sequence[Pair]) -> CurrentPairs:
    """Keep the newest answer of each question, and give it to the other phrasings of its fact.
    Ids order pairs by age."""
    newest: dict[str, Pair] = {}
    superseded: list[Pair] = []
    for pair in sorted(pairs, key=lambda p: p.id):
        key = question_key_with_system(pair)
        if key in newest:
            superseded.append(newest[key])
        newest[key] = pair
    answers = _Answers(pairs)
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

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._phrasings = Counter(pair.fact for pair in pairs)
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
        if not is_named(pair) or self._phrasings[pair.fact] > MOST_PHRASINGS:
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
    which takes two looks at an index for each pair."""
    given = orjson.dumps(list(pair_ids)).decode()
    asked = [_pair(r) for r in rows(db, PERHAPS, {"domain": domain.id, "ids": given})]
    if not asked:
        return {}
    facts = orjson.dumps(list({pair.fact for pair in asked if is_named(pair)})).decode()
    family = [*asked, *map(_pair, rows(db, OF_FACTS, {"domain": domain.id, "facts": facts}))]
    digests = orjson.dumps([prompt_digest(pair.prompt) for pair in family]).decode()
    same = map(_pair, rows(db, OF_PROMPTS, {"domain": domain.id, "digests": digests}))
    related = {pair.id: pair for pair in [*family, *same]}
    replaced_by = current_pairs(list(related.values())).replaced_by
    return {pair.id: replaced_by[pair.id] for pair in asked if pair.id in replaced_by}


COUNTS = "p.status = 'approved' AND p.forgotten_at IS NULL AND p.split <> 'golden'"
# the newest pair of its fact has another answer, or a newer pair has its prompt
PERHAPS = f"""
{SELECT} AS found WHERE id IN (SELECT value FROM json_each(:ids)) AND (
    response <> (
        SELECT p.response FROM pairs p
        WHERE p.domain_id = :domain AND p.fact = found.fact AND {COUNTS} ORDER BY p.id DESC LIMIT 1
    ) OR EXISTS (
        SELECT 1 FROM pairs p WHERE p.domain_id = :domain
        AND p.prompt_digest = found.prompt_digest AND p.id > found.id AND {COUNTS}
    )
)
"""
OF_FACTS = f"""
{SELECT} AS p WHERE p.domain_id = :domain AND {COUNTS}
AND p.fact IN (
    SELECT value FROM json_each(:facts) WHERE (
        SELECT count(*) FROM (
            SELECT 1 FROM pairs o WHERE o.domain_id = :domain AND o.fact = value
            AND o.status = 'approved' LIMIT {MOST_PHRASINGS + 1}
        )
    ) <= {MOST_PHRASINGS}
)
"""
OF_PROMPTS = f"""
{SELECT} AS p WHERE p.domain_id = :domain AND {COUNTS}
AND p.prompt_digest IN (SELECT value FROM json_each(:digests))
"""
