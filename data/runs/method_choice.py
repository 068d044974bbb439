"""Which judgements a method learns from, and the method that `auto` stands for.

`auto` learns from everything that there is enough of: new approved pairs first, then answers with a
better one (DPO), which say more than ratings, or else rated answers (KTO).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from data.adapters.registry import Adapter
from data.domains import Domain
from data.pairs import pairs, preference_pairs, preference_sets
from data.pairs.preference_sets import LEAST
from data.runs.methods import AUTO, KEY, WHY, Judgements, MethodName


@dataclass(frozen=True)
class ChosenMethod:
    name: MethodName
    why: str  # a sentence


def check(db: Database, domain: Domain, judgements: Judgements) -> None:
    """Raises preference_sets.TooFewRated if there are not enough of them."""
    if judgements == "ratings":
        preference_sets.check(db, domain)
    else:
        preference_pairs.check(db, domain)


def count(db: Database, domain: Domain, judgements: Judgements) -> int:
    """Rated answers, or pairs of answers."""
    if judgements == "ratings":
        return sum(preference_sets.counts(db, domain))
    return preference_pairs.count(db, domain)


def freeze(db: Database, run_id: int, domain: Domain, judgements: Judgements) -> None:
    """Record the judgements that a run learns from. A resumed run keeps them."""
    if judgements == "ratings":
        preference_sets.freeze(db, run_id, domain)
    else:
        preference_pairs.freeze(db, run_id, domain)


def resolved(
    db: Database, domain: Domain, parent: Adapter | None, recipe: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The recipe of a request, with the method that is chosen for `auto`, and why. `parent`: the
    adapter that the run would continue."""
    given = dict(recipe or {})
    if given.get(KEY) != AUTO:
        return given
    found = choose(db, domain, parent)
    return given | {KEY: found.name, WHY: found.why}


def choose(db: Database, domain: Domain, parent: Adapter | None) -> ChosenMethod:
    """The method for what the domain has now. Without anything to learn it is `sft`, whose refusal
    says what is missing."""
    new = pairs.new_since(db, domain, parent.dataset_id if parent else None)
    better = preference_pairs.count(db, domain)
    liked, disliked = preference_sets.counts(db, domain)
    said = (
        f"{new} new approved pairs, {better} answers with a better one, {liked} liked and "
        f"{disliked} disliked answers; either kind of judgement needs at least {LEAST}"
    )
    by: MethodName | None = None
    if better >= LEAST:
        by = "dpo"
    elif min(liked, disliked) >= LEAST:
        by = "kto"
    name: MethodName = by if by and parent and not new else "sft"
    if by and new:
        name = "sft+dpo" if by == "dpo" else "sft+kto"
    return ChosenMethod(name, f"The method {name} was chosen: there are {said}.")
