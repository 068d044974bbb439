"""Publishing an adapter: all or nothing, checked, and one content for each version number."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from data import domains
from data.adapters import files, registry
from data.adapters.files import BadAdapter
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft
from data.runs import runs
from data.runs.phases import Phase, RunPhase
from data.runs.runs import RunLost
from data.store.db import Store
from data.store.errors import Conflict
from tuning.adapters import adapter_store, publish
from tuning.adapters.publish import Lineage
from tuning.model.base_model import Base, new_adapter, trainable
from tuning.recipe.recipe import Recipe

SCORES = {"golden": {"n": 1, "exact": 1.0}, "samples": []}


@pytest.fixture
def tuned(base: Base) -> Any:
    return new_adapter(base, Recipe(rank=8))


def claimed(store: Store, domain: Domain) -> Lineage:
    """A run that a worker has taken, ready to be published."""
    with store.write() as db:
        pairs.add(db, domain, [Draft("q", "a")], source="test", status="approved")
        runs.queue(db, domain, "ann", kind="full")
        run = runs.claim(db, "worker")
        assert run is not None
        dataset = datasets.freeze(db, domain)
    return Lineage(run, domain, dataset, None, Recipe(rank=8, why="Because."), "apache-2.0")


def published(store: Store, settings: Settings, tuned: Any, lineage: Lineage) -> Adapter:
    """Registered, evaluated and let through."""
    adapter = publish.publish(store, settings, tuned, lineage)
    return publish.settle(store, settings, lineage, adapter, SCORES)


def test_a_published_adapter_is_what_the_registry_says(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    lineage = claimed(store, domain)

    adapter = published(store, settings, tuned, lineage)

    folder = adapter.folder(settings.home)
    assert adapter.path == f"adapters/helpdesk/1-{adapter.sha256[:12]}"
    assert sorted(f.name for f in folder.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "recipe.json",
    ]
    kept = Recipe.model_validate(json.loads((folder / "recipe.json").read_bytes()))
    assert kept == lineage.recipe
    assert files.digest(folder) == adapter.sha256
    assert (adapter.state, adapter.rank, adapter.scores) == ("candidate", 8, SCORES)
    assert adapter.recipe["why"] == "Because."
    run = runs.get(store.db, lineage.run.id)
    assert (run.state, run.adapter_id) == ("done", adapter.id)


def test_killed_between_the_rename_and_the_commit_it_is_published_again_with_the_same_digest(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    lineage = claimed(store, domain)
    child = os.fork()
    if child == 0:  # a process of its own, with its own connection, that dies at that point
        try:
            registry.register = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
            with Store(settings.store_path) as own:
                publish.publish(own, settings, tuned, lineage)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    (left,) = [f for f in (settings.adapters_path / "helpdesk").iterdir() if f.name[0] != "."]
    digest = files.digest(left)
    assert registry.list_adapters(store.db) == []

    adapter = published(store, settings, tuned, lineage)

    assert (adapter.version, adapter.sha256) == (1, digest)
    assert files.digest(adapter.folder(settings.home)) == digest
    assert runs.get(store.db, lineage.run.id).state == "done"


def test_the_card_has_the_whole_lineage(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    lineage = claimed(store, domain)

    adapter = published(store, settings, tuned, lineage)

    card = (adapter.folder(settings.home) / "README.md").read_text()
    for words in (
        "# helpdesk@1",
        lineage.dataset.sha256,
        adapter.sha256,
        'license: "apache-2.0"',
        "requested by ann",
        "none: trained from the bare base",
        '"learning_rate"',
        "Because.",
        '"exact": 1.0',
        "digest of the base model",
        "tags: [lora, qlora, understudy]",
        "of training",
    ):
        assert words in card


def test_the_config_names_the_base_as_the_deployment_does(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    adapter = publish.publish(store, settings, tuned, claimed(store, domain))

    config = json.loads((adapter.folder(settings.home) / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == settings.base.model
    assert config["target_modules"] == sorted(config["target_modules"])


def test_equal_weights_are_equal_bytes(tuned: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        publish.write_files(tmp_path / name, tuned, "pocket")

    assert files.digest(tmp_path / "one") == files.digest(tmp_path / "two")


def left_over(settings: Settings) -> list[str]:
    shelf = settings.adapters_path / "helpdesk"
    return sorted(p.name for p in shelf.iterdir()) if shelf.is_dir() else []


def test_weights_that_are_no_numbers_are_not_published(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    lineage = claimed(store, domain)
    next(iter(trainable(tuned).values())).data[0, 0] = float("nan")

    with pytest.raises(BadAdapter, match="contains NaN"):
        publish.publish(store, settings, tuned, lineage)

    assert left_over(settings) == []
    assert registry.list_adapters(store.db) == []
    assert runs.get(store.db, lineage.run.id).state == "running"


@pytest.mark.parametrize("step", ["save_file", "sync_folder"])
def test_a_full_disk_leaves_nothing_behind(
    store: Store, settings: Settings, domain: Domain, tuned: Any,
    monkeypatch: pytest.MonkeyPatch, step: str,
) -> None:  # fmt: skip
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish if step == "save_file" else adapter_store, step, full)

    with pytest.raises(OSError, match="No space left"):
        publish.publish(store, settings, tuned, claimed(store, domain))

    assert left_over(settings) == []
    assert registry.list_adapters(store.db) == []


def test_a_registration_that_fails_takes_its_files_along(
    store: Store, settings: Settings, domain: Domain, tuned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "register", lambda *_, **__: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        publish.publish(store, settings, tuned, claimed(store, domain))

    assert left_over(settings) == []
    assert registry.list_adapters(store.db) == []


def test_leftovers_of_a_crash_are_set_aside_and_a_version_has_one_content(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    """A crash after the folder was moved and before it was registered; or an older store, which
    does not know the adapter. Its files stay."""
    shelf = settings.adapters_path / "helpdesk"
    lineage = claimed(store, domain)
    for stray in ("1-0123456789ab", f".making-{lineage.run.id}-4711"):
        (shelf / stray).mkdir(parents=True)
        (shelf / stray / "adapter_config.json").write_text("{}")

    adapter = publish.publish(store, settings, tuned, lineage)

    aside = ".unregistered-1-0123456789ab"
    assert sorted(left_over(settings)) == sorted([aside, Path(adapter.path).name])
    assert (shelf / aside / "adapter_config.json").read_text() == "{}"


def test_publishing_the_next_version_leaves_earlier_ones_alone(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    first = published(store, settings, tuned, claimed(store, domain))
    trainable(tuned)[next(iter(trainable(tuned)))].data += 1

    second = publish.publish(store, settings, tuned, claimed(store, domain))

    assert (first.version, second.version) == (1, 2)
    assert left_over(settings) == [Path(first.path).name, Path(second.path).name]


@pytest.mark.parametrize("ending", ["cancelled", "taken by another", "cancel asked for"])
def test_a_run_that_another_worker_took_over_publishes_nothing(
    store: Store, settings: Settings, domain: Domain, tuned: Any, ending: str
) -> None:
    lineage = claimed(store, domain)
    with store.write() as db:
        if ending == "cancel asked for":
            runs.cancel(db, lineage.run.id, "ann")
        elif ending == "cancelled":
            runs.cancelled(db, runs.get(db, lineage.run.id))
        else:
            runs.give_back(db, runs.get(db, lineage.run.id), RunPhase(Phase.RETRYING, "lost"))
            runs.claim(db, "another")

    with pytest.raises(RunLost):
        publish.publish(store, settings, tuned, lineage)

    assert left_over(settings) == []
    assert registry.list_adapters(store.db) == []


def test_files_can_be_read_by_others_of_the_deployment(tuned: Any, tmp_path: Path) -> None:
    """safetensors writes them for the owner alone; the engine may run as another user. Nobody
    writes them again."""
    publish.write_files(tmp_path, tuned, "pocket")

    mask = os.umask(0)
    os.umask(mask)
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o444 & ~mask


def test_cleaning_one_domains_folder_leaves_other_domains_alone(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    with store.write() as db:
        domains.create(db, "other")
    stray = settings.adapters_path / "other" / "1-0123456789ab"
    stray.mkdir(parents=True)

    publish.publish(store, settings, tuned, claimed(store, domain))

    assert stray.is_dir()


def test_an_adapter_in_evaluation_is_loaded_by_engines_but_not_used(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    lineage = claimed(store, domain)

    adapter = publish.publish(store, settings, tuned, lineage)

    assert adapter.state == "evaluating"
    assert [a.id for a in registry.wanted_adapters(store.db)] == [adapter.id]
    assert runs.get(store.db, lineage.run.id).state == "running"
    with store.write() as db, pytest.raises(Conflict, match="still being evaluated by run 1"):
        registry.promote(db, adapter, "ann")


def test_a_rejected_adapter_is_kept_with_the_reason_and_ends_its_run(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    lineage = claimed(store, domain)
    adapter = publish.publish(store, settings, tuned, lineage)

    settled = publish.settle(store, settings, lineage, adapter, SCORES, "It is worse.")

    assert (settled.state, settled.state_reason) == ("rejected", "It is worse.")
    assert settled.folder(settings.home).is_dir()
    run = runs.get(store.db, lineage.run.id)
    assert (run.state, run.adapter_id) == ("done", adapter.id)
    assert registry.wanted_adapters(store.db) == []


def test_a_run_that_crashed_while_it_was_evaluated_finds_its_adapter_again(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    lineage = claimed(store, domain)
    first = publish.publish(store, settings, tuned, lineage)

    again = publish.publish(store, settings, tuned, lineage)

    assert again.id == first.id
    assert left_over(settings) == [Path(first.path).name]


def test_a_run_that_crashed_and_got_other_weights_rejects_its_first_adapter(
    store: Store, settings: Settings, domain: Domain, tuned: Any
) -> None:
    lineage = claimed(store, domain)
    first = publish.publish(store, settings, tuned, lineage)
    trainable(tuned)[next(iter(trainable(tuned)))].data += 1

    second = publish.publish(store, settings, tuned, lineage)

    assert second.version == 2
    earlier = registry.by_id(store.db, first.id)
    assert (earlier.state, "interrupted" in earlier.state_reason) == ("rejected", True)


@pytest.mark.parametrize("ending", ["cancelled", "cancel asked for", "failed"])
def test_a_run_that_ends_while_it_is_evaluated_leaves_no_adapter_for_people(
    store: Store, settings: Settings, domain: Domain, tuned: Any, ending: str
) -> None:
    lineage = claimed(store, domain)
    adapter = publish.publish(store, settings, tuned, lineage)
    with store.write() as db:
        if ending == "cancelled":
            runs.cancelled(db, runs.get(db, lineage.run.id))
        elif ending == "failed":
            runs.fail(db, runs.get(db, lineage.run.id), "The machine burnt down.")
        else:
            runs.cancel(db, lineage.run.id, "ann")

    with pytest.raises(RunLost):
        publish.settle(store, settings, lineage, adapter, SCORES)

    if ending == "cancel asked for":  # the worker ends the run then
        with store.write() as db:
            runs.cancelled(db, runs.get(db, lineage.run.id))
    ended = registry.by_id(store.db, adapter.id)
    assert (ended.state, f"Run {lineage.run.id}" in ended.state_reason) == ("rejected", True)
