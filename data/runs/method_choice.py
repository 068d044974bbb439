"""Which judgements a method learns from, and the method that `auto` stands for.

`auto` learns from what there is enough of: new approved pairs first, then answers with a better one
(DPO) or rated answers (KTO), whichever there is more of. An answer with a better one counts as much
as a liked and a disliked one, and decides if both are as many. Judgements that the adapter has
learned are not learned again unless others came.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.pairs import current_answers, datasets, pairs, preference_pairs, preference_sets
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
    new = _to_train(db, domain, parent)
    better = preference_pairs.count(db, domain)
    liked, disliked = preference_sets.counts(db, domain)
    said = (
        f"{new} new approved pairs to train on, {better} answers with a better one, {liked} liked "
        f"and {disliked} disliked answers; either kind of judgement needs at least {LEAST}"
    )
    learned = registry.runs_learned(db, parent) if parent else []
    many: dict[MethodName, int] = {"dpo": better, "kto": min(liked, disliked)}
    enough = {name: number for name, number in many.items() if number >= LEAST}
    unlearned = {"dpo": preference_pairs.unlearned, "kto": preference_sets.unlearned}
    left: list[MethodName] = [name for name in enough if unlearned[name](db, domain, learned)]
    if enough and not left:
        said += f", and {parent.name if parent else ''} has learned from all of these"
    by = max(left, key=lambda name: many[name], default=None)
    if by and not parent and not new:
        said += ", and without pairs to train on first, it takes a live adapter"
    name: MethodName = by if by and parent and not new else "sft"
    if by and new:
        name = "sft+dpo" if by == "dpo" else "sft+kto"
    return ChosenMethod(name, f"The method {name} was chosen: there are {said}.")


def _to_train(db: Database, domain: Domain, parent: Adapter | None) -> int:
    """The new pairs of a run that are neither held out nor replaced by newer ones."""
    dataset = parent.dataset_id if parent else None
    if not pairs.new_since(db, domain, dataset):
        return 0
    approved = pairs.list_pairs(db, domain, "approved")
    parts = datasets.split(approved, domain.validation_share)
    known = {p.id for p in datasets.pairs_of(db, dataset, "train")} if dataset else set()
    current = current_answers.current_pairs(approved).pairs
    return sum(parts[pair.id] == "train" and pair.id not in known for pair in current)
