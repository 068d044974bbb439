"""What a run starts from: its domain, the frozen dataset, and the adapter that it continues.

The dataset is frozen when the run first starts. A run that is resumed, and every trial of a search,
uses the same pairs.
"""

from dataclasses import dataclass

from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.pairs import contamination, datasets
from data.pairs.datasets import Dataset
from data.runs import method_choice, runs
from data.runs.methods import METHODS
from data.runs.phases import Phase, RunPhase
from data.runs.runs import Run
from data.store.db import Store
from data.store.errors import Invalid
from tuning.recipe import search_space


@dataclass(frozen=True)
class RunInputs:
    run: Run
    domain: Domain
    dataset: Dataset
    parent: Adapter | None  # the adapter that the run continues; None: it starts from the bare base


def freeze_dataset(store: Store, run: Run) -> RunInputs:
    """Freeze the pairs or rated answers that the run trains on, and record the dataset.

    Raises Invalid when training pairs repeat golden questions, or when a run on rated answers
    continues an adapter that was not trained on pairs here."""
    search = search_space.search_space_of(run.recipe)
    judgements = METHODS[run.method].judgements
    with store.write() as db:
        domain = domains.by_id(db, run.domain_id)
        parent = registry.by_id(db, run.parent_id) if run.parent_id else None
        runs.set_phase(db, run, RunPhase(Phase.FREEZING_DATASET))
    if run.dataset_id is not None and search:
        dataset = datasets.by_id(store.db, run.dataset_id)  # all trials compare on the same pairs
    elif run.learns == "preferences":
        dataset = datasets.by_id(store.db, _dataset_of(parent))  # no pair beyond the parent's
    else:
        dataset = datasets.freeze_in(store, domain, hold_out=not search.folds)
    with store.write() as db:
        if judgements is not None:
            method_choice.freeze(db, run.id, domain, judgements)
        runs.set_dataset(db, run, dataset.id)
    contamination.refuse_leaks(store.db, dataset.id)
    return RunInputs(run, domain, dataset, parent)


def _dataset_of(parent: Adapter | None) -> int:
    """The dataset of the adapter that a run on rated answers continues. Raises Invalid without."""
    if parent is None or parent.dataset_id is None:
        name = parent.name if parent else "The bare base"
        raise Invalid(
            f"{name} was not trained on pairs here; tune on pairs first, then on ratings."
        )
    return parent.dataset_id
