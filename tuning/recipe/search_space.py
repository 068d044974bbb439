"""A search: what a run may try before it settles on a recipe, and how each try is judged.

`sweep` holds keys of the recipe with several values each; every combination is a point. With
`folds` each point is trained several times, each time without one part of the facts, which it is
measured on (k-fold cross-validation: Stone 1974,
https://doi.org/10.1111/j.2517-6161.1974.tb00994.x; all phrasings of a fact are in one fold). One
training is a trial.

Both stand in `run.recipe` beside the recipe's own keys, so a file may hold them too.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.runs import methods
from data.store.errors import Invalid
from tuning.recipe import recipe

SWEEP, FOLDS, LICENCE = "sweep", "folds", "accept_licence"
KEYS = (SWEEP, FOLDS, LICENCE)  # of `run.recipe`, beside those of a recipe
MOST = 64  # trials of a run


@dataclass(frozen=True)
class TrialSpec:
    """One training of a search."""

    number: int  # from 1
    changes: dict[str, Any]  # of the recipe
    fold: int | None  # which part is held out, from 0; None: validation as in any run


@dataclass(frozen=True)
class SearchSpace:
    axes: dict[str, list[Any]]
    folds: int  # 0: none

    def __bool__(self) -> bool:
        return bool(self.axes or self.folds)

    @property
    def points(self) -> list[dict[str, Any]]:
        """The changes of each point, in the order in which they were asked for."""
        combined = itertools.product(*self.axes.values())
        return [dict(zip(self.axes, values, strict=True)) for values in combined]

    @property
    def trials(self) -> list[TrialSpec]:
        folds: list[int | None] = list(range(self.folds)) or [None]
        every = [(changes, fold) for changes in self.points for fold in folds]
        return [TrialSpec(i, changes, fold) for i, (changes, fold) in enumerate(every, start=1)]


def search_space_of(asked: Mapping[str, Any]) -> SearchSpace:
    """The search that `run.recipe` asks for. Raises Invalid."""
    folds = asked.get(FOLDS, 0)
    if not isinstance(folds, int) or isinstance(folds, bool) or folds == 1 or not 0 <= folds <= 20:
        raise Invalid(f"folds is {folds!r}; it takes a whole number from 2 to 20.")
    given = asked.get(SWEEP, {})
    if not isinstance(given, Mapping):
        raise Invalid("sweep takes keys of the recipe, each with a list of values.")
    axes = {recipe.ALIASES.get(str(k), str(k)): _values(k, v) for k, v in given.items()}
    return SearchSpace(axes, folds)


def overrides(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the recipe alone."""
    return {key: value for key, value in asked.items() if key not in KEYS}


def check(asked: Mapping[str, Any]) -> None:
    """Raises Invalid for what no run could do: said when a run is asked for."""
    search, plain = search_space_of(asked), overrides(asked)
    both = [key for key in search.axes if key in plain]
    if both:
        raise Invalid(f"{both[0]} is both set and swept.")
    if methods.KEY in search.axes:
        raise Invalid("method cannot be swept: the losses of different methods do not compare.")
    if "auto" in search.axes.get("learning_rate", []):
        raise Invalid("A sweep tries rates itself: learning_rate=auto does not go with it.")
    if len(search.trials) > MOST:
        raise Invalid(
            f"That would be {len(search.trials)} trainings, and a run does at most {MOST}."
        )
    for changes in search.points or [{}]:
        recipe.check_overrides(plain | changes)


def parse_axis(text: str) -> tuple[str, list[Any]]:
    """`rank=8,16` -> ("rank", [8, 16]). Raises Invalid."""
    key, sign, values = text.partition("=")
    named = recipe.ALIASES.get(key.strip(), key.strip())
    if not sign or not values.strip():
        raise Invalid(f"A sweep takes KEY=VALUE,VALUE…, not {text!r}.")
    return named, [recipe.parse(named, value.strip()) for value in values.split(",")]


def folds_of(facts: Sequence[str], folds: int) -> dict[str, int]:
    """Fact -> fold, as even as can be: facts in the order of a hash, dealt round."""
    distinct = sorted(set(facts), key=_order)
    return {fact: i % folds for i, fact in enumerate(distinct)}


def _order(fact: str) -> bytes:
    return hashlib.sha256(fact.encode("utf-8", "surrogatepass")).digest()


def _values(key: str, values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise Invalid(f"The sweep over {key} takes a list of values.")
    if len({repr(value) for value in values}) < len(values):
        raise Invalid(f"The sweep over {key} has a value twice.")
    return values
