"""A run that continues an adapter, or a checkpoint, needs the base that it began with: known by its
content, wherever it is."""

import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from data.adapters import registry
from data.bases import digest
from data.config.settings import BaseModelSettings, GateSettings, Settings
from data.domains import Domain
from data.pairs.pairs import Draft
from data.runs import runs
from data.store.db import Store
from data.store.errors import Invalid
from tests.tuning.conftest import teach
from tests.tuning.worker.test_run import add, requested
from tuning.adapters import exporter
from tuning.child_process import ExitCode
from tuning.progress import StepProgress, StoredProgress
from tuning.training import checkpoint
from tuning.worker.child import Terminated, execute_run


@pytest.fixture
def own_base(settings: Settings, tiny_base: Path, tmp_path: Path) -> Settings:
    """The settings with a copy of the tiny base, which may be changed. The gate only reports: a few
    steps on random weights do not teach it to write."""
    settings = settings.model_copy(update={"gate": GateSettings(enforce=False)})
    return at(settings, shutil.copytree(tiny_base, tmp_path / "own-base"))


def at(settings: Settings, folder: Path) -> Settings:
    return settings.model_copy(update={"base": BaseModelSettings(model=str(folder))})


def spoil(settings: Settings) -> None:
    """Other weights under the same path, of the same size."""
    with Path(settings.base.path, "model.safetensors").open("r+b") as opened:
        opened.seek(-2, os.SEEK_END)
        opened.write(b"\x11\x22")


def promoted(store: Store, settings: Settings, domain: Domain) -> registry.Adapter:
    teach(store, domain, 8)
    run = requested(store, domain)
    assert execute_run(store, settings, run) == ExitCode.DONE
    (adapter,) = registry.list_adapters(store.db)
    with store.write() as db:
        registry.promote(db, adapter, "ann")
    add(store, domain, Draft("What is new?", "The paint."))
    return adapter


def test_the_base_is_recorded_with_the_adapter(
    store: Store, own_base: Settings, domain: Domain
) -> None:
    adapter = promoted(store, own_base, domain)

    assert set(adapter.base_digest) == set(digest.PARTS)
    assert adapter.base_digest == digest.of_base(own_base)


def test_a_run_on_an_exchanged_base_ends_with_what_to_do(
    store: Store, own_base: Settings, domain: Domain, tmp_path: Path
) -> None:
    first = promoted(store, own_base, domain)
    spoil(own_base)
    run = requested(store, domain)
    assert run.kind == "incremental"

    assert execute_run(store, own_base, run) == ExitCode.FAILED

    error = runs.get(store.db, run.id).error
    assert "has changed since helpdesk@1 was trained: other weights" in error
    assert "understudy tune helpdesk --full" in error
    with pytest.raises(Invalid, match="other weights"):
        exporter.write(own_base, domain, first, "merged", tmp_path / "out")
    with store.write() as db:
        runs.request(db, domain, "ann", full=True, recipe={"max_steps": 3, "rank": 8})
        full = runs.claim(db, "worker")
    assert full is not None
    assert execute_run(store, own_base, full) == ExitCode.DONE
    again = registry.list_adapters(store.db)[0]
    assert again.base_digest["weights"] != first.base_digest["weights"]


def test_the_same_base_in_another_folder_is_accepted(
    store: Store, own_base: Settings, domain: Domain, tmp_path: Path
) -> None:
    first = promoted(store, own_base, domain)
    moved = at(own_base, Path(shutil.move(own_base.base.path, tmp_path / "moved")))
    run = requested(store, domain)

    assert execute_run(store, moved, run) == ExitCode.DONE, runs.get(store.db, run.id).error

    second = registry.list_adapters(store.db)[0]
    assert (second.parent_id, second.base_digest) == (first.id, first.base_digest)
    assert "live_f1" not in second.scores.get("golden", {}) or second.scores["golden"]["n"]


@pytest.mark.parametrize(("exchanged", "steps"), [(False, [3]), (True, [1, 2, 3])])
def test_a_checkpoint_belongs_to_the_content_of_the_base(
    store: Store,
    own_base: Settings,
    domain: Domain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exchanged: bool,
    steps: list[int],
) -> None:
    """Moved, it continues; exchanged under its path, training starts from the beginning."""
    teach(store, domain, 8)
    monkeypatch.setattr(checkpoint, "Checkpoints", partial(checkpoint.Checkpoints, every_s=0.0))
    run = requested(store, domain)
    done: list[int] = []

    class Stops(StoredProgress):
        def step(self, now: StepProgress) -> None:
            if now.step == 2:
                raise Terminated

    class Notes(StoredProgress):
        def step(self, now: StepProgress) -> None:
            done.append(now.step)

    assert execute_run(store, own_base, run, Stops(store, run)) == ExitCode.STOPPED
    if exchanged:
        spoil(own_base)
        after = own_base
    else:
        after = at(own_base, Path(shutil.move(own_base.base.path, tmp_path / "moved")))

    assert execute_run(store, after, run, Notes(store, run)) == ExitCode.DONE
    assert done == steps
